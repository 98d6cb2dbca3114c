# SPDX-License-Identifier: Apache-2.0
"""Listeners that come and go, certificates by name, ALPN, the PROXY protocol, XCLIENT, XDEBUG and
limits, with the real daemons. ACCEPTANCE 18 (limits), 22 (series), 23, 24."""

import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time
import tomllib
import unittest

from suite import BIN, Suite, eventually, message, need, subjects, tls_context

ALICE = "alice@example.test"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 2).close()
        return True
    except OSError:
        return False


class Case(unittest.TestCase):
    def setUp(self):
        self.suite = Suite()
        self.addCleanup(self.suite.close)

    def configure(self, text, check=True):
        """A fragment of mail.toml, taken over by a reload."""
        folder = self.suite.config_path() + ".d"
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/50-test.toml", "w") as file:
            file.write(text)
        return self.suite.mailctl("reload", check=check)

    def handshake(self, port, name=None, alpn=None, **more):
        """(common name of the certificate, protocol chosen)."""
        context = tls_context()
        if alpn:
            context.set_alpn_protocols(alpn)
        if more.get("own"):
            context.load_cert_chain(*more["own"])
        with socket.create_connection(("127.0.0.1", port), 10) as link:
            with context.wrap_socket(link, server_hostname=name) as tls:
                shown = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
                subject = subprocess.run(
                    ["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"],
                    input=shown, text=True, capture_output=True, check=True).stdout
                found = re.search(r"commonName\s*= (\S+)", subject)
                return (found[1] if found else "", tls.selected_alpn_protocol(), tls.recv(200))

    def certificate(self, folder, name):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", folder + "/privkey.pem",
             "-out", folder + "/fullchain.pem"], check=True, capture_output=True)
        return folder + "/fullchain.pem", folder + "/privkey.pem"


