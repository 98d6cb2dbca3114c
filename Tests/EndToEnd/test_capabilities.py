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
