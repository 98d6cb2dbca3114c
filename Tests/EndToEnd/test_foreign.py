# SPDX-License-Identifier: Apache-2.0
"""Maildirs that other programs touch while IMAP clients look, and that other servers kept before."""

import glob
import imaplib
import mailbox
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from suite import Suite, SuiteCase, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


class Idle:
    """An IMAP session in IDLE; `wait` gives the first line that matches, and how long it took."""

    def __init__(self, client, folder="INBOX"):
        self.client = client
        client.select(folder)
        client.send(b"X1 IDLE\r\n")
        assert client.readline().startswith(b"+")
        client.sock.settimeout(10)

    def wait(self, pattern, seconds=10):
        start = time.monotonic()
        self.client.sock.settimeout(seconds)
        while True:
            line = self.client.readline()
            if not line:
                raise EOFError("connection closed")
            if re.search(pattern, line):
                return line, time.monotonic() - start

    def done(self):
        self.client.send(b"DONE\r\n")
        while not self.client.readline().startswith(b"X1 OK"):
            pass
        self.client.sock.settimeout(30)


def maildir_of(suite, user):
    return [m for m in suite.maildirs() if f"/{user}/" in m and m.endswith("/Maildir")][0]


def uids(client, folder="INBOX"):
    client.select(folder, readonly=True)
    return client.uid("search", None, "ALL")[1][0].split()


class OtherPrograms(SuiteCase):
    def setUp(self):
        with self.suite.imap() as client:
            client.select("INBOX")
            client.store("1:*", "+FLAGS.SILENT", r"\Deleted")
            client.expunge()
        self.maildir = maildir_of(self.suite, "alice")
        self.client = self.suite.imap()
        self.addCleanup(self.client.logout)

    def test_a_file_dropped_flagged_and_removed_reaches_idle_within_a_second(self):
        idle = Idle(self.client)
        lf = message("dropped").replace("\r\n", "\n")
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(lf)
        self.addCleanup(os.unlink, file.name)
        subprocess.run(["cp", file.name, f"{self.maildir}/new/{int(time.time())}.77_1.host"],
                       check=True)
        _, seconds = idle.wait(rb"^\* 1 EXISTS")
        self.assertLess(seconds, 1)
        name, = os.listdir(f"{self.maildir}/cur")
        self.assertRegex(name, r",U=\d+:2,$")
        os.rename(f"{self.maildir}/cur/{name}", f"{self.maildir}/cur/{name}FS")
        line, seconds = idle.wait(rb"^\* 1 FETCH")
        self.assertLess(seconds, 1)
        self.assertIn(rb"\Flagged", line)
        self.assertIn(rb"\Seen", line)
        os.unlink(f"{self.maildir}/cur/{name}FS")
        _, seconds = idle.wait(rb"^\* 1 EXPUNGE|VANISHED")
        self.assertLess(seconds, 1)
        idle.done()
        self.assertEqual(subjects(self.client), {})

    def test_a_file_still_being_written_is_read_whole_in_the_end(self):
        idle = Idle(self.client)
        text = message("slow", body="line\r\n" * 50_000)
        with open(f"{self.maildir}/new/{int(time.time())}.78_1.host", "w", newline="") as file:
            file.write(text[:2_000])
            file.flush()
            time.sleep(0.4)
            file.write(text[2_000:])
        time.sleep(0.5)
        idle.done()

        def whole():
            self.client.select("INBOX", readonly=True)
            found = self.client.uid("fetch", "1:*", "(RFC822.SIZE BODY.PEEK[])")[1]
            found = [item for item in found if isinstance(item, tuple)]
            return (len(found) == 1 and found[0][1] == text.encode()
                    and b"RFC822.SIZE %d " % len(text) in found[0][0])
        self.assertTrue(eventually(whole, 5))

    def test_pythons_mailbox_module_adds_flags_and_removes(self):
        idle = Idle(self.client)
        box = mailbox.Maildir(self.maildir, factory=None)
        box.add(mailbox.MaildirMessage(message("first").replace("\r\n", "\n")))
        idle.wait(rb"^\* 1 EXISTS")
        box.add(mailbox.MaildirMessage(message("second").replace("\r\n", "\n")))
        idle.wait(rb"^\* 2 EXISTS")
        key = [k for k in box.keys() if box[k]["Subject"] == "first"][0]
        changed = box[key]
        changed.add_flag("R")
        box[key] = changed
        line, seconds = idle.wait(rb"FETCH.*Answered|EXPUNGE|EXISTS")
        self.assertLess(seconds, 1)
        time.sleep(0.3)
        box = mailbox.Maildir(self.maildir, factory=None)
        key = [k for k in box.keys() if box[k]["Subject"] == "second"][0]
        box.remove(key)
        idle.wait(rb"EXPUNGE")
        time.sleep(0.3)
        idle.done()
        self.assertEqual(list(subjects(self.client).values()), ["first"])

    def test_mutt_flags_and_deletes_under_an_idling_client(self):
        mutt = need("mutt")
        for number in (1, 2, 3):
            self.suite.deliver(f"m{number}")
        idle = Idle(self.client)
        home = tempfile.mkdtemp(prefix="martlet-mutt-")
        self.addCleanup(shutil.rmtree, home)
        with open(home + "/muttrc", "w") as file:
            # Flag the first, delete the second, leave.
            file.write("set delete=yes quit=yes move=no mbox_type=Maildir maildir_trash=no\n"
                       f"set mark_old=no wait_key=no sort=mailbox-order folder={home} spoolfile={self.maildir}\n"
                       'push "<first-entry><flag-message><first-entry><next-entry>'
                       '<delete-message><sync-mailbox><quit>"\n')
        result = subprocess.run(
            [need("script"), "-qec",
             f"timeout --foreground -k 5 30 {mutt} -n -F {home}/muttrc -f {self.maildir}",
             "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            env={**os.environ, "TERM": "vt100", "HOME": home})
        self.assertEqual(result.returncode, 0, result.stdout[-800:])
        idle.wait(rb"EXPUNGE|FETCH")
        time.sleep(1)
        idle.done()

        def done():
            self.client.select("INBOX", readonly=True)
            return (len(subjects(self.client)) == 2
                    and self.client.search(None, "FLAGGED")[1][0] != b"")
        self.assertTrue(eventually(done, 5))

    def test_our_own_changes_cause_no_comparison(self):
        time.sleep(3)
        idle = Idle(self.client)
        before = self.comparisons()
        for number in range(20):
            self.suite.deliver(f"own{number}")
        idle.wait(rb"^\* 20 EXISTS")
        idle.done()
        self.client.select("INBOX")
        self.client.store("1:*", "+FLAGS", r"\Seen")
        self.client.select("INBOX")
        self.client.store("1:10", "+FLAGS", r"\Deleted")
        self.client.expunge()
        time.sleep(3)
        self.assertEqual(self.comparisons(), before)

    def comparisons(self):
        return int(re.search(r"(?m)^msgstored_folder_comparisons_total (\d+)",
                             self.suite.metrics("msgstored"))[1])


if __name__ == "__main__":
    unittest.main()
