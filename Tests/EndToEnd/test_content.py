# SPDX-License-Identifier: Apache-2.0
"""Message content into imapd and out of it: ids and dates, previews, binary parts, groups of messages."""

import base64
import re
import time

from suite import SuiteCase
from test_imap_dialogues import ALICE, BOB, Session


def fetched(lines, label):
    """The values of an item in FETCH responses."""
    return [found[1] for line in lines if (found := re.search(label + r" (\([^)]*\)|\"[^\"]*\"|NIL|\d+)", line))]


class Details(SuiteCase):
    def test_ids_stay_with_messages_and_mailboxes(self):
        with Session(self.suite) as session:
            capabilities = session.ok("CAPABILITY")[0]
            for name in ("OBJECTID", "SAVEDATE", "PREVIEW", "UNAUTHENTICATE"):
                self.assertIn(f" {name}", capabilities)
            made = session.ok("CREATE Here")[-1]
            box = re.search(r"\[MAILBOXID \((F\d+)\)\]", made)[1]
            session.ok("CREATE There")
            self.assertIn(f"MAILBOXID ({box})", session.ok("STATUS Here (MAILBOXID)")[0])
            session.ok("RENAME Here Now")
            self.assertIn(f"MESSAGES 0 MAILBOXID ({box})", session.ok("STATUS Now (MESSAGES MAILBOXID)")[0])
            self.assertTrue(any(f"MAILBOXID ({box})" in line
                                for line in session.ok('LIST "" Now RETURN (STATUS (MAILBOXID))')))
            for number in range(3):
                session.append("Now", f"Subject: {number}\r\n\r\nText {number}.\r\n".encode())
            selected = session.ok("SELECT Now")
            self.assertTrue(any(f"[MAILBOXID ({box})]" in line for line in selected))
            before = fetched(session.ok("FETCH 1:* (EMAILID)"), "EMAILID")
            self.assertEqual(len(set(before)), 3)
            for one in before:
                self.assertRegex(one, r"^\(M[A-Za-z0-9_-]{1,254}\)$")
            self.assertEqual(fetched(session.ok("FETCH 1:* THREADID"), "THREADID"), ["NIL"] * 3)
            session.ok("MOVE 1:2 There")
            session.ok("COPY 1 There")
            session.ok("SELECT There")
            self.assertEqual(fetched(session.ok("FETCH 1:* (UID EMAILID ENVELOPE)"), "EMAILID"), before)
            found = session.ok(f"SEARCH EMAILID {before[1][1:-1]}")[0]
            self.assertEqual(found, "* SEARCH 2")
            self.assertEqual(session.ok(f"SEARCH NOT EMAILID {before[1][1:-1]}")[0], "* SEARCH 1 3")
            self.assertEqual(session.ok("SEARCH THREADID x")[0], "* SEARCH")

    def test_savedate_is_when_the_message_came_into_the_mailbox(self):
        with Session(self.suite) as session:
            session.ok("CREATE Dates")
            session.append("Dates", b"Subject: x\r\n\r\nx\r\n", '"01-Jan-2001 00:00:00 +0000" ')
            session.ok("SELECT Dates")
            lines = session.ok("FETCH 1 (SAVEDATE INTERNALDATE)")
            year = time.strftime("%Y", time.gmtime())
            self.assertRegex(lines[0], rf'SAVEDATE "\d\d-\w\w\w-{year} \d\d:\d\d:\d\d \+0000"')
            self.assertIn('INTERNALDATE " 1-Jan-2001', lines[0])
            self.assertEqual(session.ok("SEARCH SAVEDSINCE 1-Jan-2002")[0], "* SEARCH 1")
            self.assertEqual(session.ok("SEARCH SAVEDBEFORE 1-Jan-2002")[0], "* SEARCH")
            self.assertEqual(session.ok("SEARCH SAVEDATESUPPORTED")[0], "* SEARCH 1")
            today = time.strftime("%d-%b-%Y", time.gmtime())
            self.assertEqual(session.ok(f"SEARCH OR SAVEDON {today} ON {today}")[0], "* SEARCH 1")

    def test_preview_is_made_once_and_lazy_ones_are_nil_before(self):
        with Session(self.suite) as session:
            session.ok("CREATE Words")
            html = "<style>p {}</style><p>Gr&uuml;&szlig;e &amp; mehr</p>" + "<p>x</p>" * 500
            session.append("Words", b"Subject: a\r\nContent-Type: text/html\r\n\r\n" + html.encode() + b"\r\n")
            session.append("Words", b"Subject: b\r\nContent-Type: image/png\r\n\r\nabc\r\n")
            session.append("Words", b"Subject: c\r\n\r\n" + b"Plain words, " * 9000 + b"\r\n")
            session.ok("SELECT Words")
            self.assertEqual(fetched(session.ok("FETCH 1:* (PREVIEW (LAZY))"), "PREVIEW"), ["NIL"] * 3)
            lines = session.ok("FETCH 1:* (UID PREVIEW FLAGS)")
            self.assertRegex(lines[0], r"PREVIEW \{\d+\}\r\nGrüße & mehr x x")
            self.assertEqual(fetched(lines[1:], "PREVIEW")[0], '""')
            self.assertLessEqual(len(fetched(lines, "PREVIEW")[-1]), 258)
            self.assertNotIn("\\Seen", "".join(lines))
            lazy = session.ok("FETCH 1:* (PREVIEW (LAZY) ENVELOPE)")
            self.assertRegex(lazy[0], "Grüße & mehr")
            self.assertIn('SNIPPET (FUZZY "Plain words', session.ok("FETCH 3 (SNIPPET (FUZZY))")[0])
            self.assertRegex(session.ok("FETCH 1 (BODY.PEEK[HEADER] PREVIEW)")[0], "Subject: a(?s:.*)Grüße")


