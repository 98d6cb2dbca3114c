# SPDX-License-Identifier: Apache-2.0
"""QRESYNC (RFC 7162 §3.2) as a client that was here before uses it."""

import os
import re

from suite import Suite, SuiteCase
from test_imap_dialogues import Session, letter


def number(lines, name):
    return int(re.search(rf"\[{name} (\d+)\]", "\n".join(lines))[1])


def starting(lines, start):
    return [line for line in lines if line.startswith(start)]


class Resync(SuiteCase):
    def fill(self, session, box, count=6):
        session.ok(f"CREATE {box}")
        return [session.append(box, letter(n)) for n in range(count)]

    def test_what_was_missed_comes_with_select(self):
        with Session(self.suite) as away, Session(self.suite) as here:
            uids = self.fill(away, "Missed")
            away.ok("ENABLE QRESYNC")
            lines = away.ok("SELECT Missed")
            validity, modseq = number(lines, "UIDVALIDITY"), number(lines, "HIGHESTMODSEQ")
            away.ok("UNSELECT")
            here.ok("SELECT Missed")
            here.ok(f"UID STORE {uids[1]},{uids[3]} +FLAGS (\\Deleted)")
            here.ok("EXPUNGE")
            here.ok(f"UID STORE {uids[4]} +FLAGS (\\Flagged)")
            new = here.append("Missed", letter(9))
            lines = away.ok(f"SELECT Missed (QRESYNC ({validity} {modseq}))")
            self.assertEqual(
                starting(lines, "* VANISHED"), [f"* VANISHED (EARLIER) {uids[1]},{uids[3]}"])
            fetched = [line for line in lines if " FETCH (" in line]
            self.assertEqual([line[:9] for line in fetched], ["* 3 FETCH", "* 5 FETCH"])
            self.assertRegex(fetched[0], rf"UID {uids[4]} FLAGS \(.*\\Flagged.*\) MODSEQ \(\d+\)")
            self.assertIn(f"UID {new} ", fetched[1])
            self.assertLess(lines.index(starting(lines, "* VANISHED")[0]), lines.index(fetched[0]))
            # Only what the client knows, as it says; and what the pairs show is known
            lines = away.ok(
                f"SELECT Missed (QRESYNC ({validity} {modseq} {uids[0]}:{uids[1]}))")
            self.assertEqual(starting(lines, "* VANISHED"), [f"* VANISHED (EARLIER) {uids[1]}"])
            self.assertFalse([line for line in lines if " FETCH (" in line])
            lines = away.ok(f"SELECT Missed (QRESYNC ({validity} {modseq} (2 {uids[2]})))")
            self.assertEqual(starting(lines, "* VANISHED"), [f"* VANISHED (EARLIER) {uids[3]}"])
            # Another UIDVALIDITY: nothing that the client knows is of use
            lines = away.ok(f"SELECT Missed (QRESYNC ({validity + 7} {modseq}))")
            self.assertFalse(starting(lines, "* VANISHED"))
            # A MODSEQ that never was: everything
            lines = away.ok(f"SELECT Missed (QRESYNC ({validity} {modseq + 100000}))")
            self.assertEqual(len([line for line in lines if " FETCH (" in line]), 5)
            self.assertEqual(
                starting(lines, "* VANISHED"), [f"* VANISHED (EARLIER) {uids[1]},{uids[3]}"])

    def test_vanished_takes_the_place_of_expunge(self):
        with Session(self.suite) as one, Session(self.suite) as two:
            uids = self.fill(one, "Gone")
            one.ok("ENABLE QRESYNC")
            one.ok("SELECT Gone")
            two.ok("SELECT Gone")
            two.ok("STORE 1:2,4 +FLAGS.SILENT (\\Deleted)")
            self.assertEqual(len(starting(two.ok("EXPUNGE"), "* ")), 3)
            self.assertFalse(starting(one.ok("FETCH 1 (FLAGS)"), "* VANISHED"))
            self.assertEqual(
                starting(one.ok("NOOP"), "* VANISHED"),
                [f"* VANISHED {uids[0]}:{uids[1]},{uids[3]}"])
            one.ok(f"UID STORE {uids[2]} +FLAGS.SILENT (\\Deleted)")
            lines = one.ok("EXPUNGE")
            self.assertEqual(starting(lines, "* VANISHED"), [f"* VANISHED {uids[2]}"])
            self.assertIn("[HIGHESTMODSEQ ", lines[-1])
            one.ok(f"UID MOVE {uids[4]} INBOX")
            lines = one.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)")
            self.assertEqual(
                starting(lines, "* VANISHED"),
                [f"* VANISHED (EARLIER) {uids[0]}:{uids[4]}"])
            self.assertEqual(len([line for line in lines if " FETCH (" in line]), 1)

    def test_it_must_be_enabled_first(self):
        with Session(self.suite) as session:
            self.assertIn("QRESYNC", session.ok("CAPABILITY")[0].split())
            self.assertIn(" BAD ", session.do("SELECT INBOX (QRESYNC (1 1))")[-1])
            session.ok("SELECT INBOX")
            self.assertIn(
                " BAD ", session.do("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)")[-1])
            self.assertRegex(session.ok("ENABLE QRESYNC")[0], "ENABLED.* QRESYNC")


