# SPDX-License-Identifier: Apache-2.0
"""Acceptance checks with the clients that they name, in the words that they use: 1, 6, 7, 8, 14, 15,
18 and 23. What other files show in more depth is not shown again (docs/acceptance.md)."""

import base64
import os
import re
import subprocess
import time
import unittest

from suite import BIN, Raw, Suite, SuiteCase, eventually, message, need, subjects
from test_clients import Terminal

ALICE, BOB = "alice@example.test", "bob@example.test"


def run(*arguments, **options):
    return subprocess.run(
        arguments, capture_output=True, timeout=60, text=True,
        env={**os.environ, "HOME": "/nonexistent"}, **options)


class Swaks(SuiteCase):
    def swaks(self, port, *arguments):
        """What the server said, line by line."""
        result = run(need("swaks"), "--server", "127.0.0.1", "--port", str(self.ports[port]),
                     "--helo", "client.example", "--hide-informational", *arguments)
        said = [line[4:].lstrip() for line in result.stdout.split("\n")
                if line.startswith(("<-  ", "<~  ", "<** ", "<~* "))]
        return said, result

    def ehlo(self, said, which=0):
        """The lines of the EHLO reply, without code."""
        replies, lines = [], []
        for line in said:
            if re.match(r"250[- ]", line):
                lines.append(line[4:])
                if line[3] == " ":
                    replies.append(lines)
                    lines = []
        return [reply for reply in replies if " Hello " in reply[0]][which]

    def test_1_ehlo_in_clear(self):
        said, _ = self.swaks("smtp", "--quit-after", "EHLO")
        self.assertRegex(said[0], r"^220 \S+ ESMTP")
        lines = self.ehlo(said)
        hostname = said[0].split()[1]
        self.assertEqual(lines[0], f"{hostname} Hello client.example")
        self.assertEqual(lines[1:], [
            "SIZE 26214400", "8BITMIME", "PIPELINING", "SMTPUTF8", "ENHANCEDSTATUSCODES",
            "CHUNKING", "DSN", "STARTTLS", "HELP"])

    def test_1_ehlo_under_tls(self):
        for port, has_auth in (("smtp", False), ("submission", True)):
            said, _ = self.swaks(port, "--tls", "--quit-after", "EHLO")
            lines = self.ehlo(said, which=1)
            self.assertNotIn("STARTTLS", lines)
            self.assertIn("REQUIRETLS", lines)
            self.assertEqual(lines[-1], "HELP")
            if has_auth:
                self.assertTrue(any(x.startswith("AUTH PLAIN LOGIN") for x in lines), lines)

    def test_6_submission_rules(self):
        said, _ = self.swaks("submission", "--quit-after", "EHLO")
        self.assertFalse([x for x in said if "AUTH" in x])
        with Raw(self.ports["submission"]) as raw:
            raw.reply()
            raw.command("EHLO c")
            self.assertRegex(raw.command("AUTH PLAIN AGEAYg==")[0], r"^538 5\.7\.11 ")
            self.assertRegex(raw.command(f"MAIL FROM:<{ALICE}>")[0], r"^530 5\.7\.0 ")
        said, _ = self.swaks("submission", "--tls", "--from", ALICE, "--to", BOB)
        self.assertTrue([x for x in said if x.startswith("530 5.7.0 ")], said)
        login = ("--auth", "PLAIN", "--auth-user", ALICE,
                 "--auth-password", self.suite.passwords[ALICE])
        said, _ = self.swaks("submission", "--tls", *login, "--from", ALICE, "--to", BOB)
        self.assertTrue([x for x in said if x.startswith("250 2.0.0 ")], said)
        said, _ = self.swaks("submission", "--tls", *login, "--from", BOB, "--to", ALICE)
        self.assertTrue([x for x in said if x.startswith("553 5.7.1 ")], said)

    def test_7_plain_and_login(self):
        for mechanism in ("PLAIN", "LOGIN"):
            said, _ = self.swaks(
                "submission", "--tls", "--auth", mechanism, "--auth-user", ALICE,
                "--auth-password", self.suite.passwords[ALICE], "--quit-after", "AUTH")
            self.assertIn("235 2.7.0 Authentication succeeded", said)
            if mechanism == "LOGIN":
                self.assertIn("334 VXNlcm5hbWU6", said)
                self.assertIn("334 UGFzc3dvcmQ6", said)
            said, _ = self.swaks(
                "submission", "--tls", "--auth", mechanism, "--auth-user", ALICE,
                "--auth-password", "wrong", "--quit-after", "AUTH")
            self.assertIn("535 5.7.8 Authentication credentials invalid", said)
        with Raw(self.ports["smtps"], tls=True) as raw:  # the initial response of LOGIN
            raw.reply()
            raw.command("EHLO c")
            name = base64.b64encode(ALICE.encode()).decode()
            self.assertEqual(raw.command(f"AUTH LOGIN {name}"), ["334 UGFzc3dvcmQ6"])
            word = base64.b64encode(self.suite.passwords[ALICE].encode()).decode()
            self.assertRegex(raw.command(word)[0], r"^235 2\.7\.0 ")
        said, result = self.swaks(
            "submission", "--tls", "--auth", "CRAM-MD5", "--auth-user", ALICE,
            "--auth-password", self.suite.passwords[ALICE], "--quit-after", "AUTH")
        self.assertNotEqual(result.returncode, 0)
        self.assertFalse([x for x in said if x.startswith("334 ")], said)

    def test_14_requiretls_in_clear(self):
        with Raw(self.ports["smtp"]) as raw:
            raw.reply()
            self.assertNotIn("250-REQUIRETLS", raw.command("EHLO c"))
            self.assertRegex(
                raw.command("MAIL FROM:<a@elsewhere.example> REQUIRETLS")[0], r"^530 5\.7\.4 ")
            self.assertEqual(raw.command("MAIL FROM:<a@elsewhere.example>"), ["250 2.1.0 OK"])

    def test_15_one_write_of_commands_and_chunks(self):
        body = b"a\xe9\r\n.\r\n..\r\nend\r\n"
        head = b"Subject: one-write\r\n\r\n"
        with Raw(self.ports["smtp"]) as raw:
            raw.reply()
            raw.command("EHLO c")
            raw.send(b"MAIL FROM:<a@elsewhere.example> BODY=8BITMIME\r\n"
                     + f"RCPT TO:<{ALICE}>\r\n".encode()
                     + b"BDAT %d\r\n" % len(head + body) + head + body + b"BDAT 0 LAST\r\n")
            codes = [raw.reply()[0][:9] for _ in range(4)]
            self.assertEqual(codes, ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0"])
        with self.suite.imap() as imap:
            imap.select("INBOX")
            found = eventually(lambda: imap.uid("search", "SUBJECT", "one-write")[1][0].split())
            stored = imap.uid("fetch", found[0], "(BODY.PEEK[])")[1][0][1]
        self.assertTrue(stored.endswith(head + body), stored[-60:])


class OpenSSL(SuiteCase):
    configuration = "[smtpd.tls]\nciphers = \"ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305\"\n"

    def client(self, port, *arguments, input="QUIT\n"):
        process = subprocess.Popen(
            [need("openssl"), "s_client", "-connect", f"127.0.0.1:{self.ports[port]}", "-crlf",
             "-ign_eof", "-quiet", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        # Who talks before the greeting is refused, inside TLS as well.
        time.sleep(0.5)
        output, errors = process.communicate(input, timeout=30)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def test_8_smtps_speaks_inside_tls(self):
        result = self.client("smtps", input=f"EHLO c\nMAIL FROM:<{ALICE}>\nQUIT\n")
        self.assertRegex(result.stdout, r"^220 \S+ ESMTP")
        self.assertIn("530 5.7.0 ", result.stdout)
        self.assertIn("221 2.0.0 ", result.stdout)

    def test_8_versions(self):
        for port in ("smtp", "submission", "smtps"):
            more = () if port == "smtps" else ("-starttls", "smtp")
            for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
                if version == "-tls1_1":
                    more_here = (*more, version, "-cipher", "ALL:@SECLEVEL=0")
                elif version == "-tls1_2":
                    more_here = (*more, version, "-cipher", "ECDHE-RSA-CHACHA20-POLY1305:"
                                                            "ECDHE-ECDSA-CHACHA20-POLY1305")
                else:
                    more_here = (*more, version)
                result = self.client(port, *more_here)
                self.assertEqual("221 2.0.0" in result.stdout, works,
                                 f"{port} {version}: {result.stdout}{result.stderr}")

    def test_8_the_list_of_ciphers_is_honoured(self):
        result = self.client("smtps", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:"
                                                            "ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertNotIn("220 ", result.stdout)
        self.assertIn("alert handshake failure", result.stderr)


class Bounce(SuiteCase):
    """mutt sends on what somebody else has written (RFC 5322 §3.6.6)."""

    def test_mutt_bounces_a_message_to_another(self):
        self.suite.deliver("sent-on")
        with self.suite.imap() as imap:
            self.assertTrue(eventually(lambda: "sent-on" in subjects(imap).values()))
        folder = self.suite.directory
        certificate = os.path.join(folder, "mutt.pem")
        with open(certificate, "w") as file:
            file.write(run(
                need("openssl"), "s_client", "-connect", f"127.0.0.1:{self.ports['imaps']}",
                "-showcerts", input="").stdout)
        rc = os.path.join(folder, "muttrc")
        word = self.suite.passwords[ALICE]
        with open(rc, "w") as file:
            file.write(f"""
set imap_user="{ALICE}" imap_pass="{word}" from="{ALICE}" use_envelope_from=yes
set spoolfile="imaps://127.0.0.1:{self.ports['imaps']}/INBOX" folder="imaps://127.0.0.1:{self.ports['imaps']}/"
set smtp_url="smtps://{ALICE.replace('@', '%40')}@127.0.0.1:{self.ports['smtps']}/" smtp_pass="{word}"
set smtp_authenticators="plain"
set certificate_file="{certificate}" ssl_verify_host=no ssl_verify_dates=no
set bounce=yes delete=no move=no copy=no sort=mailbox-order header_cache="" wait_key=no
""")
        terminal = Terminal([need("mutt"), "-n", "-F", rc], {"HOME": folder})
        self.addCleanup(terminal.close)
        terminal.shows("sent-on")
        terminal.keys("b", 0.5)
        terminal.keys(f"{BOB}\n", 0.5)
        terminal.keys("y", 1)
        with self.suite.imap(BOB) as imap:
            arrived = eventually(lambda: "sent-on" in subjects(imap).values(), 5)
            self.assertTrue(arrived, terminal.end() + self.suite.log_text()[-1500:])
            text = imap.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
        self.assertRegex(text, rf"\r\nResent-From: [^\r]*<?{ALICE}>?\r\n")
        self.assertIn("\r\nFrom: <carol@elsewhere.example>\r\n", text)
        self.assertTrue(text.startswith(f"Return-Path: <{ALICE}>\r\n"))


class EveryKey(unittest.TestCase):
    """Every limit of smtpd is changed by a reload, and holds for the next session. ACCEPTANCE 18,
    23. What each limit does at N and at N + 1 is SMTPServerTests/LimitTests.swift."""

    def setUp(self):
        self.suite = Suite()
        self.addCleanup(self.suite.close)

    def configure(self, text):
        folder = self.suite.config_path() + ".d"
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/50-test.toml", "w") as file:
            file.write("[server.limits]\nexempt = []\n" + text)
        self.suite.mailctl("reload")

    def session(self, *commands):
        """The first lines of the replies to commands, the greeting's and EHLO's first."""
        with self.suite.raw("smtp") as raw:
            replies = [raw.reply()[0]]
            if replies[0].startswith("220"):
                replies += [raw.command(command)[0] for command in ("EHLO c", *commands)]
            return replies

    def last(self, *commands):
        return self.session(*commands)[-1]

    def test_every_limit_is_reloaded(self):
        mail = "MAIL FROM:<a@elsewhere.example>"
        rcpt = [f"RCPT TO:<{name}@example.test>" for name in ("alice", "bob", "nobody")]
        tarpit = "[smtpd.limits]\ntarpit = \"0\"\n"
        errors = "421 4.7.0 Too many errors, closing connection"
        self.assertEqual(self.last(mail, rcpt[0]), "250 2.1.5 OK")
        self.configure("[smtpd]\nmax_message_size = 70000\n")
        self.assertTrue(self.last(mail + " SIZE=70001").startswith("552 5.3.4 "))
        self.assertTrue(self.last(mail + " SIZE=70000").startswith("250 "))
        self.configure("[smtpd]\nmax_recipients = 1\n")
        self.assertTrue(self.last(mail + " SIZE=70001").startswith("250 "))  # the old one is gone
        self.assertEqual(self.last(mail, rcpt[0], rcpt[1]), "452 4.5.3 Too many recipients")
        self.configure(tarpit + "max_errors = 3\n")
        self.assertEqual(self.last(mail, rcpt[0], rcpt[1]), "250 2.1.5 OK")
        self.assertEqual(self.last("DATA", "DATA", "DATA"), errors)
        self.configure(tarpit + "max_bad_commands = 2\n")
        self.assertNotEqual(self.last("DATA", "DATA", "DATA"), errors)
        self.assertEqual(self.last("WHAT", "WHAT"), errors)
        self.configure(tarpit + "max_refused_recipients = 2\n")
        self.assertNotEqual(self.last("WHAT", "WHAT"), errors)
        self.assertEqual(self.last(mail, rcpt[2], rcpt[2]), errors)
        self.configure(tarpit + "max_idle_commands = 3\n")
        self.assertNotEqual(self.last(mail, rcpt[2], rcpt[2]), errors)
        self.assertTrue(self.last("NOOP", "NOOP", "NOOP").startswith("421 4.7.0 "))
        self.configure("[smtpd.limits]\ngreet_delay = \"1s\"\n")
        began = time.monotonic()
        self.assertTrue(self.last("NOOP", "NOOP", "NOOP").startswith("250 "))
        self.assertGreater(time.monotonic() - began, 1)
        self.configure("[smtpd.limits]\ntarpit_after = 1\ntarpit = \"1s\"\n")
        began = time.monotonic()
        self.session("DATA")
        self.assertLess(time.monotonic() - began, 0.9)
        self.session("DATA", "DATA")
        self.assertGreater(time.monotonic() - began, 1)
        self.configure("[smtpd.limits]\nmessages_per_remote_sender_per_hour = 1\n")
        self.assertTrue(self.last(mail, "RSET", mail).startswith("450 4.7.1 "))
        self.configure("[smtpd.limits]\nmessages_per_recipient_domain_per_hour = 1\n")
        self.assertTrue(self.last(mail, rcpt[0], "RSET", mail, rcpt[0]).startswith("450 4.7.1 "))
        self.configure("[smtpd.limits]\nconnections_per_ip_per_minute = 1\n")
        self.assertTrue(eventually(
            lambda: self.session()[0].startswith("421 4.7.0 Too many new"), 5, 0))
        self.configure("[smtpd.limits]\nclients_per_network = 1\n")
        with self.suite.raw("smtp") as held:
            self.assertTrue(held.reply()[0].startswith("220 "))
            self.assertTrue(self.session()[0].startswith("421 4.7.0 Too many connections"))
        self.configure("[smtpd.timeouts]\ncommand = \"1s\"\n")
        with self.suite.raw("smtp") as raw:
            raw.reply()
            self.assertEqual(raw.reply(), ["421 4.4.2 Timeout, closing connection"])
        self.configure("[smtpd.timeouts]\ndata = \"1s\"\n")
        with self.suite.raw("smtp") as raw:
            raw.reply()
            for command in ("EHLO c", mail, rcpt[0], "DATA"):
                raw.command(command)
            self.assertEqual(raw.reply(), ["421 4.4.2 Timeout, closing connection"])
        self.configure("")
        self.assertEqual(self.last(mail, rcpt[0]), "250 2.1.5 OK")

    def test_23_hostname_by_reload_and_by_environment(self):
        self.configure("[smtpd]\nhostname = \"new.example.test\"\n")
        self.assertEqual(self.session()[0].split()[1], "new.example.test")
        other = Suite(environment={"SMTPD_HOSTNAME": "env.example.test"})
        self.addCleanup(other.close)
        folder = other.config_path() + ".d"
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/50-test.toml", "w") as file:
            file.write("[smtpd]\nhostname = \"file.example.test\"\n")
        other.mailctl("reload")
        with other.raw("smtp") as raw:
            self.assertEqual(raw.reply()[0].split()[1], "env.example.test")
