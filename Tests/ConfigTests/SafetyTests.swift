// SPDX-License-Identifier: Apache-2.0
//
// Configurations that would make an open relay are refused.

import Config
import Testing

@Suite struct `Safety` {
    private static let base = "[server.tls]\ncert_file = \"/a\"\nkey_file = \"/b\"\n"

    @Test(arguments: [
        ("[smtpd.relay]\nallowed_relays = [\"0.0.0.0/0\"]", "open relay"),
        ("[smtpd.relay]\nallowed_relays = [\"127.0.0.1\", \"::/0\"]", "open relay"),
        ("[smtpd.relay]\nallowed_relays = [\"::ffff:0:0/96\"]", "open relay"),
        ("[smtpd.relay]\nallowed_relays = [\"203.0.0.0/8\"]", "open relay"),
        ("[smtpd]\nxclient_hosts = [\"0.0.0.0/0\"]", "choose their address"),
        ("[server]\ntrusted_proxies = [\"0.0.0.0/1\"]", "choose their address"),
        (
            "[smtpd.listeners.sub]\naddress = \":587\"\nmode = \"submission\"\nauth = \"off\"",
            "open relay"
        ),
        (
            "[smtpd.listeners.sub]\naddress = \":465\"\nmode = \"smtps\"\nauth = \"offered\"",
            "open relay"
        ),
        (
            "[smtpd.listeners.sub]\naddress = \":587\"\ntls = \"off\"",
            "nobody could log in"
        ),
        (
            "[imapd.listeners.imap]\naddress = \":143\"\ntls = \"off\"",
            "nobody could log in"
        ),
        (
            "[smtpd.listeners.lb]\naddress = \":26\"\nmode = \"smtp\"\nproxy_protocol = true",
            "trusted_proxies is empty"
        ),
        ("[imapd.tls]\nclient_certificates = \"require\"", "needs client_ca_file"),
    ])
    func `is refused`(text: String, why: String) {
        let result = load(Self.base + text + "\n")
        #expect(result.suite == nil)
        #expect(messages(result).contains { $0.hasPrefix("error: ") && $0.contains(why) })
    }

    @Test(arguments: [
        "[smtpd.relay]\nallowed_relays = [\"10.0.0.0/8\", \"fd00::/8\", \"203.0.113.0/24\"]",
        "[smtpd.listeners.in]\naddress = \":26\"\nmode = \"smtp\"\nauth = \"off\"",
        "[smtpd.listeners.in]\naddress = \":26\"\nmode = \"alt\"\ntls = \"off\"",
        "[smtpd.listeners.a]\naddress = \"unix:/run/a\"\nmode = \"smtp\"\nproxy_protocol = true",
        "[server.tls]\nclient_certificates = \"request\"\nclient_ca_file = \"/ca.pem\"",
    ])
    func `is taken`(text: String) {
        let tls = text.hasPrefix("[server.tls]") ? "" : Self.base
        #expect(load(tls + text + "\n").suite != nil)
    }

    @Test func `keys of a listener reach it`() throws {
        let suite = try #require(
            load(
                Self.base + """
                    [server]
                    trusted_proxies = ["192.0.2.10"]
                    [smtpd.listeners.lb]
                    address = "[::1]:2600"
                    mode = "smtp"
                    auth = "off"
                    tls = "required"
                    max_clients = 7
                    max_clients_per_ip = 3
                    max_message_size = "1 MiB"
                    max_recipients = 5
                    proxy_protocol = true
                    """
            ).suite)
        let listener = try #require(suite.smtpd.listeners.first)
        #expect(listener.authentication == "off")
        #expect(listener.encryption == "required")
        #expect(listener.maxClients == 7)
        #expect(listener.maxClientsPerAddress == 3)
        #expect(listener.maxMessageSize == 1 << 20)
        #expect(listener.maxRecipients == 5)
        #expect(listener.expectsProxy)
    }

    @Test func `a daemon's TLS keys override the shared ones, one by one`() throws {
        let suite = try #require(
            load(
                """
                [server.tls]
                cert_file = "/a"
                key_file = "/b"
                alpn = false
                sni_dir = "/names"
                session_tickets = false
                ciphersuites = "TLS_AES_128_GCM_SHA256"
                [imapd.tls]
                alpn = true
                sni_dir = ""
                """
            ).suite)
        #expect(suite.smtpd.tls.namesDirectory == "/names")
        #expect(!suite.smtpd.tls.checksProtocol)
        #expect(suite.imapd.tls.namesDirectory.isEmpty)
        #expect(suite.imapd.tls.checksProtocol)
        #expect(!suite.imapd.tls.sendsTickets)
        #expect(suite.pop3d.tls.cipherSuites == "TLS_AES_128_GCM_SHA256")
    }
}
