# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every daemon in turn, under load: what was answered 250 is there once. ACCEPTANCE 5."""

import os
import random
import signal
import smtplib
import ssl
import threading
import time
import unittest

from suite import DAEMONS, Suite, eventually, message, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"
ROUNDS = int(os.environ.get("MARTLET_ROUNDS", "200"))


class Senders:
    """Threads that send until told to stop, and remember every id that got 250."""

    def __init__(self, suite, count):
        self.suite = suite
        self.stopping = False
        self.accepted = []
        self.tried = 0
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def send(self, number):
        client = None
        count = 0
        while not self.stopping:
            count += 1
            name = f"crash-{number}-{count}"
            both = count % 5 == 0
            size = 400_000 if count % 40 == 7 else 500
            try:
                if client is None:
                    client = self.suite.smtp()
                self.tried += 1
                refused = client.sendmail(
                    "a@elsewhere.example", [ALICE, BOB] if both else [ALICE],
                    message(name, body="z" * 78 + "\r\n" if size == 500 else
                            ("z" * 78 + "\r\n") * (size // 80)))
                if not refused:
                    self.accepted.append((name, both))
            except (OSError, smtplib.SMTPException, ssl.SSLError):
                if client:
                    client.close()
                client = None
                time.sleep(0.02)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)


class Crash(unittest.TestCase):
    def test_kill_9_of_every_daemon_in_turn_loses_nothing_and_doubles_nothing(self):
        suite = Suite()
        self.addCleanup(suite.close)
        senders = Senders(suite, 4)
        rounds = 0
        try:
            random.seed(20261120)
            for number in range(ROUNDS):
                daemon = DAEMONS[number % len(DAEMONS)]
                pid = suite.pid(daemon)
                self.assertIsNotNone(pid, f"{daemon} is not there in round {number}")
                time.sleep(random.uniform(0.0, 0.15))
                os.kill(pid, signal.SIGKILL)
                back = eventually(lambda: suite.pid(daemon) not in (None, pid) and
                                  suite.health(daemon)[0] == 200, 15)
                self.assertTrue(back, f"{daemon} did not come back in round {number}")
                rounds += 1
        finally:
            senders.stop()
        self.check(suite, senders, rounds)

    def check(self, suite, senders, rounds):
        wanted = {ALICE: {name for name, _ in senders.accepted},
                  BOB: {name for name, both in senders.accepted if both}}
        self.assertGreater(len(wanted[ALICE]), rounds // 4, "hardly anything was accepted")
        for user, names in wanted.items():
            with suite.imap(user) as client:
                found = list(subjects(client).values())
            self.assertEqual(names - set(found), set(), f"lost for {user}")
            doubles = {name for name in found if found.count(name) > 1}
            self.assertEqual(doubles, set(), f"twice for {user}")
        print(f"      {rounds} kills, {senders.tried} tried, {len(senders.accepted)} accepted, "
              f"0 lost, 0 twice", flush=True)
