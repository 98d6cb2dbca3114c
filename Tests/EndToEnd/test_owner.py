# SPDX-License-Identifier: Apache-2.0
"""What owners do in the course of years: a domain gets another name, an account comes back with all
that it had, a release is taken back, a message is looked for everywhere, accounts fill up."""

import glob
import imaplib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
import unittest

from suite import Suite, eventually, message, subjects
from test_backup import ALICE, BOB, content


class Case(unittest.TestCase):
    def setUp(self):
        self.suite = Suite()
        self.addCleanup(lambda: self.suite.close())

    def mailctl(self, *arguments, code=0, input=None):
        result = self.suite.mailctl(*arguments, check=False, input=input)
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        return result

    def json(self, *arguments, code=0):
        return [json.loads(line)
                for line in self.mailctl(*arguments, "--json", code=code).stdout.splitlines()]

    def account(self, address):
        self.suite.passwords[address] = self.json("account", "add", address, "--generate")[0][
            "password"]
        return address

    def metric(self, name):
        found = re.search(rf"(?m)^{name} (\S+)$", self.suite.metrics("msgstored"))
        return float(found[1]) if found else None


class DomainRename(Case):
    def test_mail_aliases_rights_and_quota_go_along(self):
        self.mailctl("domain", "add", "old.test")
        carol = self.account("carol@old.test")
        dora = self.account("dora@old.test")
        self.mailctl("alias", "add", "team@old.test", carol, ALICE)
        self.mailctl("sender", "add", dora, "boss@old.test")
        self.mailctl("quota", "set", dora, "5MB")
        self.mailctl("account", "disable", dora, "--login")
        for number in range(5):
            self.suite.deliver(f"before {number}", to=carol)
        with self.suite.imap(carol) as client:
            client.create("Kept/Deep")
            client.append("Kept/Deep", "(\\Flagged work)", None, message("deep").encode())
        before = content(self.suite, carol)
        running = self.suite.imap(carol)
        running.select("INBOX")
        done = self.json("domain", "rename", "old.test", "NEW.test", "--keep-alias")[0]
        self.assertEqual(done, {"domain": "new.test", "was": "old.test", "accounts": 2,
                                "alias": True})
        # A session that was open ends; nothing answers for the old place.
        with self.assertRaises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):
            for _ in range(3):
                running.noop()
                time.sleep(0.2)
        new = "carol@new.test"
        self.suite.passwords[new] = self.suite.passwords[carol]
        self.assertEqual(content(self.suite, new), before)
        self.assertEqual(content(self.suite, carol), before)  # the old name stands for the new
        self.suite.deliver("after", to=carol)
        self.suite.deliver("by alias", to="team@old.test")
        with self.suite.imap(new) as client:
            self.assertEqual(set(subjects(client).values()) - {f"before {n}" for n in range(5)},
                             {"after", "by alias"})
        shown = self.json("account", "show", "dora@new.test")[0]
        self.assertEqual((shown["state"], shown["quota"], shown["senders"]),
                         ("login-disabled", 5_000_000, ["boss@new.test"]))
        self.mailctl("domain", "rename", "new.test", "example.test", code=73)
        self.mailctl("domain", "rename", "nowhere.test", "other.test", code=68)
        # Still so after a restart.
        self.suite.stop()
        self.suite.start()
        self.suite.passwords[new] = self.suite.passwords.get(new, "")
        listed = {row["address"] for row in self.json("account", "list")}
        self.assertEqual(listed, {ALICE, BOB, new, "dora@new.test"})


class Restore(Case):
    def test_an_account_comes_back_with_all_that_it_had(self):
        dest = tempfile.mkdtemp(prefix="martlet-backup-")
        self.addCleanup(shutil.rmtree, dest, ignore_errors=True)
        erin = self.account("erin@example.test")
        self.mailctl("alias", "add", "e@example.test", erin)
        self.mailctl("alias", "add", "team@example.test", erin, ALICE)
        self.mailctl("sender", "add", erin, "boss@example.test", "@other.test")
        self.mailctl("quota", "set", erin, "7MB", "--messages", "99")
        for number in range(8):
            self.suite.deliver(f"mail {number}", to=erin)
        self.assertTrue(eventually(lambda: len(content(self.suite, erin)["INBOX"][1]) == 8))

        def said():
            account = self.json("account", "show", erin)[0]
            account.pop("created", None)
            aliases = {row["alias"]: set(row["targets"]) for row in self.json("alias", "list")}
            return account, aliases, content(self.suite, erin)
        before = said()
        self.assertEqual(self.metric("msgstored_backup_last_success_timestamp_seconds"), 0)
        made = self.json("backup", "create", dest)[-1]
        self.assertAlmostEqual(
            self.metric("msgstored_backup_last_success_timestamp_seconds"), time.time(), delta=60)
        time.sleep(1.1)
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        # Disabled in a later generation, which is not the one that is asked for.
        self.mailctl("account", "disable", erin)
        time.sleep(1.1)
        self.json("backup", "create", dest)
        self.mailctl("account", "remove", erin, "--yes")
        self.mailctl("alias", "remove", "e@example.test")
        self.mailctl("alias", "remove", "team@example.test", erin)
        self.suite.deliver("to those left", to="team@example.test")
        self.json("backup", "restore", dest, "--account", erin, "--at", at, "--yes")
        self.assertEqual(said(), before)
        self.suite.deliver("again", to="e@example.test")
        self.assertTrue(eventually(lambda: len(content(self.suite, erin)["INBOX"][1]) == 9))
        # The later one has it disabled.
        self.mailctl("account", "remove", erin, "--yes")
        self.json("backup", "restore", dest, "--account", erin, "--yes")
        self.assertEqual(self.json("account", "show", erin)[0]["state"], "disabled")
        self.assertNotEqual(made["generation"], "")


