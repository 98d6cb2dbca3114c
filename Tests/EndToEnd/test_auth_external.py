# SPDX-License-Identifier: Apache-2.0
"""EXTERNAL: the certificate of a client is its login, in all daemons. RFC 4422 appendix A."""

import base64
import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import unittest

from suite import SuiteCase, need, tls_context

ALICE = "alice@example.test"
BOB = "bob@example.test"
DAEMONS = ("smtp", "imap", "pop3")
PORTS = {"smtp": "smtps", "imap": "imaps", "pop3": "pop3s"}
SETTINGS = """[ca]
default_ca = own
[own]
database = {0}/index.txt
crlnumber = {0}/crlnumber
default_md = sha256
default_crl_days = 2
default_days = 2
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(folder):
    """A certificate authority with its list of revoked certificates in `folder`."""
    os.makedirs(folder)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=Test authority", "-keyout", f"{folder}/ca.key",
            "-out", f"{folder}/ca.pem", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    with open(f"{folder}/openssl.cnf", "w") as file:
        file.write(SETTINGS.format(folder))
    for name, text in (("index.txt", ""), ("crlnumber", "01\n")):
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)


def issue(folder, name, subject, email=None):
    """The paths of a client's certificate and key."""
    base = f"{folder}/{name}"
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", subject, "-keyout", f"{base}.key", "-out", f"{base}.csr")
    with open(f"{base}.ext", "w") as file:
        file.write("extendedKeyUsage=clientAuth\n")
        if email:
            file.write(f"subjectAltName=email:{email}\n")
    openssl("x509", "-req", "-in", f"{base}.csr", "-CA", f"{folder}/ca.pem",
            "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{base}.ext", "-out", f"{base}.pem")
    return f"{base}.pem", f"{base}.key"


class External(SuiteCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="martlet-ca-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        ours, theirs = cls.folder + "/ours", cls.folder + "/theirs"
        authority(ours)
        authority(theirs)
        cls.certificates = {
            "alice": issue(ours, "alice", "/CN=Alice", ALICE),
            "common": issue(ours, "common", f"/CN={BOB}"),
            "nobody": issue(ours, "nobody", "/CN=nobody@example.test"),
            "revoked": issue(ours, "revoked", "/CN=Alice", ALICE),
            "foreign": issue(theirs, "foreign", "/CN=Alice", ALICE),
            "absent": None,
        }
        for step in (["-revoke", f"{ours}/revoked.pem"],
                     ["-gencrl", "-out", f"{ours}/crl.pem"]):
            openssl("ca", "-config", f"{ours}/openssl.cnf", "-cert", f"{ours}/ca.pem",
                    "-keyfile", f"{ours}/ca.key", *step)
        with open(f"{cls.folder}/trusted.pem", "w") as out:
            for part in ("ca.pem", "crl.pem"):
                with open(f"{ours}/{part}") as file:
                    out.write(file.read())
        cls.configuration = (
            '[server.auth]\nmethods = ["plain", "external"]\n'
            '[server.tls]\nclient_certificates = "request"\n'
            f'client_ca_file = "{cls.folder}/trusted.pem"\n')
        super().setUpClass()

    def attempt(self, daemon, who, wanted=""):
        """(mechanisms on offer, the answer to AUTH EXTERNAL)."""
        context = tls_context()
        if self.certificates[who]:
            context.load_cert_chain(*self.certificates[who])
        plain = socket.create_connection(("127.0.0.1", self.ports[PORTS[daemon]]), timeout=20)
        with context.wrap_socket(plain) as stream, stream.makefile("rb") as file:
            file.readline()
            ask = {"smtp": b"EHLO c", "imap": b"a CAPABILITY", "pop3": b"CAPA"}[daemon]
            stream.sendall(ask + b"\r\n")
            offer = b""
            while not re.search(rb"(?m)^(250 |a OK|\.\r)", offer):
                offer += file.readline()
            verb = b"b AUTHENTICATE" if daemon == "imap" else b"AUTH"
            initial = base64.b64encode(wanted.encode()) or b"="
            stream.sendall(verb + b" EXTERNAL " + initial + b"\r\n")
            answer = file.readline().decode()
            while answer.startswith("* "):
                answer = file.readline().decode()
            return b"EXTERNAL" in offer, answer

    IN = {"smtp": "235 2.7.0", "imap": "b OK", "pop3": "+OK"}
    REFUSED = {"smtp": "535 5.7.8", "imap": "b NO [AUTHENTICATIONFAILED]", "pop3": "-ERR [AUTH]"}
    UNKNOWN = {"smtp": "504 5.5.4", "imap": "b NO [CANNOT]", "pop3": "-ERR"}

    def test_a_good_certificate_is_a_login(self):
        for daemon in DAEMONS:
            for who, wanted in (("alice", ""), ("alice", ALICE), ("alice", ALICE.upper()),
                                ("common", "")):
                with self.subTest(daemon=daemon, who=who, wanted=wanted):
                    offered, answer = self.attempt(daemon, who, wanted)
                    self.assertTrue(offered)
                    self.assertTrue(answer.startswith(self.IN[daemon]), answer)

    def test_nobody_acts_for_somebody_else(self):
        for daemon in DAEMONS:
            for who, wanted in (("alice", BOB), ("nobody", ""), ("nobody", ALICE)):
                with self.subTest(daemon=daemon, who=who, wanted=wanted):
                    offered, answer = self.attempt(daemon, who, wanted)
                    self.assertTrue(offered)
                    self.assertTrue(answer.startswith(self.REFUSED[daemon]), answer)

    def test_without_a_good_certificate_it_is_not_there(self):
        for daemon in DAEMONS:
            for who in ("foreign", "revoked", "absent"):
                with self.subTest(daemon=daemon, who=who):
                    offered, answer = self.attempt(daemon, who)
                    self.assertFalse(offered)
                    self.assertTrue(answer.startswith(self.UNKNOWN[daemon]), answer)

    def test_after_starttls_and_with_curl(self):
        client = smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=20)
        client.ehlo()
        self.assertNotIn("EXTERNAL", client.esmtp_features.get("auth", ""))
        context = tls_context()
        context.load_cert_chain(*self.certificates["alice"])
        client.starttls(context=context)
        client.ehlo()
        self.assertIn("EXTERNAL", client.esmtp_features["auth"])
        client.quit()
        curl = need("curl")
        certificate, key = self.certificates["alice"]
        result = subprocess.run(
            [curl, "-sk", "--cert", certificate, "--key", key, "--login-options", "AUTH=EXTERNAL",
             "-u", f"{ALICE}:", f"imaps://127.0.0.1:{self.ports['imaps']}/"],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("INBOX", result.stdout)


if __name__ == "__main__":
    unittest.main()
