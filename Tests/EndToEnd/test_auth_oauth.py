# SPDX-License-Identifier: Apache-2.0
"""Tokens: OAUTHBEARER and XOAUTH2 in all daemons, checked by authd-oauth against an issuer that is
good, slow, dead or lying. RFC 7628, RFC 7662, RFC 7517."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

from suite import BIN, SuiteCase, eventually, need
from test_auth import ALICE, BOB, DAEMONS, Line

try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    raise unittest.SkipTest("python3-cryptography is not installed")

ISSUER = "https://issuer.example"


def text(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value, size=None):
    return text(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Issuer:
    """Signs tokens, publishes its keys, answers about tokens; misbehaves as told."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.published = {"r": self.rsa, "e": self.ec, "d": self.ed}
        self.mode = "good"
        self.asked = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer(issuer.keys())

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = urllib.parse.parse_qs(form)["token"][0]
                secret = base64.b64encode(b"martlet%40home:s%2Fcret").decode()
                if self.headers["Authorization"] != "Basic " + secret:
                    self.send_response(401)
                    self.end_headers()
                    return
                self.answer(issuer.about(token))

            def answer(self, body):
                issuer.asked.append(self.path)
                body = json.dumps(body).encode()
                if issuer.mode == "slow":
                    time.sleep(4)
                if issuer.mode == "lying":
                    body = b"<html>" + body
                if issuer.mode == "endless":
                    body += b" " * (1 << 20)
                try:
                    self.send_response(500 if issuer.mode == "broken" else 200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def keys(self):
        keys = []
        for name, key in self.published.items():
            public = key.public_key()
            if isinstance(key, rsa.RSAPrivateKey):
                numbers = public.public_numbers()
                keys.append({"kty": "RSA", "kid": name, "use": "sig", "n": number(numbers.n),
                             "e": number(numbers.e)})
            elif isinstance(key, ec.EllipticCurvePrivateKey):
                numbers = public.public_numbers()
                keys.append({"kty": "EC", "crv": "P-256", "kid": name, "x": number(numbers.x, 32),
                             "y": number(numbers.y, 32)})
            else:
                raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
                keys.append({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": text(raw)})
        return {"keys": keys}

    def about(self, token):
        if token == "opaque-alice":
            return {"active": True, "email": ALICE, "scope": "mail", "exp": time.time() + 60}
        if token == "opaque-web":
            return {"active": True, "email": ALICE, "scope": "web"}
        return {"active": False}

    def token(self, email=ALICE, alg="RS256", kid=None, key=None, **more):
        kid = kid or {"RS256": "r", "ES256": "e", "EdDSA": "d"}.get(alg, "r")
        claims = {"iss": ISSUER, "aud": "mail", "sub": "7", "email": email, "scope": "openid mail",
                  "exp": int(time.time()) + 300, **more}
        head = text(json.dumps({"alg": alg, "kid": kid}).encode())
        signed = (head + "." + text(json.dumps(claims).encode())).encode()
        if alg == "RS256":
            made = (key or self.rsa).sign(signed, padding.PKCS1v15(), hashes.SHA256())
        elif alg == "ES256":
            pair = utils.decode_dss_signature(self.ec.sign(signed, ec.ECDSA(hashes.SHA256())))
            made = b"".join(n.to_bytes(32, "big") for n in pair)
        elif alg == "EdDSA":
            made = self.ed.sign(signed)
        elif alg == "HS256":
            secret = self.rsa.public_key().public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            made = hmac.new(secret, signed, hashlib.sha256).digest()
        else:
            made = b""
        return signed.decode() + "." + text(made)


def bearer(token, user=""):
    who = f"a={user}" if user else ""
    return f"n,{who},\x01host=mail.example.test\x01auth=Bearer {token}\x01\x01".encode()


def xoauth2(token, user):
    return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


class TokenCase(SuiteCase):
    introspects = False

    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer()
        cls.addClassCleanup(cls.issuer.close)
        secret = tempfile.NamedTemporaryFile("w")
        cls.addClassCleanup(secret.close)
        secret.write("s/cret\n")
        secret.flush()
        where = (f'introspection_url = "{cls.issuer.url}/ask"\nclient_id = "martlet@home"\n'
                 f'client_secret_file = "{secret.name}"\n' if cls.introspects
                 else f'jwks_url = "{cls.issuer.url}/keys"\n')
        cls.configuration = (
            '[server.auth]\nmethods = ["plain", "oauthbearer", "xoauth2"]\n'
            '[server.limits]\nexempt = []\nauth_failures_per_ip = 1000\n'
            'auth_failures_per_account = 0\n'
            f'[msgstored.auth.oauth]\nissuer = "{ISSUER}"\naudience = "mail"\nscope = "mail"\n'
            f'timeout = "1s"\n{where}')
        super().setUpClass()
        cls.start_helper()
        cls.addClassCleanup(lambda: cls.stop_helper())

    @classmethod
    def start_helper(cls):
        cls.helper = subprocess.Popen(
            [os.path.join(BIN, "authd-oauth"), "--config", cls.suite.config_path()],
            stderr=cls.suite.log)
        path = os.path.join(cls.suite.directory, "run", "authd-oauth.sock")

        def answers():
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
            return True
        assert eventually(answers), "authd-oauth does not listen"

    @classmethod
    def stop_helper(cls):
        if cls.helper.poll() is None:
            cls.helper.send_signal(signal.SIGTERM)
            cls.helper.wait(20)

    def setUp(self):
        self.issuer.mode = "good"

    def ask(self, daemon, mechanism, message):
        """(the line that ends the exchange, the reason in JSON if there was one)."""
        with Line(self.suite, daemon) as line:
            answer = line.begin(mechanism, message)
            if answer.startswith(("334 ", "+ ")):
                reason = json.loads(line.challenge(answer))
                return line, line.say(b"AQ=="), reason
            return line, answer, None

    def assert_refused(self, daemon, message, mechanism="OAUTHBEARER"):
        line, answer, reason = self.ask(daemon, mechanism, message)
        self.assertTrue(line.is_refused(answer), answer)
        self.assertIn(reason["status"], ("invalid_token", "401"))

    def assert_unavailable(self, daemon, message):
        _, answer, reason = self.ask(daemon, "OAUTHBEARER", message)
        self.assertIsNone(reason)
        wanted = {"smtp": "454 4.7.0", "imap": "a NO [UNAVAILABLE]", "pop3": "-ERR [SYS/TEMP]"}
        self.assertTrue(answer.startswith(wanted[daemon]), answer)


class Tokens(TokenCase):
    def test_all_algorithms_and_both_mechanisms(self):
        for daemon in DAEMONS:
            for algorithm in ("RS256", "ES256", "EdDSA"):
                token = self.issuer.token(alg=algorithm)
                for mechanism, message in (("OAUTHBEARER", bearer(token)),
                                           ("OAUTHBEARER", bearer(token, ALICE)),
                                           ("XOAUTH2", xoauth2(token, ALICE))):
                    with self.subTest(daemon=daemon, alg=algorithm, mechanism=mechanism):
                        line, answer, _ = self.ask(daemon, mechanism, message)
                        self.assertTrue(line.is_in(answer), answer)

    def test_what_is_refused(self):
        token = self.issuer.token
        stranger = rsa.generate_private_key(65537, 2048)
        now = int(time.time())
        bad = {
            "no token": bearer("abc"), "none": bearer(token(alg="none")),
            "HMAC with the public key": bearer(token(alg="HS256")),
            "another's key": bearer(token(key=stranger)),
            "another's issuer": bearer(token(iss="https://evil.example")),
            "for another": bearer(token(aud="web")), "expired": bearer(token(exp=now - 120)),
            "not yet": bearer(token(nbf=now + 120)), "scope": bearer(token(scope="openid")),
            "not verified": bearer(token(email_verified=False)),
            "for somebody else": bearer(token(), BOB),
            "not here": bearer(token(email="nobody@example.test")),
        }
        for number, (name, message) in enumerate(bad.items()):
            with self.subTest(name):
                self.suite.mailctl("ban", "remove", "127.0.0.1", check=False)
                self.assert_refused(DAEMONS[number % 3], message)
        self.suite.mailctl("ban", "remove", "127.0.0.1", check=False)
        self.assert_refused("imap", xoauth2(token(), BOB), "XOAUTH2")
        self.assertIn("token refused", self.suite.log_text())

    def test_curl_is_in(self):
        curl, token = need("curl"), self.issuer.token()
        for url in (f"imaps://127.0.0.1:{self.ports['imaps']}/",
                    f"pop3s://127.0.0.1:{self.ports['pop3s']}/"):
            for name in ("OAUTHBEARER", "XOAUTH2"):
                result = subprocess.run(
                    [curl, "-sk", "--login-options", f"AUTH={name}", "-u", f"{ALICE}:",
                     "--oauth2-bearer", token, url], capture_output=True, text=True, timeout=60)
                self.assertEqual(result.returncode, 0, f"{url} {name} {result.stderr}")
        result = subprocess.run(
            [curl, "-sk", "--login-options", "AUTH=OAUTHBEARER", "-u", f"{ALICE}:",
             "--oauth2-bearer", token, "--mail-from", ALICE, "--mail-rcpt", BOB, "-T", "-",
             f"smtps://127.0.0.1:{self.ports['smtps']}/"],
            input=f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: token\r\n\r\nHello\r\n",
            capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_new_key_is_found_but_not_asked_for_at_every_token(self):
        line, answer, _ = self.ask("imap", "OAUTHBEARER", bearer(self.issuer.token()))
        self.assertTrue(line.is_in(answer), answer)
        before = len(self.issuer.asked)
        for _ in range(5):
            self.suite.mailctl("ban", "remove", "127.0.0.1", check=False)
            self.assert_refused("imap", bearer(self.issuer.token(kid="unknown")))
        # At most one more question a minute.
        self.assertLessEqual(len(self.issuer.asked) - before, 1)

    def test_without_helper_it_is_an_outage(self):
        self.stop_helper()
        try:
            for daemon in DAEMONS:
                self.assert_unavailable(daemon, bearer(self.issuer.token()))
        finally:
            self.start_helper()
        self.assertNotIn("127.0.0.1", self.suite.mailctl("ban", "list").stdout)
        # A password is not asked there.
        self.suite.imap(ALICE).logout()

    def test_an_issuer_that_misbehaves_from_the_start_is_an_outage(self):
        for mode in ("slow", "broken", "lying", "endless"):
            with self.subTest(mode):
                self.issuer.mode = mode
                self.stop_helper()
                self.start_helper()
                began = time.monotonic()
                self.assert_unavailable("imap", bearer(self.issuer.token()))
                self.assertLess(time.monotonic() - began, 3)
        self.issuer.mode = "good"
        self.stop_helper()
        self.start_helper()


class Introspection(TokenCase):
    introspects = True

    def test_the_issuer_is_asked_about_each_token(self):
        for daemon in DAEMONS:
            with self.subTest(daemon):
                line, answer, _ = self.ask(daemon, "OAUTHBEARER", bearer("opaque-alice", ALICE))
                self.assertTrue(line.is_in(answer), answer)
        self.assert_refused("imap", bearer("opaque-web"))
        self.suite.mailctl("ban", "remove", "127.0.0.1", check=False)
        self.assert_refused("smtp", bearer("revoked"))
        for mode in ("slow", "broken", "lying", "endless"):
            with self.subTest(mode):
                self.issuer.mode = mode
                began = time.monotonic()
                self.assert_unavailable("pop3", bearer("opaque-alice"))
                self.assertLess(time.monotonic() - began, 3)
        self.assertNotIn("opaque-alice", self.suite.log_text())


if __name__ == "__main__":
    unittest.main()
