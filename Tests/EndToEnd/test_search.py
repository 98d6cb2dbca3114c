# SPDX-License-Identifier: Apache-2.0
"""SEARCH with and without the index: imaplib, curl, mailctl, and what happens to the index's file."""

import base64
import glob
import json
import os
import signal
import subprocess
import unittest

from suite import Suite, eventually, need

ALICE = "alice@example.test"


def numbered(number):
    """A message that says its number in a way that depends on it."""
    subject = f"Subject: report {number}\r\n"
    if number % 5 == 0:
        word = base64.b64encode(f"Grüße {number}".encode()).decode()
        subject = f"Subject: =?utf-8?B?{word}?=\r\n"
    head = (f"From: Writer <w{number}@example.org>\r\nTo: alice@example.test\r\n{subject}"
            f"Date: {1 + number % 28} Mar 2024 10:00:00 +0000\r\nMessage-ID: <{number}@x>\r\n")
    text = f"The quick fox number {number} says straße and naïve."
    if number % 3 == 0:
        text += " zebrafish"
    kind = number % 4
    if kind == 0:
        body = base64.encodebytes(text.encode()).replace(b"\n", b"\r\n")
        more = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    elif kind == 1:
        body = text.encode("latin-1")
        more = "Content-Type: text/plain; charset=iso-8859-1\r\n"
    elif kind == 2:
        body = f"<p>{text.replace('ü', '&uuml;')}</p><script>var secret</script>".encode()
        more = "Content-Type: text/html; charset=utf-8\r\n"
    else:
        body = text.encode()
        more = "Content-Type: text/plain; charset=utf-8\r\n"
    return (head + more + "\r\n").encode() + body + b"\r\n"


class Searching(unittest.TestCase):
    COUNT = 180

    @classmethod
    def setUpClass(cls):
        cls.suite = Suite()
        client = cls.suite.imap()
        for number in range(1, cls.COUNT + 1):
            client.append("INBOX", None, None, numbered(number))
        client.logout()

    @classmethod
    def tearDownClass(cls):
        cls.suite.close()

    def found(self, *keys, literal=None):
        client = self.suite.imap()
        try:
            client.select("INBOX")
            if literal is not None:
                client.literal = literal.encode()
                keys = ("CHARSET", "UTF-8", *keys)
            status, answer = client.uid("SEARCH", *keys)
            self.assertEqual(status, "OK")
            return [int(uid) for uid in answer[0].split()]
        finally:
            client.logout()

    def stats(self):
        return json.loads(self.suite.mailctl("search", "stats", ALICE, "--json").stdout)

    def indexed(self):
        return eventually(lambda: self.stats()["indexed"] >= self.COUNT, 60)

    def check_all(self):
        numbers = range(1, self.COUNT + 1)
        every = {
            ("TEXT", "zebrafish"): [n for n in numbers if n % 3 == 0],
            ("BODY", '"number 17 "'): [17],
            ("SUBJECT", '"report 7"'): [n for n in (7, *range(71, 80)) if n % 5],
            ("FROM", "w12@"): [12],
            ("NOT", "BODY", "zebrafish"): [n for n in numbers if n % 3],
            ("SENTON", "3-Mar-2024"): [n for n in numbers if n % 28 == 2],
            ("UID", "10:20", "TEXT", "zebrafish"): [12, 15, 18],
            ("OR", "FROM", "w12@", "BODY", '"number 17 "'): [12, 17],
            ("HEADER", "Message-ID", "<9@x>"): [9],
            ("BODY", "secret"): [],
            ("BODY", "zz"): [],
        }
        for keys, expected in every.items():
            self.assertEqual(self.found(*keys), expected, keys)
        self.assertEqual(self.found("BODY", literal="STRASSE"), [])
        self.assertEqual(self.found("BODY", literal="STRAßE"), list(numbers))
        self.assertEqual(self.found("SUBJECT", literal="grÜße 25"), [25])

    def test_1_answers_are_right_whatever_is_indexed(self):
        self.check_all()
        self.assertTrue(self.indexed())
        self.check_all()

    def test_2_most_questions_open_no_message(self):
        self.assertTrue(self.indexed())
        def read():
            for line in self.suite.metrics("msgstored").splitlines():
                if line.startswith("msgstored_search_read_messages_total"):
                    return int(float(line.split()[-1]))
            self.fail("no metric")
        before = read()
        self.found("SUBJECT", "report")
        self.found("TEXT", "nothinglikethis")
        self.found("SENTSINCE", "1-Mar-2024")
        self.assertEqual(read(), before)

    def test_3_curl_finds_what_imaplib_finds(self):
        curl = need("curl")
        answer = subprocess.run(
            [curl, "-sk", "--user", f"{ALICE}:{self.suite.passwords[ALICE]}",
             f"imaps://127.0.0.1:{self.suite.ports['imaps']}/INBOX?TEXT%20zebrafish"],
            capture_output=True, text=True, timeout=30)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        words = answer.stdout.split()
        self.assertEqual(words[:2], ["*", "SEARCH"])
        self.assertEqual([int(n) for n in words[2:]], list(range(3, self.COUNT + 1, 3)))

    def test_4_the_file_is_removed_under_the_running_daemon(self):
        self.assertTrue(self.indexed())
        files = glob.glob(self.suite.directory + "/**/search.sqlite*", recursive=True)
        self.assertTrue(files)
        for name in files:
            os.unlink(name)
        self.check_all()
        self.suite.mailctl("search", "rebuild", ALICE)
        self.assertEqual(self.stats()["indexed"], self.COUNT)
        self.check_all()

    def test_5_killed_while_it_indexes(self):
        for _ in range(5):
            self.suite.mailctl("search", "rebuild", ALICE, "--no-wait")
            os.kill(self.suite.pid("msgstored"), signal.SIGKILL)
            self.assertEqual(
                eventually(lambda: self.found("TEXT", "zebrafish")),
                list(range(3, self.COUNT + 1, 3)))
        self.assertTrue(self.indexed())
        self.check_all()

    def test_6_expunged_messages_are_not_found(self):
        client = self.suite.imap()
        client.select("INBOX")
        client.append("INBOX", None, None, numbered(3))
        uid = int(client.uid("SEARCH", "ALL")[1][0].split()[-1])
        self.assertIn(uid, self.found("BODY", "zebrafish"))
        client.uid("STORE", str(uid), "+FLAGS", "(\\Deleted)")
        client.expunge()
        self.assertNotIn(uid, self.found("BODY", "zebrafish"))
        client.logout()


if __name__ == "__main__":
    unittest.main()
