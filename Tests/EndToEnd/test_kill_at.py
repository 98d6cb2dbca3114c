# SPDX-License-Identifier: Apache-2.0
"""kill -9 at the Nth change of the disk, for N = 0, 1, 2, ... until an operation comes to its end:
everything an owner does to whole accounts and mailboxes. Behind each kill a new msgstored must find
all mail, once, in a store that `index check` finds nothing wrong with, and doing it again must bring
it to its end. MARTLET_STOPS bounds the stops of one operation (0: every one); they are others in every
run, and a failure names its own."""

import glob
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from suite import BIN, Suite, eventually, message
from test_faults import EVERY, Control

ALICE, BOB, CAROL, DAVE = (f"{n}@example.test" for n in ("alice", "bob", "carol", "dave"))
STOPS = int(os.environ.get("MARTLET_STOPS", "2"))


class Store:
    """msgstored alone, as a crash leaves it and a new one finds it."""

    def __init__(self, test):
        self.test = test
        self.control = Control(test)
        self.base = tempfile.mkdtemp(prefix="martlet-kill-")
        test.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        test.addCleanup(self.stop)
        self.process = None
        self.suite = Suite(directory=self.base)
        try:
            with open(os.path.join(self.base, "mail.toml.d", "log.toml"), "w") as file:
                # Without metrics: somebody's connection may have that port when it starts again.
                file.write("[msgstored]\ndelivery_log_size = \"16 MiB\"\n"
                           "[msgstored.metrics]\nenabled = false\n")
            self.fill()
        finally:
            self.suite.stop()
        self.state = os.path.join(self.base, "state")
        self.kept = os.path.join(self.base, "kept")
        log = os.path.join(self.state, "mail", ".log")  # everything was stored: only slow to copy
        for segment in os.listdir(log):
            os.unlink(os.path.join(log, segment))
        shutil.copytree(self.state, self.kept, symlinks=True)

    def fill(self):
        suite = self.suite
        for address in (CAROL, DAVE):
            suite.mailctl("account", "add", address, "--generate")
            suite.deliver(f"first-{address[0]}", address)
        suite.mailctl("domain", "add", "second.test")
        for name in ("yan", "zoe"):
            suite.mailctl("account", "add", f"{name}@second.test", "--generate")
            suite.deliver(f"for-{name}", f"{name}@second.test")
        suite.mailctl("alias", "add", "both@second.test", "yan@second.test", "zoe@second.test")
        for number in range(4):
            suite.deliver(f"inbox-{number}")
        suite.deliver("bobs", BOB)
        with suite.imap() as client:
            for box in ("Work", "Work/Sub", "Old"):
                client.create(box)
                for number in range(2):
                    client.append(box, r"(\Seen work)", None,
                                  message(f"{box}-{number}").encode())
            self.destination = os.path.join(self.base, "backup")
            suite.mailctl("backup", "create", self.destination)
            client.delete("Old")
            client.select("INBOX")
            client.uid("STORE", "1:2", "+FLAGS", r"(\Deleted)")
            client.expunge()
        suite.mailctl("account", "remove", CAROL, "--yes")

    def reset(self):
        self.stop()
        shutil.rmtree(self.state)
        shutil.copytree(self.kept, self.state, symlinks=True)

    def start(self, kill_behind=None):
        path = os.path.join(self.base, "run", "control.sock")
        self.control.stop()
        log = open(os.path.join(self.base, "msgstored.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "msgstored"), "--config", self.suite.config_path(), "--foreground"],
            env={**os.environ, **self.control.environment}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log)
        log.close()

        def answers():
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
            return True
        if not eventually(answers, 20):
            with open(os.path.join(self.base, "msgstored.log")) as file:
                raise AssertionError("msgstored does not start: " + file.read()[-3000:])
        if kill_behind is not None:
            self.control.fail(EVERY, "/state/", 1, -signal.SIGKILL, kill_behind)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, *arguments):
        return subprocess.run(
            [os.path.join(BIN, "mailctl"), "--config", self.suite.config_path(), *arguments],
            capture_output=True, text=True, timeout=60)

    def rows(self, *arguments, good=(0,)):
        done = self.run(*arguments, "--json")
        self.test.assertIn(done.returncode, good, f"{arguments}: {done.stdout} {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def accounts(self, domain="example.test"):
        return {row["address"] for row in self.rows("account", "list")
                if row["address"].endswith("@" + domain)}

    def mail(self, address):
        """Sorted (mailbox, subject) of an account's messages."""
        return sorted((row["mailbox"], row["subject"]) for row in
                      self.rows("message", "find", address, good=(0, 1)))  # 1: none

    def boxes(self, address):
        return {row["mailbox"] for row in self.rows("mailbox", "list", address)}

    def check(self):
        """Nothing is wrong but half-written state files, which a repair removes."""
        done = self.run("index", "check", "--all", "--json")
        if done.returncode != 0:
            kinds = {finding["kind"] for line in done.stdout.splitlines()
                     for finding in json.loads(line)["findings"]}
            self.test.assertEqual(kinds, {"orphan-file"}, done.stdout + done.stderr)
            done = self.run("index", "check", "--all", "--repair", "--json")
            self.test.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.test.assertEqual(self.run("index", "check", "--all").returncode, 0)


ALICES = [("INBOX", "inbox-2"), ("INBOX", "inbox-3"), ("Work", "Work-0"), ("Work", "Work-1"),
          ("Work/Sub", "Work/Sub-0"), ("Work/Sub", "Work/Sub-1")]
ALL_OF_ALICE = sorted(ALICES + [("INBOX", "inbox-0"), ("INBOX", "inbox-1"), ("Old", "Old-0"),
                                ("Old", "Old-1")])


def renamed(old, new):
    return sorted((new + box[len(old):] if box == old or box.startswith(old + "/") else box, name)
                  for box, name in ALICES)


class KillAt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.case = cls("nothing")
        cls.store = Store(cls.case)

    @classmethod
    def tearDownClass(cls):
        cls.case.doCleanups()

    def nothing(self):
        """The test that the store of all tests belongs to."""

    def changes(self, work):
        """How many changes of the disk the operation makes when nobody kills it."""
        self.store.reset()
        self.store.start(100_000)
        work()
        return 100_000 - self.store.control.left_to_skip

    def stop_everywhere(self, arguments, between, after, prepare=None, is_done=None):
        """
        between: what must be true behind every kill; after: when it was done again; is_done: whether
        it need not be. All get the store.
        """
        store = self.store
        reset = store.reset

        def fresh():
            reset()
            if prepare:
                prepare(store)
        store.reset = fresh
        try:
            done = []
            count = self.changes(lambda: done.append(store.run(*arguments)))
            self.assertEqual(done[0].returncode, 0, f"{done[0].stdout} {done[0].stderr}")
            self.assertGreater(count, 0, "it changes nothing")
            after(store)
            stops = range(count) if STOPS == 0 or count <= STOPS else sorted(
                random.sample(range(count), STOPS))
            killed = 0
            failures = []
            for stop in stops:
                try:
                    killed += self.stop_at(stop, arguments, between, after, is_done)
                except AssertionError as error:
                    failures.append(f"killed at change {stop} of {count}: {error}")
            self.assertEqual(failures, [], "\n".join(failures))
            self.assertTrue(STOPS or killed > count // 2, "hardly ever killed")
            print(f"      {' '.join(arguments[:2])}: {count} changes, {killed} kills", flush=True)
        finally:
            store.reset = reset

    def stop_at(self, stop, arguments, between, after, is_done):
        store = self.store
        store.reset()
        store.start(stop)
        done = store.run(*arguments)
        killed = store.control.hits > 0
        if not killed:  # fewer changes than the first time
            self.assertEqual(done.returncode, 0, f"{done.stdout} {done.stderr}")
        store.stop()
        store.start()
        between(store)
        store.check()
        if is_done and is_done(store):  # to do it again would be another operation
            self.last = done
            after(store)
            return killed
        again = store.run(*arguments)
        self.last = (done.returncode, again.returncode, again.stderr)
        after(store)
        store.check()
        return killed

    # Everything that owners do

    def test_undelete_of_messages_and_mailboxes(self):
        def between(store):
            found = store.mail(ALICE)
            self.assertEqual(len(found), len(set(found)), "doubled")
            self.assertLessEqual(set(ALICES), set(found))
            self.assertLessEqual(set(found), set(ALL_OF_ALICE))
            listed = {(r["mailbox"], r["subject"]) for r in store.rows("undelete", ALICE, "--list")}
            self.assertEqual(set(found) | listed, set(ALL_OF_ALICE), "neither here nor there")

        self.stop_everywhere(
            ["undelete", ALICE], between,
            lambda store: self.assertEqual(store.mail(ALICE), ALL_OF_ALICE, self.last_words()))

    def last_words(self):
        return f"{getattr(self, 'last', '')}"

    def test_undelete_of_a_removed_account(self):
        def between(store):
            self.assertIn(store.accounts(), ({ALICE, BOB, DAVE}, {ALICE, BOB, CAROL, DAVE}))
            self.assertEqual(store.mail(ALICE), ALICES)

        def after(store):
            self.assertEqual(store.mail(CAROL), [("INBOX", "first-c")], self.last_words())
        self.stop_everywhere(["undelete", CAROL, "--account", "--yes"], between, after,
                             self.add_carol,
                             lambda store: store.mail(CAROL) == [("INBOX", "first-c")])

    def add_carol(self, store):
        """The name exists again, with an empty account."""
        store.start()
        done = store.run("account", "add", CAROL, "--generate")
        self.assertEqual(done.returncode, 0, done.stderr)
        store.stop()

    def test_renaming_an_account(self):
        new = "alicia@example.test"

        def between(store):
            names = store.accounts() & {ALICE, new}
            self.assertEqual(len(names), 1)
            self.assertEqual(store.mail(names.pop()), ALICES)

        self.stop_everywhere(["account", "rename", ALICE, new], between,
                             lambda store: self.assertEqual(store.mail(new), ALICES))

    def test_renaming_a_domain(self):
        def between(store):
            old, new = store.accounts("second.test"), store.accounts("third.test")
            self.assertEqual(sorted([len(old), len(new)]), [0, 2], "half a domain")
            after(store, (old | new).pop().split("@")[1])

        def after(store, domain="third.test"):
            for name in ("yan", "zoe"):
                self.assertEqual(store.mail(f"{name}@{domain}"), [("INBOX", f"for-{name}")])
            targets = [t for row in store.rows("alias", "list", domain) for t in
                       row.get("targets", row.get("destinations", []))]
            self.assertEqual(sorted(targets), [f"yan@{domain}", f"zoe@{domain}"])

        self.stop_everywhere(["domain", "rename", "second.test", "third.test", "--yes"], between, after,
                             is_done=lambda store: store.accounts("third.test"))

    def test_adding_an_account(self):
        new = "erin@example.test"

        def between(store):
            if new in store.accounts():
                self.assertGreaterEqual(len(store.boxes(new)), 6)

        def after(store):
            self.assertIn(new, store.accounts())
            self.assertGreaterEqual(len(store.boxes(new)), 6)
            self.assertEqual(store.mail(new), [])
        self.stop_everywhere(["account", "add", new, "--generate"], between, after)

    def test_removing_an_account(self):
        def between(store):
            if BOB in store.accounts():
                self.assertIn(store.mail(BOB), ([("INBOX", "bobs")], []))

        def after(store):
            self.assertNotIn(BOB, store.accounts())
            # Kept for the retention time, and not where the next owner of the address would find it.
            # (If somebody opened the account between kill and second removal an empty one is kept too,
            # and undelete offers that first.)
            kept = glob.glob(os.path.join(store.state, "mail", ".removed-*", "Maildir", "cur", "*"))
            texts = [pathlib.Path(path).read_bytes() for path in kept]
            self.assertEqual(sum(b"Subject: bobs" in text for text in texts), 1)
            store.run("account", "add", BOB, "--generate")
            self.assertEqual(store.mail(BOB), [])
        self.stop_everywhere(["account", "remove", BOB, "--yes"], between, after)

    def test_making_a_mailbox(self):
        self.stop_everywhere(
            ["mailbox", "create", ALICE, "New/Below"],
            lambda store: self.assertEqual(store.mail(ALICE), ALICES),
            lambda store: self.assertIn("New/Below", store.boxes(ALICE)))

    def test_renaming_a_mailbox(self):
        def between(store):
            self.assertIn(store.mail(ALICE), (ALICES, renamed("Work", "Job")))
        self.stop_everywhere(
            ["mailbox", "rename", ALICE, "Work", "Job"], between,
            lambda store: self.assertEqual(store.mail(ALICE), renamed("Work", "Job")))

    def test_removing_a_mailbox(self):
        without = [pair for pair in ALICES if pair[0] != "Work"]

        def between(store):
            found = store.mail(ALICE)
            self.assertIn(found, (ALICES, without))

        def after(store):
            self.assertEqual(store.mail(ALICE), without)
            done = store.run("undelete", ALICE, "--mailbox", "Work")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(store.mail(ALICE), ALICES)
        self.stop_everywhere(["mailbox", "remove", ALICE, "Work", "--yes"], between, after)

    def test_restoring_an_account(self):
        def between(store):
            if ALICE in store.accounts():
                self.assertIn(store.mail(ALICE), (ALICES, ALL_OF_ALICE))
            self.assertEqual(store.mail(BOB), [("INBOX", "bobs")])
        self.stop_everywhere(
            ["backup", "restore", self.store.destination, "--account", ALICE, "--yes"], between,
            lambda store: self.assertEqual(store.mail(ALICE), ALL_OF_ALICE, self.last_words()))

    def test_restoring_a_mailbox(self):
        def between(store):
            found = store.mail(ALICE)
            self.assertEqual(len(found), len(set(found)), "doubled")
            self.assertLessEqual(set(ALICES), set(found))
        wanted = sorted(ALICES + [("Old", "Old-0"), ("Old", "Old-1")])
        self.stop_everywhere(
            ["backup", "restore", self.store.destination, "--account", ALICE, "--mailbox", "Old"],
            between, lambda store: self.assertEqual(store.mail(ALICE), wanted, self.last_words()))

    def test_importing_a_maildir(self):
        source = os.path.join(self.store.base, "import")
        for folder in ("", ".Sent.2020"):
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(source, folder, part), exist_ok=True)
            for number in range(3):
                path = os.path.join(source, folder, "cur", f"160000000{number}.M{number}P1.h:2,S")
                with open(path, "w") as file:
                    file.write(f"From: x@y.test\nSubject: taken{folder}-{number}\n\nbody\n")
        wanted = sorted(ALICES + [("INBOX", f"taken-{n}") for n in range(3)] +
                        [("Sent/2020", f"taken.Sent.2020-{n}") for n in range(3)])

        def between(store):
            found = store.mail(ALICE)
            self.assertEqual(len(found), len(set(found)), "doubled")
            self.assertLessEqual(set(ALICES), set(found))
            self.assertLessEqual(set(found), set(wanted))
        self.stop_everywhere(
            ["import", "maildir", source, "--account", ALICE], between,
            lambda store: self.assertEqual(store.mail(ALICE), wanted, self.last_words()),
            lambda store: shutil.rmtree(os.path.join(store.state, "imports"), ignore_errors=True))

    def test_taking_over_a_maildir_of_dovecot(self):
        def prepare(store):
            home = os.path.join(store.state, "mail", "example.test", "dave")
            shutil.rmtree(home)
            maildir = os.path.join(home, "Maildir")
            for folder in ("", ".Kept"):
                for part in ("cur", "new", "tmp"):
                    os.makedirs(os.path.join(maildir, folder, part))
                lines = [f"3 V{1500000000 + len(folder)} N20 G0123456789abcdef"]
                for number in range(3):
                    name = f"160000000{number}.M{number}P1.h"
                    lines.append(f"{number * 3 + 2} :{name}")
                    path = os.path.join(maildir, folder, "cur", name + ":2,F")
                    with open(path, "w") as file:
                        file.write(f"From: x@y.test\nSubject: dove{folder}-{number}\n\nbody\n")
                with open(os.path.join(maildir, folder, "dovecot-uidlist"), "w") as file:
                    file.write("\n".join(lines) + "\n")

        wanted = sorted(("Kept" if folder else "INBOX", f"dove{folder}-{n}", n * 3 + 2)
                        for folder in ("", ".Kept") for n in range(3))

        def numbers(store):
            rows = store.rows("message", "find", DAVE)
            return sorted((r["mailbox"], r["subject"], r["uid"]) for r in rows)

        def between(store):
            self.assertEqual(numbers(store), wanted, "taken over at the next opening")
        self.stop_everywhere(["mailbox", "stats", DAVE], between, between, prepare)

    def test_making_an_index_anew(self):
        def same(store):
            self.assertEqual(store.mail(ALICE), ALICES)
        self.stop_everywhere(["index", "rebuild", ALICE], same, same)
