# SPDX-License-Identifier: Apache-2.0
"""A real Dovecot of its own with an IMAP port, for tests that take an account over from it."""

import imaplib
import os
import signal
import socket
import subprocess
import unittest

from suite import eventually, need, tls_context


class Dovecot:
    """A Dovecot of its own, without root's files, with one user `old`."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "dovecot")
        self.program = need("dovecot")

    def __enter__(self):
        os.makedirs(os.path.join(self.folder, "run"))
        os.makedirs(os.path.join(self.folder, "mail"))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old.test",
             "-keyout", f"{self.folder}/key.pem", "-out", f"{self.folder}/cert.pem", "-days", "2"],
            check=True, capture_output=True)
        config = os.path.join(self.folder, "dovecot.conf")
        root = os.getuid() == 0
        uid, gid = (65534, 65534) if root else (os.getuid(), os.getgid())
        login = "dovenull" if root else os.environ.get("USER", "nobody")
        internal = "dovecot" if root else login
        os.chmod(os.path.dirname(self.folder), 0o755)
        if root:
            os.chown(os.path.join(self.folder, "mail"), uid, gid)
        with open(os.path.join(self.folder, "users"), "w") as file:
            file.write(f"old:{{PLAIN}}secret:{uid}:{gid}::{self.folder}/mail::\n")
        with open(config, "w") as file:
            file.write(f"""
protocols = imap
base_dir = {self.folder}/run
state_dir = {self.folder}/run
log_path = {self.folder}/log
ssl = yes
ssl_cert = <{self.folder}/cert.pem
ssl_key = <{self.folder}/key.pem
disable_plaintext_auth = no
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {"dovecot" if root else ""}
first_valid_uid = 1
mail_location = maildir:{self.folder}/mail/Maildir
passdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
userdb {{
  driver = passwd-file
  args = {self.folder}/users
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
""")
        self.process = subprocess.Popen([self.program, "-F", "-c", config],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not eventually(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close()
                          or True, 15):
            self.__exit__()
            raise unittest.SkipTest("dovecot does not start here: " + self.log())
        return self

    def log(self):
        try:
            with open(os.path.join(self.folder, "log")) as file:
                return file.read()[-1500:]
        except FileNotFoundError:
            return "no log"

    def client(self):
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        client.starttls(tls_context())
        client.login("old", "secret")
        return client

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
