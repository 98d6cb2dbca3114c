# SPDX-License-Identifier: Apache-2.0
"""Who else is at a mailbox while the views of IMAP sessions are checked."""

import os
import poplib
import random
import re
import threading
import time
import traceback

from suite import message

ALICE = "alice@example.test"


def letter(token):
    return message(token).replace("Subject:", f"X-Token: {token}\r\nSubject:", 1).encode()


class Actor(threading.Thread):
    """Something that does things until the time is over."""

    def __init__(self, test, name, seed):
        super().__init__(name=name, daemon=True)
        self.test = test
        self.shared = test.shared
        self.random = random.Random(f"{seed}-{name}")
        self.failure = None
        self.count = 0
        self.done = {}

    def token(self):
        self.count += 1
        return f"{self.name}-{self.count}"

    def run(self):
        try:
            self.begin()
            while time.monotonic() < self.test.deadline and not self.test.failed.is_set():
                self.turn()
            self.end()
        except Exception:
            self.failure = traceback.format_exc() + self.context()
            self.test.failed.set()

    def begin(self): pass

    def end(self): pass

    def context(self): return ""


class Postman(Actor):
    """Mail from outside."""

    def turn(self):
        with self.test.suite.smtp() as client:
            for _ in range(self.random.choice((1, 3))):
                token = self.token()
                client.sendmail(f"{token}@elsewhere.example", [ALICE], letter(token))
                self.shared.sent.add(token)
                self.done["delivered"] = self.done.get("delivered", 0) + 1
        time.sleep(self.random.random() * 0.2)


class Collector(Actor):
    """Fetches by POP3, and deletes some."""

    def turn(self):
        client = self.test.suite.pop3()
        for number in range(1, min(4, len(client.list()[1]) + 1)):
            try:
                lines = client.retr(number)[1]
            except poplib.error_proto as error:
                if "removed" not in str(error):
                    raise
                continue
            token = next((line.split()[1].decode() for line in lines
                          if line.startswith(b"X-Token:")), None)
            if token and self.random.random() < 0.5:
                self.shared.lost.add(token)
                client.dele(number)
                self.done["deleted"] = self.done.get("deleted", 0) + 1
        client.quit()
        time.sleep(0.3 + self.random.random())


class Outsider(Actor):
    """A program that changes the Maildir behind the server's back."""

    def turn(self):
        time.sleep(self.random.random() * 0.5)
        root = self.test.maildir
        names = sorted(os.listdir(os.path.join(root, "cur")))
        act = self.random.choice(("flags", "flags", "remove", "add"))
        try:
            if act == "add" or not names:
                token = self.token()
                with open(os.path.join(root, "tmp", token), "wb") as file:
                    file.write(letter(token))
                os.rename(os.path.join(root, "tmp", token), os.path.join(root, "new", token))
                self.shared.sent.add(token)
            else:
                name = self.random.choice(names)
                path = os.path.join(root, "cur", name)
                if act == "remove":
                    with open(path, "rb") as file:
                        token = re.search(rb"X-Token: (\S+)", file.read())[1].decode()
                    self.shared.lost.add(token)
                    os.unlink(path)
                else:
                    base, _, letters = name.partition(":2,")
                    letters = set(letters) ^ {self.random.choice("SF")}
                    os.rename(path, os.path.join(
                        root, "cur", base + ":2," + "".join(sorted(letters))))
            self.done[act] = self.done.get(act, 0) + 1
        except FileNotFoundError:
            return  # the server was first
