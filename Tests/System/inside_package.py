#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the box that package.sh boots: the life of the Debian package. Prints one line for each
thing that was seen."""

import imaplib
import os
import smtplib
import socket
import ssl
import subprocess
import time

ALICE = "alice@example.test"
PASSWORD = "correct horse battery staple"
SERVICES = ("smtpd", "imapd", "pop3d", "msgstored")
PORTS = (25, 587, 465, 143, 993, 110, 995)
#: Who idles, as many sessions of each as one may have without a limit in the way.
IDLERS = [f"idler{number}@example.test" for number in range(10)]
SESSIONS = 10


def run(*command, **options):
    done = subprocess.run(command, timeout=120, text=True, capture_output=True,
                          env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode} {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout


def check(truth, sentence):
    if not truth:
        raise AssertionError(sentence)
    print("ok", sentence, flush=True)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


def state(unit):
    return subprocess.run(["systemctl", "is-active", unit], capture_output=True,
                          text=True).stdout.strip()


def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def imap(user=ALICE):
    client = imaplib.IMAP4_SSL("127.0.0.1", 993, ssl_context=tls(), timeout=60)
    client.login(user, PASSWORD)
    return client


def count():
    client = imap()
    try:
        return int(client.select("INBOX", readonly=True)[1][0])
    finally:
        client.logout()


def deliver(subject):
    with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
        client.sendmail("bob@example.net", [ALICE],
                        f"From: bob@example.net\r\nSubject: {subject}\r\n\r\nHello.\r\n")


def pids():
    return {name: run("systemctl", "show", "-P", "MainPID", f"{name}.service").strip()
            for name in SERVICES}


def install():
    said = run("apt-get", "install", "-y", "--no-install-recommends", "/root/martlet.deb")
    check("README.Debian" in said, "the installation says what comes next")
    check(not any(is_open(port) for port in PORTS), "nothing listens after the installation")
    check(not os.path.exists("/etc/martlet/mail.toml"), "no configuration is made up")
    for name in ("mailctl.1", "mail.toml.5"):
        run("man", "-w", name.rsplit(".", 1)[1], name.rsplit(".", 1)[0])
    with open("/etc/martlet/mail.toml", "w") as file:
        file.write('[server]\nhostname = "box.example.test"\n[[domains]]\nname = "example.test"\n')
    run("mailctl", "tls", "self-signed", "--out-dir", "/etc/martlet/tls")
    run("mailctl", "config", "check")
    run("systemctl", "enable", "--now", "martlet.target")
    check(all(is_open(port) for port in PORTS), "after enable --now all ports are open")
    for user in [ALICE, *IDLERS]:
        run("mailctl", "account", "add", user, "--password-stdin", input=PASSWORD + "\n")
    deliver("before")
    check(count() == 1, "mail comes in by port 25 and out by IMAPS")


def upgrade():
    idlers = []
    for user in IDLERS * SESSIONS:
        client = imap(user)
        client.select("INBOX")
        client.send(client._new_tag() + b" IDLE\r\n")
        client.readline()
        idlers.append(client)
    check(True, f"{len(idlers)} sessions idle")
    line = socket.create_connection(("127.0.0.1", 25), 60)
    talk = line.makefile("rb")
    talk.readline()
    for command in (b"EHLO box.example.net", b"MAIL FROM:<bob@example.net>",
                    b"RCPT TO:<" + ALICE.encode() + b">", b"DATA"):
        line.sendall(command + b"\r\n")
        while talk.readline()[3:4] == b"-":
            pass
    line.sendall(b"Subject: during\r\n\r\nfirst half\r\n")
    before = pids()
    upgrading = subprocess.Popen(["apt-get", "install", "-y", "/root/next.deb"],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    for _ in range(600):
        if state("smtpd.service") == "deactivating":
            break
        time.sleep(0.1)
    check(state("smtpd.service") == "deactivating", "the old smtpd waits for a message in DATA")
    line.sendall(b"second half\r\n.\r\n")
    reply = talk.readline()
    said, _ = upgrading.communicate(timeout=120)
    check(upgrading.returncode == 0, f"the upgrade succeeds {said[-300:] if upgrading.returncode else ''}")
    check(reply.startswith(b"250 "), f"it is taken whole: {reply.decode().strip()}")
    after = pids()
    check(all(before[name] != after[name] for name in SERVICES),
          "every daemon is a new one")
    told = 0
    for client in idlers:
        try:
            told += b"BYE" in client.readline()
        except OSError:
            pass
    check(told == len(idlers), f"every idling session was told ({told} of {len(idlers)})")
    check(count() == 2, "the mail is there, and what came during the upgrade")
    deliver("after")
    check(count() == 3, "and new mail comes")


def remove():
    run("apt-get", "remove", "-y", "martlet")
    check(not any(is_open(port) for port in PORTS), "after the removal nothing listens")
    check(all(state(f"{name}.service") != "active" for name in SERVICES), "and nothing runs")
    check(os.path.exists("/etc/martlet/mail.toml"), "the configuration is still there")
    run("apt-get", "install", "-y", "--no-install-recommends", "/root/next.deb")
    run("systemctl", "enable", "--now", "martlet.target")
    check(count() == 3, "installed again, all is as it was")
    said = run("apt-get", "purge", "-y", "martlet")
    check("/var/lib/martlet" in said, "the purge says where the mail is")
    check(not os.path.exists("/etc/martlet"), "after the purge the configuration is gone")
    left = subprocess.run(["find", "/etc/systemd", "-name", "*smtp*", "-o", "-name", "martlet*"],
                          capture_output=True, text=True).stdout
    check(left == "", f"no unit is left enabled {left}")
    mail = subprocess.run(["find", "/var/lib/martlet", "-path", "*/cur/*"], capture_output=True,
                          text=True).stdout.split()
    check(len(mail) == 3, "and the mail is not")


# Images for containers say that packages may start nothing; this is a machine.
if os.path.exists("/usr/sbin/policy-rc.d"):
    os.unlink("/usr/sbin/policy-rc.d")
install()
upgrade()
remove()
