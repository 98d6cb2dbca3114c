# SPDX-License-Identifier: Apache-2.0
"""What imapd does for Python's imaplib and raw sockets. ACCEPTANCE 20."""

import imaplib
import re
import sqlite3
import glob
import os
import threading
import time
import unittest

from suite import Suite, SuiteCase, eventually, message, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


class InClear(SuiteCase):
    def test_login_is_refused_before_tls(self):
        with self.suite.raw("imap") as raw:
            raw.line()
            capabilities = " ".join(raw.tagged("a", "CAPABILITY"))
            self.assertIn("STARTTLS", capabilities)
            self.assertIn("LOGINDISABLED", capabilities)
            self.assertRegex(raw.tagged("b", f"LOGIN {ALICE} x")[-1], "^b NO")
            self.assertRegex(raw.tagged("c", "AUTHENTICATE PLAIN AGEAYg==")[-1], "^c NO")

    def test_literals_before_login_are_bounded(self):
        before = self.suite.rss("imapd")
        for size in ("2147483647", "99999999999999", "100000000+", "5000000"):
            with self.suite.raw("imaps", tls=True) as raw:
                raw.line()
                raw.send(f"a LOGIN {{{size}}}\r\n".encode())
                self.assertRegex(raw.line(), r"^(a (BAD|NO)|\* BYE)")
        self.assertLess(self.suite.rss("imapd") - before, 1 << 20)