class OwnSockets(Case):
    """An smtpd that binds its own sockets: mailctl dev passes them, as systemd does."""

    def setUp(self):
        super().setUp()
        with open(self.suite.config_path(), "rb") as file:
            theirs = tomllib.load(file)
        self.path = self.suite.directory + "/own.toml"
        self.base = "".join(
            [f'[server]\nhostname = "own.example.test"\nrun_dir = "{theirs["server"]["run_dir"]}"\n',
             f'log_format = "text"\n[server.tls]\n',
             f'cert_file = "{theirs["server"]["tls"]["cert_file"]}"\n',
             f'key_file = "{theirs["server"]["tls"]["key_file"]}"\n',
             "[smtpd.metrics]\nenabled = false\n[imapd]\nenabled = false\n[pop3d]\nenabled = false\n"])
        self.log = self.suite.directory + "/own.log"

    def write(self, text):
        with open(self.path, "w") as file:
            file.write(self.base + text)

    def start(self, text):
        self.write(text)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([os.path.join(BIN, "smtpd"), "--config", self.path],
                                            stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        self.addCleanup(self.process.wait, 60)
        self.addCleanup(self.process.kill)

    def logged(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def reload(self, text, word="reloaded"):
        before = self.logged().count(word)
        self.write(text)
        self.process.send_signal(signal.SIGHUP)
        self.assertTrue(eventually(lambda: self.logged().count(word) > before), self.logged())

    def test_listeners_come_move_and_go_while_sessions_and_a_data_go_on(self):
        first, one, six = free_port(), free_port(), free_port()
        base = f'[smtpd.listeners.smtp]\naddress = "127.0.0.1:{first}"\nmode = "smtp"\n'
        self.start(base)
        self.assertTrue(eventually(lambda: is_open(first)), self.logged())
        running = smtplib.SMTP("127.0.0.1", first, timeout=20)
        self.addCleanup(running.close)
        running.ehlo()
        running.mail("a@elsewhere.example")
        self.assertEqual(running.rcpt(ALICE)[0], 250)
        running.docmd("DATA")
        listeners = base + (f'[smtpd.listeners.one]\naddress = "127.0.0.1:{one}"\nmode = "smtp"\n'
                            f'[smtpd.listeners.six]\naddress = "[::1]:{six}"\nmode = "alt"\n')
        self.reload(listeners)
        with socket.create_connection(("127.0.0.1", one), 5) as held:
            self.assertTrue(held.recv(200).startswith(b"220 "))
            self.assertTrue(is_open(six, "::1"))
            self.assertFalse(is_open(six), "bound to IPv6 only")
            # Moved within its port.
            self.reload(listeners.replace(f"127.0.0.1:{one}", f":{one}"))
            self.assertTrue(is_open(one, "::1") and is_open(one))
            self.reload(base)
            self.assertTrue(eventually(lambda: not is_open(one) and not is_open(six, "::1"), 5))
            held.sendall(b"EHLO held\r\n")
            self.assertTrue(held.recv(500).startswith(b"250-"))
        running.send(b"Subject: over three reloads\r\n\r\nx\r\n.\r\n")
        self.assertEqual(running.getreply()[0], 250)
        self.assertIsNone(self.process.poll())
        with self.suite.imap() as imap:
            self.assertIn("over three reloads", subjects(imap).values())

    def test_a_port_that_is_taken_refuses_the_reload_and_changes_nothing(self):
        first = free_port()
        base = f'[smtpd.listeners.smtp]\naddress = "127.0.0.1:{first}"\nmode = "smtp"\n'
        self.start(base)
        self.assertTrue(eventually(lambda: is_open(first)), self.logged())
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.reload(base + f'[smtpd.listeners.one]\naddress = "127.0.0.1:{port}"\nmode = "smtp"\n'
                        "[smtpd]\nmax_message_size = 1000000\n", "reload failed")
        self.assertIn("Address already in use", self.logged())
        with smtplib.SMTP("127.0.0.1", first, timeout=20) as client:
            client.ehlo()
            self.assertNotEqual(client.esmtp_features["size"], "1000000")

    def test_a_second_daemon_on_the_same_port_fails(self):
        first = free_port()
        base = f'[smtpd.listeners.smtp]\naddress = "127.0.0.1:{first}"\nmode = "smtp"\n'
        self.start(base)
        self.assertTrue(eventually(lambda: is_open(first)), self.logged())
        second = subprocess.run([os.path.join(BIN, "smtpd"), "--config", self.path],
                                capture_output=True, text=True, timeout=20)
        self.assertEqual(second.returncode, 1)
        self.assertIn("Address already in use", second.stdout + second.stderr)


class Listeners(Case):
    def test_a_listener_without_a_passed_socket_is_told_of(self):
        port = free_port()
        self.configure(f'[smtpd.listeners.extra]\naddress = "127.0.0.1:{port}"\nmode = "alt"\n')
        self.assertFalse(is_open(port))
        self.assertIn("no socket was passed", self.suite.log_text())

    def test_an_open_relay_is_refused_by_check_and_by_reload(self):
        for text in ('[smtpd.relay]\nallowed_relays = ["0.0.0.0/0"]\n',
                     '[smtpd.listeners.submission]\nauth = "off"\n'):
            self.assertNotEqual(self.configure(text, check=False).returncode, 0, text)
            checked = self.suite.mailctl("config", "check", check=False)
            self.assertEqual(checked.returncode, 78)
            self.assertIn("open relay", checked.stdout + checked.stderr)
        with self.suite.smtp("submission") as client:
            client.ehlo()
            self.assertEqual(client.mail("a@b.example")[0], 530)

    def test_a_second_sigterm_is_not_needed_and_idle_sessions_are_told(self):
        suite = self.suite
        idle = suite.raw("smtp")
        self.addCleanup(idle.close)
        idle.reply()
        chunks = suite.smtp()
        self.addCleanup(chunks.close)
        chunks.ehlo()
        chunks.mail("a@elsewhere.example")
        chunks.rcpt(ALICE)
        body = b"Subject: drained chunks\r\n\r\nx\r\n"
        chunks.send(b"BDAT %d LAST\r\n%s" % (len(body), body[:10]))
        time.sleep(0.2)
        os.kill(suite.pid("smtpd"), signal.SIGTERM)
        self.assertTrue(idle.line().startswith("421 4.3.2"))
        time.sleep(0.3)
        chunks.send(body[10:])
        self.assertEqual(chunks.getreply()[0], 250)
        with suite.imap() as imap:
            self.assertIn("drained chunks", subjects(imap).values())


class TLS(Case):
    def test_sni_alpn_and_a_renewed_certificate(self):
        need("openssl")
        suite, folder = self.suite, self.suite.directory + "/names"
        self.certificate(folder + "/mail.one.test", "one")
        self.certificate(folder + "/_.two.test", "two")
        self.configure(f'[server.tls]\nsni_dir = "{folder}"\n')
        for port, own in (("smtps", "smtp"), ("imaps", "imap"), ("pop3s", "pop3")):
            number = suite.ports[port]
            self.assertEqual(self.handshake(number, "mail.one.test")[0], "one")
            self.assertEqual(self.handshake(number, "any.two.test")[0], "two")
            self.assertNotIn(self.handshake(number, "elsewhere.test")[0], ("one", "two"))
            self.assertEqual(self.handshake(number, "mail.one.test", [own])[:2], ("one", own))
            with self.assertRaises(ssl.SSLError) as caught:
                self.handshake(number, None, ["http/1.1"])
            self.assertIn("NO_APPLICATION_PROTOCOL", str(caught.exception).upper().replace(" ", "_"))
        # A session over the renewal; then the new one for new sessions.
        with suite.imap() as imap:
            self.certificate(folder + "/mail.one.test", "renewed")
            suite.mailctl("reload")
            self.assertEqual(self.handshake(suite.ports["imaps"], "mail.one.test")[0], "renewed")
            self.assertEqual(imap.noop()[0], "OK")
        # Half of a pair changes nothing.
        os.truncate(folder + "/mail.one.test/fullchain.pem", 100)
        self.assertNotEqual(suite.mailctl("reload", check=False).returncode, 0)
        self.assertEqual(self.handshake(suite.ports["imaps"], "mail.one.test")[0], "renewed")
        self.assertIn("mail.one.test/fullchain.pem", suite.log_text())
        self.configure(f'[server.tls]\nsni_dir = ""\nalpn = false\nmin_version = "TLS1.3"\n')
        self.handshake(suite.ports["smtps"], None, ["http/1.1"])
        context = tls_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises(ssl.SSLError):
            context.wrap_socket(socket.create_connection(("127.0.0.1", suite.ports["smtps"]), 10))

    def test_renewed_certificates_are_taken_over_and_ticket_keys_change_by_the_clock(self):
        need("openssl")
        suite, folder = self.suite, self.suite.directory + "/own"
        own = self.certificate(folder, "first")
        self.configure(f'[server.tls]\ncert_file = "{own[0]}"\nkey_file = "{own[1]}"\n')
        session = suite.directory + "/session"

        def openssl(option):
            """What s_client says of a session, kept in or taken from a file."""
            return subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{suite.ports['smtps']}",
                 "-ign_eof", option, session],
                input="QUIT\r\n", capture_output=True, text=True, timeout=20).stdout
        self.assertIn("New, TLSv1.3", openssl("-sess_out"))
        self.assertIn("Reused, TLSv1.3", openssl("-sess_in"))

        def reused():
            context = tls_context()
            with socket.create_connection(("127.0.0.1", suite.ports["smtps"]), 10) as link:
                with context.wrap_socket(link) as tls:
                    tls.recv(200)
                    ticket = tls.session
            results = []
            for pause in (0, 2.5):
                time.sleep(pause)
                with socket.create_connection(("127.0.0.1", suite.ports["smtps"]), 10) as link:
                    with context.wrap_socket(link, session=ticket) as tls:
                        tls.recv(200)
                        results.append(tls.session_reused)
            return results
        self.assertEqual(reused(), [True, True])
        self.configure(f'[server.tls]\ncert_file = "{own[0]}"\nkey_file = "{own[1]}"\n'
                       'reload_interval = "1s"\n')
        self.assertEqual(reused(), [True, False])
        with suite.imap() as imap:
            self.certificate(folder, "second")
            for port in ("smtps", "imaps", "pop3s"):
                self.assertTrue(eventually(
                    lambda: self.handshake(suite.ports[port])[0] == "second", 10), port)
            self.assertEqual(imap.noop()[0], "OK")
            # Half of a pair changes nothing.
            os.truncate(own[0], 100)
            self.assertTrue(eventually(lambda: "certificate not usable" in suite.log_text(), 10))
            self.assertEqual(self.handshake(suite.ports["smtps"])[0], "second")
            self.certificate(folder, "third")
            self.assertTrue(eventually(
                lambda: self.handshake(suite.ports["smtps"])[0] == "third", 10))
            self.assertEqual(imap.noop()[0], "OK")

    def test_client_certificates(self):
        need("openssl")
        suite = self.suite
        own = self.certificate(suite.directory + "/carol", "carol@example.test")
        other = self.certificate(suite.directory + "/mallory", "mallory")
        base = f'[imapd.tls]\nclient_ca_file = "{own[0]}"\nclient_certificates = '
        self.configure(base + '"require"\n')
        self.assertIn(b"* OK", self.handshake(suite.ports["imaps"], own=own)[2])
        for wrong in (None, other):
            with self.assertRaises(OSError):  # SSLError is one, and so is a reset
                self.handshake(suite.ports["imaps"], own=wrong)
                self.fail("a greeting without a certificate")
        self.configure(base + '"request"\n')
        for any_one in (None, own, other):
            self.assertIn(b"* OK", self.handshake(suite.ports["imaps"], own=any_one)[2])


