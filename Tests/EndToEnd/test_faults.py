# SPDX-License-Identifier: Apache-2.0
"""System calls that fail: EIO once and for a while in the delivery log, in SQLite's files, in message
files and directories, and a file system that is suddenly read-only. A failed sync is an error of the
operation, never tried again and called good; what was answered is there, once, with its flags, now
and behind a kill -9; and everything works again without a restart."""

import errno
import imaplib
import mmap
import os
import re
import shutil
import signal
import smtplib
import struct
import subprocess
import tempfile
import time
import unittest

from suite import Suite, eventually, message, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"
SYNC, SYNCFS, WRITE, LINK, RENAME, CREATE, UNLINK, TRUNCATE = (1 << n for n in range(8))
EVERY = 255
ALL = os.environ.get("MARTLET_FAULTS") == "all"  # or what fits into a minute
HERE = os.path.dirname(os.path.abspath(__file__))
LARGE = ("L" * 76 + "\r\n") * 4_500  # over 256 KiB: not by the delivery log

# What fails, and in which files.
FAULTS = [
    ("the log's fdatasync", SYNC, "/.log/segment"),
    ("the log's pwrite", WRITE, "/.log/segment"),
    ("the log and making a segment", CREATE | SYNC | WRITE, "/.log/"),
    ("syncfs", SYNCFS, "/mail"),
    ("fsync of an index", SYNC, "index.sqlite"),
    ("writing an index", WRITE, "index.sqlite"),
    ("fsync of message files and cur", SYNC, "/cur"),
    ("writing message files", WRITE, "/cur/"),
    ("naming message files", LINK, "/cur/"),
    ("making message files", CREATE, "/cur"),
    ("renaming state files", RENAME, "/martlet-"),
    ("renaming and unlinking message files", RENAME | UNLINK, "/cur/"),
    ("every write", EVERY & ~UNLINK, "/mail/"),
]


class Control:
    """Says which calls of msgstored fail."""

    FORM = "iiiii256s"

    def __init__(self, test):
        compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
        if not compiler:
            raise unittest.SkipTest("no C compiler")
        base = tempfile.mkdtemp(prefix="martlet-faults-")
        test.addCleanup(shutil.rmtree, base, ignore_errors=True)
        self.library = os.path.join(base, "faults.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self.library,
                        os.path.join(HERE, "faults.c"), "-ldl"], check=True)
        path = os.path.join(base, "control")
        with open(path, "wb") as file:
            file.truncate(4096)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.environment = {"LD_PRELOAD": self.library, "FAULTS_CONTROL": path}

    def fail(self, calls, part, count=-1, error=errno.EIO, skip=0):
        self.stop()
        self.map[:struct.calcsize(self.FORM)] = struct.pack(
            self.FORM, calls, error, 0, 0, skip, part.encode())
        self.map[8:12] = struct.pack("i", count)

    def stop(self):
        self.map[8:12] = struct.pack("i", 0)

    @property
    def left_to_skip(self):
        return struct.unpack("i", self.map[16:20])[0]

    @property
    def hits(self):
        return struct.unpack("i", self.map[12:16])[0]


class Ledger:
    """What was answered, by user and mailbox."""

    def __init__(self):
        self.kept = {}      # (user, mailbox) -> names that must be there
        self.refused = {}   # the same -> names that were refused
        self.gone = {}      # the same -> names that must not be there
        self.flagged = set()
        self.counts = {"OK": 0, "refused": 0, "broken": 0}

    def add(self, kind, user, box, name):
        kind.setdefault((user, box), set()).add(name)


