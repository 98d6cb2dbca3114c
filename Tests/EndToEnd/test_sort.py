# SPDX-License-Identifier: Apache-2.0
"""SORT, THREAD and the forms of SEARCH: as the RFCs show them, and as Dovecot answers the same mail."""

import email.header
import random
import re
import shutil
import tempfile
import time
import unittest

from suite import Suite, SuiteCase
from test_foreign import Dovecot
from test_imap_dialogues import Session


def dated(day, subject, number, references="", sender="carol@elsewhere.example", size=0):
    more = f"References: {references}\r\n" if references else ""
    return (f"From: {sender}\r\nTo: alice@example.test\r\nSubject: {subject}\r\n"
            f"Date: {day} Mar 2024 10:00:00 +0000\r\nMessage-ID: <m{number}@x>\r\n{more}\r\n"
            f"{'x' * size}\r\n").encode()


class Answers(SuiteCase):
    """Eight messages: 1 to 8 with the UIDs 1 to 8."""

    def setUp(self):
        self.session = Session(self.suite)
        self.session.ok("CREATE Box")
        rows = [
            dated(8, "tea", 1, sender="Zoe <a@x>"), dated(7, "Re: tea", 2, "<m1@x>"),
            dated(6, "milk", 3, size=500), dated(5, "[x] Re: milk", 4, "<m3@x>"),
            dated(4, "apple", 5, sender="b@x"), dated(3, "fwd: apple", 6, "<m9@x>"),
            dated(2, "apple pie", 7, "<m9@x>"), dated(1, "=?utf-8?q?=C3=84pfel?=", 8)]
        for number, row in enumerate(rows):
            self.session.append("Box", row, f'"01-Apr-2024 10:{number:02}:00 +0000" ')
        self.session.ok("SELECT Box")

    def tearDown(self):
        self.session.ok("UNSELECT")
        self.session.ok("DELETE Box")
        self.session.close()

    def one(self, command):
        """The untagged line of a command that has one."""
        lines = self.session.ok(command)
        self.assertEqual(len(lines), 2, lines)
        return lines[0]

    def news(self):
        time.sleep(0.06)  # a view that was brought up to date a moment ago is not asked about again
        return self.session.ok("NOOP")

    def extended(self, command):
        line = self.one(command)
        self.assertIn(f'* ESEARCH (TAG "t{self.session.count}")', line)
        return line.split(")", 1)[1]

    def test_esearch(self):
        self.assertEqual(self.extended("SEARCH RETURN (MIN COUNT) SUBJECT tea"),
                         " MIN 1 COUNT 2")
        self.assertEqual(self.extended("UID SEARCH RETURN () ALL"), " UID ALL 1:8")
        self.assertEqual(self.extended("SEARCH RETURN (MAX MIN ALL COUNT) FROM nobody"),
                         " COUNT 0")
        self.assertEqual(self.extended("SEARCH RETURN (MIN) FROM nobody"), "")
        self.assertEqual(self.extended("SEARCH RETURN (ALL) NOT SUBJECT apple"), " ALL 1:4,8")
        self.session.ok("ENABLE CONDSTORE")
        self.assertRegex(self.extended("SEARCH RETURN (MAX) MODSEQ 1"), r"^ MAX 8 MODSEQ \d+$")
        self.assertRegex(self.session.do("SEARCH RETURN (NOSUCH) ALL")[-1], r"BAD")

    def test_modseq_is_of_the_messages_told(self):
        first = self.session.ok("FETCH 1 (MODSEQ)")
        one = int(re.search(r"MODSEQ \((\d+)\)", " ".join(first))[1])
        lines = self.session.ok("SEARCH RETURN (MIN) MODSEQ 1")
        self.assertRegex(lines[-2], rf"MIN 1 MODSEQ {one}$")

    def test_partial(self):
        self.assertEqual(self.extended("UID SEARCH RETURN (PARTIAL 3:4 COUNT) ALL"),
                         " UID PARTIAL (3:4 3:4) COUNT 8")
        self.assertEqual(self.extended("SEARCH RETURN (PARTIAL -1:-3) ALL"),
                         " PARTIAL (-1:-3 6:8)")
        self.assertEqual(self.extended("SEARCH RETURN (PARTIAL 9:20) ALL"), " PARTIAL (9:20 NIL)")
        self.assertEqual(
            self.extended("UID SORT RETURN (PARTIAL 1:3) (DATE) UTF-8 ALL"),
            " UID PARTIAL (1:3 8,7,6)")
        self.assertRegex(self.session.do("SEARCH RETURN (PARTIAL 1:2 ALL) ALL")[-1], "BAD")

    def test_partial_fetch(self):
        def told(command):
            return [int(re.search(r"UID (\d+)", row)[1]) for row in self.session.ok(command)[:-1]]
        self.session.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
        self.session.ok("UID EXPUNGE 3")
        self.assertEqual(told("UID FETCH 1:* (FLAGS) (PARTIAL 2:4)"), [2, 4, 5])
        self.assertEqual(told("UID FETCH 1:2,5:8 (FLAGS) (PARTIAL -1:-3)"), [6, 7, 8])
        self.assertEqual(told("UID FETCH 1:* (UID ENVELOPE) (PARTIAL -7:-20)"), [1])
        self.assertEqual(told("UID FETCH 1:* (FLAGS) (PARTIAL 8:20)"), [])
        self.assertRegex(self.session.do("FETCH 1:* (FLAGS) (PARTIAL 1:2)")[-1], "BAD")

    def test_saved_result(self):
        self.assertEqual(len(self.session.ok("SEARCH RETURN (SAVE) SUBJECT apple")), 1)
        self.assertEqual(self.one("SEARCH $"), "* SEARCH 5 6 7")
        self.assertEqual(self.one("SEARCH NOT $ SEEN"), "* SEARCH")
        self.assertEqual(self.one("UID SEARCH UID $ SUBJECT pie"), "* SEARCH 7")
        self.assertEqual(len(self.session.ok("FETCH $ (UID)")), 4)
        self.session.ok("STORE $ +FLAGS (\\Flagged)")
        self.assertEqual(self.one("SEARCH FLAGGED"), "* SEARCH 5 6 7")
        self.session.ok("UID STORE 6 +FLAGS.SILENT (\\Deleted)")
        self.session.ok("UID EXPUNGE $")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH 5 6")
        self.assertEqual(self.one("UID SEARCH $"), "* SEARCH 5 7")
        self.session.ok("CREATE Other")
        self.assertIn("COPYUID", " ".join(self.session.ok("COPY $ Other")))
        # MIN and MAX alone save what they tell, each message once
        self.extended("SEARCH RETURN (SAVE MIN MAX) ALL")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH 1 7")
        self.extended("SEARCH RETURN (SAVE MIN MAX) 3")
        self.assertEqual(len(self.session.ok("FETCH $ (UID)")), 2)
        self.extended("SEARCH RETURN (SAVE MIN COUNT) SUBJECT milk")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH 3 4")
        # A NO forgets it, a BAD does not; SELECT does
        self.session.do("SEARCH RETURN (SAVE NOSUCH) ALL")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH 3 4")
        self.assertRegex(
            self.session.do("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL")[-1], "NO .BADCHARSET")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH")
        self.assertEqual(len(self.session.ok("FETCH $ (UID)")), 1)
        self.session.ok("SEARCH RETURN (SAVE) ALL")
        self.session.ok("SELECT Box")
        self.assertEqual(self.one("SEARCH $"), "* SEARCH")
        self.session.ok("DELETE Other")

    def test_followed_search(self):
        other = Session(self.suite)
        other.ok("SELECT Box")
        self.session.ok("UID SEARCH RETURN (UPDATE COUNT) UNDELETED SUBJECT apple")
        first = f"t{self.session.count}"
        self.session.ok("UID SORT RETURN (UPDATE) (DATE) UTF-8 UNFLAGGED")  # 8 7 6 5 4 3 2 1
        second = f"t{self.session.count}"
        other.ok("STORE 6 +FLAGS (\\Deleted)")
        other.ok("STORE 3 +FLAGS (\\Flagged)")
        lines = self.news()
        self.assertIn(f'* ESEARCH (TAG "{first}") UID REMOVEFROM (0 6)', lines)
        self.assertIn(f'* ESEARCH (TAG "{second}") UID REMOVEFROM (6 3)', lines)
        # 8 7 6 5 4 2 1; a new one of day 3
        other.append("Box", dated(3, "apple tree", 10))
        lines = self.news()
        self.assertLess(lines.index("* 9 EXISTS"),
                        lines.index(f'* ESEARCH (TAG "{first}") UID ADDTO (0 9)'))
        self.assertIn(f'* ESEARCH (TAG "{second}") UID ADDTO (4 9)', lines)
        # An EXPUNGE comes behind the news of it, from others and from ourselves
        other.ok("EXPUNGE")
        lines = self.news()
        self.assertLess(lines.index(f'* ESEARCH (TAG "{second}") UID REMOVEFROM (3 6)'),
                        lines.index("* 6 EXPUNGE"))
        self.session.ok("UID STORE 9 +FLAGS.SILENT (\\Deleted)")
        lines = self.session.ok("EXPUNGE")
        text = "\n".join(lines)
        self.assertIn(f'(TAG "{first}") UID REMOVEFROM (0 9)', text)
        self.assertLess(lines.index(f'* ESEARCH (TAG "{second}") UID REMOVEFROM (3 9)'),
                        lines.index("* 8 EXPUNGE"))
        # In IDLE too, and no more when it was cancelled
        self.session.ok(f'CANCELUPDATE "{second}"')
        self.session.raw.send(b"i IDLE\r\n")
        self.assertTrue(self.session.response().startswith("+"))
        other.ok("STORE 5 +FLAGS (\\Deleted \\Flagged)")
        line = ""
        while "ESEARCH" not in line:
            line = self.session.response()
        self.assertEqual(line, f'* ESEARCH (TAG "{first}") UID REMOVEFROM (0 5)')
        self.session.raw.send(b"DONE\r\n")
        self.assertEqual(self.session.until("i"), ["i OK IDLE terminated"])
        other.close()

    def test_searches_that_cannot_be_followed(self):
        lines = self.session.ok("SEARCH RETURN (UPDATE ALL) 1:3")
        self.assertIn(f'* NO [NOUPDATE "t{self.session.count}"]', "\n".join(lines))
        self.assertIn("ALL 1:3", lines[0])
        for _ in range(8):
            self.assertEqual(len(self.session.ok("SEARCH RETURN (UPDATE COUNT) SEEN")), 2)
        self.assertIn("[NOUPDATE", self.session.ok("SEARCH RETURN (UPDATE COUNT) SEEN")[-2])

    def test_several_mailboxes(self):
        self.session.ok("CREATE Box/one")
        self.session.ok("CREATE Box/one/two")
        self.session.append("Box/one", dated(1, "apple juice", 20))
        self.session.append("Box/one/two", dated(1, "apple wine", 21))
        self.session.append("Box/one/two", dated(1, "beer", 22))

        def found(command):
            lines = self.session.ok(command)
            result = {}
            for line in lines[:-1]:
                row = re.fullmatch(r'\* ESEARCH \(TAG "(t\d+)" MAILBOX "?([^" ]+)"? UIDVALIDITY '
                                   r'\d+\) UID (.*)', line)
                self.assertEqual(row[1], f"t{self.session.count}")
                result[row[2]] = row[3]
            return result

        self.assertEqual(
            found("ESEARCH IN (subtree Box) RETURN (ALL) SUBJECT apple"),
            {"Box": "ALL 5:7", "Box/one": "ALL 1", "Box/one/two": "ALL 1"})
        self.assertEqual(
            found("ESEARCH IN (subtree-one Box) RETURN (COUNT) SUBJECT apple"),
            {"Box": "COUNT 3", "Box/one": "COUNT 1"})
        self.assertEqual(
            found("ESEARCH IN (mailboxes (Box/one/two nosuch) selected) SUBJECT beer"),
            {"Box/one/two": "ALL 2"})
        self.assertEqual(found("ESEARCH IN (personal) RETURN (MIN MAX) BODY nothing"), {})
        self.assertEqual(found("ESEARCH RETURN (MAX) 1:3"), {"Box": "MAX 3"})
        # The selected mailbox stays selected and is followed as before
        self.assertEqual(self.one("SEARCH SUBJECT milk"), "* SEARCH 3 4")
        self.session.append("Box", dated(1, "more", 23))
        self.assertEqual(self.one("SEARCH SUBJECT more"), "* SEARCH 9")
        self.session.ok("UNSELECT")
        self.assertEqual(found("ESEARCH IN (mailboxes Box/one) ALL"), {"Box/one": "ALL 1"})
        self.assertRegex(self.session.do("ESEARCH ALL")[-1], "BAD")
        self.assertRegex(self.session.do("ESEARCH IN (selected) ALL")[-1], "BAD")
        self.session.ok("DELETE Box/one/two")
        self.session.ok("DELETE Box/one")
        self.session.ok("SELECT Box")

    def test_sort(self):
        self.assertEqual(self.one("SORT (DATE) UTF-8 ALL"), "* SORT 8 7 6 5 4 3 2 1")
        self.assertEqual(self.one("UID SORT (SUBJECT REVERSE DATE) UTF-8 ALL"),
                         "* SORT 5 6 7 3 4 1 2 8")
        self.assertEqual(self.one("SORT (REVERSE SIZE) US-ASCII 2:4"), "* SORT 3 4 2")
        self.assertEqual(self.one("SORT (DISPLAYFROM) UTF-8 1,2,5"), "* SORT 5 2 1")
        self.assertEqual(self.one("SORT (FROM) UTF-8 1,2,5"), "* SORT 1 5 2")
        self.assertEqual(self.one("SORT (DATE) UTF-8 FROM nobody"), "* SORT")
        self.assertEqual(self.extended("UID SORT RETURN (ALL COUNT MIN MAX) (DATE) UTF-8 1:3"),
                         " UID MIN 3 MAX 1 ALL 3,2,1 COUNT 3")
        self.assertRegex(self.session.do("SORT (DATE) KOI8-R ALL")[-1], "NO .BADCHARSET")

    def test_thread(self):
        self.assertEqual(self.one("THREAD REFERENCES UTF-8 ALL"),
                         "* THREAD (8)((7)(6))(5)(3 4)(1 2)")
        self.assertEqual(self.one("THREAD REFS UTF-8 ALL"), "* THREAD (1 2)(3 4)(5)((7)(6))(8)")
        self.assertEqual(self.one("UID THREAD ORDEREDSUBJECT UTF-8 1:4"), "* THREAD (4 3)(2 1)")
        self.assertEqual(self.one("THREAD REFS UTF-8 FROM nobody"), "* THREAD")