class Proxies(Case):
    def test_all_daemons_take_the_client_from_a_trusted_proxy_only(self):
        suite = self.suite
        modes = {"smtpd": "smtp", "imapd": "imap", "pop3d": "pop3"}
        ports = {daemon: suite.ports[mode] for daemon, mode in modes.items()}
        greetings = {"smtpd": b"220 ", "imapd": b"* OK", "pop3d": b"+OK "}
        text = "".join(f"[{daemon}.listeners.{mode}]\nproxy_protocol = true\n"
                       for daemon, mode in modes.items())
        self.configure('[server]\ntrusted_proxies = ["127.0.0.1"]\n[imapd.limits]\n'
                       "clients_per_ip = 1\n" + text)
        v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes([198, 51, 100, 7, 127, 0, 0, 1, 1, 2, 0, 25])
        for daemon, port in ports.items():
            for header in (b"PROXY TCP4 203.0.113.5 127.0.0.1 4711 25\r\n", v2):
                with socket.create_connection(("127.0.0.1", port), 10) as link:
                    link.sendall(header[:9])
                    time.sleep(0.05)
                    link.sendall(header[9:])
                    self.assertTrue(link.recv(300).startswith(greetings[daemon]), daemon)
            with socket.create_connection(("127.0.0.1", port), 10) as link:
                link.sendall(b"EHLO liar\r\n")
                self.assertEqual(link.recv(300), b"")
        # Behind the proxy each client counts for itself.
        def client(address):
            link = socket.create_connection(("127.0.0.1", ports["imapd"]), 10)
            self.addCleanup(link.close)
            link.sendall(b"PROXY TCP4 %s 127.0.0.1 4711 143\r\n" % address)
            return link.recv(300)
        self.assertTrue(client(b"203.0.113.50").startswith(b"* OK"))
        self.assertTrue(client(b"203.0.113.50").startswith(b"* BYE"))
        self.assertTrue(client(b"203.0.113.51").startswith(b"* OK"))
        with socket.create_connection(("127.0.0.1", ports["smtpd"]), 10) as link:
            link.sendall(b"PROXY TCP4 203.0.113.5 127.0.0.1 4711 25\r\n")
            link.recv(300)
            for line in (b"HELO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<alice@example.test>",
                         b"DATA", b"Subject: proxied\r\n\r\nx\r\n."):
                link.sendall(line + b"\r\n")
                answer = link.recv(300)
            self.assertTrue(answer.startswith(b"250 "), answer)
        with suite.imap() as imap:
            imap.select("INBOX")
            fetched = imap.fetch("1", "BODY[HEADER]")[1][0][1]
            self.assertIn(b"[203.0.113.5]", fetched)
        self.configure('[server]\ntrusted_proxies = ["192.0.2.1"]\n' + text)
        with socket.create_connection(("127.0.0.1", ports["smtpd"]), 10) as link:
            self.assertEqual(link.recv(300), b"", "not a trusted proxy any more")
        self.assertIn("not-a-trusted-proxy", suite.log_text())

    def test_xclient_and_the_series_of_five_thousand_clients(self):
        suite = self.suite
        with suite.smtp() as client:
            self.assertNotIn("xclient", client.ehlo()[1].decode().lower())
            self.assertEqual(client.docmd("XCLIENT", "ADDR=1.2.3.4")[0], 502)
            self.assertEqual(client.docmd("XDEBUG")[0], 502)
        self.configure("[smtpd]\nxclient_on = true\n")
        with suite.smtp() as client:
            client.ehlo()
            self.assertIn("xclient", client.esmtp_features)
            client.mail("a@elsewhere.example")
            self.assertEqual(client.rcpt("x@far.example")[0], 550, "loopback may relay, one day")
            client.rset()
            for number in range(5_000):
                code, _ = client.docmd("XCLIENT", f"ADDR=10.{number >> 8}.{number & 255}.1")
                self.assertEqual(code, 220)
            client.ehlo()
            client.mail("a@elsewhere.example")
            self.assertEqual(client.rcpt("x@far.example")[0], 554)
        text = suite.metrics("smtpd")
        self.assertLess(len(re.findall(r"(?m)^smtpd_connections_total\{", text)), 1_000)

    def test_xdebug_in_dev_mode(self):
        self.configure("[server]\ndev_mode = true\n")
        with self.suite.raw("smtp") as client:
            client.reply()
            lines = client.command("XDEBUG")
            self.assertEqual([line.split(":")[0] for line in lines], [
                "250-Debug information", "250-Session ID", "250-Client IP", "250-Hostname",
                "250-State", "250-Mail From", "250-Rcpt To", "250 Context"])


