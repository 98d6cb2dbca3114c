# SPDX-License-Identifier: Apache-2.0
"""Capabilities that an owner switches off are neither named nor carried out."""

from suite import SuiteCase
from test_imap_dialogues import Session


class Disabled(SuiteCase):
    configuration = '[imapd]\ndisabled_capabilities = ["idle", "MOVE", "CONDSTORE"]\n'

    def test_what_is_switched_off_is_unknown(self):
        with Session(self.suite) as session:
            named = session.ok("CAPABILITY")[0].split()
            for name in ("IDLE", "MOVE", "CONDSTORE"):
                self.assertNotIn(name, named)
                self.assertNotIn(name, session.greeting.split())
            for name in ("IMAP4rev1", "UIDPLUS", "NAMESPACE"):
                self.assertIn(name, named)
            lines = session.ok("SELECT INBOX")
            self.assertFalse([line for line in lines if "HIGHESTMODSEQ" in line])
            for command in ("IDLE", "MOVE 1 INBOX", "SELECT INBOX (CONDSTORE)",
                            "STATUS INBOX (HIGHESTMODSEQ)"):
                self.assertIn(" BAD ", session.do(command)[-1], command)
            self.assertNotIn("CONDSTORE", session.ok("ENABLE CONDSTORE")[0])
            session.ok("NOOP")


class WithoutWaysToAppend(SuiteCase):
    configuration = ('[imapd]\ndisabled_capabilities = ["MULTIAPPEND", "CATENATE", "REPLACE", "BINARY"]\n')

    def test_append_does_no_more_than_it_names(self):
        with Session(self.suite) as session:
            session.append("INBOX", b"Subject: one\r\n\r\n1\r\n")
            session.ok("SELECT INBOX")
            before = session.ok("STATUS INBOX (MESSAGES UIDNEXT)")[0]
            for command in ("APPEND INBOX {5+}\r\nhello {3+}\r\nabc",
                            "APPEND INBOX CATENATE (TEXT {5+}\r\nhello)",
                            "REPLACE 1 INBOX {5+}\r\nhello",
                            "APPEND INBOX ~{5+}\r\nhello", "FETCH 1 BINARY.PEEK[]"):
                self.assertIn(" BAD ", session.do(command)[-1], command)
                session.ok("NOOP")
            self.assertEqual(session.ok("STATUS INBOX (MESSAGES UIDNEXT)")[0], before)
