# SPDX-License-Identifier: Apache-2.0
"""Logging in to all daemons: every mechanism with the clients that know it, app passwords, bans."""

import base64
import hashlib
import hmac
import imaplib
import os
import poplib
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from suite import Raw, Suite, SuiteCase, eventually, need, tls_context

ALICE = "alice@example.test"
BOB = "bob@example.test"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def encode(octets):
    return base64.b64encode(octets)


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


class Scram:
    """A SCRAM client, RFC 5802 §3, bound to the certificate of the TLS connection if asked."""

    def __init__(self, user, password, name="SCRAM-SHA-256", binding=None, flag=None):
        self.hash = "sha256" if "256" in name else "sha1"
        self.password = password.encode()
        self.flag = flag or ("p=tls-server-end-point" if binding else "n")
        self.binding = binding or b""
        self.bare = f"n={user},r={secrets.token_urlsafe(18)}"

    def first(self):
        return f"{self.flag},,{self.bare}".encode()

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        bound = encode(f"{self.flag},,".encode() + self.binding).decode()
        without = f"c={bound},r={fields['r']}"
        text = f"{self.bare},{challenge.decode()},{without}".encode()
        sign = lambda key, octets: hmac.new(key, octets, self.hash).digest()
        key = sign(salted, b"Client Key")
        proof = xor(key, sign(hashlib.new(self.hash, key).digest(), text))
        self.signature = encode(sign(sign(salted, b"Server Key"), text))
        return f"{without},p={encode(proof).decode()}".encode()


class Line(Raw):
    """One TLS connection on which a mechanism is spoken by hand."""

    def __init__(self, suite, daemon):
        super().__init__(suite.ports[{"smtp": "smtps", "imap": "imaps", "pop3": "pop3s"}[daemon]],
                         tls=True)
        self.daemon = daemon
        self.line()
        if daemon == "smtp":
            self.send(b"EHLO c\r\n")
            self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def certificate(self):
        return hashlib.sha256(self.socket.getpeercert(True)).digest()

    def begin(self, mechanism, initial=None):
        verb = {"smtp": "AUTH", "imap": "a AUTHENTICATE", "pop3": "AUTH"}[self.daemon]
        line = f"{verb} {mechanism}".encode()
        if initial is not None:
            line += b" " + (encode(initial) or b"=")
        return self.say(line)

    def say(self, line):
        self.send(line + b"\r\n")
        while True:
            answer = self.line()
            if not answer.startswith("* "):
                return answer
            if answer.startswith("* BYE"):
                return answer

    def challenge(self, answer):
        word = "334 " if self.daemon == "smtp" else "+ "
        assert answer.startswith(word), answer
        return base64.b64decode(answer[len(word):])

    def is_in(self, answer):
        return answer.startswith({"smtp": "235 2.7.0", "imap": "a OK", "pop3": "+OK"}[self.daemon])

    def is_refused(self, answer):
        return answer.startswith(
            {"smtp": "535 5.7.8", "imap": "a NO [AUTHENTICATIONFAILED]",
             "pop3": "-ERR [AUTH]"}[self.daemon])

    def scram(self, client, mechanism):
        """The last answer, after checking that the server knows the password as well."""
        answer = self.begin(mechanism, client.first())
        if not answer.startswith(("334", "+ ")):
            return answer
        answer = self.say(encode(client.final(self.challenge(answer))))
        if not answer.startswith(("334", "+ ")):
            return answer
        assert self.challenge(answer) == b"v=" + client.signature
        return self.say(b"")


DAEMONS = ("smtp", "imap", "pop3")