class Commands(SuiteCase):
    def test_mailboxes_messages_flags_and_searches(self):
        client = self.suite.imap()

        def ok(answer):
            self.assertEqual(answer[0], "OK", answer)
            return answer[1]

        ok(client.create("Work"))
        ok(client.create("Work/2026.11"))
        ok(client.create("\"Entw&APw-rfe\""))
        ok(client.subscribe("Work"))
        self.assertTrue(any(b"Work/2026.11" in row for row in ok(client.list())))
        self.assertTrue(any(b"Work" in row for row in ok(client.lsub())))
        ok(client.rename("Work", "Job"))
        names = b" ".join(ok(client.list()))
        self.assertIn(b"Job/2026.11", names)
        self.assertNotIn(b'"Work"', names)

        text = message("appended").encode()
        appended = ok(client.append("Job", r"(\Seen $Forwarded)", '"17-Jul-1996 02:44:25 -0700"',
                                    text))
        validity, uid = re.search(rb"APPENDUID (\d+) (\d+)", appended[0]).groups()
        ok(client.select("Job"))
        data = ok(client.uid("fetch", uid, "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
        self.assertIn(b"$Forwarded", data[0][0] + data[-1])
        self.assertIn(b'INTERNALDATE "17-Jul-1996 09:44:25 +0000"', data[0][0] + data[-1])
        self.assertEqual(data[0][1], text)
        self.assertIn(f"RFC822.SIZE {len(text)}".encode(), data[0][0] + data[-1])

        ok(client.uid("store", uid, "+FLAGS", r"(\Flagged)"))
        self.assertEqual(ok(client.uid("search", None, "FLAGGED", "SUBJECT", "appended")), [uid])
        self.assertEqual(ok(client.uid("search", None, "UNSEEN")), [b""])
        copied = ok(client.uid("copy", uid, "Archive"))
        self.assertRegex(client.response("COPYUID")[1][0] or copied[0], rb"\d+ \d+ \d+")
        ok(client.uid("move", uid, "Trash"))
        self.assertEqual(ok(client.uid("search", None, "ALL")), [b""])
        status = ok(client.status("Archive", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))
        self.assertIn(b"MESSAGES 1", status[0])
        ok(client.select("Trash"))
        ok(client.store("1", "+FLAGS", r"\Deleted"))
        self.assertEqual(ok(client.expunge()), [b"1"])
        ok(client.delete("Job/2026.11"))
        ok(client.delete("Job"))
        self.assertEqual(client.select("Job")[0], "NO")
        client.logout()

    def test_special_use_folders_are_there(self):
        with self.suite.raw("imaps", tls=True) as raw:
            raw.line()
            raw.tagged("a", f"LOGIN {BOB} {self.suite.passwords[BOB]}")
            rows = raw.tagged("b", 'LIST (SUBSCRIBED) "" "*" RETURN (SPECIAL-USE)')
            for use in ("Drafts", "Sent", "Junk", "Trash", "Archive"):
                self.assertTrue(any(f"\\{use}" in row for row in rows), rows)
            self.assertTrue(any("\\Junk" in row or "\\Spam" in row
                                for row in raw.tagged("c", 'XLIST "" "*"')))

    def test_evil_mailbox_names_create_nothing_outside(self):
        before = self.everything()
        with self.suite.raw("imaps", tls=True) as raw:
            raw.line()
            raw.tagged("a", f"LOGIN {BOB} {self.suite.passwords[BOB]}")
            for name in ("..", "../evil", "a/../../evil", "/etc/evil", "~root", "a//b", "cur",
                         "./x", "x" * 900, "%", "*", "&AAA-"):
                raw.tagged("b", f'CREATE "{name}"')
        new = [path for path in self.everything() - before
               if "/bob/" not in path and "dev.log" not in path]
        self.assertEqual(new, [])

    def everything(self):
        found = set()
        for root, folders, files in os.walk(self.suite.directory):
            found.update(os.path.join(root, name) for name in folders + files)
        return found


class Idle(SuiteCase):
    def test_idle_sees_a_delivery_within_a_second(self):
        with self.suite.raw("imaps", tls=True) as raw:
            raw.line()
            raw.tagged("a", f"LOGIN {ALICE} {self.suite.passwords[ALICE]}")
            raw.tagged("b", "SELECT INBOX")
            for number in range(1, 21):
                raw.send(b"i IDLE\r\n")
                self.assertTrue(raw.line().startswith("+"))
                began = time.monotonic()
                self.suite.deliver(f"idle-{number}")
                line = raw.line()
                self.assertEqual(line, f"* {number} EXISTS")
                self.assertLess(time.monotonic() - began, 1.0)
                raw.send(b"DONE\r\nn NOOP\r\n")  # what follows DONE in the packet is kept
                lines = [raw.line()]
                while not lines[-1].startswith("n "):
                    lines.append(raw.line())
                self.assertTrue(any(x.startswith("i OK") for x in lines), lines)

    def test_expunges_of_another_session_are_told(self):
        self.suite.deliver("one", to=BOB)
        self.suite.deliver("two", to=BOB)
        with self.suite.raw("imaps", tls=True) as raw:
            raw.line()
            raw.tagged("a", f"LOGIN {BOB} {self.suite.passwords[BOB]}")
            raw.tagged("b", "SELECT INBOX")
            with self.suite.imap(BOB) as other:
                other.select()
                other.store("1", "+FLAGS", r"(\Deleted)")
                other.expunge()
                # a sequence-number FETCH must not be told of the expunge, NOOP must
                fetched = raw.tagged("c", "FETCH 2 (UID)")
                self.assertFalse(any("EXPUNGE" in line for line in fetched), fetched)
                self.assertIn("* 1 EXPUNGE", raw.tagged("d", "NOOP"))
                self.assertRegex(raw.tagged("e", "FETCH 1 (UID)")[0], r"^\* 1 FETCH")


class Index(unittest.TestCase):
    def test_the_index_can_be_thrown_away(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for number in range(5):
            suite.deliver(f"kept-{number}")
        with suite.imap() as client:
            client.create("Folder")
            client.select()
            client.copy("2:3", "Folder")
            client.store("1", "+FLAGS", r"(\Seen $Work)")
            client.store("4", "+FLAGS", r"(\Deleted)")
            client.expunge()

        def picture():
            found = {}
            with suite.imap() as client:
                for box in ("INBOX", "Folder", "Sent"):
                    client.select(box, readonly=True)
                    validity = client.response("UIDVALIDITY")[1]
                    next_uid = client.status(box, "(UIDNEXT)")[1]
                    rows = client.uid("fetch", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
                    rows = [re.sub(rb"\\Recent ?", b"", b"".join(r) if isinstance(r, tuple) else r or b"")
                            for r in rows[1]]
                    found[box] = (validity, [r for r in rows])
            return found

        before = picture()
        self.assertEqual(len(before["INBOX"][1]), 8)
        time.sleep(6)  # flags reach the file names within seconds
        suite.stop()
        removed = 0
        for path in glob.glob(suite.directory + "/**/index.sqlite*", recursive=True):
            os.remove(path)
            removed += 1
        self.assertGreater(removed, 0)
        suite.start()
        self.assertEqual(picture(), before)
        suite.deliver("after")
        with suite.imap() as client:
            uids = subjects(client)
            self.assertEqual(max(uids, key=int), [u for u, s in uids.items() if s == "after"][0])
            self.assertGreater([u for u, s in uids.items() if s == "after"][0], 5)

    def test_sqlite3_shows_subject_and_sender(self):
        suite = Suite()
        self.addCleanup(suite.close)
        suite.deliver("visible-subject")
        suite.stop()  # msgstored holds the index for itself while it runs
        rows = []
        for path in glob.glob(suite.directory + "/**/index.sqlite", recursive=True):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                rows += database.execute("select subject, sender, recipients from files").fetchall()
        self.assertTrue([r for r in rows if r[0] == b"visible-subject"
                         and "carol@elsewhere.example" in r[1].decode() and ALICE in r[2].decode()], rows)
