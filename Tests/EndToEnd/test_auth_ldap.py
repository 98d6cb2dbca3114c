# SPDX-License-Identifier: Apache-2.0
"""Passwords in LDAP: authd-ldap against slapd, by the user's own name and by search."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from suite import BIN, SuiteCase, eventually, need
from test_auth import ALICE, BOB, DAEMONS, Line
from test_listeners import free_port

ENTRIES = """dn: dc=example,dc=test
objectClass: domain
dc: example

dn: cn=reader,dc=example,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reading

dn: uid=alice,dc=example,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
mail: alice@example.test
userPassword: in-the-directory

dn: uid=bob,dc=example,dc=test
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
mail: bob@example.test
mail: both@example.test
userPassword: bobs-word

dn: uid=second,dc=example,dc=test
objectClass: inetOrgPerson
uid: second
cn: Second
sn: S
mail: both@example.test
userPassword: bobs-word
"""


class LDAPCase(SuiteCase):
    keys = ""
    backends = '["ldap", "internal"]'

    @classmethod
    def setUpClass(cls):
        cls.slapd_program = need("slapd")
        need("slapadd")
        cls.folder = tempfile.mkdtemp(prefix="martlet-ldap-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        os.mkdir(cls.folder + "/data")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", cls.folder + "/key.pem",
             "-out", cls.folder + "/cert.pem"], check=True, capture_output=True)
        with open(cls.folder + "/slapd.conf", "w") as file:
            for name in ("core", "cosine", "inetorgperson"):
                file.write(f"include /etc/ldap/schema/{name}.schema\n")
            file.write("modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
                       f"pidfile {cls.folder}/slapd.pid\n"
                       f"TLSCertificateFile {cls.folder}/cert.pem\n"
                       f"TLSCertificateKeyFile {cls.folder}/key.pem\n"
                       "database mdb\nsuffix dc=example,dc=test\n"
                       f"directory {cls.folder}/data\nmaxsize 10485760\n"
                       "access to attrs=userPassword by * auth\n"
                       'access to * by dn="cn=reader,dc=example,dc=test" read by * auth\n')
        subprocess.run([shutil.which("slapadd", path="/usr/sbin:/sbin"), "-f",
                        cls.folder + "/slapd.conf"], input=ENTRIES, text=True, check=True,
                       capture_output=True)
        cls.plain, cls.secure = free_port(), free_port()
        cls.start_directory()
        cls.addClassCleanup(lambda: cls.stop(cls.directory))
        with open(cls.folder + "/secret", "w") as file:
            file.write("reading\n")
        cls.configuration = (
            f'[msgstored.auth]\nbackend = {cls.backends}\n'
            '[server.limits]\nexempt = []\nauth_failures_per_ip = 1000\n'
            'auth_failures_per_account = 0\n'
            '[msgstored.auth.ldap]\ntimeout = "1s"\n' + cls.keys.format(
                plain=cls.plain, secure=cls.secure, folder=cls.folder))
        super().setUpClass()
        cls.helper = subprocess.Popen(
            [os.path.join(BIN, "authd-ldap"), "--config", cls.suite.config_path()],
            stderr=cls.suite.log)
        cls.addClassCleanup(lambda: cls.stop(cls.helper))
        path = os.path.join(cls.suite.directory, "run", "authd-ldap.sock")
        assert eventually(lambda: cls.answers(socket.AF_UNIX, path)), "authd-ldap does not listen"

    @classmethod
    def start_directory(cls):
        cls.directory = subprocess.Popen(
            [cls.slapd_program, "-d", "0", "-f", cls.folder + "/slapd.conf", "-h",
             f"ldap://127.0.0.1:{cls.plain} ldaps://127.0.0.1:{cls.secure}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert eventually(lambda: cls.answers(socket.AF_INET, ("127.0.0.1", cls.plain)))

    @staticmethod
    def answers(family, where):
        with socket.socket(family) as probe:
            probe.connect(where)
        return True

    @staticmethod
    def stop(process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    def attempt(self, daemon, user, password):
        with Line(self.suite, daemon) as line:
            return line, line.begin("PLAIN", f"\0{user}\0{password}".encode())

    def assert_in(self, daemon, user, password):
        line, answer = self.attempt(daemon, user, password)
        self.assertTrue(line.is_in(answer), answer)

    def assert_refused(self, daemon, user, password):
        self.suite.mailctl("ban", "remove", "127.0.0.1", check=False)
        line, answer = self.attempt(daemon, user, password)
        self.assertTrue(line.is_refused(answer), answer)


class ByName(LDAPCase):
    keys = ('url = "ldaps://127.0.0.1:{secure}"\nca_file = "{folder}/cert.pem"\n'
            'user_dn = "uid=%n,dc=example,dc=test"\n')

    def test_passwords_of_the_directory_and_of_the_store(self):
        for daemon in DAEMONS:
            self.assert_in(daemon, ALICE, "in-the-directory")
            self.assert_in(daemon, ALICE, self.suite.passwords[ALICE])
            self.assert_refused(daemon, ALICE, "wrong")
        # In the directory, but no account here.
        self.assert_refused("imap", "second@example.test", "bobs-word")

    def test_a_directory_that_is_gone_is_an_outage_for_its_passwords_only(self):
        self.stop(self.directory)
        try:
            _, answer = self.attempt("imap", ALICE, "in-the-directory")
            self.assertTrue(answer.startswith("a NO [UNAVAILABLE]"), answer)
            _, answer = self.attempt("smtp", ALICE, "in-the-directory")
            self.assertTrue(answer.startswith("454 4.7.0"), answer)
            self.assert_in("imap", ALICE, self.suite.passwords[ALICE])
        finally:
            type(self).start_directory()
        self.assert_in("imap", ALICE, "in-the-directory")


class ByWrongAuthority(LDAPCase):
    keys = ('url = "ldaps://127.0.0.1:{secure}"\nca_file = "/etc/ssl/certs/ca-certificates.crt"\n'
            'user_dn = "uid=%n,dc=example,dc=test"\n')

    def test_a_server_that_cannot_be_verified_gets_no_password(self):
        _, answer = self.attempt("imap", ALICE, "in-the-directory")
        self.assertTrue(answer.startswith("a NO [UNAVAILABLE]"), answer)


class BySearch(LDAPCase):
    backends = '["ldap"]'
    keys = ('url = "ldap://127.0.0.1:{plain}"\nstart_tls = true\nca_file = "{folder}/cert.pem"\n'
            'base = "dc=example,dc=test"\nbind_dn = "cn=reader,dc=example,dc=test"\n'
            'bind_password_file = "{folder}/secret"\n')

    def test_search_and_bind(self):
        for address in ("both@example.test", "\"*\"@example.test"):
            self.suite.mailctl("account", "add", address, "--password-stdin",
                               input="some-password\n", check=False)
        self.assert_in("imap", ALICE, "in-the-directory")
        self.assert_in("smtp", BOB, "bobs-word")
        self.assert_refused("imap", ALICE, "bobs-word")
        # Passwords of our own do not count here.
        self.assert_refused("imap", ALICE, self.suite.passwords[ALICE])
        # Two entries: nobody can say whose password it is.
        _, answer = self.attempt("imap", "both@example.test", "bobs-word")
        self.assertTrue(answer.startswith("a NO [UNAVAILABLE]"), answer)
        for name in ("*", "alice)(uid=*", "*)(objectClass=*"):
            self.assert_refused("imap", f"{name}@example.test", "in-the-directory")


if __name__ == "__main__":
    unittest.main()
