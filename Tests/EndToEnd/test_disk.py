# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, that fail, and that lose what was not synced: the whole suite on a small file
system of its own. Needs root for mount(8); skipped loudly without."""

import fcntl
import imaplib
import os
import shutil
import signal
import smtplib
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from suite import Suite, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"
SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN: _IOR('X', 125, __u32)
WITHOUT_JOURNAL = 2


def fill(path):
    """Leaves not a single block; removing the file `filler` there gives them back."""
    with open(os.path.join(path, "filler"), "ab", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            try:
                while filler.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


class Disk:
    """A file system that is not used by anything else."""

    def __init__(self, test, kind, size):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root to mount a file system")
        self.base = tempfile.mkdtemp(prefix="martlet-disk-")
        self.path = os.path.join(self.base, "disk")
        self.image = os.path.join(self.base, "image")
        self.kind = kind
        os.mkdir(self.path)
        test.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.test = test
        if kind == "ext4":
            with open(self.image, "wb") as image:
                image.truncate(size)
            subprocess.run([need("mkfs.ext4"), "-q", "-F", self.image], check=True)
        self.size = size
        test.addCleanup(subprocess.run, ["umount", "-l", self.path], capture_output=True)
        self.mount()

    def mount(self):
        options = ["-o", "loop", self.image] if self.kind == "ext4" else \
            ["-t", "tmpfs", "-o", f"size={self.size}", "tmpfs"]
        made = subprocess.run(["mount", *options, self.path], capture_output=True, text=True)
        if made.returncode != 0:
            raise unittest.SkipTest(f"cannot mount {self.kind}: {made.stderr.strip()}")

    def unmount(self):
        done = eventually(lambda: subprocess.run(
            ["umount", self.path], capture_output=True).returncode == 0, 20, 0.2)
        if not done:
            raise RuntimeError("cannot unmount")

    def fill(self):
        fill(self.path)

    def free(self):
        os.unlink(os.path.join(self.path, "filler"))

    def cut_power(self):
        """What was not synced is gone, and everything fails from now on."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        finally:
            os.close(directory)


def kill(suite):
    """Ends the suite as a power cut would."""
    pids = [suite.pid(d) for d in ("msgstored", "smtpd", "imapd", "pop3d")]
    suite.process.send_signal(signal.SIGKILL)
    for pid in pids:
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    suite.process.wait()
    suite.process.stdout.close()
    suite.log.close()


def send(suite, name, to, accepted, refused):
    """Adds the name to one of the lists; only 4xx is a refusal."""
    try:
        with suite.smtp() as client:
            client.sendmail("a@elsewhere.example", to, message(name, body="y" * 3_000 + "\r\n"))
        accepted.append(name)
    except smtplib.SMTPResponseException as error:
        if not 400 <= error.smtp_code < 500:
            raise AssertionError(f"{error.smtp_code} {error.smtp_error}") from error
        refused.append(name)