def generated(count, seed):
    """Messages with subjects and references as the world has them: folded, encoded, broken. No subject
    begins with a letter that can be taken apart: Dovecot compares those by their parts, we do not yet."""
    rng = random.Random(seed)
    words = ["Tea", "milk", "Gärten", "naïve", "budget", "2024", "x", "Ω-test", "plan b"]
    decorations = ["", "", "", "Re: ", "RE: ", "Fwd: ", "fw: ", "Re[2]: ", "[list] ", "[list] Re: ",
                   "Re: [list] ", "Re: Fwd: Re: ", "AW: ", "re : ", "[a] [b] "]
    trailers = ["", "", "", " (fwd)", " (FWD) ", "  "]
    rows = []
    for number in range(count):
        subject = (rng.choice(decorations) + " ".join(rng.sample(words, rng.randint(1, 2)))
                   + rng.choice(trailers))
        style = rng.random()
        if style < 0.1:
            subject = f"[fwd: {subject.strip()}]"
        if not subject.isascii() or style > 0.9:
            subject = email.header.Header(subject, "utf-8", maxlinelen=40).encode()
            subject = subject.replace("\n", "\r\n")
        elif style < 0.3:
            subject = subject.replace(" ", "\r\n ", 1) if " " in subject.strip() else subject
        lines = [f"From: {rng.choice(['Ann <z@x>', 'b@x', 'Bob <A@x>', '<c@y>'])}"]
        if rng.random() < 0.9:
            lines.append(f"To: {rng.choice(['q@x', 'Zed <a@b>', 'a@b, c@d'])}")
        if rng.random() < 0.3:
            lines.append(f"Cc: {rng.choice(['q@x', 'm@y'])}")
        if rng.random() < 0.95:
            lines.append(f"Subject: {subject}")
        if rng.random() < 0.95:
            lines.append(f"Date: {rng.randint(1, 28)} Feb 2023 {rng.randint(0, 23):02}:"
                         f"{number % 60:02}:{number // 60:02} {rng.choice(['+0000', '-0800'])}")
        if rng.random() < 0.95:
            lines.append(f"Message-ID: <m{number if rng.random() < 0.97 else number // 2}@x>")
        if rng.random() < 0.5:
            ids = [f"<m{rng.randrange(2 * count)}@x>" for _ in range(rng.randint(1, 4))]
            if rng.random() < 0.8:
                lines.append("References: " + "\r\n ".join(ids))
            else:
                lines.append("In-Reply-To: " + ids[0])
        rows.append(("\r\n".join(lines) + "\r\n\r\n" + "y" * rng.randint(0, 999) + "\r\n").encode())
    return rows


