# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every daemon in turn under mixed load, with a ledger of what was acknowledged.

Mail by SMTP to one and to many, large and small, POP3 DELE; APPEND, flags, COPY, MOVE and EXPUNGE by
IMAP. What was acknowledged is there once, under its UID, with its flags; what was taken away stays
away; what was not answered may be either, but never half. ACCEPTANCE 5."""

import imaplib
import os
import poplib
import random
import re
import signal
import smtplib
import ssl
import threading
import time
import unittest

from suite import DAEMONS, Suite, eventually, message, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"
ROUNDS = int(os.environ.get("MARTLET_ROUNDS", "200"))
SECONDS = float(os.environ.get("MARTLET_SECONDS", "0")) or float("inf")
BROKEN = (OSError, EOFError, smtplib.SMTPException, ssl.SSLError, imaplib.IMAP4.error,
          poplib.error_proto)


class Worker(threading.Thread):
    """Does `step` again and again; a step that breaks ends its connection."""

    def __init__(self, suite, number):
        super().__init__()
        self.suite = suite
        self.number = number
        self.client = None
        self.stopping = False
        self.count = 0
        self.failure = None

    def run(self):
        while not self.stopping:
            self.count += 1
            try:
                if self.client is None:
                    self.client = self.connect()
                self.step()
            except BROKEN:
                self.drop()
                time.sleep(0.02)
            except Exception as error:  # shown by the test: a thread has nobody to raise to
                self.failure = error
                return
        self.drop()

    def drop(self):
        client, self.client = self.client, None
        try:
            if client:
                self.hang_up(client)
        except BROKEN:
            pass


class Sender(Worker):
    def __init__(self, suite, number):
        super().__init__(suite, number)
        self.accepted = []

    def connect(self):
        return self.suite.smtp()

    def hang_up(self, client):
        client.close()

    def step(self):
        name = f"mail-{self.number}-{self.count}"
        both = self.count % 3 == 0
        body = ("z" * 78 + "\r\n") * (5_000 if self.count % 40 == 7 else 6)
        if not self.client.sendmail("a@elsewhere.example", [ALICE, BOB] if both else [ALICE],
                                    message(name, body=body)):
            self.accepted.append((name, both))


class Deleter(Worker):
    """Empties bob's maildrop, a few messages at a time."""

    def __init__(self, suite, number):
        super().__init__(suite, number)
        self.deleted = set()
        self.tried = set()

    def connect(self):
        return self.suite.pop3(BOB)

    def hang_up(self, client):
        client.close()

    def step(self):
        names = []
        for index in range(1, min(4, len(self.client.list()[1]) + 1)):
            _, lines, _ = self.client.top(index, 0)
            names += [line.split(b":", 1)[1].strip().decode() for line in lines
                      if line.startswith(b"Subject:")]
            self.client.dele(index)
        self.tried.update(names)
        client, self.client = self.client, None
        client.quit()
        self.deleted.update(names)
        time.sleep(0.05)


class Filer(Worker):
    """Works in two mailboxes of its own and knows what is in them."""

    def __init__(self, suite, number):
        super().__init__(suite, number)
        self.boxes = (f"in-{number}", f"out-{number}")
        self.made = False
        # name -> mailbox -> True, False or None (not answered: either)
        self.places = {}
        self.uids = {}  # (mailbox, UIDVALIDITY, UID) -> name
        self.flags = {}  # name -> True, None

    def connect(self):
        client = self.suite.imap(ALICE)
        if not self.made:
            for box in self.boxes:
                client.create(box)
            self.made = all(client.status(box, "(MESSAGES)")[0] == "OK" for box in self.boxes)
        if client.select(self.boxes[0])[0] != "OK":
            raise OSError("not selected")
        return client

    def hang_up(self, client):
        client.shutdown()

    def ask(self, *command):
        """The answer's data; anything but OK is an error that drops the connection."""
        kind, data = command[0](*command[1:])
        if kind != "OK":
            raise OSError(f"{command[1:]}: {data}")
        return data

    def step(self):
        source, target = self.boxes
        name = f"file-{self.number}-{self.count}"
        self.places[name] = {source: None, target: False}
        data = self.ask(self.client.append, source, r"(\Seen)" if self.count % 2 else None, None,
                        message(name).encode())
        validity, uid = re.search(rb"APPENDUID (\d+) (\d+)", data[0]).groups()
        self.places[name][source] = True
        self.uids[source, int(validity), int(uid)] = name
        kind = self.count % 5
        if kind in (0, 1):
            self.flags[name] = None
            self.ask(self.client.uid, "STORE", uid, "+FLAGS", r"(\Flagged work)")
            self.flags[name] = True
        if kind == 1 or kind == 2:
            self.places[name][target] = None
            if kind == 2:
                self.places[name][source] = None
            self.ask(self.client.uid, "COPY" if kind == 1 else "MOVE", uid, target)
            self.places[name][target] = True
            if kind == 2:
                self.places[name][source] = False
        if kind == 3:
            self.places[name][source] = None
            self.ask(self.client.uid, "STORE", uid, "+FLAGS", r"(\Deleted)")
            self.ask(self.client.uid, "EXPUNGE", uid)
            self.places[name][source] = False