class Binary(SuiteCase):
    def test_parts_come_as_they_were_before_they_were_encoded(self):
        octets = bytes(range(256)) * 300
        encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
        mail = (b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                b"Gr=C3=BC=\r\n=C3=9Fe\r\n"
                b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded +
                b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nabc\r\n--b--\r\n")
        with Session(self.suite) as session:
            session.ok("CREATE Parts")
            session.append("Parts", mail)
            session.ok("SELECT Parts")
            self.assertIn("BINARY[1] {7}\r\nGrüße", session.ok("FETCH 1 (BINARY.PEEK[1])")[0])
            self.assertIn("BINARY.SIZE[1] 7", session.ok("FETCH 1 (BINARY.SIZE[1])")[0])
            self.assertIn(f"BINARY.SIZE[2] {len(octets)}", session.ok("FETCH 1 BINARY.SIZE[2]")[0])
            session.raw.send(b"x1 FETCH 1 (UID BINARY[2])\r\n")
            line = session.raw.file.readline()
            self.assertRegex(line, rb"\* 1 FETCH \(UID 1 BINARY\[2\] ~\{%d\}\r\n" % len(octets))
            self.assertEqual(session.raw.file.read(len(octets)), octets)
            rest = session.until("x1")
            self.assertIn("\\Seen", rest[0])
            session.raw.send(b"x2 FETCH 1 (BINARY.PEEK[2]<65530.20>)\r\n")
            self.assertRegex(session.raw.file.readline(), rb"BINARY\[2\]<65530> ~\{20\}\r\n")
            self.assertEqual(session.raw.file.read(20), octets[65530:65550])
            session.until("x2")
            self.assertIn("BINARY[2]<9999999> {0}", session.ok("FETCH 1 BINARY.PEEK[2]<9999999.5>")[0])
            self.assertRegex(session.do("FETCH 1 BINARY.PEEK[3]")[-1], r"NO \[UNKNOWN-CTE\]")
            self.assertRegex(session.do("FETCH 1 BINARY.SIZE[3]")[-1], r"NO \[UNKNOWN-CTE\]")
            self.assertIn("BINARY[9] NIL", session.ok("FETCH 1 BINARY.PEEK[9]")[0])
            self.assertIn(f"BINARY[] {{{len(mail)}}}", session.ok("FETCH 1 BINARY.PEEK[]")[0])


class Unauthenticate(SuiteCase):
    def test_another_user_may_log_in_on_the_same_connection(self):
        with Session(self.suite) as session:
            session.append("INBOX", b"Subject: alice's\r\n\r\nx\r\n")
            session.ok("SELECT INBOX")
            session.ok("ENABLE CONDSTORE")
            session.ok("UNAUTHENTICATE")
            self.assertIn("AUTH=PLAIN", session.ok("CAPABILITY")[0])
            self.assertRegex(session.do("SELECT INBOX")[-1], " BAD ")
            self.assertRegex(session.do("UNAUTHENTICATE")[-1], " BAD ")
            session.ok(f"LOGIN {BOB} {self.suite.passwords[BOB]}")
            lines = session.ok("SELECT INBOX")
            self.assertIn("* 0 EXISTS", lines)
