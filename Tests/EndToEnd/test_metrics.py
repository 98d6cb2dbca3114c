# SPDX-License-Identifier: Apache-2.0
"""What can be seen from outside: metrics with their exact names, types and labels, health, and
that no choice of a client makes them grow."""

import os
import re
import signal
import smtplib
import subprocess
import unittest

from suite import DAEMONS, Suite, SuiteCase, eventually, message, need, tls_context

C, G, H = "counter", "gauge", "histogram"
# What other people's dashboards are built on.
SMTPD = {
    "smtpd_connections_total": (C, {"listener", "ip"}),
    "smtpd_connections_active": (G, {"listener"}),
    "smtpd_tls_connections_total": (C, {"listener", "version"}),
    "smtpd_messages_received_total": (C, {"listener", "recipient_domain"}),
    "smtpd_messages_rejected_total": (C, {"listener", "reason", "recipient_domain"}),
    "smtpd_messages_size_bytes": (H, {"listener"}),
    "smtpd_auth_attempts_total": (C, {"listener", "mechanism", "result"}),
    "smtpd_spf_checks_total": (C, None),
    "smtpd_dkim_checks_total": (C, None),
    "smtpd_dmarc_checks_total": (C, None),
    "smtpd_rbl_hits_total": (C, None),
    "smtpd_spam_score": (H, None),
    "smtpd_spam_rejected_total": (C, None),
    "smtpd_command_duration_seconds": (H, {"command"}),
    "smtpd_delivery_duration_seconds": (H, {"result"}),
}
OTHERS = {
    "imapd": {
        "imapd_connections_total": (C, {"listener"}),
        "imapd_connections_active": (G, {"listener"}),
        "imapd_tls_connections_total": (C, {"listener", "version"}),
        "imapd_auth_attempts_total": (C, {"listener", "mechanism", "result"}),
        "imapd_commands_total": (C, {"command", "result"}),
        "imapd_command_duration_seconds": (H, {"command"}),
        "imapd_messages_fetched_total": (C, set()),
        "imapd_messages_appended_total": (C, set()),
        "imapd_idle_sessions": (G, set()),
    },
    "pop3d": {
        "pop3d_connections_total": (C, {"listener"}),
        "pop3d_connections_active": (G, {"listener"}),
        "pop3d_tls_connections_total": (C, {"listener", "version"}),
        "pop3d_auth_attempts_total": (C, {"listener", "mechanism", "result"}),
        "pop3d_commands_total": (C, {"command", "result"}),
        "pop3d_command_duration_seconds": (H, {"command"}),
        "pop3d_messages_retrieved_total": (C, set()),
        "pop3d_messages_deleted_total": (C, set()),
        "pop3d_message_octets_total": (C, set()),
    },
    "msgstored": {
        "msgstored_request_duration_seconds": (H, {"op"}),
        "msgstored_log_write_duration_seconds": (H, set()),
        "msgstored_commit_duration_seconds": (H, set()),
        "msgstored_mail_bytes": (G, set()),
        "msgstored_index_errors_total": (C, set()),
        "msgstored_store_errors_total": (C, set()),
        "msgstored_deliveries_total": (C, {"result"}),
        "msgstored_auth_total": (C, {"service", "result"}),
    },
}
SAMPLE = re.compile(r'^([a-z0-9_]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """Types by family; samples as (name, labels, value)."""
    types, samples = {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, name
            types[name] = kind
        elif not line.startswith("#"):
            name, labels, value = SAMPLE.match(line).groups()
            samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
    return types, samples


class Metrics(SuiteCase):
    configuration = """
[server]
trusted_proxies = ["127.0.0.1"]
[server.limits]
exempt = []
[smtpd]
xclient_on = true
max_message_size = 100000
"""

    def one_of_each(self):
        suite = self.suite
        suite.deliver("metrics")
        with suite.smtp("smtps", tls="implicit", user="alice@example.test") as client:
            client.sendmail("alice@example.test", ["bob@example.test"],
                            message("submitted", sender="alice@example.test"))
        with suite.smtp() as client:
            client.ehlo()
            client.mail("carol@elsewhere.example")
            self.assertEqual(client.rcpt("nobody-here@example.test")[0], 550)
            self.assertEqual(client.rcpt("stranger@elsewhere.example")[0], 554)
        with suite.smtp("submission") as client:
            client.starttls(context=tls_context())
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("mallory@example.test", "wrong")
        imap = suite.imap()
        imap.select("INBOX")
        imap.append("INBOX", None, None, message("appended").encode())
        imap.fetch("1", "(BODY[])")
        imap.send(b"x IDLE\r\n")
        imap.readline()
        types, samples = parse(suite.metrics("imapd"))
        self.assertIn(("imapd_idle_sessions", {}, 1.0), samples)
        imap.send(b"DONE\r\n")
        imap.readline()
        imap.logout()
        pop = suite.pop3("bob@example.test")
        eventually(lambda: pop.stat()[0] > 0)
        pop.retr(1)
        pop.dele(1)
        pop.quit()

    def test_names_types_and_labels_are_exactly_those_agreed(self):
        self.one_of_each()
        for daemon, wanted in {"smtpd": SMTPD, **OTHERS}.items():
            types, samples = parse(self.suite.metrics(daemon))
            seen = {}
            for name, labels, _ in samples:
                family = re.sub(r"_(bucket|sum|count)$", "", name)
                family = family if family in types else name
                seen.setdefault(family, set()).add(frozenset(labels) - {"le"})
            for name, (kind, labels) in wanted.items():
                self.assertEqual(types.get(name), kind, name)
                if labels is None:
                    self.assertNotIn(name, seen)  # a check that is not made yet
                else:
                    self.assertEqual(seen.get(name), {frozenset(labels)}, name)
            for name in (f"{daemon}_build_info", "process_resident_memory_bytes"):
                self.assertEqual(types.get(name), G, name)
            for name, labels, _ in samples:
                for value in labels.values():
                    self.assertNotIn("@", value, name)
                    self.assertNotIn("elsewhere.example", value, name)

    def test_what_happened_was_counted(self):
        before = self.values()
        self.one_of_each()
        after = self.values()

        def grew(name, **labels):
            key = (name, frozenset(labels.items()))
            return after.get(key, 0) - before.get(key, 0)
        domain = "example.test"
        self.assertEqual(grew("smtpd_messages_received_total", listener="smtp",
                              recipient_domain=domain), 1)
        self.assertEqual(grew("smtpd_messages_received_total", listener="smtps",
                              recipient_domain=domain), 1)
        self.assertEqual(grew("smtpd_messages_rejected_total", listener="smtp",
                              reason="unknown-user", recipient_domain=domain), 1)
        self.assertEqual(grew("smtpd_messages_rejected_total", listener="smtp",
                              reason="relay", recipient_domain="other"), 1)
        self.assertEqual(grew("smtpd_auth_attempts_total", listener="submission",
                              mechanism="PLAIN", result="failure")
                         + grew("smtpd_auth_attempts_total", listener="submission",
                                mechanism="LOGIN", result="failure"), 2)
        self.assertEqual(grew("imapd_messages_fetched_total"), 1)
        self.assertEqual(grew("imapd_messages_appended_total"), 1)
        self.assertEqual(grew("pop3d_messages_retrieved_total"), 1)
        self.assertEqual(grew("pop3d_messages_deleted_total"), 1)
        self.assertEqual(grew("msgstored_deliveries_total", result="stored"), 2)

    def values(self):
        found = {}
        for daemon in DAEMONS:
            for name, labels, value in parse(self.suite.metrics(daemon))[1]:
                found[name, frozenset(labels.items())] = value
        return found

    def test_promtool_has_nothing_to_say(self):
        promtool = need("promtool")
        self.one_of_each()
        for daemon in DAEMONS:
            done = subprocess.run(
                [promtool, "check", "metrics"], input=self.suite.metrics(daemon), text=True,
                capture_output=True, timeout=30)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), daemon)

    def test_5000_clients_leave_512_series_and_no_memory(self):
        def claim(numbers):
            with self.suite.raw("smtp") as wire:
                wire.reply()
                wire.command("EHLO proxy.example")
                for number in numbers:
                    address = f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"
                    self.assertEqual(wire.command(f"XCLIENT ADDR={address}")[-1][:3], "220")
        for start in range(0, 1000, 50):
            claim(range(start, start + 50))
        first = self.suite.rss("smtpd")
        for start in range(1000, 5000, 50):
            claim(range(start, start + 50))
        text = self.suite.metrics("smtpd")
        ips = {labels["ip"]: value for name, labels, value in parse(text)[1]
               if name == "smtpd_connections_total" and labels["listener"] == "smtp"}
        self.assertIn("other", ips)
        self.assertLessEqual(len(ips), 513)
        self.assertGreaterEqual(sum(ips.values()), 5000)
        self.assertLess(self.suite.rss("smtpd") - first, 4 << 20)
        # A busy client that comes late gets a series of its own.
        for _ in range(12):
            claim([250 * 256 + 7] * 50)
        text = self.suite.metrics("smtpd")
        self.assertIn('smtpd_connections_total{listener="smtp",ip="198.18.250.7"}', text)

    def test_a_label_cannot_be_forged(self):
        with self.suite.raw("smtp") as wire:
            wire.reply()
            wire.command('EHLO a"b\\c')
            wire.command('MAIL FROM:<a@b.example>')
            wire.command('RCPT TO:<x@y",z="1.example>')
            wire.command('BOGUS"} 1')
        text = self.suite.metrics("smtpd")
        for line in text.splitlines():
            self.assertTrue(line.startswith("#") or SAMPLE.match(line), line)
        self.assertNotIn("BOGUS", text)


class Health(unittest.TestCase):
    def test_health_says_when_the_store_is_down(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for daemon in DAEMONS:
            status, health = suite.health(daemon)
            self.assertEqual((status, health["status"]), (200, "ok"), daemon)
            self.assertEqual(health.get("store"), None if daemon == "msgstored" else "up")
        # The store dies, and who would start it again is asleep.
        store = suite.pid("msgstored")
        suite.process.send_signal(signal.SIGSTOP)
        try:
            os.kill(store, signal.SIGKILL)
            for daemon in ("smtpd", "imapd", "pop3d"):
                def down():
                    status, health = suite.health(daemon)
                    # The daemon itself is well: nothing is gained by restarting it.
                    return health["store"] == "down" and (status, health["status"])
                self.assertEqual(eventually(down, 20), (200, "degraded"), daemon)
        finally:
            suite.process.send_signal(signal.SIGCONT)
        for daemon in ("smtpd", "imapd", "pop3d"):
            self.assertTrue(eventually(lambda: suite.health(daemon)[1]["store"] == "up", 20))
