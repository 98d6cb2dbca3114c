# SPDX-License-Identifier: Apache-2.0
"""The whole suite as `mailctl dev` runs it, for tests with real clients."""

import email.utils
import imaplib
import json
import os
import poplib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request

BIN = os.environ.get("MARTLET_BIN", ".build/release")
STANDARD = (25, 587, 465, 143, 993, 110, 995, 9100, 9101, 9102, 9103)
DAEMONS = ("msgstored", "smtpd", "imapd", "pop3d")


def free_offset():
    """A port offset whose every port can be bound now."""
    for offset in range(21_000 + os.getpid() % 400 * 20, 50_000, 37):
        probes = []
        try:
            for port in STANDARD:
                probe = socket.socket()
                probes.append(probe)
                probe.bind(("127.0.0.1", port + offset))
            return offset
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError("no free ports")


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def need(program):
    """Skips the test, loudly, where a program is not installed."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/bin")
    if not found:
        raise unittest.SkipTest(f"{program} is not installed")
    return found


def eventually(check, seconds=10.0, every=0.02):
    """The first true value of `check`, or its last value when time is up. Errors count as false."""
    end = time.monotonic() + seconds
    value = None
    while time.monotonic() < end:
        try:
            value = check()
            if value:
                return value
        except (OSError, imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException, EOFError):
            pass
        time.sleep(every)
    return value


class Suite:
    """A running suite in a directory of its own."""

    def __init__(self, directory=None, options=(), bin=None, environment=None):
        self.bin = bin or BIN
        self.owns_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="martlet-test-")
        self.options = list(options)
        self.environment = {**os.environ, **environment} if environment else None
        self.offset = free_offset()
        self.process = None
        self.start()

    def start(self):
        self.log = open(os.path.join(self.directory, "dev.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(self.bin, "mailctl"), "dev", "--dir", self.directory, "--ports",
             str(self.offset), "--json", *self.options],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
            env=self.environment)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("mailctl dev did not start: " + self.log_text()[-2000:])
        self.state = json.loads(line)
        self.ports = self.state["ports"]
        self.passwords = {a["address"]: a["password"] for a in self.state["accounts"]}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("mailctl dev did not stop within 60 s")
            finally:
                self.process.stdout.close()
                self.log.close()
        return self.process.returncode

    def close(self):
        self.stop()
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_text(self):
        with open(os.path.join(self.directory, "dev.log"), errors="replace") as log:
            return log.read()

    def pid(self, daemon):
        """The pid of a daemon now: the child of mailctl dev whose program has that name."""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    name, rest = stat.read().split("(", 1)[1].rsplit(")", 1)
                if name == daemon and int(rest.split()[1]) == self.process.pid:
                    return int(entry)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def rss(self, daemon):
        """Resident octets of a daemon."""
        with open(f"/proc/{self.pid(daemon)}/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    def mailctl(self, *arguments, input=None, check=True):
        result = subprocess.run(
            [os.path.join(self.bin, "mailctl"), "--config", self.config_path(), *arguments],
            input=input, capture_output=True, text=True, timeout=60)
        if check and result.returncode != 0:
            raise AssertionError(f"mailctl {arguments}: {result.returncode} {result.stderr}")
        return result

    def config_path(self):
        return os.path.join(self.directory, "mail.toml")

    def socket_path(self, door):
        for folder in (self.directory, os.path.join(self.directory, "run")):
            path = os.path.join(folder, f"{door}.sock")
            if os.path.exists(path):
                return path
        raise FileNotFoundError(f"{door}.sock")

    def maildirs(self):
        return [root for root, folders, _ in os.walk(self.directory)
                if "cur" in folders and "new" in folders]

    # Clients

    def smtp(self, port="smtp", tls=None, user=None, source=None):
        """An smtplib session; `tls`: None, "starttls" or "implicit"."""
        where = {"host": "127.0.0.1", "port": self.ports[port], "timeout": 30,
                 "source_address": (source, 0) if source else None}
        if tls == "implicit":
            client = smtplib.SMTP_SSL(context=tls_context(), **where)
        else:
            client = smtplib.SMTP(**where)
        if tls == "starttls":
            client.ehlo()
            client.starttls(context=tls_context())
        if user:
            client.login(user, self.passwords[user])
        return client

    def imap(self, user="alice@example.test"):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=tls_context(),
                                   timeout=30)
        client.login(user, self.passwords[user])
        return client

    def pop3(self, user="alice@example.test"):
        client = poplib.POP3_SSL("127.0.0.1", self.ports["pop3s"], context=tls_context(),
                                 timeout=30)
        client.user(user)
        client.pass_(self.passwords[user])
        return client

    def deliver(self, subject, to="alice@example.test", sender="carol@elsewhere.example",
                body="Hello.\r\n"):
        """One message from outside through the smtp port."""
        with self.smtp() as client:
            client.sendmail(sender, [to], message(subject, sender, to, body))

    def raw(self, port, tls=False):
        return Raw(self.ports[port], tls)

    def metrics(self, daemon):
        port = self.ports["metrics"][daemon]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def health(self, daemon):
        port = self.ports["metrics"][daemon]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            return answer.status, json.loads(answer.read())


class Raw:
    """A socket that speaks in lines."""

    def __init__(self, port, tls=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        if tls:
            self.socket = tls_context().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def send(self, octets):
        self.socket.sendall(octets)

    def line(self):
        return self.file.readline().decode("utf-8", "replace").rstrip("\r\n")

    def reply(self):
        """All lines of one SMTP reply."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return lines

    def command(self, text):
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def tagged(self, tag, text):
        """Sends an IMAP command and reads up to its tagged answer."""
        self.send(f"{tag} {text}\r\n".encode())
        lines = [self.line()]
        while not lines[-1].startswith(tag + " ") and lines[-1] != "":
            lines.append(self.line())
        return lines

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def message(subject, sender="carol@elsewhere.example", to="alice@example.test",
            body="Hello.\r\n"):
    return (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n"
            f"Date: {email.utils.formatdate()}\r\nMessage-ID: <{subject}@test.example>\r\n\r\n"
            f"{body}")


def subjects(client, mailbox="INBOX"):
    """Subjects in a mailbox, by UID."""
    client.select(mailbox, readonly=True)
    _, data = client.uid("fetch", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    found = {}
    for item in data:
        if isinstance(item, tuple):
            uid = int(item[0].split(b"UID ")[1].split()[0])
            found[uid] = item[1].decode().split(":", 1)[1].strip()
    return found


class SuiteCase(unittest.TestCase):
    """Tests that share one running suite per class."""

    options = ()
    #: What `mail.toml` says beyond the defaults of `mailctl dev`.
    configuration = ""

    @classmethod
    def setUpClass(cls):
        options = cls.options
        if cls.configuration:
            file = tempfile.NamedTemporaryFile("w", suffix=".toml")
            cls.addClassCleanup(file.close)
            file.write(cls.configuration)
            file.flush()
            options += ("--config", file.name)
        cls.suite = Suite(options=options)
        cls.ports = cls.suite.ports
        cls.pids = {daemon: cls.suite.pid(daemon) for daemon in DAEMONS}

    @classmethod
    def tearDownClass(cls):
        log = cls.suite.log_text()
        alive = {daemon: cls.suite.pid(daemon) for daemon in DAEMONS}
        cls.suite.close()
        if getattr(cls, "may_restart", False):
            return
        if alive != cls.pids or "Fatal error" in log:
            raise AssertionError(f"a daemon died: {cls.pids} -> {alive}\n{log[-3000:]}")