class Limits(Case):
    def test_limits_are_reloadable_and_recover(self):
        suite = self.suite
        base = "[server.limits]\nexempt = []\n"
        self.configure(base + "[smtpd]\nmax_clients = 2\n")
        held = [suite.raw("smtp") for _ in range(2)]
        for client in held:
            self.addCleanup(client.close)
            self.assertTrue(client.reply()[0].startswith("220 "))
        with suite.raw("smtp") as third:
            self.assertEqual(third.reply(), ["421 4.3.2 Too many connections, try again later"])
        self.configure(base + "[smtpd.limits]\nclients_per_ip = 3\n")
        with suite.raw("smtp") as third:
            self.assertTrue(third.reply()[0].startswith("220 "))
            with suite.raw("smtp") as fourth:
                self.assertTrue(fourth.reply()[0].startswith("421 4.7.0 "))
        held[0].command("QUIT")
        self.assertTrue(eventually(lambda: suite.raw("smtp").reply()[0].startswith("220 "), 5))
        # One a second and a bit: 3000 an hour fills up again while we wait.
        self.configure(base + "[smtpd.limits]\nmessages_per_ip_per_hour = 1\n")
        with suite.smtp() as client:
            client.ehlo()
            self.assertEqual(client.mail("a@elsewhere.example")[0], 250)
            client.rset()
            self.assertEqual(client.mail("a@elsewhere.example")[0], 450)
            self.configure(base + "[smtpd.limits]\nmessages_per_ip_per_hour = 3000\n")
            client.rset()
            self.assertEqual(client.mail("a@elsewhere.example")[0], 450)
            self.configure(base + "[smtpd.limits]\nmessages_per_ip_per_hour = 0\n")
            client.rset()
            self.assertEqual(client.mail("a@elsewhere.example")[0], 250)
        text = suite.metrics("smtpd")
        for wanted in ('smtpd_connections_refused_total{listener="smtp",limit="max-clients"} 1',
                       'smtpd_connections_refused_total{listener="smtp",limit="clients-per-ip"}',
                       'reason="messages-per-ip"'):
            self.assertIn(wanted, text)

    def test_a_user_who_sends_too_much_is_told_later(self):
        self.configure("[smtpd.limits]\nmessages_per_sender_per_hour = 2\n")
        with self.suite.smtp("smtps", tls="implicit", user=ALICE) as client:
            for number in range(2):
                client.sendmail(ALICE, [ALICE], message(f"number-{number}", ALICE))
            with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail(ALICE, [ALICE], message("number-2", ALICE))
            self.assertEqual(caught.exception.smtp_code, 450)
        with self.suite.imap() as imap:
            self.assertEqual(len(subjects(imap)), 2)
