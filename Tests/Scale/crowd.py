# SPDX-License-Identifier: Apache-2.0
"""Those who attack a mail server: each function is one crowd, run in a process of its own.

A crowd comes from many addresses of 127.0.0.0/8, says when it is complete (`ready`), goes on until
`stop` and leaves its numbers in `seen`. Honest clients come from 127.0.0.1.
"""

import errno
import itertools
import os
import resource
import signal
import socket
import ssl
import sys
import time
import traceback

from suite import tls_context


def raise_limits():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def address(number, network):
    """The source of the n-th client: 50 connections each, as many as an address may have."""
    place = number // 50
    return f"127.{network}.{place >> 8 & 255}.{place & 255}"


def connect(port, number=0, network=1, timeout=30):
    link = socket.socket()
    link.settimeout(timeout)
    # Without IP_BIND_ADDRESS_NO_PORT the kernel looks for a port that is free for all peers.
    link.setsockopt(socket.IPPROTO_IP, 24, 1)
    link.bind((address(number, network), 0))
    link.connect(("127.0.0.1", port))
    return link


def ask(link, text, wanted):
    """One command and its whole reply."""
    link.sendall(text)
    reply = b""
    while not any(line[3:4] == b" " for line in reply.split(b"\r\n")[:-1]):
        piece = link.recv(4096)
        if not piece:
            raise ConnectionResetError("closed")
        reply += piece
    if not reply.startswith(wanted):
        raise ValueError(f"{text!r}: {reply!r}")


