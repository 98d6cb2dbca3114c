#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the box that systemd.sh boots. Prints one line for each thing that was seen."""

import email.utils
import imaplib
import os
import poplib
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

ALICE = "alice@example.test"
PASSWORD = "correct horse battery staple"
SERVICES = ("smtpd", "imapd", "pop3d", "msgstored")
METRICS = {"smtpd": 9100, "pop3d": 9101, "imapd": 9102, "msgstored": 9103}
PORTS = (25, 587, 465, 143, 993, 110, 995, 9100, 9101, 9102, 9103)
seen = 0


def tls():
    context = ssl.create_default_context(cafile="/etc/martlet/tls/fullchain.pem")
    context.check_hostname = True
    return context


def run(*command, **options):
    return subprocess.run(command, check=options.pop("check", True), timeout=90, text=True,
                          capture_output=True, **options)


def show(unit, name):
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def pid(service):
    return int(show(f"{service}.service", "MainPID"))


def check(truth, sentence):
    global seen
    if not truth:
        raise AssertionError(sentence)
    seen += 1
    print("ok", sentence, flush=True)


def eventually(action, seconds=30):
    """The first result of `action` that is true and no error; a daemon may be starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = action()
            if result:
                return result
        except (OSError, EOFError, imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException):
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return None
        time.sleep(0.1)


def message(name):
    return (f"From: somebody@example.net\r\nTo: {ALICE}\r\nSubject: {name}\r\n"
            f"Date: {email.utils.formatdate()}\r\nMessage-ID: <{name}@example.net>\r\n\r\n"
            f".leading dot\r\nText of {name}\r\n").encode()


def deliver(name):
    with smtplib.SMTP("localhost", 25, "client.example.net", timeout=30) as smtp:
        smtp.sendmail("somebody@example.net", [ALICE], message(name))


def submit(name):
    with smtplib.SMTP_SSL("localhost", 465, timeout=30, context=tls()) as smtp:
        smtp.login(ALICE, PASSWORD)
        smtp.sendmail(ALICE, [ALICE], message(name).replace(b"somebody@example.net", ALICE.encode()))


def imap_messages():
    client = imaplib.IMAP4_SSL("localhost", 993, ssl_context=tls(), timeout=30)
    client.login(ALICE, PASSWORD)
    client.select("INBOX")
    found = {}
    for number in client.search(None, "ALL")[1][0].split():
        octets = client.fetch(number, "(BODY.PEEK[])")[1][0][1]
        found[subject(octets)] = octets
    client.logout()
    return found


def pop3_messages():
    client = poplib.POP3_SSL("localhost", 995, context=tls(), timeout=30)
    client.user(ALICE)
    client.pass_(PASSWORD)
    found = {}
    for number in range(1, client.stat()[0] + 1):
        octets = b"".join(line + b"\r\n" for line in client.retr(number)[1])
        found[subject(octets)] = octets
    client.quit()
    return found


def subject(octets):
    lines = [line for line in octets.split(b"\r\n") if line.startswith(b"Subject: ")]
    return lines[0][9:].decode()


def same_everywhere(names):
    """Both protocols give exactly these messages, with the same octets."""
    by_imap = eventually(lambda: m if set(m := imap_messages()) >= set(names) else None)
    by_pop3 = eventually(pop3_messages)
    return (by_imap == by_pop3 and sorted(by_imap) == sorted(names)
            and all(by_imap[n].endswith(f".leading dot\r\nText of {n}\r\n".encode()) for n in names))


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except OSError:
        return False


def install():
    run("systemd-sysusers", "/usr/lib/sysusers.d/martlet.conf")
    run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/martlet.conf")
    run("systemctl", "daemon-reload")
    check(not any(is_open(port) for port in PORTS), "nothing listens after the installation")
    run("systemctl", "enable", "--now", "martlet.target")
    check(all(is_open(port) for port in PORTS), "one command opens every port")
    run("mailctl", "domain", "list")
    run("mailctl", "account", "add", ALICE, "--password-stdin", input=PASSWORD + "\n")
    check(ALICE in run("mailctl", "account", "list").stdout, "mailctl makes an account")


def first_mail():
    eventually(lambda: deliver("first") or True)
    check(same_everywhere(["first"]), "mail to port 25 comes out of IMAPS and POP3S unchanged")
    submit("second")
    check(same_everywhere(["first", "second"]), "mail submitted to port 465 arrives as well")
    for service in SERVICES:
        check(show(f"{service}.service", "StatusText") != "", f"{service} reports its status")
        url = f"http://127.0.0.1:{METRICS[service]}"
        text = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
        check(f"\n{service}_" in "\n" + text, f"{service} has metrics on its own socket")
        health = urllib.request.urlopen(f"{url}/health", timeout=10)
        check(health.status == 200, f"{service} is healthy")


def sandbox():
    for service in SERVICES:
        with open(f"/proc/{pid(service)}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        check(fields["CapBnd"] == "0" * 16 and fields["NoNewPrivs"] == "1"
              and fields["Seccomp"] == "2" and not fields["Uid"].startswith("0\t"),
              f"{service} has no capability, no way to get one, and filtered system calls")
        check(os.readlink(f"/proc/{pid(service)}/ns/net") != os.readlink("/proc/1/ns/net"),
              f"{service} has no network of its own")

    def writable(door, *properties):
        return run("systemd-run", "--quiet", "--pipe", "--wait", *properties, "test", "-w",
                   f"/run/martlet/{door}.sock", check=False).returncode == 0
    groups = ("-p", "DynamicUser=yes", "-p", "SupplementaryGroups=martlet-mailbox")
    check(writable("mailbox", *groups) and not writable("control", *groups)
          and not writable("deliver", *groups) and not writable("queue", *groups),
          "the group of one door opens that door only")
    check(run("stat", "-c", "%U %a", "/var/lib/martlet").stdout.split() == ["martlet-store", "700"],
          "the mail belongs to the store alone")
    check(run("stat", "-c", "%U %G %a", "/etc/martlet/tls").stdout.split()
          == ["root", "martlet-tls", "2750"], "the key belongs to root and to those who serve TLS")


def reload():
    before = {service: pid(service) for service in SERVICES}
    for service in SERVICES:
        run("systemctl", "reload", f"{service}.service")
    check({service: pid(service) for service in SERVICES} == before, "a reload keeps the processes")
    with open("/etc/martlet/mail.toml", "a") as file:
        file.write("\nnonsense = [\n")
    for service in SERVICES:
        run("systemctl", "reload", f"{service}.service", check=False)
    deliver("third")
    check(same_everywhere(["first", "second", "third"]),
          "a reload with a broken file keeps the settings that work")
    with open("/etc/martlet/mail.toml") as file:
        text = file.read().replace("\nnonsense = [\n", "")
    with open("/etc/martlet/mail.toml", "w") as file:
        file.write(text)
    with open("/etc/martlet/mail.toml.d/name.toml", "w") as file:
        file.write('[smtpd]\nhostname = "renamed.example.test"\n')
    run("systemctl", "reload", "smtpd.service")

    def banner():
        with socket.create_connection(("127.0.0.1", 25), 10) as link:
            return b"renamed.example.test" in link.recv(512)
    check("renamed" in (eventually(lambda: run("mailctl", "config", "show").stdout) or ""),
          "mailctl sees the same settings")
    run("mailctl", "reload")
    check("smtpd" in run("mailctl", "status").stdout, "mailctl reloads and reports")
    check(eventually(banner), "a reload reads mail.toml.d and brings its settings to new connections")


def serial(port, starttls=()):
    """The serial number of the certificate at `port`."""
    shown = run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *starttls, input="").stdout
    return run("openssl", "x509", "-noout", "-serial", input=shown).stdout.strip()


def renew():
    """A renewed certificate, taken over by a reload alone."""
    folder = "/etc/martlet/tls"
    before = {service: pid(service) for service in SERVICES}
    ports = ((465, ()), (993, ()), (995, ()), (25, ("-starttls", "smtp")))
    old = {port: serial(port, how) for port, how in ports}
    check(len(set(old.values())) == 1, "every port shows one certificate")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "3", "-subj", "/CN=box.example.test", "-addext",
        "subjectAltName=DNS:box.example.test,DNS:localhost", "-keyout", f"{folder}/new.key",
        "-out", f"{folder}/new.pem")
    run("chgrp", "martlet-tls", f"{folder}/new.key", f"{folder}/new.pem")
    run("chmod", "640", f"{folder}/new.key")
    os.rename(f"{folder}/new.key", f"{folder}/privkey.pem")
    os.rename(f"{folder}/new.pem", f"{folder}/fullchain.pem")
    for service in ("smtpd", "imapd", "pop3d"):
        run("systemctl", "reload", f"{service}.service")
    check(eventually(lambda: all(serial(port, how) != old[port] for port, how in ports)),
          "a reload takes over a renewed certificate")
    check({service: pid(service) for service in SERVICES} == before, "in the same processes")
    # Half of a pair changes nothing, and says so where people look.
    with open(f"{folder}/fullchain.pem") as file:
        whole = file.read()
    with open(f"{folder}/fullchain.pem", "w") as file:
        file.write(whole[:200])
    run("systemctl", "reload", "smtpd.service", check=False)
    check(eventually(lambda: "fullchain.pem" in show("smtpd.service", "StatusText")),
          "systemctl status says why a reload was refused: " + show("smtpd.service", "StatusText"))
    check(serial(465) == serial(993), "and the certificate that works stays")
    with open(f"{folder}/fullchain.pem", "w") as file:
        file.write(whole)
    run("systemctl", "reload", "smtpd.service")
    check(eventually(lambda: "refused" not in show("smtpd.service", "StatusText")),
          "a good reload says nothing of it any more")


def sockets():
    """systemd opens and closes its sockets; the daemon says what is missing."""
    with open("/etc/martlet/mail.toml.d/extra.toml", "w") as file:
        file.write("".join(f'[smtpd.listeners.{name}]\naddress = ":{port}"\nmode = "{mode}"\n'
                           for name, port, mode in (("smtp", 25, "smtp"), ("smtps", 465, "smtps"),
                                                    ("submission", 587, "submission"),
                                                    ("extra", 2525, "alt"))))
    with socket.create_connection(("127.0.0.1", 25), 10) as link:
        link.recv(512)
        run("systemctl", "reload", "smtpd.service")
        link.sendall(b"NOOP\r\n")
        check(link.recv(512).startswith(b"250"), "a session goes on over a change of listeners")
    check(eventually(lambda: "listener is off, no socket was passed" in run(
        "journalctl", "-u", "smtpd.service", "--no-pager").stdout),
        "a listener without a socket unit is told of")
    os.unlink("/etc/martlet/mail.toml.d/extra.toml")
    run("systemctl", "reload", "smtpd.service")


def restart():
    before = {service: pid(service) for service in SERVICES}
    for service in SERVICES:
        run("systemctl", "restart", f"{service}.service")
    eventually(lambda: deliver("fourth") or True)
    check(same_everywhere(["first", "second", "third", "fourth"]), "mail survives a restart")
    check(all(pid(service) != before[service] for service in SERVICES), "all daemons are new")


def kill():
    names = ["first", "second", "third", "fourth"]
    for turn, service in enumerate(("msgstored", "smtpd", "imapd", "pop3d", "msgstored")):
        old = pid(service)
        os.kill(old, signal.SIGKILL)
        name = f"killed-{turn}"
        eventually(lambda: deliver(name) or True)
        names.append(name)
        check(same_everywhere(names), f"mail goes on after kill -9 of {service}")
        check(eventually(lambda: pid(service) not in (0, old)), f"{service} is back")
    check(not [p for p in PORTS if not is_open(p)], "every port is still open")


def stop():
    run("systemctl", "stop", "martlet.target")
    check(eventually(lambda: all(show(f"{s}.service", "ActiveState") == "inactive"
                                 for s in SERVICES)), "stopping the target stops every daemon")
    results = {s: show(f"{s}.service", "Result") for s in SERVICES}
    check(set(results.values()) == {"success"}, f"and every daemon stops well: {results}")
    check(not any(is_open(port) for port in PORTS), "and closes every port")
    run("systemctl", "start", "martlet.target")
    check(len(eventually(imap_messages)) == 9, "starting it again finds the mail")


if __name__ == "__main__":
    start = time.monotonic()
    try:
        for step in (install, first_mail, sandbox, reload, renew, sockets, restart, kill, stop):
            step()
    except subprocess.CalledProcessError as error:
        print("FAILED", error, error.stdout, error.stderr, flush=True)
        sys.exit(1)
    except Exception as error:
        print(f"FAILED in {step.__name__}: {type(error).__name__}: {error}", flush=True)
        sys.exit(1)
    print(f"systemd: {seen} checks passed in {time.monotonic() - start:.1f} s")
