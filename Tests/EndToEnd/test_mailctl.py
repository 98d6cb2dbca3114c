# SPDX-License-Identifier: Apache-2.0
"""mailctl by itself: parsing, exit codes, pages made from its table, certificates, dev."""

import json
import os
import pty
import re
import signal
import subprocess
import tempfile
import time
import unittest
import shutil

from suite import BIN, Suite, eventually, free_offset, need

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def mailctl(*arguments, env=None, input=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAIL_")}
    return subprocess.run(
        [os.path.join(BIN, "mailctl"), *arguments], capture_output=True, text=True, timeout=60,
        input=input, env={**clean, **(env or {})})


class CommandLine(unittest.TestCase):
    def test_the_pages_in_the_tree_are_those_it_prints(self):
        for arguments, path in (
                (("man",), "docs/man/mailctl.1"), (("man", "mail.toml"), "docs/man/mail.toml.5"),
                (("config", "example"), "mail.toml.example"),
                (("man", "config.md"), "docs/config.md")):
            with open(os.path.join(ROOT, path)) as file:
                self.assertEqual(mailctl(*arguments).stdout, file.read(), path)

    def test_every_command_has_help(self):
        overview = mailctl("help").stdout
        lines = overview.split("\n\n")[1].splitlines()
        self.assertGreater(len(lines), 15)
        for line in lines:
            words = re.match(r"  ((?:[a-z-]+ ?)+)", line)[1].split()
            result = mailctl("help", *words)
            self.assertEqual(result.returncode, 0, line)
            self.assertTrue(result.stdout.startswith("usage: mailctl " + " ".join(words)), line)
            self.assertEqual(mailctl(*words, "--help").stdout, result.stdout)

    def test_wrong_usage_is_64_with_a_hint(self):
        for words, hint in (
                (("acount", "list"), "did you mean `mailctl account`?"),
                (("account", "lits"), "did you mean `mailctl account list`?"),
                (("account",), "one of: add password remove list show"),
                (("config", "check", "--jsno"), "did you mean --json?"),
                (("account", "add"), "usage: mailctl account add ADDRESS"),
                (("account", "add", "a@b", "--password=x"), "--password-stdin"),
                (("account", "add", "a@b", "--password", "x"), "--password-stdin"),
                (("config", "describe", "smtpd.max_mesage_size"), "smtpd.max_message_size"),
                ((), "see: mailctl help")):
            result = mailctl(*words)
            self.assertEqual((result.returncode, result.stdout), (64, ""), words)
            self.assertIn(hint, result.stderr, words)

    def test_a_missing_file_is_66_and_a_missing_daemon_69(self):
        self.assertEqual(mailctl("config", "check", "/nonexistent.toml").returncode, 66)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mail.toml")
            with open(path, "w") as file:
                file.write(f'[server]\nrun_dir = "{folder}"\n[smtpd]\nhostname = "a.example"\n')
            result = mailctl("--config", path, "domain", "list")
            self.assertEqual(result.returncode, 69, result.stderr)
            self.assertIn("msgstored is not reachable", result.stderr)

    def test_config_check_prints_places_as_json_too(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "mail.toml")
            with open(path, "w") as file:
                file.write("[smtpd]\nmax_mesage_size = 1\n[imapd]\nmax_clients = 0\n")
            result = mailctl("config", "check", path, "--json")
            self.assertEqual(result.returncode, 78)
            errors = [json.loads(line) for line in result.stdout.splitlines()]
            self.assertEqual([(e["line"], e["column"]) for e in errors], [(2, 1), (4, 15)])
            self.assertEqual(errors[0]["label"], "did you mean `max_message_size`?")

    def test_a_self_signed_certificate_is_one_that_openssl_takes(self):
        openssl = need("openssl")
        with tempfile.TemporaryDirectory() as folder:
            made = mailctl("tls", "self-signed", "--hostname", "mx.example", "--out-dir", folder)
            self.assertEqual(made.returncode, 0, made.stderr)
            certificate, key = f"{folder}/fullchain.pem", f"{folder}/privkey.pem"
            self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
            checked = subprocess.run(
                [openssl, "verify", "-CAfile", certificate, "-purpose", "sslserver",
                 "-verify_hostname", "mx.example", certificate], capture_output=True, text=True)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            again = mailctl("tls", "self-signed", "--hostname", "mx.example", "--out-dir", folder)
            self.assertEqual(again.returncode, 73)
            self.assertEqual(mailctl("tls", "self-signed", "--hostname", "mx.example", "--out-dir",
                                     folder, "--yes").returncode, 0)


    def test_config_check_looks_at_the_certificates(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in "ab":
                mailctl("tls", "self-signed", "--hostname", "mx.example", "--out-dir",
                        f"{folder}/{name}")
            path = os.path.join(folder, "mail.toml")

            def check(certificate, key):
                with open(path, "w") as file:
                    file.write(f"[smtpd]\nhostname = 'mx.example'\n[server.tls]\n"
                               f"cert_file = '{folder}/{certificate}'\n"
                               f"key_file = '{folder}/{key}'\n")
                result = mailctl("config", "check", path)
                return result.returncode, result.stderr

            self.assertEqual(check("a/fullchain.pem", "a/privkey.pem"), (0, ""))
            code, text = check("a/fullchain.pem", "b/privkey.pem")
            self.assertEqual(code, 78)
            self.assertIn("is not the key of", text)
            code, text = check("mail.toml", "a/privkey.pem")
            self.assertEqual(code, 78)
            self.assertIn("holds no certificate", text)
            code, text = check("none", "a/privkey.pem")
            self.assertEqual(code, 78)
            self.assertIn("mailctl tls self-signed", text)


class Development(unittest.TestCase):
    def test_a_second_start_shows_the_same_passwords_and_keeps_the_certificate(self):
        folder = tempfile.mkdtemp(prefix="martlet-test-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        first = Suite(directory=folder)
        passwords = first.passwords
        with open(f"{folder}/tls/fullchain.pem") as file:
            certificate = file.read()
        self.assertEqual(os.stat(f"{folder}/dev.json").st_mode & 0o777, 0o600)
        busy = mailctl("dev", "--dir", folder, "--ports", str(free_offset()))
        self.assertEqual(busy.returncode, 75, busy.stderr)
        self.assertEqual(first.stop(), 0)
        second = Suite(directory=folder)
        self.addCleanup(second.stop)
        self.assertEqual(second.passwords, passwords)
        with open(f"{folder}/tls/fullchain.pem") as file:
            self.assertEqual(file.read(), certificate)
        second.imap().logout()

    def test_passwords_are_asked_twice_without_echo_and_removal_is_confirmed(self):
        suite = Suite()
        self.addCleanup(suite.close)

        def talk(arguments, answers):
            """Runs mailctl on a terminal of its own; answers what it asks."""
            pid, terminal = pty.fork()
            if pid == 0:
                os.execv(os.path.join(BIN, "mailctl"),
                         ["mailctl", "--config", suite.config_path(), *arguments])
            seen = b""
            try:
                for prompt, answer in answers:
                    while prompt not in seen:
                        seen += os.read(terminal, 1000)
                    time.sleep(0.1)
                    os.write(terminal, answer + b"\n")
                while chunk := os.read(terminal, 1000):
                    seen += chunk
            except OSError:  # the terminal is gone when mailctl is
                pass
            os.close(terminal)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()

        code, seen = talk(["account", "add", "carol@example.test"],
                          [(b"New password", b"typed-secret"), (b"Repeat", b"typed-secret")])
        self.assertEqual(code, 0, seen)
        self.assertNotIn("typed-secret", seen)
        suite.passwords["carol@example.test"] = "typed-secret"
        suite.imap("carol@example.test").logout()
        code, seen = talk(["account", "password", "carol@example.test"],
                          [(b"New password", b"one"), (b"Repeat", b"two")])
        self.assertEqual(code, 65, seen)
        suite.imap("carol@example.test").logout()
        code, seen = talk(["account", "remove", "carol@example.test"], [(b"[y/N]", b"n")])
        self.assertEqual(code, 1, seen)
        suite.imap("carol@example.test").logout()
        code, seen = talk(["account", "remove", "carol@example.test"], [(b"[y/N]", b"y")])
        self.assertEqual(code, 0, seen)
        self.assertNotIn("carol", suite.mailctl("account", "list").stdout)

    def test_ports_in_use_are_named_and_nothing_stays_behind(self):
        suite = Suite()
        self.addCleanup(suite.close)
        with tempfile.TemporaryDirectory() as folder:
            result = mailctl("dev", "--ports", str(suite.offset), env={"TMPDIR": folder})
            self.assertEqual(result.returncode, 73)
            self.assertIn(str(suite.ports["smtp"]), result.stderr)
            self.assertEqual(os.listdir(folder), [])

    def test_daemons_end_when_mailctl_is_killed(self):
        suite = Suite()
        pids = [suite.pid(daemon) for daemon in ("msgstored", "smtpd", "imapd", "pop3d")]
        suite.process.kill()
        suite.process.wait()
        self.addCleanup(suite.close)

        def gone():
            return not any(os.path.exists(f"/proc/{pid}") for pid in pids)
        self.assertTrue(eventually(gone, 40))

    def test_accounts_of_a_file_can_log_in(self):
        with tempfile.TemporaryDirectory() as folder:
            accounts, extra = f"{folder}/accounts", f"{folder}/extra.toml"
            with open(accounts, "w") as file:
                file.writelines(f"user{n}@bench.test pass word {n}\n" for n in range(20))
            with open(extra, "w") as file:
                file.write('[msgstored.auth]\nargon2 = { memory = "8 MiB", iterations = 1 }\n')
            suite = Suite(options=["--accounts-file", accounts, "--config", extra])
            self.addCleanup(suite.close)
            suite.passwords["user7@bench.test"] = "pass word 7"
            suite.imap("user7@bench.test").logout()

    def test_connections_wait_while_a_daemon_is_replaced(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for daemon, port, greeting in (("pop3d", "pop3", "+OK"), ("imapd", "imap", "* OK"),
                                       ("smtpd", "smtp", "220")):
            os.kill(suite.pid(daemon), signal.SIGKILL)
            began = time.monotonic()
            with suite.raw(port) as raw:
                self.assertTrue(raw.line().startswith(greeting))
            self.assertLess(time.monotonic() - began, 10)


if __name__ == "__main__":
    unittest.main()
