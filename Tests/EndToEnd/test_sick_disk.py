# SPDX-License-Identifier: Apache-2.0
"""Disks that fail as disks do: writes that the kernel accepts and then cannot write back (it tells of
that once, and forgets the pages), and an ext4 that makes itself read-only. The suite runs on a file
system of its own. Needs root for mount(8); skipped loudly without."""

import imaplib
import os
import re
import smtplib
import subprocess
import threading
import time
import unittest

from suite import Suite, eventually, message, need, subjects
from test_disk import Disk, fill, kill, send

ALICE, BOB = "alice@example.test", "bob@example.test"


class SickDisk(Disk):
    """An ext4 whose image lies in a small tmpfs: once that is full, blocks that were never used
    cannot be written, while the journal and all blocks in use can."""

    def __init__(self, test, size):
        self.room = None
        self.options = []
        super().__init__(test, "ext4", size)

    def mount(self):
        if self.room is None:
            self.room = os.path.join(self.base, "room")
            os.mkdir(self.room)
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size * 5 // 4}",
                                   "tmpfs", self.room], capture_output=True, text=True)
            if done.returncode != 0:
                raise unittest.SkipTest(f"cannot mount tmpfs: {done.stderr.strip()}")
            self.test.addCleanup(subprocess.run, ["umount", "-l", self.room], capture_output=True)
            self.image = os.path.join(self.room, "image")
            with open(self.image, "wb") as image:
                image.truncate(self.size)
            subprocess.run([need("mkfs.ext4"), "-q", "-F", "-b", "4096", "-E",
                            "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.image],
                           check=True)
            subprocess.run([need("fallocate"), "-l", str(self.size), self.image], check=True)
        super().mount()

    def release_free_blocks(self):
        """Takes the memory of all blocks that are free now. Not while it is mounted."""
        text = subprocess.run([need("dumpe2fs"), self.image], capture_output=True, text=True,
                              check=True).stdout
        for ranges in re.findall(r"^  Free blocks: (\S.*)$", text, re.M):
            for piece in ranges.split(", "):
                first, _, last = piece.partition("-")
                first, last = int(first), int(last or first)
                subprocess.run(["fallocate", "-p", "-o", str(first * 4096), "-l",
                                str((last - first + 1) * 4096), self.image], check=True)

    def sicken(self):
        fill(self.room)

    def heal(self):
        os.unlink(os.path.join(self.room, "filler"))


class WriteBack(unittest.TestCase):
    """The kernel drops pages after it could not write them, and says so only once."""

    def setUp(self):
        self.disk = SickDisk(self, 256 << 20)
        self.directory = os.path.join(self.disk.path, "suite")
        os.mkdir(self.directory)
        self.accepted, self.refused = [], []
        suite = Suite(directory=self.directory)
        for number in range(4):
            self.send(suite, f"before-{number}")
        suite.stop()
        for place, folders, _ in os.walk(self.directory):
            if os.path.basename(place) == "cur":
                # A directory stays as large as it ever was, so its blocks are in use.
                names = [os.path.join(place, f"{n:0200}") for n in range(200)]
                for name in names:
                    open(name, "wb").close()
                for name in names:
                    os.unlink(name)
        self.disk.unmount()
        self.disk.release_free_blocks()
        self.disk.mount()

    def send(self, suite, name):
        try:
            send(suite, name, [ALICE, BOB] if name.endswith("3") else [ALICE], self.accepted,
                 self.refused)
        except (OSError, smtplib.SMTPException):
            self.refused.append(name)

    def check(self, suite):
        """Everything that was answered is there, once and whole."""
        for user in (ALICE, BOB):
            names = {n for n in self.accepted if user == ALICE or n.endswith("3")}
            with suite.imap(user) as client:
                found = list(subjects(client).values())
                _, data = client.uid("fetch", "1:*", "(ENVELOPE BODY.PEEK[])")
            self.assertEqual(names - set(found), set(), f"lost for {user}")
            self.assertEqual(len(found), len(set(found)), f"twice for {user}")
            bad = [item[0] for item in data if isinstance(item, tuple) and not (
                b"\r\nSubject:" in item[1] and item[1].rstrip().endswith(b"y" * 1_000))]
            self.assertEqual(bad, [], f"not whole for {user}")

    def power_cut(self, suite):
        self.disk.cut_power()
        kill(suite)
        self.disk.unmount()
        self.disk.mount()
        return Suite(directory=self.directory)

    def test_the_log_keeps_what_could_not_be_written_and_writes_it_again(self):
        suite = Suite(directory=self.directory)
        try:
            self.check(suite)
            self.disk.sicken()
            for number in range(8):
                self.send(suite, f"sick-{number}")
            sick = [n for n in self.accepted if n.startswith("sick")]
            # A copy makes its source durable: it is the first to hear of the error.
            with suite.imap() as client:
                client.select("INBOX")
                _, data = client.uid("search", "ALL")
                last = data[0].split()[-1]
                kind, data = client.uid("COPY", last, "Archive")
                self.assertEqual(kind, "NO", data)
                kind, data = client.uid("COPY", last, "Archive")
                self.assertEqual(kind, "NO", "the second sync was believed")
            self.assertIn("log", suite.log_text())
            for number in range(8):
                self.send(suite, f"late-{number}")
            self.check(suite)
            self.disk.heal()
            healed = time.monotonic()
            self.assertTrue(eventually(lambda: "log-mended" in suite.log_text(), 20),
                            suite.log_text()[-3000:])
            took = time.monotonic() - healed
            for number in range(4):
                self.send(suite, f"after-{number}")
            self.assertEqual(sum(n.startswith("after") for n in self.accepted), 4)
            time.sleep(12)  # a checkpoint: the log forgets what it believes to be on the disk
            suite = self.power_cut(suite)
            self.check(suite)
        finally:
            suite.stop()
        print(f"      {len(self.accepted)} accepted ({len(sick)} of them while nothing new could be "
              f"written back), {len(self.refused)} refused, mended after {took:.1f} s; 0 lost "
              "after a power cut", flush=True)

    def test_a_power_cut_on_a_disk_that_no_longer_writes(self):
        suite = Suite(directory=self.directory)
        try:
            self.check(suite)
            self.disk.sicken()
            end = time.monotonic() + 13  # past the log's checkpoint
            number = 0
            while time.monotonic() < end:
                number += 1
                self.send(suite, f"sick-{number}")
                time.sleep(0.1)
            self.assertIn("log-failed", suite.log_text())
            self.assertGreater(len(self.refused), 3, "the disk was not sick")
            self.disk.cut_power()
            kill(suite)
            self.disk.unmount()
            self.disk.heal()
            self.disk.mount()
            suite = Suite(directory=self.directory)
            self.check(suite)
            self.send(suite, "again")
            self.assertIn("again", self.accepted)
        finally:
            suite.stop()
        print(f"      {len(self.accepted)} accepted, {len(self.refused)} refused, 0 lost",
              flush=True)


class EmergencyReadOnly(unittest.TestCase):
    """errors=remount-ro: what ext4 does when it finds itself damaged."""

    def test_an_ext4_that_makes_itself_read_only_under_load(self):
        disk = Disk(self, "ext4", 256 << 20)
        subprocess.run(["mount", "-o", "remount,errors=remount-ro", disk.path], check=True)
        directory = os.path.join(disk.path, "suite")
        os.mkdir(directory)
        suite = Suite(directory=directory)
        accepted, refused, failures = [], [], []
        stopping = threading.Event()

        def work(number):
            count = 0
            while not stopping.is_set():
                count += 1
                try:
                    send(suite, f"ro-{number}-{count}", [ALICE, BOB] if count % 3 == 0 else [ALICE],
                         accepted, refused)
                except AssertionError as error:
                    failures.append(error)
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.02)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        try:
            for thread in threads:
                thread.start()
            time.sleep(1.5)
            source = subprocess.run(["findmnt", "-no", "SOURCE", disk.path], capture_output=True,
                                    text=True, check=True).stdout.strip()
            trigger = f"/sys/fs/ext4/{os.path.basename(source)}/trigger_fs_error"
            if not os.path.exists(trigger):
                self.skipTest("this kernel has no trigger_fs_error")
            before = len(accepted)
            with open(trigger, "w") as file:
                file.write("a test")
            time.sleep(1.0)
            lasting = len(accepted)
            time.sleep(1.0)
            self.assertGreater(before, 10)
            self.assertEqual(len(accepted), lasting, "accepted on a read-only disk")
            self.assertGreater(len(refused), 0)
            # What is there can still be read, and a change is refused.
            with suite.imap() as client:
                self.assertGreaterEqual(len(subjects(client)), before // 2)
                client.select("INBOX")
                kind, data = client.uid("STORE", "1:*", "+FLAGS", r"(\Flagged)")
                self.assertEqual(kind, "NO", data)
                kind, data = client.append("INBOX", None, None, message("ro").encode())
                self.assertEqual(kind, "NO", data)
            stopping.set()
            for thread in threads:
                thread.join(60)
            self.assertEqual(failures, [])
        finally:
            stopping.set()
            kill(suite)
        disk.unmount()
        checked = subprocess.run([need("e2fsck"), "-y", "-f", disk.image], capture_output=True,
                                 text=True)
        self.assertLess(checked.returncode, 4, checked.stdout)
        disk.mount()
        suite = Suite(directory=directory)
        self.addCleanup(suite.stop)
        for user in (ALICE, BOB):
            with suite.imap(user) as client:
                found = list(subjects(client).values())
            wanted = {n for n in accepted if user == ALICE or int(n.split("-")[2]) % 3 == 0}
            self.assertEqual(wanted - set(found), set(), f"lost for {user}")
            self.assertEqual(len(found), len(set(found)), f"twice for {user}")
        suite.deliver("writable again")
        with suite.imap() as client:
            self.assertIn("writable again", subjects(client).values())
        print(f"      {len(accepted)} accepted, {len(refused)} refused, 0 lost", flush=True)
