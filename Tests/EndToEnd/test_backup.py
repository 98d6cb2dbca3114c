# SPDX-License-Identifier: Apache-2.0
"""Backup while the suite works, verify, restore, undelete: nothing is lost, nothing doubles."""

import glob
import json
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from suite import Suite, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


def content(suite, user=ALICE):
    """Everything that a client can see: UIDVALIDITY, UIDs, flags, dates and octets by mailbox."""
    found = {}
    with suite.imap(user) as imap:
        names = [line.decode().rsplit(" ", 1)[1].strip('"') for line in imap.list()[1]
                 if b"\\Noselect" not in line and b"\\NonExistent" not in line]
        for name in names:
            imap.select(f'"{name}"', readonly=True)
            validity = imap.response("UIDVALIDITY")[1][0]
            messages = {}
            _, data = imap.uid("fetch", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
            for item in data:
                if isinstance(item, tuple):
                    head = item[0].decode()
                    uid = int(re.search(r"UID (\d+)", head)[1])
                    flags = set(re.search(r"FLAGS \(([^)]*)\)", head)[1].split()) - {"\\Recent"}
                    date = re.search(r'INTERNALDATE "([^"]*)"', head)[1]
                    messages[uid] = (frozenset(flags), date, item[1])
            found[name] = (validity, messages)
    return found


class Case(unittest.TestCase):
    def setUp(self):
        self.suite = Suite()
        self.addCleanup(lambda: self.suite.close())
        self.dest = tempfile.mkdtemp(prefix="martlet-backup-")
        self.addCleanup(shutil.rmtree, self.dest, ignore_errors=True)

    def backup(self, *options):
        result = self.suite.mailctl("backup", "create", self.dest, "--json", *options)
        return json.loads(result.stdout)

    def fill(self, count=20):
        with self.suite.imap() as imap:
            imap.create("Work/Sub.dir")
            for number in range(count):
                date = f'"{1 + number % 28:02d}-Jan-2020 10:00:00 +0000"'
                flags = random.choice(["()", "(\\Seen)", "(\\Flagged work)", "(\\Answered $Junk)"])
                box = random.choice(["INBOX", '"Work/Sub.dir"', "Archive"])
                imap.append(box, flags, date, message(f"filled-{number}").encode())
            imap.append("INBOX", "(\\Seen)", None, message(
                "big", body="x" * 70 + "\r\n" + ("y" * 76 + "\r\n") * 9_000).encode())

    def expunge(self, subject, box="INBOX"):
        with self.suite.imap() as imap:
            uid = {v: k for k, v in subjects(imap, box).items()}[subject]
            imap.select(box)
            imap.uid("store", str(uid), "+FLAGS", "(\\Deleted)")
            imap.expunge()


class Undelete(Case):
    def test_expunged_messages_and_deleted_mailboxes_come_back(self):
        self.fill()
        before = content(self.suite)
        self.suite.deliver("precious")
        with self.suite.imap() as imap:
            imap.select("INBOX")
            uid = {v: k for k, v in subjects(imap).items()}["precious"]
            imap.select("INBOX")
            imap.uid("store", str(uid), "+FLAGS", "(\\Flagged urgent)")
        self.expunge("precious")
        with self.suite.imap() as imap:
            imap.delete('"Work/Sub.dir"')
        listed = [json.loads(line) for line in
                  self.suite.mailctl("undelete", ALICE, "--list", "--json").stdout.splitlines()]
        gone = len(before["Work/Sub.dir"][1])
        self.assertEqual(len(listed), 1 + gone)
        self.assertIn("precious", [row["subject"] for row in listed])
        done = json.loads(self.suite.mailctl(
            "undelete", ALICE, "--subject", "precious", "--json").stdout.splitlines()[-1])
        self.assertEqual(done["restored"], 1)
        after = content(self.suite)
        flags, _, octets = [m for m in after["INBOX"][1].values() if b"precious" in m[2]][0]
        self.assertEqual(flags, {"\\Flagged", "urgent"})
        done = json.loads(self.suite.mailctl(
            "undelete", ALICE, "--mailbox", "Work/Sub.dir", "--json").stdout.splitlines()[-1])
        self.assertEqual(done["restored"], gone)
        after = content(self.suite)
        self.assertEqual(sorted(before["Work/Sub.dir"][1].values(), key=repr),
                         sorted(after["Work/Sub.dir"][1].values(), key=repr))
        done = json.loads(self.suite.mailctl("undelete", ALICE, "--json").stdout.splitlines()[-1])
        self.assertEqual(done["restored"], 0)

    def test_a_removed_account_comes_back_whole(self):
        self.fill()
        before = content(self.suite)
        self.suite.mailctl("account", "remove", ALICE, "--yes")
        self.suite.mailctl("account", "add", ALICE, "--password-stdin",
                           input=self.suite.passwords[ALICE] + "\n")
        self.assertEqual(content(self.suite)["INBOX"][1], {})
        self.suite.mailctl("undelete", ALICE, "--account", "--yes")
        self.assertEqual(content(self.suite), before)


class Backup(Case):
    def test_generations_share_files_and_survive_verify_tar_and_damage(self):
        self.fill()
        first = self.backup()
        self.assertEqual(first["copied"], first["messages"])
        self.suite.deliver("later")
        self.expunge("big")
        second = self.backup()
        self.assertEqual((second["copied"], second["linked"]), (1, second["messages"] - 1))
        one, two = (os.path.join(self.dest, g["generation"]) for g in (first, second))
        inodes = [{os.stat(p).st_ino for p in glob.glob(g + "/mail/*/alice/Maildir/**/cur/*",
                                                        recursive=True, include_hidden=True)}
                  for g in (one, two)]
        self.assertEqual(len(inodes[0] & inodes[1]), first["messages"] - 1)
        listed = [json.loads(line) for line in
                  self.suite.mailctl("backup", "list", self.dest, "--json").stdout.splitlines()]
        self.assertEqual([row["state"] for row in listed], ["complete", "complete"])
        self.suite.mailctl("backup", "verify", self.dest, first["generation"])
        self.suite.mailctl("backup", "verify", self.dest)
        # Other programs read it as well.
        for account in glob.glob(two + "/mail/*/*"):
            subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=account, check=True)
        with tempfile.TemporaryDirectory() as other:
            subprocess.run(["tar", "-C", self.dest, "-cf", other + "/b.tar", second["generation"]],
                           check=True)
            subprocess.run(["tar", "-C", other, "-xf", other + "/b.tar"], check=True)
            self.suite.mailctl("backup", "verify", other)
        with open(two + "/directory.sql") as text:
            self.assertIn("CAST('alice' AS BLOB)", text.read())
        # One octet.
        victim = sorted(glob.glob(two + "/mail/*/alice/Maildir/cur/*"))[0]
        with open(victim, "r+b") as file:
            file.seek(30)
            octet = file.read(1)
            file.seek(30)
            file.write(bytes([octet[0] ^ 1]))
        bad = self.suite.mailctl("backup", "verify", self.dest, "--json", check=False)
        self.assertEqual(bad.returncode, 1)
        self.assertIn(os.path.basename(victim), bad.stdout)
        refused = self.suite.mailctl("backup", "restore", self.dest, "--account", ALICE, "--yes",
                                     check=False)
        self.assertEqual(refused.returncode, 65)
        self.suite.mailctl("backup", "prune", self.dest, "--keep", "1")
        self.assertEqual(os.listdir(self.dest), [second["generation"]])

    def test_prune_keeps_what_its_rule_says(self):
        template = os.path.join(self.dest, self.backup()["generation"])
        with open(template + "/MANIFEST.json") as file:
            manifest = json.load(file)
        os.rename(template, self.dest + "/template")
        ages = [0, 1, 2, 8, 9, 15, 16, 40, 41, 75, 400]
        now = int(time.time())
        names = {}
        for age in ages:
            moment = now - age * 86_400
            name = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(moment))
            shutil.copytree(self.dest + "/template", f"{self.dest}/{name}")
            with open(f"{self.dest}/{name}/MANIFEST.json", "w") as file:
                json.dump({**manifest, "completed": moment}, file)
            names[age] = name
        shutil.rmtree(self.dest + "/template")
        os.mkdir(self.dest + "/notes")
        self.suite.mailctl("backup", "prune", self.dest, "--keep", "2,3w", "--dry-run")
        self.assertEqual(len(os.listdir(self.dest)), len(ages) + 1)
        self.suite.mailctl("backup", "prune", self.dest, "--keep", "2,3w")
        left = set(os.listdir(self.dest)) - {"notes"}
        weeks = []
        for age in ages:
            week = (now - age * 86_400) // (7 * 86_400)
            if week not in [w for w, _ in weeks] and len(weeks) < 3:
                weeks.append((week, age))
        self.assertEqual(left, {names[0], names[1]} | {names[age] for _, age in weeks})
        self.suite.mailctl("backup", "verify", self.dest)
        for bad in ("", "x", "0", "-1", "3q"):
            self.assertEqual(self.suite.mailctl(
                "backup", "prune", self.dest, "--keep=" + bad, check=False).returncode, 64, bad)

    def test_under_load_what_was_acknowledged_before_is_there_after_restore(self):
        self.fill(60)
        stop = threading.Event()
        acknowledged, errors = [], []

        def deliver():
            number = 0
            while not stop.is_set():
                try:
                    self.suite.deliver(f"load-{number}")
                    acknowledged.append(f"load-{number}")
                    number += 1
                except Exception as error:  # noqa: BLE001, shown below
                    errors.append(error)

        def churn():
            with self.suite.imap() as imap:
                while not stop.is_set():
                    imap.select("INBOX")
                    uids = imap.uid("search", "SUBJECT", "load-")[1][0].split()
                    if uids:
                        some = random.choice(uids).decode()
                        imap.uid("store", some, "+FLAGS", random.choice(["(\\Seen)", "(hot)"]))
                    filled = imap.uid("search", "SUBJECT", "filled-")[1][0].split()
                    if filled:
                        uid = random.choice(filled).decode()
                        if random.random() < 0.5:
                            imap.uid("move", uid, "Trash")
                        else:
                            imap.uid("store", uid, "+FLAGS", "(\\Deleted)")
                            imap.expunge()

        threads = [threading.Thread(target=deliver), threading.Thread(target=churn)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        known = list(acknowledged)
        generation = self.backup()
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(generation["vanished"], 0)
        self.assertGreater(len(known), 3)
        self.suite.mailctl("backup", "verify", self.dest)
        during = content(self.suite)
        validities = {name: box[0] for name, box in during.items()}

        # Into an empty store.
        state = glob.glob(self.suite.directory + "/**/directory.sqlite", recursive=True)[0]
        password = self.suite.passwords
        other = Suite()
        self.addCleanup(other.close)
        other.mailctl("account", "remove", ALICE, "--yes")
        other.mailctl("backup", "restore", self.dest, "--yes")
        other.passwords = password
        self.assertTrue(os.path.exists(state))
        after = content(other)
        inbox = {octets.split(b"Subject: ")[1].split(b"\r\n")[0].decode()
                 for _, _, octets in after["INBOX"][1].values()}
        self.assertEqual([s for s in known if s not in inbox], [])
        self.assertEqual({name: box[0] for name, box in after.items()}, validities)
        for name, (_, messages) in after.items():
            for uid, (_, date, octets) in messages.items():
                now = during[name][1].get(uid)
                if now:
                    self.assertEqual((date, octets), now[1:])
        # The same again, with nothing to do in between: everything is as it was.
        final = json.loads(other.mailctl("backup", "create", self.dest, "--json").stdout)
        self.assertEqual(final["vanished"], 0)
        before = content(other)
        other.mailctl("backup", "restore", self.dest, "--account", ALICE, "--yes")
        self.assertEqual(content(other), before)

    def test_killed_in_the_middle_it_goes_on_where_it_was(self):
        with self.suite.imap() as imap:
            for number in range(400):
                imap.append("INBOX", None, None, message(f"m{number}", body="z" * 9_000).encode())
        program = [os.path.join(self.suite.bin, "mailctl"), "--config", self.suite.config_path(),
                   "backup", "create", self.dest]
        kills = 0
        for wait in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
            child = subprocess.Popen(program, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            time.sleep(wait)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                kills += 1
            child.wait()
            states = [json.loads(line)["state"] for line in self.suite.mailctl(
                "backup", "list", self.dest, "--json").stdout.splitlines()]
            if "complete" in states:
                break
        self.assertGreater(kills, 0)
        noted = [len(open(path).readlines()) for path in
                 glob.glob(self.dest + "/incomplete/mail/*/alice/SHA256SUMS.partial")]
        result = self.backup()
        self.assertGreaterEqual(result["kept"], sum(noted))
        self.assertGreaterEqual(result["messages"], 400)
        self.assertEqual(result["copied"] + result["kept"] + result["linked"], result["messages"])
        self.suite.mailctl("backup", "verify", self.dest)
        self.assertFalse(os.path.exists(self.dest + "/incomplete"))
        held = glob.glob(self.suite.directory + "/**/Held", recursive=True)
        self.assertTrue(eventually(lambda: not glob.glob(
            self.suite.directory + "/**/Held", recursive=True), 20), held)

        # And so does a restore.
        before = content(self.suite)
        restore = program[:3] + ["backup", "restore", self.dest, "--account", ALICE, "--yes"]
        for wait in (0.02, 0.06, 0.12):
            child = subprocess.Popen(restore, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait)
            child.kill()
            child.wait()
        subprocess.run(restore, check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(content(self.suite), before)
        self.assertEqual(glob.glob(self.suite.directory + "/**/.restore-*", recursive=True,
                                   include_hidden=True), [])

    def test_one_mailbox_and_one_message_come_back_next_to_what_is_there(self):
        self.fill()
        self.suite.deliver("wanted")
        self.backup()
        before = content(self.suite)
        time.sleep(1.1)
        with self.suite.imap() as imap:
            imap.delete('"Work/Sub.dir"')
        self.expunge("wanted")
        self.suite.deliver("newer")
        self.backup()
        first = sorted(os.listdir(self.dest))[0]
        run = ["backup", "restore", self.dest, "--account", ALICE, "--at", first, "--json"]
        done = json.loads(self.suite.mailctl(*run, "--mailbox", "Work/Sub.dir").stdout)
        self.assertEqual(done["restored"], len(before["Work/Sub.dir"][1]))
        done = json.loads(self.suite.mailctl(*run, "--message", "id=wanted@test.example").stdout)
        self.assertEqual((done["restored"], done["present"]), (1, 0))
        done = json.loads(self.suite.mailctl(*run, "--mailbox", "INBOX").stdout)
        self.assertEqual((done["restored"], done["present"]), (0, len(before["INBOX"][1])))
        after = content(self.suite)
        for name in before:
            self.assertEqual({m for m in before[name][1].values()}
                             - {m for m in after[name][1].values()}, set(), name)
        self.assertEqual(len(after["INBOX"][1]), len(before["INBOX"][1]) + 1)
        # Into another account, whole.
        self.suite.mailctl("backup", "restore", self.dest, "--account", ALICE, "--at", first,
                           "--to", BOB, "--yes")
        self.assertEqual(content(self.suite, BOB), before)

    def test_mbsync_downloads_nothing_again_after_a_restore(self):
        mbsync = need("mbsync")
        self.fill()
        home = tempfile.mkdtemp(prefix="martlet-mbsync-")
        self.addCleanup(shutil.rmtree, home)
        os.mkdir(home + "/mail")
        with open(home + "/cert.pem", "w") as file:
            file.write(ssl.get_server_certificate(("127.0.0.1", self.suite.ports["imaps"])))
        with open(home + "/config", "w") as config:
            config.write(f"""
IMAPAccount m
Host localhost
Port {self.suite.ports["imaps"]}
User {ALICE}
Pass "{self.suite.passwords[ALICE]}"
SSLType IMAPS
CertificateFile {home}/cert.pem

IMAPStore far
Account m

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
""")
        sync = [mbsync, "-c", home + "/config", "-a", "-V"]

        def pulled():
            result = subprocess.run(sync, capture_output=True, text=True,
                                    env={**os.environ, "HOME": home})
            self.assertEqual(result.returncode, 0, result.stderr)
            return {os.path.join(r, n) for r, _, names in os.walk(home + "/mail")
                    for n in names if "/cur" in r or "/new" in r}

        first = pulled()
        self.backup()
        self.suite.mailctl("backup", "restore", self.dest, "--account", ALICE, "--yes")
        self.assertGreater(len(first), 5)
        self.assertEqual(pulled(), first)


if __name__ == "__main__":
    unittest.main()