def client_hello():
    """What a client sends first, to be stopped half way."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls_context().wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def greeted(link):
    ask(link, b"", b"220")


def in_transaction(link):
    """Up to the first octet of a message."""
    greeted(link)
    ask(link, b"EHLO crowd.example\r\n", b"250")
    ask(link, b"MAIL FROM:<crowd@elsewhere.example>\r\n", b"250")
    ask(link, b"RCPT TO:<bob@example.test>\r\n", b"250")
    ask(link, b"DATA\r\n", b"354")


def in_body(link):
    in_transaction(link)
    link.sendall(b"Subject: slow\r\n\r\n")


def behind_starttls(link):
    """TLS as a mail server starts it. Returns the TLS socket."""
    greeted(link)
    ask(link, b"EHLO crowd.example\r\n", b"250")
    ask(link, b"STARTTLS\r\n", b"220")
    link = tls_context().wrap_socket(link)
    ask(link, b"EHLO crowd.example\r\n", b"250")
    return link


def logged_in(user, password):
    """An IMAP session that idles in its INBOX."""
    def begin(link):
        file = link.makefile("rb")

        def tagged(text):
            link.sendall(b"a " + text + b"\r\n")
            while True:
                line = file.readline()
                if line.startswith(b"+") or line.startswith(b"a OK"):
                    return
                if not line or line.startswith(b"a "):
                    raise ValueError(f"{text!r}: {line!r}")
        file.readline()
        tagged(f'LOGIN "{user()}" "{password}"'.encode())
        tagged(b"SELECT INBOX")
        tagged(b"IDLE")
        file.close()
        return link
    return begin


def pop3_logged_in(user, password):
    """A POP3 session; each needs an account of its own, which it has for itself."""
    def begin(link):
        greeting = link.recv(500)
        for text in (f"USER {user()}", f"PASS {password}"):
            link.sendall(text.encode() + b"\r\n")
            greeting = link.recv(500)
        if not greeting.startswith(b"+OK"):
            raise ValueError(f"{greeting!r}")
    return begin


def with_tls(begin):
    def begin_tls(link):
        link = tls_context().wrap_socket(link)
        return begin(link) or link
    return begin_tls


class Crowd:
    """`count` connections that are opened again when the server closes them."""

    def __init__(self, port, count, network, begin=None):
        self.port, self.network, self.begin = port, network, begin
        self.closed = 0
        self.links = [self.open(number) for number in range(count)]

    def open(self, number):
        link = connect(self.port, number, self.network)
        if self.begin:
            link = self.begin(link) or link
        link.setblocking(False)
        return link

    def again(self, number):
        self.closed += 1
        self.links[number].close()
        try:
            self.links[number] = self.open(number)
        except (OSError, ValueError):
            # Refused for now, as a flood should be: the next round tries again.
            self.links[number] = socket.socket()

    def send(self, number, octets):
        try:
            return self.links[number].send(octets)
        except BlockingIOError:
            return 0
        except ssl.SSLWantWriteError:
            return 0
        except OSError:
            self.again(number)
            return 0


def hold(port, count, network, begin, ready, stop, seen):
    """Connections that do nothing."""
    crowd = Crowd(port, count, network, begin)
    ready.set()
    stop.wait()
    alive = 0
    for link in crowd.links:
        try:
            alive += link.recv(1) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            alive += 1
        except OSError:
            pass
    seen.put({"alive": alive})


def drip(port, count, network, begin, text, every, ready, stop, seen):
    """One octet of `text`, over and over, in each connection every so many seconds."""
    crowd = Crowd(port, count, network, begin)
    ready.set()
    places = [0] * count
    sent = 0
    while not stop.is_set():
        round_began = time.monotonic()
        for number in range(count):
            place = places[number] % len(text)
            sent += crowd.send(number, text[place:place + 1])
            places[number] += 1
            if number % 200 == 199:
                time.sleep(every / (count / 200) / 2)
        stop.wait(max(0, every - (time.monotonic() - round_began)))
    seen.put({"octets": sent, "closed": crowd.closed})


def pour(port, count, network, begin, text, reads, rate, ready, stop, seen):
    """`text` over and over in each connection, `rate` octets a second in all, its replies read or
    not."""
    crowd = Crowd(port, count, network, begin)
    ready.set()
    piece = text * (16_384 // len(text) + 1)
    sent, began = 0, time.monotonic()
    while not stop.is_set():
        before = sent
        for number in range(count):
            sent += crowd.send(number, piece)
            if reads:
                try:
                    if crowd.links[number].recv(65_536) == b"":
                        crowd.again(number)
                except (BlockingIOError, ssl.SSLWantReadError):
                    pass
                except OSError:
                    crowd.again(number)
            if sent > rate * (time.monotonic() - began):
                time.sleep(0.002)
        if sent == before:
            time.sleep(0.01)
    seen.put({"MB": round(sent / 1e6, 1), "closed": crowd.closed})


def knock(port, rate, network, text, each, ready, stop, seen):
    """`rate` new connections a second, `each` of them from one address, 0: all; each says `text`
    and goes after a second."""
    ready.set()
    began, opened, errors, answered = time.monotonic(), 0, 0, 0
    waiting = []
    while not stop.is_set():
        now = time.monotonic()
        while opened < rate * (now - began):
            opened += 1
            try:
                link = socket.socket()
                link.setsockopt(socket.IPPROTO_IP, 24, 1)
                link.bind((address(opened * 50 // each if each else 0, network), 0))
                link.setblocking(False)
                if link.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
                    errors += 1
                waiting.append((now, link))
                if text:
                    link.send(text)
            except OSError:
                errors += 1
        kept = []
        for moment, link in waiting:
            if now - moment < 1:
                kept.append((moment, link))
                continue
            try:
                answered += link.recv(100) != b""
            except OSError:
                pass
            link.close()
        waiting = kept
        time.sleep(0.005)
    seconds = time.monotonic() - began
    seen.put({"per s": round(opened / seconds), "answered": answered, "errors": errors})


def shake(port, network, ready, stop, seen):
    """Full TLS handshakes, one after the other."""
    ready.set()
    done, failed, began = 0, 0, time.monotonic()
    context = tls_context()
    for number in itertools.count():
        if stop.is_set():
            break
        try:
            with context.wrap_socket(connect(port, number * 10, network, 10)) as link:
                link.recv(10)
            done += 1
        except OSError:
            failed += 1
    seen.put({"per s": round(done / (time.monotonic() - began)), "failed": failed})


def run(body, arguments, ready, stop, seen):
    """The process of a crowd: less important than who is measured, and never without an end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_limits()
    os.nice(5)
    try:
        body(*arguments, ready, stop, seen)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        ready.set()
        seen.put({"error": traceback.format_exc(limit=1).splitlines()[-1]})
