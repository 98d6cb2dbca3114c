# SPDX-License-Identifier: Apache-2.0
"""Examples/receive, a program of others with the SMTP server in it, and real clients. ACCEPTANCE 26.

`tools/check-library` builds it; without it these tests are skipped."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from suite import Raw, eventually, free_offset, need

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "Examples/.build/debug/receive")
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(PROGRAM):
            raise unittest.SkipTest("Examples/receive is not built: tools/check-library")
        cls.directory = tempfile.mkdtemp(prefix="martlet-library-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.mail = os.path.join(cls.directory, "mail")
        os.mkdir(cls.mail)
        cls.chain, cls.key = (os.path.join(cls.directory, x) for x in ("chain.pem", "key.pem"))
        cls.certify("mx.example.test")
        cls.offset = free_offset()
        cls.log = open(os.path.join(cls.directory, "log"), "w+")
        cls.addClassCleanup(cls.log.close)
        cls.process = subprocess.Popen(
            [PROGRAM, cls.mail, cls.chain, cls.key, str(cls.offset)], stderr=cls.log)
        cls.addClassCleanup(cls.process.wait)
        cls.addClassCleanup(cls.process.send_signal, signal.SIGTERM)
        if not eventually(lambda: Raw(cls.offset + 25).close() or True):
            raise AssertionError(open(cls.log.name).read())

    @classmethod
    def certify(cls, name):
        subprocess.run(
            [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-keyout", cls.key, "-out", cls.chain],
            check=True, capture_output=True)

    def swaks(self, port, *arguments):
        return subprocess.run(
            [need("swaks"), "--server", "127.0.0.1", "--port", str(self.offset + port),
             *arguments], capture_output=True, text=True, timeout=60)

    def kept(self, identifier):
        with open(os.path.join(self.mail, identifier + ".eml"), "rb") as file:
            return file.read()

    def accepted(self, result):
        """The message that the reply names."""
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        line = [x for x in result.stdout.split("\n") if "250 2.0.0 Message accepted" in x][0]
        return self.kept(line.split("id=")[1].strip())

    def test_mail_from_a_stranger_in_clear(self):
        text = self.accepted(self.swaks(
            25, "--from", "carol@elsewhere.example", "--to", "bob@example.test",
            "--header", "Subject: first", "--body", "one\n.two\n"))
        self.assertTrue(text.startswith(b"Return-Path: <carol@elsewhere.example>\r\nReceived: "))
        self.assertIn(b"\r\nSubject: first\r\n", text)
        self.assertTrue(text.rstrip().endswith(b"one\r\n.two"), text)

    def test_mail_from_a_stranger_over_tls(self):
        text = self.accepted(self.swaks(
            25, "--tls", "--from", "carol@elsewhere.example", "--to", "bob@example.test"))
        self.assertIn(b"TLSv1.3", text)

    def test_an_account_submits_to_elsewhere(self):
        for port, tls in ((587, "--tls"), (465, "--tls-on-connect")):
            for mechanism in ("PLAIN", "LOGIN"):
                text = self.accepted(self.swaks(
                    port, tls, "--auth", mechanism, "--auth-user", "alice@example.test",
                    "--auth-password", "secret", "--from", "alice@example.test",
                    "--to", "dave@elsewhere.example"))
                self.assertIn(b"ESMTPSA", text)

    def test_who_is_not_alice_is_refused(self):
        result = self.swaks(
            587, "--tls", "--auth", "PLAIN", "--auth-user", "alice@example.test",
            "--auth-password", "wrong", "--from", "alice@example.test", "--to", "b@example.test")
        self.assertIn("535 5.7.8", result.stdout)
        result = self.swaks(
            587, "--tls", "--auth", "PLAIN", "--auth-user", "alice@example.test",
            "--auth-password", "secret", "--from", "bob@example.test", "--to", "b@example.test")
        self.assertIn("553 5.7.1", result.stdout)
        result = self.swaks(587, "--tls", "--from", "alice@example.test", "--to", "b@example.test")
        self.assertIn("530 5.7.0", result.stdout)
        self.assertNotIn("AUTH", self.swaks(587, "--quit-after", "EHLO").stdout)

    def test_no_open_relay(self):
        result = self.swaks(
            25, "--from", "carol@elsewhere.example", "--to", "dave@elsewhere.example")
        self.assertIn("554 5.7.1 Client host rejected: Access denied", result.stdout)

    def test_the_filter_refuses(self):
        before = os.listdir(self.mail)
        result = self.swaks(
            25, "--from", "carol@elsewhere.example", "--to", "bob@example.test", "--body", GTUBE)
        self.assertIn("550 5.7.1 This looks like spam", result.stdout)
        self.assertEqual(os.listdir(self.mail), before)

    def test_a_message_of_ten_megabytes(self):
        body = os.path.join(self.directory, "large")
        with open(body, "w") as file:
            file.write(("x" * 76 + "\n") * 130_000)
        text = self.accepted(self.swaks(
            25, "--from", "carol@elsewhere.example", "--to", "bob@example.test", "--body", body))
        self.assertEqual(text.count(b"x" * 76 + b"\r\n"), 130_000)

    def test_everything_of_smtpd_is_there(self):
        with Raw(self.offset + 25) as raw:
            self.assertTrue(raw.reply()[0].startswith("220 mx.example.test ESMTP"))
            lines = [x[4:] for x in raw.command("EHLO c")]
            self.assertEqual(set(lines[1:]), {
                "SIZE 26214400", "8BITMIME", "PIPELINING", "SMTPUTF8", "ENHANCEDSTATUSCODES",
                "CHUNKING", "DSN", "STARTTLS", "HELP"})
        with Raw(self.offset + 465, tls=True) as raw:
            raw.reply()
            self.assertIn("250-AUTH PLAIN LOGIN", raw.command("EHLO c"))

    def test_only_what_it_needs_is_linked(self):
        linked = subprocess.run(
            [need("ldd"), PROGRAM], check=True, capture_output=True, text=True).stdout
        self.assertIn("libssl", linked)
        for library in ("sqlite", "systemd", "toml"):
            self.assertNotIn(library, linked)