class Crash(unittest.TestCase):
    def test_kill_9_of_every_daemon_in_turn_loses_nothing_and_doubles_nothing(self):
        suite = Suite()
        self.addCleanup(suite.close)
        workers = [Sender(suite, 1), Sender(suite, 2), Deleter(suite, 3), Filer(suite, 4),
                   Filer(suite, 5)]
        for worker in workers:
            worker.start()
        rounds = 0
        end = time.monotonic() + SECONDS
        try:
            random.seed(20261120)
            while rounds < ROUNDS and time.monotonic() < end:
                daemon = DAEMONS[rounds % len(DAEMONS)]
                pid = suite.pid(daemon)
                self.assertIsNotNone(pid, f"{daemon} is not there in round {rounds}: "
                                     f"{suite.log_text()[-4000:]}")
                time.sleep(random.uniform(0.0, 0.15))
                os.kill(pid, signal.SIGKILL)
                back = eventually(lambda: suite.pid(daemon) not in (None, pid) and
                                  suite.health(daemon)[0] == 200, 15)
                self.assertTrue(back, f"{daemon} did not come back in round {rounds}: "
                                f"{suite.log_text()[-4000:]}")
                rounds += 1
        finally:
            for worker in workers:
                worker.stopping = True
            for worker in workers:
                worker.join(60)
        for worker in workers:
            self.assertIsNone(worker.failure, f"{worker}")
        self.check_mail(suite, workers, rounds)
        self.check_files(suite, [w for w in workers if isinstance(w, Filer)])
        print(f"      {rounds} kills; {self.counts}; 0 lost, 0 twice, 0 UIDs of another message, "
              f"0 flags lost", flush=True)

    def check_mail(self, suite, workers, rounds):
        accepted = [m for w in workers if isinstance(w, Sender) for m in w.accepted]
        deleter = next(w for w in workers if isinstance(w, Deleter))
        self.assertGreater(len(accepted), rounds // 4, "hardly anything was accepted")
        for user in (ALICE, BOB):
            names = {name for name, both in accepted if both or user == ALICE}
            with suite.imap(user) as client:
                found = list(subjects(client).values())
            if user == BOB:
                self.assertEqual(deleter.deleted & set(found), set(), "deleted, and back again")
                names -= deleter.tried
            self.assertEqual(names - set(found), set(), f"lost for {user}")
            doubles = {name for name in found if found.count(name) > 1}
            self.assertEqual(doubles, set(), f"twice for {user}")
        self.counts = f"{len(accepted)} deliveries, {len(deleter.deleted)} deleted"

    def check_files(self, suite, filers):
        self.counts += f", {sum(len(f.places) for f in filers)} files"
        for filer in filers:
            found = {}
            with suite.imap(ALICE) as client:
                for box in filer.boxes:
                    found[box] = subjects(client, box)
                    validity = int(client.response("UIDVALIDITY")[1][0])
                    for uid, name in found[box].items():
                        known = filer.uids.get((box, validity, uid), name)
                        self.assertEqual(known, name, f"UID {uid} is another message now")
                    if box == filer.boxes[0]:
                        _, data = client.uid("search", "FLAGGED", "KEYWORD", "work")
                        flagged = {found[box][int(uid)] for uid in data[0].split()}
            for name, places in filer.places.items():
                for box, wanted in places.items():
                    count = list(found[box].values()).count(name)
                    if wanted is None:
                        # A move that was not answered may leave a copy, never two.
                        self.assertLessEqual(count, 1, f"{name} in {box}")
                    else:
                        self.assertEqual(count, int(wanted), f"{name} in {box}")
                self.assertTrue(any(name in found[box].values() for box in filer.boxes)
                                or False in places.values() and True not in places.values()
                                or None in places.values(), f"{name} is gone")
                if filer.flags.get(name) and places[filer.boxes[0]]:
                    self.assertIn(name, flagged, "flags lost")
