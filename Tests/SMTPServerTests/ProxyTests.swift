// SPDX-License-Identifier: Apache-2.0
//
// For whom a connection speaks: the PROXY protocol and XCLIENT; XDEBUG; what a listener demands.

import Config
import Glibc
import Telemetry
import Testing

@testable import SMTPServer

@Suite("PROXY, XCLIENT, XDEBUG", .timeLimit(.minutes(1)))
struct ProxyTests {
    private func deliver(_ client: Client, _ store: FakeStore) throws -> String {
        _ = client.command("EHLO client.test")
        _ = client.command("MAIL FROM:<carol@elsewhere.test>")
        _ = client.command("RCPT TO:<alice@example.test>")
        #expect(client.data("Subject: x\r\n\r\nhi\r\n.\r\n").hasPrefix("250 "))
        return try #require(store.stored.last).text
    }

    private func proxied(_ suite: inout Suite) {
        suite.server.trustedProxies = ["127.0.0.1"]
        suite.smtpd.listeners[0].expectsProxy = true
    }

    @Test(arguments: [
        ("PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n", "203.0.113.9"),
        ("PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n", "IPv6:2001:db8::9"),
        ("PROXY UNKNOWN\r\n", "127.0.0.1"),
    ])
    func `the client of a trusted proxy is the one in the trace`(
        header: String, address: String
    ) throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(store, change: { proxied(&$0) })
        let client = try daemon.connect()
        client.send(header)
        #expect(client.reply().hasPrefix("220 "))
        #expect(try deliver(client, store).contains("[\(address)]"))
    }

    @Test(arguments: [
        "EHLO x\r\n", "PROXY TCP4 203.0.113.9 198.51.100.1 4711\r\n", "\r\n\r\n\0\r\nQUIT\nxxxx",
    ])
    func `without a good header nothing is said`(octets: String) throws {
        let daemon = try TestDaemon(FakeStore(), change: { proxied(&$0) })
        let client = try daemon.connect()
        client.send(octets)
        #expect(client.reply().isEmpty)
    }

    @Test func `who is no trusted proxy may not even try`() throws {
        let daemon = try TestDaemon(
            FakeStore(),
            change: {
                proxied(&$0)
                $0.server.trustedProxies = ["192.0.2.1"]
            })
        let client = try daemon.connect()
        client.send("PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n")
        #expect(client.reply().isEmpty)
        let text = String(decoding: daemon.metrics.exposition(), as: UTF8.self)
        #expect(
            text.contains("smtpd_connections_refused_total{listener=\"smtp\",limit=\"proxy\"} 1\n"))
    }

    @Test func `on other listeners the header is just a bad command`() throws {
        let daemon = try TestDaemon(
            FakeStore(), change: { $0.server.trustedProxies = ["127.0.0.1"] })
        let client = try daemon.connect()
        _ = client.reply()
        #expect(
            client.command("PROXY TCP4 203.0.113.9 198.51.100.1 4711 25").hasPrefix("500 "))
    }

    @Test func `a proxy is no allowed relay where its header is not read`() throws {
        for (proxies, reply) in [([], "550 5.7.1 "), (["127.0.0.1"], "554 5.7.1 ")] {
            let daemon = try TestDaemon(FakeStore(), change: { $0.server.trustedProxies = proxies })
            let client = try daemon.greeted()
            _ = client.command("MAIL FROM:<carol@elsewhere.test>")
            #expect(client.command("RCPT TO:<x@far.test>").hasPrefix(reply))
        }
    }

    // MARK: XCLIENT

    @Test func `XCLIENT changes who the client is, and everything begins again`() throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(store, change: { $0.smtpd.xclient = true })
        let client = try daemon.connect()
        _ = client.reply()
        #expect(client.command("EHLO proxy.test").contains("250-XCLIENT NAME ADDR PORT PROTO HELO"))
        #expect(
            client.command("XCLIENT NAME=spike.test ADDR=203.0.113.77 PORT=99 PROTO=ESMTP")
                .hasPrefix("220 mx.example.test "))
        #expect(client.command("MAIL FROM:<a@b.test>") == "503 5.5.1 Send HELO or EHLO first\r\n")
        #expect(!client.command("EHLO client.test").contains("AUTH"))
        _ = client.command("MAIL FROM:<carol@elsewhere.test>")
        // 127.0.0.1 is an allowed relay, 203.0.113.77 is not.
        #expect(
            client.command("RCPT TO:<x@far.test>")
                == "554 5.7.1 Client host rejected: Access denied\r\n")
        #expect(try deliver(client, store).contains("[203.0.113.77]"))
    }

    @Test(arguments: [
        ("XCLIENT ADDR=IPV6:2001:db8::5", "220 "), ("XCLIENT ADDR=2001:db8::5", "220 "),
        ("XCLIENT ADDR=[UNAVAILABLE] HELO=[TEMPUNAVAIL]", "220 "),
        ("XCLIENT HELO=a+2Bb PROTO=smtp", "220 "), ("XCLIENT", "501 5.5.4 "),
        ("XCLIENT ADDR", "501 5.5.4 "), ("XCLIENT ADDR=", "501 5.5.4 "),
        ("XCLIENT ADDR=1.2.3", "501 5.5.4 "), ("XCLIENT ADDR=IPV6:1.2.3.4", "501 5.5.4 "),
        ("XCLIENT ADDR=1.2.3.4 ADDR=1.2.3.5", "501 5.5.4 "),
        ("XCLIENT PORT=65536", "501 5.5.4 "), ("XCLIENT PROTO=HTTP", "501 5.5.4 "),
        ("XCLIENT LOGIN=alice@example.test", "501 5.5.4 "),
        ("XCLIENT NAME=a+0D+0Ab", "501 5.5.4 "), ("XCLIENT NAME=a+G1", "501 5.5.4 "),
        ("XCLIENT NAME=a+00", "501 5.5.4 "),
    ])
    func `attributes of XCLIENT`(line: String, reply: String) throws {
        let daemon = try TestDaemon(FakeStore(), change: { $0.smtpd.xclient = true })
        let client = try daemon.greeted()
        #expect(client.command(line).hasPrefix(reply))
    }

    @Test func `XCLIENT is not there unless it is switched on and the client is trusted`() throws {
        for (isOn, hosts) in [(false, ["127.0.0.1"]), (true, ["192.0.2.1"])] {
            let daemon = try TestDaemon(
                FakeStore(),
                change: {
                    $0.smtpd.xclient = isOn
                    $0.smtpd.xclientHosts = hosts
                })
            let client = try daemon.connect()
            _ = client.reply()
            #expect(!client.command("EHLO c").contains("XCLIENT"))
            #expect(client.command("XCLIENT ADDR=203.0.113.77").hasPrefix("502 5.5.1 "))
        }
    }

    @Test func `XCLIENT inside a transaction is out of order`() throws {
        let daemon = try TestDaemon(FakeStore(), change: { $0.smtpd.xclient = true })
        let client = try daemon.ready()
        #expect(client.command("XCLIENT ADDR=203.0.113.77").hasPrefix("503 5.5.1 "))
    }

    // MARK: XDEBUG

    @Test func `XDEBUG says in dev_mode what the seed says`() throws {
        let daemon = try TestDaemon(FakeStore(), change: { $0.server.devMode = true })
        let client = try daemon.connect()
        _ = client.reply()
        var lines = client.command("XDEBUG").split(separator: "\r\n").map { String($0) }
        #expect(lines.count == 8)
        let names = [
            "250-Debug information:", "250-Session ID: ", "250-Client IP: 127.0.0.1:",
            "250-Hostname: mx.example.test", "250-State: INIT", "250-Mail From:", "250-Rcpt To:",
            "250 Context:",
        ]
        for (line, name) in zip(lines, names) { #expect(line.hasPrefix(name)) }
        _ = client.command("EHLO c")
        _ = client.command("MAIL FROM:<carol@elsewhere.test>")
        _ = client.command("RCPT TO:<alice@example.test>")
        lines = client.command("XDEBUG").split(separator: "\r\n").map { String($0) }
        #expect(lines.contains("250-State: RCPT"))
        #expect(lines.contains("250-Mail From: <carol@elsewhere.test>"))
        #expect(lines.contains("250-Rcpt To: alice@example.test"))
        #expect(client.command("XDEBUG x").hasPrefix("501 "))
    }

    @Test func `XDEBUG is 502 outside of dev_mode`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        #expect(client.command("XDEBUG") == "502 5.5.1 Command not implemented\r\n")
    }

    // MARK: Listeners

    @Test(
        arguments: [
            ("smtp", nil, "250 2.1.0 "), ("smtp", "required", "530 5.7.0 "),
            ("alt", "off", "250 2.1.0 "), ("submission", nil, "530 5.7.0 "),
            // Config refuses these; should they ever get here, submission stays closed.
            ("submission", "off", "530 5.7.0 "), ("smtps", "offered", "530 5.7.0 "),
        ] as [(String, String?, String)])
    func `whether a listener takes mail without AUTH`(
        mode: String, authentication: String?, reply: String
    ) throws {
        let daemon = try TestDaemon(
            FakeStore(), mode: mode,
            change: { $0.smtpd.listeners[0].authentication = authentication })
        #expect(try daemon.greeted().command("MAIL FROM:<a@b.test>").hasPrefix(reply))
    }

    @Test func `auth off hides AUTH, and tls required lets nothing pass before TLS`() throws {
        let off = try TestDaemon(
            FakeStore(),
            change: {
                $0.server.devMode = true
                $0.smtpd.listeners[0].authentication = "off"
            }
        ).greeted()
        #expect(off.command("AUTH PLAIN").hasPrefix("502 "))
        let client = try TestDaemon(
            FakeStore(), change: { $0.smtpd.listeners[0].encryption = "required" }
        ).greeted()
        for command in ["MAIL FROM:<a@b.test>", "VRFY alice", "DATA", "BDAT 0"] {
            #expect(
                client.command(command) == "530 5.7.0 Must issue a STARTTLS command first\r\n")
        }
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(client.command("QUIT").hasPrefix("221 "))
    }
}