class Rebuilt(SuiteCase):
    may_restart = True

    def test_a_rebuilt_index_hides_nothing(self):
        """Whoever comes with the MODSEQ of before learns of everything that may have changed."""
        with Session(self.suite) as session:
            uids = [session.append("INBOX", letter(n)) for n in range(4)]
            session.ok("ENABLE QRESYNC")
            lines = session.ok("SELECT INBOX")
            validity, modseq = number(lines, "UIDVALIDITY"), number(lines, "HIGHESTMODSEQ")
            session.ok(f"UID STORE {uids[0]} +FLAGS (\\Deleted)")
            session.ok("EXPUNGE")
            session.ok(f"UID STORE {uids[2]} +FLAGS (\\Flagged)")
        directory = self.suite.directory
        self.suite.stop()
        for root, _, names in os.walk(directory):
            for name in names:
                if name.startswith("index."):
                    os.unlink(os.path.join(root, name))
        again = Suite(directory=directory)
        try:
            with Session(again) as session:
                session.ok("ENABLE QRESYNC")
                lines = session.ok(f"SELECT INBOX (QRESYNC ({validity} {modseq}))")
                if number(lines, "UIDVALIDITY") == validity:
                    self.assertGreater(number(lines, "HIGHESTMODSEQ"), modseq)
                    gone = "".join(starting(lines, "* VANISHED (EARLIER)"))
                    self.assertRegex(gone, rf"[ ,:]{uids[0]}\b")
                    self.assertTrue([line for line in lines if f"UID {uids[2]} FLAGS" in line
                                     and "\\Flagged" in line])
        finally:
            again.close()


class Revision2(SuiteCase):
    configuration = "[imapd]\nannounce_imap4rev2 = true\n"

    def test_imap4rev2_beside_imap4rev1(self):
        with Session(self.suite) as new, Session(self.suite) as old:
            self.assertTrue({"IMAP4rev1", "IMAP4rev2"} <= set(new.ok("CAPABILITY")[0].split()))
            new.ok("CREATE Gr&APwA3w-e")
            self.assertIn("IMAP4rev2", new.ok("ENABLE IMAP4rev2")[0])
            lines = new.ok("SELECT INBOX")
            self.assertFalse([line for line in lines if "RECENT" in line or "[UNSEEN" in line])
            self.assertRegex("\n".join(lines), r'\* LIST \([^)]*\) "/" INBOX')
            old.append("INBOX", letter(1))
            lines = new.ok("NOOP")
            self.assertTrue([line for line in lines if line.endswith("EXISTS")])
            self.assertFalse([line for line in lines if "Recent" in line or "RECENT" in line])
            self.assertNotIn("Recent", "".join(new.ok("FETCH 1:* (FLAGS)")))
            self.assertTrue([line for line in new.ok('LIST "" *') if "Grüße" in line])
            new.ok('SELECT "Grüße"')
            self.assertTrue([line for line in old.ok("SELECT INBOX") if line.endswith(" RECENT")])