class Mechanisms(SuiteCase):
    configuration = (
        '[server.auth]\nmethods = ["plain", "login", "scram-sha-256", "scram-sha-256-plus", '
        '"scram-sha-1", "scram-sha-1-plus", "cram-md5"]\n')

    NAMES = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1",
             "SCRAM-SHA-1-PLUS", "CRAM-MD5"}

    def test_all_daemons_offer_the_same_under_tls_and_nothing_before(self):
        with self.suite.smtp("smtps", tls="implicit") as client:
            client.ehlo()
            self.assertEqual(set(client.esmtp_features["auth"].split()), self.NAMES)
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=tls_context())
        self.assertEqual({x[5:] for x in client.capabilities if x.startswith("AUTH=")}, self.NAMES)
        client.logout()
        client = poplib.POP3_SSL("127.0.0.1", self.ports["pop3s"], context=tls_context())
        self.assertEqual(set(client.capa()["SASL"]), self.NAMES)
        client.quit()

    def test_scram_with_and_without_binding(self):
        password = self.suite.passwords[ALICE]
        for daemon in DAEMONS:
            for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"):
                with self.subTest(daemon=daemon, mechanism=name), Line(self.suite, daemon) as line:
                    binding = line.certificate() if name.endswith("PLUS") else None
                    answer = line.scram(Scram(ALICE, password, name, binding), name)
                    self.assertTrue(line.is_in(answer), answer)

    def test_scram_refuses_what_it_must(self):
        password = self.suite.passwords[ALICE]
        for daemon in DAEMONS:
            with self.subTest(daemon=daemon):
                with Line(self.suite, daemon) as line:
                    answer = line.scram(Scram(ALICE, "wrong"), "SCRAM-SHA-256")
                    self.assertTrue(line.is_refused(answer), answer)
                with Line(self.suite, daemon) as line:
                    answer = line.scram(Scram("nobody@example.test", "x"), "SCRAM-SHA-256")
                    self.assertTrue(line.is_refused(answer), answer)
                # Bound to another certificate: somebody stands between.
                with Line(self.suite, daemon) as line:
                    client = Scram(ALICE, password, binding=b"x" * 32)
                    self.assertFalse(line.is_in(line.scram(client, "SCRAM-SHA-256-PLUS")))
                # The client could bind and was not offered it: it was lied to.
                with Line(self.suite, daemon) as line:
                    client = Scram(ALICE, password, flag="y")
                    self.assertFalse(line.is_in(line.scram(client, "SCRAM-SHA-256")))

    def test_gsasl(self):
        gsasl = need("gsasl")
        for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"):
            for kind, port in (("--imap", "imap"), ("--smtp", "submission")):
                with self.subTest(mechanism=name, kind=kind):
                    result = subprocess.run(
                        [gsasl, "-c", kind, "-m", name, "-a", ALICE, "-z", ALICE, "-p",
                         self.suite.passwords[ALICE], "--x509-ca-file=",
                         *(() if name.endswith("PLUS") else ("--no-cb",)),
                         "--connect", f"127.0.0.1:{self.ports[port]}"],
                        input="", capture_output=True, text=True, timeout=30)
                    said = result.stdout + result.stderr
                    self.assertRegex(said, r"(?m)^(235 2\.7\.0 |\. OK .*Logged in)", said)
                    self.assertEqual(result.returncode, 0, said)

    def test_cram_md5_works_for_who_has_asked_for_it(self):
        swaks = need("swaks")
        self.suite.mailctl("account", "add", "old@example.test", "--password-stdin",
                           input="printer-password\n")

        def attempt(password):
            return subprocess.run(
                [swaks, "-s", f"127.0.0.1:{self.ports['smtps']}", "--tls-on-connect", "--auth",
                 "CRAM-MD5", "--auth-user", "old@example.test", "--auth-password", password,
                 "--quit-after", "AUTH"], capture_output=True, text=True, timeout=60)
        self.assertIn("535 5.7.8", attempt("printer-password").stdout)
        self.suite.mailctl("account", "password", "old@example.test", "--password-stdin",
                           "--cram-md5", input="printer-password\n")
        good = attempt("printer-password")
        self.assertEqual(good.returncode, 0, good.stdout)
        self.assertIn("235 2.7.0", good.stdout)
        self.assertIn("535 5.7.8", attempt("another").stdout)
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=tls_context())
        client.login_cram_md5("old@example.test", "printer-password")
        client.logout()
        # A new password without it ends it.
        self.suite.mailctl("account", "password", "old@example.test", "--password-stdin",
                           input="printer-password\n")
        self.assertIn("535 5.7.8", attempt("printer-password").stdout)

    def test_swaks_and_curl(self):
        swaks, curl = need("swaks"), need("curl")
        for name in ("PLAIN", "LOGIN"):
            result = subprocess.run(
                [swaks, "-s", f"127.0.0.1:{self.ports['smtps']}", "--tls-on-connect", "--auth",
                 name, "--auth-user", ALICE, "--auth-password", self.suite.passwords[ALICE],
                 "--quit-after", "AUTH"], capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 0, result.stdout)
        for url in (f"imaps://127.0.0.1:{self.ports['imaps']}/",
                    f"pop3s://127.0.0.1:{self.ports['pop3s']}/"):
            for name in ("PLAIN", "LOGIN"):
                result = subprocess.run(
                    [curl, "-sk", "--login-options", f"AUTH={name}", "-u",
                     f"{ALICE}:{self.suite.passwords[ALICE]}", url],
                    capture_output=True, text=True, timeout=60)
                self.assertEqual(result.returncode, 0, f"{url} {name} {result.stderr}")

    def test_a_foreign_hash_is_taken_and_made_better(self):
        # "Tr0ub4dor&3" by doveadm pw -s SSHA256.
        stored = "{SSHA256}i3XB3R8f2CCaEqn6IA+4UsOJm4ANqEVdDouGpguxAw5PqFqj"
        self.suite.mailctl("account", "add", "moved@example.test", "--hash", stored)
        weak = self.suite.mailctl("account", "add", "weak@example.test", "--hash",
                                  "{PLAIN-MD5}4ece57a61323b52ccffdbef021956754", check=False)
        self.assertEqual(weak.returncode, 65)
        self.assertIn("--allow-weak", weak.stderr)
        self.suite.passwords["moved@example.test"] = "Tr0ub4dor&3"
        with Line(self.suite, "imap") as line:
            answer = line.scram(Scram("moved@example.test", "Tr0ub4dor&3"), "SCRAM-SHA-256")
            self.assertTrue(line.is_refused(answer), answer)
        self.suite.imap("moved@example.test").logout()
        self.assertIn("password rehashed", self.suite.log_text())
        with Line(self.suite, "imap") as line:
            answer = line.scram(Scram("moved@example.test", "Tr0ub4dor&3"), "SCRAM-SHA-256")
            self.assertTrue(line.is_in(answer), answer)

    def test_app_passwords(self):
        made = self.suite.mailctl("app-password", "add", BOB, "phone", "--scope", "imap,smtp",
                                  "--json")
        import json
        row = json.loads(made.stdout)
        password = row["password"]
        self.assertEqual(row["scopes"], ["imap", "smtp"])
        for daemon, allowed in (("imap", True), ("smtp", True), ("pop3", False)):
            for scram in (False, True):
                with self.subTest(daemon=daemon, scram=scram), Line(self.suite, daemon) as line:
                    if scram:
                        answer = line.scram(Scram(BOB, password), "SCRAM-SHA-256")
                    else:
                        answer = line.begin("PLAIN", f"\0{BOB}\0{password}".encode())
                    self.assertTrue(line.is_in(answer) if allowed else line.is_refused(answer),
                                    answer)
        listed = self.suite.mailctl("app-password", "list", BOB).stdout
        self.assertIn("phone", listed)
        self.assertNotIn(password, listed + self.suite.log_text())
        short = json.loads(self.suite.mailctl("app-password", "add", BOB, "short", "--expires",
                                              "1s", "--json").stdout)
        time.sleep(1.1)
        with Line(self.suite, "imap") as line:
            self.assertTrue(line.is_refused(
                line.begin("PLAIN", f"\0{BOB}\0{short['password']}".encode())))
        self.assertIn("reason=expired", self.suite.log_text())
        self.suite.mailctl("app-password", "remove", BOB, str(row["id"]))
        with Line(self.suite, "imap") as line:
            self.assertTrue(line.is_refused(
                line.begin("PLAIN", f"\0{BOB}\0{password}".encode())))

    def test_no_password_or_proof_is_in_the_log(self):
        with Line(self.suite, "imap") as line:
            line.begin("PLAIN", f"\0{ALICE}\0very-secret-word".encode())
        log = self.suite.log_text()
        self.assertNotIn("very-secret-word", log)
        self.assertNotIn(encode(f"\0{ALICE}\0very-secret-word".encode()).decode(), log)