def threads(answer):
    """The threads of an answer, each as it is written."""
    found, depth = [], 0
    for octet in answer.decode():
        if octet == "(":
            if depth == 0:
                found.append("")
            depth += 1
        found[-1] += octet
        if octet == ")":
            depth -= 1
    return found


class LikeDovecot(unittest.TestCase):
    """The same mail in both, the same commands to both."""

    COUNT = 400

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="martlet-sort-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.theirs = Dovecot(cls.folder).imap()
        cls.suite = Suite()
        cls.addClassCleanup(cls.suite.close)
        cls.ours = cls.suite.imap()
        for number, octets in enumerate(generated(cls.COUNT, 5256)):
            date = f'"{1 + number % 28:02}-Mar-2023 {number % 24:02}:00:{number % 60:02} +0000"'
            for client in (cls.ours, cls.theirs):
                answer = client.append("INBOX", None, date, octets)
                assert answer[0] == "OK", answer
        for client in (cls.ours, cls.theirs):
            assert client.select()[0] == "OK"

    @classmethod
    def tearDownClass(cls):
        cls.ours.logout()
        cls.theirs.logout()

    def both(self, call):
        ours, theirs = call(self.ours), call(self.theirs)
        self.assertEqual((ours[0], theirs[0]), ("OK", "OK"))
        return ours[1][0], theirs[1][0]

    def test_sort(self):
        for order in ("DATE", "ARRIVAL", "SIZE", "SUBJECT", "FROM", "TO", "CC", "REVERSE DATE",
                      "SUBJECT REVERSE DATE", "FROM REVERSE SIZE", "DISPLAYFROM DATE",
                      "DISPLAYTO ARRIVAL"):
            with self.subTest(order):
                ours, theirs = self.both(lambda c: c.sort(f"({order})", "UTF-8", "ALL"))
                self.assertEqual(ours, theirs)

    def test_uid_sort_of_some(self):
        ours, theirs = self.both(
            lambda c: c.uid("SORT", "(SUBJECT)", "UTF-8", "1:200", "NOT", "SUBJECT", "tea"))
        self.assertEqual(ours, theirs)

    def test_thread(self):
        for algorithm in ("REFERENCES", "REFS", "ORDEREDSUBJECT"):
            with self.subTest(algorithm):
                if f"THREAD={algorithm}" not in " ".join(self.theirs.capabilities):
                    continue
                ours, theirs = self.both(lambda c: c.thread(algorithm, "UTF-8", "ALL"))
                if algorithm == "REFS":
                    # The draft puts threads in the order of their last INTERNALDATE, Dovecot in that
                    # of the last Date.
                    ours, theirs = sorted(threads(ours)), sorted(threads(theirs))
                self.assertEqual(ours, theirs)