class FullDisk(unittest.TestCase):
    def test_a_full_disk_refuses_for_now_and_everything_works_again_with_room(self):
        disk = Disk(self, "tmpfs", 96 << 20)
        directory = os.path.join(disk.path, "suite")
        os.mkdir(directory)
        suite = Suite(directory=directory)
        self.addCleanup(suite.stop)
        accepted, refused = [], []
        send(suite, "before", [ALICE, BOB], accepted, refused)
        self.assertEqual(accepted, ["before"])
        disk.fill()
        for number in range(40):
            send(suite, f"full-{number}", [ALICE, BOB] if number % 2 else [ALICE], accepted, refused)
        self.assertGreater(len(refused), 30, "the disk was not full")
        with suite.imap(ALICE) as client:
            kind, data = client.append("INBOX", None, None, message("append-full").encode())
            self.assertEqual(kind, "NO", data)
            self.assertEqual(client.noop()[0], "OK")
        disk.free()
        for number in range(5):
            send(suite, f"after-{number}", [ALICE, BOB], accepted, refused)
        self.assertEqual(sum(name.startswith("after") for name in accepted), 5, refused[-5:])
        with suite.imap(ALICE) as client:
            self.assertEqual(client.append("INBOX", None, None, message("room").encode())[0], "OK")
        self.check(suite, accepted, refused)
        # And what was refused does not come out of the log at the next start.
        pid = suite.pid("msgstored")
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(eventually(lambda: suite.pid("msgstored") not in (None, pid) and
                                   suite.health("msgstored")[0] == 200, 15))
        self.check(suite, accepted, refused)
        print(f"      {len(accepted)} accepted, {len(refused)} refused with 4xx", flush=True)

    def check(self, suite, accepted, refused):
        for user in (ALICE, BOB):
            with suite.imap(user) as client:
                found = list(subjects(client).values())
            wanted = {n for n in accepted if user == ALICE or not n.startswith("full-")
                      or int(n.split("-")[1]) % 2}
            self.assertEqual(wanted - set(found), set(), f"lost for {user}")
            self.assertEqual(set(refused) & set(found), set(), f"refused, and there for {user}")
            self.assertEqual(len(found), len(set(found)), f"twice for {user}")


class PowerCut(unittest.TestCase):
    def test_what_was_answered_survives_a_power_cut(self):
        disk = Disk(self, "ext4", 512 << 20)
        directory = os.path.join(disk.path, "suite")
        os.mkdir(directory)
        total = 0
        wanted = {ALICE: set(), BOB: set()}
        uids = {}
        for cut in range(4):
            suite = Suite(directory=directory)
            try:
                self.check(suite, wanted, uids)
                os.sync()  # of what mailctl dev wrote for itself
                total += self.load(suite, disk, cut, wanted)
            finally:
                kill(suite)
            disk.unmount()
            disk.mount()
        suite = Suite(directory=directory)
        try:
            self.check(suite, wanted, uids)
        finally:
            suite.stop()
        print(f"      4 power cuts, {total} accepted, 0 lost, 0 twice", flush=True)

    def load(self, suite, disk, cut, wanted):
        """Sends from four threads until the power is cut, and a little longer."""
        stopping = threading.Event()
        done = []
        failures = []

        def work(number):
            count = 0
            while not stopping.is_set():
                count += 1
                name = f"cut-{cut}-{number}-{count}"
                to = [ALICE, BOB] if count % 3 == 0 else [ALICE]
                accepted, refused = [], []
                try:
                    send(suite, name, to, accepted, refused)
                except AssertionError as error:
                    failures.append(error)
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.02)
                done.extend((name, to) for name in accepted)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        # Past a checkpoint, and shortly behind the start.
        time.sleep((1.0, 12.0, 3.0, 0.5)[cut])
        disk.cut_power()
        time.sleep(1.0)
        # A disk on which everything fails is answered with 4xx, not with 250.
        accepted, refused = [], []
        try:
            send(suite, f"dead-{cut}", [ALICE], accepted, refused)
        except (OSError, smtplib.SMTPException):
            pass
        self.assertEqual(accepted, [], "accepted without a disk")
        stopping.set()
        for thread in threads:
            thread.join(60)
        self.assertEqual(failures, [])
        self.assertGreater(len(done), 10, "hardly anything was accepted")
        for name, to in done:
            for user in to:
                wanted[user].add(name)
        return len(done)

    def check(self, suite, wanted, uids):
        for user, names in wanted.items():
            def look():
                with suite.imap(user) as client:
                    return subjects(client)
            found = eventually(look, 30) or {}
            self.assertEqual(names - set(found.values()), set(), f"lost for {user}")
            doubles = {n for n in found.values() if list(found.values()).count(n) > 1}
            self.assertEqual(doubles, set(), f"twice for {user}")
            for uid, name in found.items():
                self.assertEqual(uids.setdefault((user, uid), name), name, "a UID given twice")