class Bans(SuiteCase):
    """Nobody is exempt here, and three failures are too many."""

    configuration = "[server.limits]\nexempt = []\nauth_failures_per_ip = 3\n"

    def attempt(self, daemon, user, password, source):
        """The first word or code of the answer, from a loopback address of its own."""
        port = self.ports[{"smtp": "smtps", "imap": "imaps", "pop3": "pop3s"}[daemon]]
        plain = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
        with tls_context().wrap_socket(plain) as stream, stream.makefile("rb") as file:
            file.readline()
            if daemon == "smtp":
                stream.sendall(b"EHLO c\r\n")
                while file.readline()[3:4] == b"-":
                    pass
            verb = b"a AUTHENTICATE" if daemon == "imap" else b"AUTH"
            stream.sendall(verb + b" PLAIN " + encode(f"\0{user}\0{password}".encode()) + b"\r\n")
            return file.readline().decode()

    def test_three_failures_ban_everywhere_but_not_who_was_just_in(self):
        right = self.suite.passwords
        here = "127.0.0.9"
        self.assertTrue(self.attempt("imap", ALICE, right[ALICE], here).startswith(("a OK", "* ")))
        began = time.monotonic()
        for daemon in DAEMONS:
            answer = self.attempt(daemon, BOB, "wrong", here)
            self.assertRegex(answer, r"^(535 5\.7\.8|a NO \[AUTHENTICATIONFAILED\]|-ERR \[AUTH\])")
        # 1, 2 and 4 seconds.
        self.assertGreater(time.monotonic() - began, 6.9)
        for daemon, wanted in (("smtp", "421 4.7.0"), ("imap", "* BYE"), ("pop3", "-ERR [AUTH]")):
            began = time.monotonic()
            answer = self.attempt(daemon, BOB, right[BOB], here)
            self.assertTrue(answer.startswith(wanted), answer)
            self.assertLess(time.monotonic() - began, 1)
        self.assertTrue(self.attempt("imap", ALICE, right[ALICE], here).startswith(("a OK", "* ")))
        self.assertTrue(self.attempt("smtp", BOB, right[BOB], "127.0.0.10").startswith("235"))
        self.assertIn(here, self.suite.mailctl("ban", "list").stdout)
        self.assertRegex(self.suite.metrics("msgstored"), r"(?m)^msgstored_auth_bans_total 1$")
        log = self.suite.log_text()
        self.assertRegex(log, rf"banned.*rip={re.escape(here)}")
        self.assertIn("reason=banned", log)
        self.suite.mailctl("ban", "remove", here)
        self.assertTrue(self.attempt("smtp", BOB, right[BOB], here).startswith("235"))

    def test_bans_by_hand_outlive_a_restart(self):
        self.may_restart = True
        here = "127.0.0.11"
        self.suite.mailctl("ban", "add", here, "--for", "1h")
        refused = self.suite.mailctl("ban", "add", "nonsense", check=False)
        self.assertEqual(refused.returncode, 65)
        self.assertTrue(
            self.attempt("smtp", BOB, self.suite.passwords[BOB], here).startswith("421 4.7.0"))
        self.suite.stop()
        self.suite.start()
        type(self).pids = {d: self.suite.pid(d) for d in ("msgstored", "smtpd", "imapd", "pop3d")}
        self.assertTrue(
            self.attempt("smtp", BOB, self.suite.passwords[BOB], here).startswith("421 4.7.0"))
        self.suite.mailctl("ban", "remove", here)
        self.assertEqual(self.suite.mailctl("ban", "remove", here, check=False).returncode, 65)

    def test_fail2ban_sees_what_it_should(self):
        regex = need("fail2ban-regex")
        here = "127.0.0.12"
        for daemon in DAEMONS:
            self.attempt(daemon, "nobody reason=bad-password rip=8.8.8.8", "wrong", here)
            self.suite.mailctl("ban", "remove", here, check=False)
        lines = [line for line in self.suite.log_text().splitlines()
                 if "auth failed" in line and f"rip={here}" in line]
        self.assertEqual(len(lines), 3)
        stamped = []
        for line in lines:
            found = re.search(r"(smtpd|imapd|pop3d)\b.*?(auth failed: .*)$", line)
            self.assertIsNotNone(found, line)
            stamped.append(f"Nov 21 06:00:00 host {found[1]}[12]: {found[2]}")
        outage = stamped[0].replace("reason=bad-password", "reason=backend-unavailable", 1)
        forged = stamped[0].replace(f"rip={here} reason=bad-password",
                                    f"rip={here} reason=banned", 1)
        with tempfile.TemporaryDirectory() as place:
            # Beside what it includes, as it is installed.
            for source in (os.path.join(ROOT, "etc/fail2ban/filter.d/martlet.conf"),
                           "/etc/fail2ban/filter.d/common.conf"):
                shutil.copy(source, place)
            log = os.path.join(place, "mail.log")
            with open(log, "w") as file:
                file.write("\n".join([*stamped, outage, forged]) + "\n")
            result = subprocess.run(
                [regex, "--print-all-matched", log, os.path.join(place, "martlet.conf")],
                capture_output=True, text=True, timeout=60)
        self.assertRegex(result.stdout, r"Lines: 5 lines, 0 ignored, 3 matched, 2 missed",
                         result.stdout + result.stderr)
        self.assertNotIn("8.8.8.8  ", result.stdout)


if __name__ == "__main__":
    unittest.main()
