# SPDX-License-Identifier: Apache-2.0
"""A Maildir that the real Courier has kept, taken over in place: same UIDs, UIDVALIDITY, flags,
keywords, dates, sizes and subscriptions. The packages are unpacked, not installed: courier-imap
would bring a mail transfer agent and start servers."""

import glob
import imaplib
import os
import shutil
import subprocess
import tempfile
import unittest

from suite import Suite, message, need, subjects
from test_foreign import maildir_of, state_of, uids

ALICE, BOB = "alice@example.test", "bob@example.test"
PACKAGES = ("courier-imap", "courier-base", "courier-authlib", "libcourier-unicode4", "libgamin0",
            "libgdbm6", "libidn12")
FOLDERS = {"INBOX": "INBOX", "INBOX.Sent": "Sent", "INBOX.Lists.swift": "Lists/swift",
           "INBOX.Gel&APY-scht": "Gel&APY-scht"}


class Courier:
    """Courier's imapd on a pipe."""

    def __init__(self, test):
        need("apt-get")
        need("dpkg-deb")
        folder = tempfile.mkdtemp(prefix="martlet-courier-")
        test.addCleanup(shutil.rmtree, folder, True)
        try:
            done = subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder,
                                  capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as error:
            raise unittest.SkipTest("Courier's packages do not come") from error
        if done.returncode != 0:
            raise unittest.SkipTest(f"Courier's packages cannot be had: {done.stderr[-300:]}")
        for package in glob.glob(os.path.join(folder, "*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, os.path.join(folder, "root")], check=True)
        root = os.path.join(folder, "root")
        self.maildir = os.path.join(folder, "Maildir")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.maildir, part))
        libraries = sorted({os.path.dirname(p) for p in
                            glob.glob(root + "/usr/lib/**/*.so.*", recursive=True)})
        self.command = (
            f"exec env LD_LIBRARY_PATH={':'.join(libraries)} IMAP_KEYWORDS=1 IMAP_USELOCKS=0 "
            "IMAP_ENHANCEDIDLE=0 'IMAP_CAPABILITY=IMAP4rev1 UIDPLUS' AUTHENTICATED=alice "
            f"{root}/usr/bin/imapd {self.maildir} 2>{folder}/log")
        self.log = os.path.join(folder, "log")

    def imap(self):
        try:
            client = imaplib.IMAP4_stream(self.command)
            # Without its notifier it says so in a line of its own, before PREAUTH.
            client.state = "AUTH"
            return client
        except imaplib.IMAP4.error as error:
            with open(self.log, errors="replace") as file:
                raise unittest.SkipTest(f"Courier does not run here: {file.read()[-500:]}") from error


class FromCourier(unittest.TestCase):
    def fill(self, courier):
        client = courier.imap()
        for folder in list(FOLDERS)[1:]:
            self.assertEqual(client.create(folder)[0], "OK")
        names = list(FOLDERS)
        for number in range(120):
            flags = [r"\Seen", r"\Flagged", "$Forwarded", "NonJunk", r"\Answered", ""][number % 6]
            kind, data = client.append(
                names[number % 4], f"({flags})", 1_600_000_000 + number * 1_000,
                message(f"c{number}", body="x\r\n" * (number % 50)).encode())
            self.assertEqual(kind, "OK", data)
        for folder in names:
            client.select(folder)
            client.uid("STORE", "3,7,11", "+FLAGS.SILENT", r"(\Deleted)")
            client.uid("STORE", "20:25", "+FLAGS.SILENT", "(late)")
            client.expunge()
        client.select("INBOX")
        client.uid("COPY", "1:2", "INBOX.Sent")
        for folder in ("INBOX", "INBOX.Lists.swift"):
            client.subscribe(folder)
        client.logout()
        # Delivered by a program that knows no sizes, with LF, and seen by Courier once.
        with open(courier.maildir + "/new/1700000000.4711_1.host", "w") as file:
            file.write(message("procmail").replace("\r\n", "\n"))
        client = courier.imap()
        states = {}
        for folder, ours in FOLDERS.items():
            status = client.status(folder, "(UIDNEXT)")[1][0]
            states[ours] = state_of(client, folder)
            states[ours]["next"] = status.split(b"UIDNEXT ")[1].rstrip(b")")
        client.logout()
        return states

    def test_a_maildir_of_courier_shows_the_same_numbers_and_nothing_is_downloaded_again(self):
        courier = Courier(self)
        before = self.fill(courier)
        self.assertEqual(len(before["INBOX"]["messages"]), 28)
        self.assertEqual(len(before["Sent"]["messages"]), 29)
        keywords = {flag for state in before.values() for flags, _, _ in state["messages"].values()
                    for flag in flags if not flag.startswith(b"\\")}
        self.assertEqual(keywords, {b"$Forwarded", b"NonJunk", b"late"})
        suite = Suite()
        self.addCleanup(suite.close)
        suite.deliver("warm", to=BOB)  # msgstored runs
        target = maildir_of(suite, "alice")
        os.rename(target, target + ".unused")
        shutil.copytree(courier.maildir, target, symlinks=True)
        with suite.imap(ALICE) as client:
            for name, state in before.items():
                self.assertEqual(state_of(client, name), state, name)
            found = {row.split(b'"/" ')[1].strip(b'"') for row in client.lsub()[1]}
            self.assertLessEqual({b"INBOX", b"Lists/swift"}, found)
            self.assertNotIn(b"Sent", found)
            self.assertEqual(len(set(subjects(client).values())), 28)
            client.append("INBOX", "", None, message("next").encode())
            self.assertEqual(int(uids(client)[-1]), int(before["INBOX"]["next"]))
        print(f"      {sum(len(s['messages']) for s in before.values())} messages in "
              f"{len(before)} folders, kept by the real Courier", flush=True)