class Find(Case):
    def test_in_one_account_and_in_all(self):
        for number in range(3):
            self.suite.deliver(f"plain {number}", to=ALICE)
        with self.suite.imap(BOB) as client:
            client.create("Deep/Box")
            client.append(
                "Deep/Box", "(\\Answered)", '"01-Feb-2020 10:00:00 +0000"',
                b"From: Zo\xc3\xab <zoe@x.test>\r\nTo: bob@example.test\r\nCc: hidden@y.test\r\n"
                b"Message-ID: <needle.4711@x.test>\r\nDate: Tue, 28 Jan 2020 10:00:00 +0000\r\n"
                b"List-Id: swifts\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
                b"Content-Type: text/plain; charset=utf-8\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\nSGVpbWxpY2hlcyBXb3J0Cg==\r\n")
        found = self.json("message", "find", "--all", "--id", "NEEDLE.4711")
        self.assertEqual([(m["account"], m["mailbox"]) for m in found], [(BOB, "Deep/Box")])
        self.assertEqual(found[0]["subject"], "Grüße")
        text = self.mailctl("message", "find", "--all", "--id", "needle.4711").stdout
        self.assertTrue(text.startswith(BOB + "  Deep/Box  "), text)
        for words, count in (
                (("--subject", "grüß"), 1), (("--to", "HIDDEN"), 1), (("--cc", "hidden"), 1),
                (("--cc", "bob@"), 0), (("--bcc", "x"), 0), (("--from", "zoë"), 1),
                (("--body", "heimliches wort"), 1), (("--text", "heimliches"), 1),
                (("--body", "4711"), 0), (("--text", "4711"), 1), (("--header", "list-id:SWIFT"), 1),
                (("--header", "List-Id"), 1), (("--header", "X-None"), 0),
                (("--since", "2020-02-01", "--before", "2020-02-02"), 1),
                (("--on", "2020-02-01"), 1), (("--on", "2020-01-31"), 0),
                (("--sent-since", "2020-01-28", "--sent-before", "2020-01-29"), 1),
                (("--sent-since", "2020-01-29"), 0), (("--answered",), 1), (("--unanswered",), 0),
                (("--undeleted", "--unflagged", "--unseen"), 1), (("--larger", "1K"), 0),
                (("--smaller", "1K"), 1), (("--unkeyword", "work"), 1), (("--keyword", "work"), 0),
                (("--mailbox", "Deep/Box", "--id", "needle"), 1),
                (("--mailbox", "INBOX", "--id", "needle"), 0)):
            result = self.suite.mailctl("message", "find", BOB, *words, check=False)
            self.assertEqual(len(result.stdout.splitlines()), count, (words, result.stderr))
            self.assertEqual(result.returncode, 0 if count else 1, words)
        self.assertEqual(len(self.json("message", "find", "--all", "--limit", "2")), 2)
        self.mailctl("message", "find", code=64)
        self.mailctl("message", "find", ALICE, "--all", code=64)
        uid = str(found[0]["uid"])
        # To another account, with flags and date.
        self.mailctl("message", "move", BOB, "Deep/Box", uid, "Nowhere", "--to", ALICE, code=66)
        moved = self.json("message", "move", BOB, "Deep/Box", uid, "INBOX", "--to", ALICE)[0]
        self.assertEqual(moved["account"], ALICE)
        found = self.json("message", "find", "--all", "--id", "needle.4711")
        self.assertEqual([(m["account"], m["mailbox"], m["uid"], m["flags"], m["date"][:10])
                          for m in found],
                         [(ALICE, "INBOX", moved["uid"], "\\Answered", "2020-02-01")])
        self.json("message", "move", ALICE, "INBOX", str(moved["uid"]), "INBOX", "--to", BOB,
                  "--copy")
        self.assertEqual(len(self.json("message", "find", "--all", "--id", "needle.4711")), 2)