class Faults(unittest.TestCase):
    def setUp(self):
        self.control = Control(self)
        self.suite = Suite(environment=self.control.environment)
        self.addCleanup(self.suite.close)
        self.addCleanup(self.control.stop)
        self.ledger = Ledger()
        self.number = 0
        with self.suite.imap() as client:
            client.create("Files")

    # One operation each; the answer goes into the ledger.

    def send(self, name, to, body):
        try:
            with self.suite.smtp() as client:
                client.sendmail("a@elsewhere.example", to, message(name, body=body))
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            self.assertTrue(all(400 <= code < 500 for code in codes), f"{codes}")
            return self.note("refused", to, "INBOX", name)
        except smtplib.SMTPResponseException as error:
            self.assertIn(error.smtp_code, range(400, 500), error.smtp_error)
            return self.note("refused", to, "INBOX", name)
        return self.note("OK", to, "INBOX", name)

    def note(self, word, users, box, name):
        self.ledger.counts[word] += 1
        for user in users:
            kind = self.ledger.kept if word == "OK" else self.ledger.refused
            self.ledger.add(kind, user, box, name)
        return word

    def imap_round(self, tag):
        """APPEND, STORE, COPY, MOVE and EXPUNGE, each with a message that is there for it."""
        ledger, prepared = self.ledger, self.prepared
        try:
            with self.suite.imap() as client:
                name = f"append-{tag}"
                kind, _ = client.append("Files", None, None, message(name).encode())
                self.note("OK" if kind == "OK" else "refused", [ALICE], "Files", name)
                if client.select("INBOX")[0] != "OK":
                    ledger.counts["refused"] += 1
                    return
                for verb in ("STORE", "COPY", "MOVE", "EXPUNGE"):
                    if not prepared:
                        return
                    uid, name = prepared.pop()
                    self.change(client, verb, uid, name)
        except (OSError, imaplib.IMAP4.error) as error:
            ledger.counts["broken"] += 1
            self.last_error = error

    def change(self, client, verb, uid, name):
        ledger = self.ledger
        if verb == "STORE":
            kind, _ = client.uid("STORE", uid, "+FLAGS", r"(\Flagged work)")
            if kind == "OK":
                ledger.flagged.add(name)
        elif verb == "EXPUNGE":
            kind, _ = client.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
            if kind == "OK":
                # Not answered: either.
                ledger.kept[ALICE, "INBOX"].discard(name)
                kind, _ = client.uid("EXPUNGE", uid)
            if kind == "OK":
                ledger.add(ledger.gone, ALICE, "INBOX", name)
        else:
            if verb == "MOVE":
                ledger.kept[ALICE, "INBOX"].discard(name)
            kind, _ = client.uid(verb, uid, "Files")
            if kind == "OK":
                ledger.add(ledger.kept, ALICE, "Files", name)
                if verb == "MOVE":
                    ledger.add(ledger.gone, ALICE, "INBOX", name)
            elif verb == "MOVE":
                ledger.add(self.somewhere, ALICE, "", name)
        ledger.counts["OK" if kind == "OK" else "refused"] += 1

    def prepare(self, count):
        """Messages in INBOX that the faults meet."""
        for _ in range(count):
            self.number += 1
            self.assertEqual(self.send(f"prepared-{self.number}", [ALICE], "x\r\n"), "OK")
        with self.suite.imap() as client:
            found = subjects(client)
        self.prepared = [(str(uid), name) for uid, name in sorted(found.items())
                         if name.startswith("prepared-")
                         and int(name.split("-")[1]) > self.number - count]
        self.assertEqual(len(self.prepared), count)

    def load(self, tag):
        self.send(f"one-{tag}", [ALICE], "y" * 900 + "\r\n")
        self.send(f"both-{tag}", [ALICE, BOB], "y" * 900 + "\r\n")
        self.send(f"large-{tag}", [BOB], LARGE)
        self.send(f"largeboth-{tag}", [ALICE, BOB], LARGE)
        self.imap_round(tag)

    def works_again(self, tag):
        """The same operations, none of which may be refused; soon, and without a restart."""
        def once():
            self.number += 1
            before = dict(self.ledger.counts)
            self.prepare(4)
            self.load(f"again-{tag}-{self.number}")
            after = self.ledger.counts
            return (after["refused"], after["broken"]) == (before["refused"], before["broken"])
        self.assertTrue(eventually(once, 15, 0.3), f"does not work again after {tag}: "
                        f"{self.suite.log_text()[-3000:]}")

    def check(self, tag):
        for user in (ALICE, BOB):
            for box in ("INBOX", "Files") if user == ALICE else ("INBOX",):
                with self.suite.imap(user) as client:
                    found = list(subjects(client, box).values())
                    flagged = set()
                    if box == "INBOX" and user == ALICE:
                        _, data = client.uid("search", "FLAGGED", "KEYWORD", "work")
                        known = subjects(client, box)
                        flagged = {known[int(uid)] for uid in data[0].split()}
                    # Every message can be read, whole.
                    _, data = client.uid("fetch", "1:*", "(RFC822.SIZE BODY.PEEK[])")
                    for item in data:
                        if isinstance(item, tuple):
                            size = int(re.search(rb"RFC822.SIZE (\d+)", item[0]).group(1))
                            self.assertEqual(len(item[1]), size, tag)
                            self.assertIn(b"Subject:", item[1])
                ledger = self.ledger
                kept = ledger.kept.get((user, box), set())
                self.assertEqual(kept - set(found), set(), f"{tag}: lost for {user} in {box}")
                doubles = {n for n in found if found.count(n) > 1}
                self.assertEqual(doubles, set(), f"{tag}: twice for {user} in {box}")
                ghosts = ledger.refused.get((user, box), set()) & set(found)
                self.assertEqual(ghosts, set(), f"{tag}: refused, and there for {user} in {box}")
                back = ledger.gone.get((user, box), set()) & set(found)
                self.assertEqual(back, set(), f"{tag}: taken away, and there again")
                if box == "INBOX" and user == ALICE:
                    lost = (ledger.flagged & set(found)) - flagged
                    self.assertEqual(lost, set(), f"{tag}: flags lost")

    def kill(self):
        pid = self.suite.pid("msgstored")
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(eventually(lambda: self.suite.pid("msgstored") not in (None, pid) and
                                   self.suite.health("msgstored")[0] == 200, 20))

    def meet(self, tag, calls, part, count, error=errno.EIO):
        self.prepare(8)
        self.somewhere = {}
        pid = self.suite.pid("msgstored")
        before = dict(self.ledger.counts)
        self.control.fail(calls, part, count, error)
        self.load(f"{tag}-1")
        time.sleep(0.2)
        self.load(f"{tag}-2")
        hits = self.control.hits
        self.control.stop()
        self.assertEqual(self.suite.pid("msgstored"), pid, f"{tag}: msgstored died: "
                         f"{self.suite.log_text()[-3000:]}")
        self.works_again(tag)
        self.check(tag)
        after = self.ledger.counts
        done = {key: after[key] - before[key] for key in after}
        print(f"      {tag}: {hits} calls failed, {done}", flush=True)
        return hits

    def test_a_call_that_fails_once(self):
        total = 0
        for what, calls, part in FAULTS[::1 if ALL else 3]:
            total += self.meet(f"{what} once".replace(" ", "-"), calls, part, 1)
        self.kill()
        self.check("after kill -9")
        self.assertGreater(total, 2)

    def test_a_call_that_fails_for_a_while(self):
        for what, calls, part in FAULTS:
            self.meet(f"{what}".replace(" ", "-"), calls, part, -1)
            if not ALL and "log" not in what and what != "every write":
                continue
            if calls & (SYNC | WRITE) and part in "/mail/.log/segment":
                time.sleep(2.5)  # what was refused is disowned within two seconds
            self.kill()
            self.check(f"{what}, after kill -9")

    def test_a_file_system_that_is_suddenly_read_only(self):
        for number in range(3 if ALL else 1):
            self.meet(f"read-only-{number}", EVERY, "/mail/", -1, errno.EROFS)
            time.sleep(2.5)
            self.kill()
            self.check("after kill -9")
