# SPDX-License-Identifier: Apache-2.0
"""NOTIFY (RFC 5465): what happens elsewhere is told without being asked for."""

import re
import time

from suite import SuiteCase
from test_imap_dialogues import Session, letter


def starting(lines, start):
    return [line for line in lines if line.startswith(start)]


def plain(line):
    """Without the quotes around names."""
    return re.sub(r'"([A-Za-z/]{2,})"', r"\1", line)


class Notify(SuiteCase):
    def hear(self, session, pattern, seconds=5):
        """Reads what the server says by itself until a line fits."""
        session.raw.socket.settimeout(seconds)
        heard = []
        try:
            while not heard or not re.search(pattern, heard[-1]):
                heard.append(plain(session.response()))
        except TimeoutError:
            self.fail(f"not heard: {pattern}, but {heard}")
        finally:
            session.raw.socket.settimeout(20)
        return heard

    def test_mailboxes_that_are_not_selected(self):
        with Session(self.suite) as ear, Session(self.suite) as mouth:
            mouth.ok("CREATE Lists")
            mouth.ok("CREATE Lists/a")
            mouth.ok("CREATE Silent")
            self.assertIn("NOTIFY", ear.ok("CAPABILITY")[0].split())
            lines = ear.ok("NOTIFY SET STATUS (subtree Lists (MessageNew MessageExpunge "
                           "FlagChange)) (inboxes (MessageNew MessageExpunge))")
            told = "\n".join(plain(line) for line in starting(lines, "* STATUS"))
            for name in ("INBOX", "Lists", "Lists/a"):
                self.assertRegex(told, rf"(?m)^\* STATUS {name} \(MESSAGES \d+ UIDNEXT \d+")
            self.assertNotIn("Silent", told)
            mouth.append("Silent", letter(1))
            uid = mouth.append("Lists/a", letter(2))
            heard = self.hear(ear, r"STATUS Lists/a")
            self.assertRegex(heard[-1], rf"MESSAGES 1 UIDNEXT {uid + 1}\b")
            self.assertFalse([line for line in heard if "Silent" in line])
            mouth.ok("SELECT Lists/a")
            mouth.ok("STORE 1 +FLAGS (\\Seen)")
            self.assertIn("UNSEEN 0", self.hear(ear, r"STATUS Lists/a")[-1])
            mouth.ok("STORE 1 +FLAGS (\\Deleted)")
            mouth.ok("EXPUNGE")
            self.hear(ear, r"STATUS Lists/a \(MESSAGES 0 ")
            # Mail from outside
            self.suite.deliver("heard")
            self.hear(ear, r"STATUS INBOX \(MESSAGES \d+ UIDNEXT")
            # A mailbox below is followed from its beginning
            mouth.ok("CREATE Lists/b")
            mouth.append("Lists/b", letter(3))
            self.hear(ear, r"STATUS Lists/b \(MESSAGES 1")
            ear.ok("NOTIFY NONE")
            mouth.append("Lists/a", letter(4))
            time.sleep(0.2)
            self.assertFalse(starting(ear.ok("NOOP"), "* "))

    def test_the_selected_mailbox(self):
        with Session(self.suite) as ear, Session(self.suite) as mouth:
            mouth.ok("CREATE Chosen")
            ear.ok("SELECT Chosen")
            ear.ok("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) "
                   "MessageExpunge FlagChange))")
            uid = mouth.append("Chosen", letter(5))
            heard = self.hear(ear, r"FETCH \(UID")
            self.assertTrue([line for line in heard if line.endswith("1 EXISTS")])
            self.assertIn(f"UID {uid} ", heard[-1])
            self.assertIn("Subject: letter-5", heard[-1])
            mouth.ok("SELECT Chosen")
            mouth.ok("STORE 1 +FLAGS (\\Flagged)")
            self.hear(ear, r"1 FETCH \(.*\\Flagged")
            mouth.ok("STORE 1 +FLAGS (\\Deleted)")
            mouth.ok("EXPUNGE")
            self.hear(ear, r"^\* 1 EXPUNGE")
            # Delayed: only with a command that allows it
            ear.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
            mouth.append("Chosen", letter(6))
            self.hear(ear, r"1 EXISTS")
            mouth.ok("STORE 1 +FLAGS (\\Deleted)")
            mouth.ok("EXPUNGE")
            time.sleep(0.3)
            self.assertFalse(starting(ear.ok("FETCH 1 (UID)"), "* 1 EXPUNGE"))
            self.assertTrue(starting(ear.ok("NOOP"), "* 1 EXPUNGE"))

    def test_names_and_subscriptions(self):
        with Session(self.suite) as ear, Session(self.suite) as mouth:
            ear.ok("NOTIFY SET (personal (MailboxName SubscriptionChange))")
            mouth.ok("CREATE Made")
            self.hear(ear, r'^\* LIST \([^)]*\) "/" Made$')
            mouth.ok("SUBSCRIBE Made")
            self.hear(ear, r'^\* LIST \(\\Subscribed\) "/" Made$')
            mouth.ok("UNSUBSCRIBE Made")
            self.hear(ear, r'^\* LIST \(\) "/" Made$')
            mouth.ok("RENAME Made Other")
            heard = self.hear(ear, r'^\* LIST \(\) "/" Other \(OLDNAME \(Made\)\)$')
            self.assertFalse([line for line in heard if "NonExistent" in line])
            mouth.ok("DELETE Other")
            self.hear(ear, r'^\* LIST \(\\NonExistent\) "/" Other$')

    def test_while_idle_and_what_is_not_there(self):
        with Session(self.suite) as ear, Session(self.suite) as mouth:
            mouth.ok("CREATE Idle")
            ear.ok("SELECT INBOX")
            ear.ok("NOTIFY SET (mailboxes Idle (MessageNew MessageExpunge))")
            ear.raw.send(b"i IDLE\r\n")
            self.hear(ear, r"^\+")
            mouth.append("Idle", letter(7))
            self.hear(ear, r"STATUS Idle \(MESSAGES 1")
            ear.raw.send(b"DONE\r\n")
            ear.until("i")
            self.assertIn(" NO [BADEVENT (MessageNew ",
                          ear.do("NOTIFY SET (personal (AnnotationChange))")[-1])
            self.assertIn(" BAD ", ear.do("NOTIFY SET (personal (MessageNew))")[-1])