class Rollback(Case):
    def test_back_to_the_release_before_and_forward_again(self):
        self.mailctl("store", "rollback", code=75)
        self.suite.stop()
        self.mailctl("store", "rollback", code=66)
        found = glob.glob(os.path.join(self.suite.directory, "**/directory.sqlite"), recursive=True)
        path = found[0]
        # As version 1 has it.
        with sqlite3.connect(path) as now:
            domains = now.execute("SELECT name FROM domains").fetchall()
            accounts = now.execute("SELECT domain, local, created, hash FROM accounts").fetchall()
        for name in glob.glob(path + "*"):
            os.unlink(name)
        os.unlink(os.path.join(os.path.dirname(path), "directory.backup"))
        old = sqlite3.connect(path)
        old.executescript("""
            CREATE TABLE domains(name BLOB PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE accounts(domain BLOB NOT NULL, local BLOB NOT NULL,
              created INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(domain, local))
              WITHOUT ROWID;
            PRAGMA user_version=1;""")
        old.executemany("INSERT INTO domains VALUES(?)", domains)
        old.executemany("INSERT INTO accounts VALUES(?, ?, ?, ?)", accounts)
        old.commit()
        old.close()
        passwords = dict(self.suite.passwords)
        self.suite.start()
        self.suite.passwords.update(passwords)
        late = self.account("late@example.test")
        self.suite.deliver("kept", to=late)
        self.suite.deliver("mine", to=ALICE)
        self.mailctl("alias", "add", "l@example.test", late)
        self.mailctl("store", "rollback", code=75)
        self.suite.stop()
        refused = self.mailctl("store", "rollback", code=77)
        for word in ("late@example.test", "l@example.test -> late@example.test", "--force"):
            self.assertIn(word, refused.stdout + refused.stderr)
        dry = self.json("store", "rollback", "--dry-run", code=1)[0]
        self.assertEqual((dry["rolled_back"], dry["kept_version"]), (False, 1))
        self.assertEqual(dry["lost"]["accounts"], ["late@example.test"])
        done = self.json("store", "rollback", "--force")[0]
        self.assertTrue(done["rolled_back"])
        with sqlite3.connect(path) as now:
            self.assertEqual(now.execute("PRAGMA user_version").fetchone(), (1,))
            self.assertEqual(now.execute("SELECT count(*) FROM accounts").fetchone(), (2,))
        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(path), done["put_aside"])))
        # And forward: migrated once more; mail of the account that was lost is still there.
        self.suite.start()
        self.suite.passwords.update(passwords)
        with self.suite.imap(ALICE) as client:
            self.assertIn("mine", subjects(client).values())
        self.account(late)
        with self.suite.imap(late) as client:
            self.assertIn("kept", subjects(client).values())


class Watching(Case):
    def test_an_account_that_fills_up_is_told(self):
        full = self.account("full@example.test")
        self.mailctl("quota", "set", full, "100KB")
        text = message("load", body="x" * 70 + "\r\n" + ("y" * 76 + "\r\n") * 270)
        with self.suite.smtp() as client:
            for _ in range(4):
                client.sendmail("x@elsewhere.example", [full], text)

        def warned():
            with self.suite.imap(full) as client:
                return [s for s in subjects(client).values() if s.startswith("Your mailbox")]
        self.assertEqual(eventually(warned), ["Your mailbox is 80% full"])
        self.assertEqual(self.metric("msgstored_quota_mails_total"), 1)
        with self.suite.imap(full) as client:
            client.select("INBOX")
            typ, data = client.search(None, "HEADER", "Auto-Submitted", "auto-generated")
            self.assertEqual(len(data[0].split()), 1)

    def test_what_is_expunged_and_repaired_is_counted(self):
        for number in range(3):
            self.suite.deliver(f"gone {number}")
        self.assertTrue(eventually(lambda: len(content(self.suite)["INBOX"][1]) == 3))
        with self.suite.imap() as client:
            client.select("INBOX")
            client.store("1:2", "+FLAGS", "\\Deleted")
            client.expunge()
        self.suite.stop()
        self.suite.start()
        # Counted at the first sweep, which is soon after the start.
        self.assertTrue(eventually(lambda: self.metric("msgstored_retained_messages") == 2, 15))
        self.assertGreater(self.metric("msgstored_retained_bytes"), 100)
        self.assertGreater(self.metric("msgstored_log_bytes"), 1 << 20)
        self.assertIsNotNone(self.metric("msgstored_log_checkpoint_age_seconds"))

    def test_mail_that_was_not_indexed_is_indexed_after_a_start(self):
        for number in range(3):
            self.suite.deliver(f"new {number}", to=BOB)
        # Few messages wait for 20 seconds: they are left behind by this.
        self.suite.stop()
        self.suite.start()
        # Nobody logs in.
        self.assertTrue(eventually(
            lambda: self.metric("msgstored_search_indexed_messages_total") == 3, 20))
        self.assertEqual(self.metric("msgstored_search_sweep_accounts"), 0)


if __name__ == "__main__":
    unittest.main()
