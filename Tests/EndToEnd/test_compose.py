# SPDX-License-Identifier: Apache-2.0
"""Messages into imapd: many at once, made of parts, in place of others, binary and in UTF-8."""

import os
import re

from suite import SuiteCase, eventually
from test_imap_dialogues import ALICE, Session


def literal(octets, header=b"{%d+}\r\n"):
    return header % len(octets) + octets


class Sender(Session):
    def send(self, *pieces):
        """A command with literals; the answer."""
        self.count += 1
        tag = f"t{self.count}"
        octets = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
        self.raw.send(tag.encode() + b" " + octets + b"\r\n")
        return self.until(tag)

    def text(self, uid, item="BODY.PEEK[]"):
        lines = self.ok(f"UID FETCH {uid} {item}")
        return re.search(r"\{\d+\}\r\n(?s:(.*))\)$", lines[0])[1]


ONE, TWO = b"Subject: one\r\n\r\nFirst.\r\n", b"Subject: two\r\n\r\nSecond.\r\n"


class Many(SuiteCase):
    def test_many_messages_come_together_or_not_at_all(self):
        with Sender(self.suite) as session:
            capabilities = session.ok("CAPABILITY")[0]
            for name in ("MULTIAPPEND", "CATENATE", "URL-PARTIAL", "BINARY", "REPLACE", "UTF8=ACCEPT"):
                self.assertIn(f" {name}", capabilities)
            session.ok("CREATE Many")
            answer = session.send("APPEND Many (\\Seen) ", literal(ONE), " ($x) \" 7-Feb-1994 22:43:04 -0800\" ", literal(TWO),
                                  " ", literal(ONE))
            self.assertRegex(answer[-1], r"OK \[APPENDUID \d+ 1:3\]")
            session.ok("SELECT Many")
            lines = session.ok("FETCH 1:3 (FLAGS INTERNALDATE)")
            self.assertIn("\\Seen", lines[0])
            self.assertIn("$x", lines[1])
            self.assertIn(" 8-Feb-1994 06:43:04 +0000", lines[1])
            self.assertEqual(session.text(2), TWO.decode())
            for bad in ((" ", literal(b"")), (" (\\Seen", ), (" junk",),
                        (" ", literal(b"x" * (26214400 + 1)))):
                answer = session.send("APPEND Many ", literal(ONE), *bad)
                self.assertRegex(answer[-1], r"t\d+ (NO|BAD)", bad[0])
            self.assertIn("MESSAGES 3", session.ok("STATUS Many (MESSAGES)")[0])
            self.assertRegex(session.send("APPEND Nowhere ", literal(ONE), " ", literal(TWO))[-1], r"NO \[TRYCREATE\]")

    def test_256_messages_come_together_and_one_more_is_refused(self):
        big = b"Subject: big\r\n\r\n" + b"0123456789abcde\n" * 5000
        with Sender(self.suite) as session:
            session.ok("CREATE Most")
            pieces = []
            for number in range(256):
                pieces += [" ", literal(b"Subject: %d\r\n\r\nx\r\n" % number if number % 50 else big)]
            self.assertRegex(session.send("APPEND Most", *pieces)[-1], r"OK \[APPENDUID \d+ 1:256\]")
            session.ok("SELECT Most")
            self.assertEqual(session.text(256), "Subject: 255\r\n\r\nx\r\n")
            self.assertEqual(session.text(51).encode(), big.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n"))
            self.assertEqual(session.text(52), "Subject: 51\r\n\r\nx\r\n")
            self.assertRegex(session.send("APPEND Most", *pieces, " ", literal(ONE))[-1], r"NO \[LIMIT\]")
            self.assertIn("MESSAGES 256", session.ok("STATUS Most (MESSAGES)")[0])

    def test_the_client_is_asked_for_each_literal_that_waits(self):
        with Sender(self.suite) as session:
            session.ok("CREATE Asked")
            session.raw.send(b"x APPEND Asked {%d}\r\n" % len(ONE))
            self.assertTrue(session.response().startswith("+ "))
            session.raw.send(ONE + b" {%d}\r\n" % len(TWO))
            self.assertTrue(session.response().startswith("+ "))
            session.raw.send(TWO + b"\r\n")
            self.assertRegex(session.until("x")[-1], r"OK \[APPENDUID \d+ 1:2\]")
            session.raw.send(b"y APPEND Asked {99999999}\r\n")
            self.assertRegex(session.until("y")[-1], r"NO \[TOOBIG\]")


class Catenate(SuiteCase):
    def test_messages_are_made_of_parts_of_others(self):
        mail = (b"Subject: draft\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n"
                b"--b\r\nContent-Type: text/x\r\n\r\nAttached.\r\n--b--\r\n")
        with Sender(self.suite) as session:
            session.ok('CREATE "Dräfts & more"'.encode().decode("utf-8"))
            session.ok("CREATE Parts")
            uid = session.append("Parts", mail)
            validity = re.search(r"UIDVALIDITY (\d+)", session.ok("STATUS Parts (UIDVALIDITY)")[0])[1]
            url = f"/Parts;UIDVALIDITY={validity}/;UID={uid}"
            answer = session.send("APPEND Parts (\\Draft) CATENATE (URL ", f'"{url}/;SECTION=HEADER" TEXT ',
                                  literal(b"--b\r\n\r\nNew words.\r\n--b\r\n"), f' URL "{url}/;section=2.MIME"',
                                  f' URL {url}/;SECTION=2 TEXT ', literal(b"\r\n--b--\r\n"), ")")
            self.assertRegex(answer[-1], r"OK \[APPENDUID \d+ 2\]")
            session.ok("SELECT Parts")
            self.assertEqual(session.text(2), mail.decode().replace("Hello.", "New words."))
            # Relative to the selected mailbox; parts of parts; a URL as a literal
            answer = session.send("APPEND Parts CATENATE (URL ", literal(b";UID=1/;SECTION=2/;PARTIAL=3.4"),
                                  " URL /;UID=1/;SECTION=1 URL /Parts/;UID=1/;SECTION=1/;PARTIAL=5)")
            self.assertRegex(answer[-1], " OK ")
            self.assertEqual(session.text(3), "acheHello..")
            answer = session.send(f"APPEND Parts CATENATE (URL imap://mail.example.test{url})")
            self.assertRegex(answer[-1], " (OK|NO)")
            for bad in ("/Parts;UIDVALIDITY=1/;UID=1", "/Parts/;UID=99", "/Nowhere/;UID=1", "/Parts/;UID=1/;SECTION=9",
                        "imap://elsewhere.example/Parts/;UID=1", "/Parts/;UID=1;URLAUTH=anonymous:internal:x", "x"):
                answer = session.send(f'APPEND Parts CATENATE (TEXT ', literal(b"x"), f' URL "{bad}" TEXT ', literal(b"y"), ")")
                self.assertRegex(answer[-1], r'NO \[BADURL "' + re.escape(bad) + '"\\]')
            session.ok("NOOP")

    def test_long_parts_come_from_their_files_and_too_much_is_too_big(self):
        big = b"Subject: big\r\n\r\n" + os.urandom(6 << 20).hex().encode() + b"\r\n"
        with Sender(self.suite) as session:
            session.ok("CREATE Long")
            session.append("Long", big)
            before = self.suite.rss("imapd")
            self.assertRegex(session.send("APPEND Long CATENATE (URL /Long/;UID=1 URL /Long/;UID=1)")[-1], " OK ")
            session.ok("SELECT Long")
            self.assertEqual(session.text(2).encode(), big + big)
            self.assertLess(self.suite.rss("imapd") - before, 12 << 20)
            answer = session.send("APPEND Long CATENATE (URL /Long/;UID=2 URL /Long/;UID=1)")
            self.assertRegex(answer[-1], r"NO \[TOOBIG\]")
            eventually(lambda: "MESSAGES 2" in session.ok("STATUS Long (MESSAGES)")[0])


class Replace(SuiteCase):
    def test_a_draft_is_replaced_in_one_step(self):
        with Sender(self.suite) as session, Sender(self.suite) as other:
            session.ok("CREATE Edit")
            for _ in range(3):
                session.append("Edit", ONE)
            session.ok("SELECT Edit")
            other.ok("SELECT Edit")
            answer = session.send("REPLACE 2 Edit (\\Seen) ", literal(TWO))
            self.assertRegex(answer[0], r"^\* OK \[APPENDUID \d+ 4\]")
            self.assertIn("* 2 EXPUNGE", answer)
            self.assertRegex(answer[-1], " OK ")
            seen = other.ok("NOOP")
            self.assertIn("* 2 EXPUNGE", seen)
            self.assertEqual(session.text(4), TWO.decode())
            answer = session.send("UID REPLACE 4 INBOX ", literal(ONE))
            self.assertRegex(answer[0], r"APPENDUID")
            self.assertIn("* 3 EXPUNGE", answer)
            self.assertRegex(session.send("UID REPLACE 4 INBOX ", literal(ONE))[-1], r"NO \[EXPUNGEISSUED\]")
            self.assertRegex(session.send("REPLACE 9 INBOX ", literal(ONE))[-1], " BAD ")
            self.assertRegex(session.send("REPLACE 1 Nowhere ", literal(ONE))[-1], r"NO \[TRYCREATE\]")
            self.assertRegex(session.send("REPLACE * Edit CATENATE (URL ;UID=1 TEXT ", literal(b"more\r\n"), ")")[-1], " OK ")
            self.assertEqual(session.ok("SEARCH ALL")[0], "* SEARCH 1 2")
            self.assertEqual(session.text("*"), ONE.decode() + "more\r\n")
            session.ok("EXAMINE Edit")
            self.assertRegex(session.send("REPLACE 1 Edit ", literal(ONE))[-1], r"NO \[READ-ONLY\]")


class Encodings(SuiteCase):
    def test_binary_messages_become_readable_for_everybody(self):
        octets = bytes(range(256)) * 40
        mail = (b"Subject: x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets)
        with Sender(self.suite) as session:
            session.ok("CREATE Binary")
            self.assertRegex(session.send("APPEND Binary ", literal(mail, b"~{%d+}\r\n"))[-1], r"OK \[APPENDUID")
            session.ok("SELECT Binary")
            self.assertNotIn("\0", session.text(1))
            self.assertIn("base64", session.text(1))
            session.raw.send(b"x FETCH 1 BINARY.PEEK[1]\r\n")
            self.assertRegex(session.raw.file.readline(), rb"BINARY\[1\] ~\{%d\}" % len(octets))
            self.assertEqual(session.raw.file.read(len(octets)), octets)
            session.until("x")
            answer = session.send("APPEND Binary ", literal(b"Subject: x\r\n\r\na\0b\r\n", b"~{%d+}\r\n"))
            self.assertRegex(answer[-1], r"NO \[UNKNOWN-CTE\]")

    def test_names_and_headers_in_utf8(self):
        mail = "Subject: Grüße\r\nFrom: Jürgen <jürgen@bücher.example>\r\n\r\nHällo\r\n".encode()
        with Sender(self.suite) as session:
            self.assertRegex(session.send("APPEND INBOX UTF8 (", literal(mail, b"~{%d+}\r\n"), ")")[-1], " BAD ")
            session.ok('CREATE "R&-D &AOQ-"')
            session.ok("SELECT INBOX")
            self.assertIn("* ENABLED UTF8=ACCEPT", session.ok("ENABLE UTF8=ACCEPT"))
            rows = session.ok('LIST "" "R*"')
            self.assertIn('"R&D ä"', rows[0])
            session.ok('CREATE "Müll &- mehr"')
            self.assertTrue(any('"Müll &- mehr"' in row for row in session.ok('LIST "" "Mü%"')))
            session.ok('SELECT "Müll &- mehr"')
            answer = session.send('APPEND "Müll &- mehr" UTF8 (', literal(mail, b"~{%d+}\r\n"), ")")
            self.assertRegex(answer[-1], " OK ")
            self.assertEqual(session.text(1), mail.decode())
            self.assertRegex(session.do("SEARCH CHARSET UTF-8 SUBJECT x")[-1], " BAD ")
            self.assertEqual(session.ok('SEARCH SUBJECT "grüße"')[0], "* SEARCH 1")
            self.assertIn('PREVIEW "Hällo"', session.ok("FETCH 1 PREVIEW")[0])
        with Sender(self.suite) as session:
            rows = session.ok('LIST "" "M*"')
            self.assertTrue(any('"M&APw-ll &-- mehr"' in row for row in rows), rows)
