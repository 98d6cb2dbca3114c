// SPDX-License-Identifier: Apache-2.0
//
// Every limit at N and at N + 1: its reply, and that it is counted. Clients get their addresses by
// the PROXY protocol, so that limits on addresses can be seen from one machine.

import Bytes
import Config
import Glibc
import Telemetry
import Testing

@testable import SMTPServer

/// Accepts from a trusted load balancer; nobody is exempt.
private func proxied(_ suite: inout Suite) {
    suite.server.trustedProxies = ["127.0.0.1"]
    suite.server.exempt = []
    suite.smtpd.listeners[0].expectsProxy = true
    suite.smtpd.limits.clients.perAddress = 0
    suite.smtpd.limits.clients.ratePerAddress = 0
    suite.smtpd.limits.tarpit = .zero
}

extension TestDaemon {
    /// A client at `address`, and what it is greeted with.
    fileprivate func client(at address: String) throws -> (Client, greeting: String) {
        let client = try connect()
        let family = address.utf8.contains(0x3A) ? "TCP6" : "TCP4"
        client.send("PROXY \(family) \(address) \(address) 40000 25\r\n")
        return (client, client.reply())
    }
}

/// One limit on connections.
struct ConnectionLimit: Sendable, CustomTestStringConvertible {
    let name: String
    let limit: Int
    let set: @Sendable (inout Suite, Int) -> Void
    /// The address of the n-th client, and of one who is let in all the same.
    let address: @Sendable (Int) -> String
    var other: String?
    let refusal: String
    var testDescription: String { name }

    static let all: [ConnectionLimit] = [
        ConnectionLimit(
            name: "max-clients", limit: 3, set: { $0.smtpd.maxClients = $1 },
            address: { "192.0.\($0).1" },
            refusal: "421 4.3.2 Too many connections, try again later\r\n"),
        ConnectionLimit(
            name: "max-clients", limit: 2, set: { $0.smtpd.listeners[0].maxClients = $1 },
            address: { "192.0.\($0).1" },
            refusal: "421 4.3.2 Too many connections, try again later\r\n"),
        ConnectionLimit(
            name: "clients-per-ip", limit: 3, set: { $0.smtpd.limits.clients.perAddress = $1 },
            address: { _ in "192.0.2.1" }, other: "192.0.2.2",
            refusal: "421 4.7.0 Too many connections from your address, try again later\r\n"),
        ConnectionLimit(
            name: "clients-per-ip", limit: 2,
            set: { $0.smtpd.listeners[0].maxClientsPerAddress = $1 },
            address: { _ in "2001:db8::1" }, other: "2001:db8::2",
            refusal: "421 4.7.0 Too many connections from your address, try again later\r\n"),
        ConnectionLimit(
            name: "clients-per-network", limit: 4,
            set: { $0.smtpd.limits.clients.perNetwork = $1 }, address: { "192.0.2.\($0)" },
            other: "192.0.3.1",
            refusal: "421 4.7.0 Too many connections from your network, try again later\r\n"),
        ConnectionLimit(
            name: "clients-per-network", limit: 2,
            set: { $0.smtpd.limits.clients.perNetwork = $1 },
            address: { "2001:db8:0:1::\($0)" }, other: "2001:db8:0:2::1",
            refusal: "421 4.7.0 Too many connections from your network, try again later\r\n"),
        ConnectionLimit(
            name: "connections-per-ip", limit: 5,
            set: { $0.smtpd.limits.clients.ratePerAddress = $1 },
            address: { "2001:db8:0:1::\($0)" }, other: "2001:db8:0:2::1",
            refusal: "421 4.7.0 Too many new connections from your address, slow down\r\n"),
    ]
}

/// One limit on what a session does: `command` is sent N + 1 times.
struct CommandLimit: Sendable, CustomTestStringConvertible {
    let name: String
    let limit: Int
    let set: @Sendable (inout Suite, Int) -> Void
    let before: [String]
    /// For the n-th time; the reply to the last counts.
    let commands: @Sendable (Int) -> [String]
    let accepted: String
    let refusal: String
    var isClosed = false
    /// For messages_rejected_total.
    var reason: String?
    var testDescription: String { name }

    private static let mail = "MAIL FROM:<carol@far.test>"
    private static let login =
        "AUTH PLAIN "
        + String(
            decoding: Base64.encode(Array("\0alice@example.test\0secret".utf8).span), as: UTF8.self)

    static let all: [CommandLimit] = [
        CommandLimit(
            name: "messages_per_ip_per_hour", limit: 3,
            set: { $0.smtpd.limits.messagesPerAddress = $1 }, before: [],
            commands: { _ in ["RSET", mail] }, accepted: "250 2.1.0 ",
            refusal: "450 4.7.1 Too many messages from your address, try again later\r\n",
            reason: "messages-per-ip"),
        CommandLimit(
            name: "messages_per_remote_sender_per_hour", limit: 2,
            set: { $0.smtpd.limits.messagesPerRemoteSender = $1 }, before: [],
            commands: { ["RSET", $0 % 2 == 0 ? "MAIL FROM:<CAROL@far.test>" : mail] },
            accepted: "250 2.1.0 ",
            refusal: "450 4.7.1 Too many messages from this sender, try again later\r\n",
            reason: "messages-per-remote-sender"),
        CommandLimit(
            name: "messages_per_sender_per_hour", limit: 3,
            set: { $0.smtpd.limits.messagesPerSender = $1 }, before: [login],
            commands: { _ in ["RSET", "MAIL FROM:<alice@example.test>"] }, accepted: "250 2.1.0 ",
            refusal: "450 4.7.1 Too many messages from this sender, try again later\r\n",
            reason: "messages-per-sender"),
        CommandLimit(
            name: "recipients_per_sender_per_day", limit: 3,
            set: { $0.smtpd.limits.recipientsPerSender = $1 },
            before: [login],
            commands: { ["RSET", "MAIL FROM:<alice@example.test>", rcpt($0)] },
            accepted: "250 2.1.5 ",
            refusal: "450 4.7.1 Too many recipients from this sender, try again later\r\n",
            reason: "recipients-per-sender"),
        CommandLimit(
            name: "messages_per_recipient_domain_per_hour", limit: 2,
            set: { $0.smtpd.limits.messagesPerRecipientDomain = $1 }, before: [],
            commands: { ["RSET", mail, "RCPT TO:<bob@example.test>", rcpt($0)].dropLast($0 % 2) },
            accepted: "250 2.1.5 ",
            refusal: "450 4.7.1 Too many messages for this domain, try again later\r\n",
            reason: "messages-per-recipient-domain"),
        CommandLimit(
            name: "max_recipients", limit: 2, set: { $0.smtpd.maxRecipients = $1 },
            before: [mail], commands: { [["alice", "bob", "postmaster"][$0 - 1]].map(to) },
            accepted: "250 2.1.5 ", refusal: "452 4.5.3 Too many recipients\r\n"),
        CommandLimit(
            name: "listener max_recipients", limit: 1,
            set: { $0.smtpd.listeners[0].maxRecipients = $1 },
            before: [mail], commands: { [["alice", "bob"][$0 - 1]].map(to) },
            accepted: "250 2.1.5 ", refusal: "452 4.5.3 Too many recipients\r\n"),
        CommandLimit(
            name: "max_errors", limit: 3, set: { $0.smtpd.limits.maxErrors = $1 + 1 },
            before: [], commands: { _ in ["DATA"] }, accepted: "503 5.5.1 ",
            refusal: "421 4.7.0 Too many errors, closing connection\r\n", isClosed: true,
            reason: "protocol-errors"),
        CommandLimit(
            name: "max_bad_commands", limit: 4, set: { $0.smtpd.limits.maxBadCommands = $1 + 1 },
            before: [], commands: { _ in ["WHAT"] }, accepted: "500 5.5.2 ",
            refusal: "421 4.7.0 Too many errors, closing connection\r\n", isClosed: true,
            reason: "protocol-errors"),
        CommandLimit(
            name: "max_refused_recipients", limit: 4,
            set: { $0.smtpd.limits.maxRefusedRecipients = $1 + 1 }, before: [mail],
            commands: { ["RCPT TO:<nobody\($0)@example.test>"] }, accepted: "550 5.1.1 ",
            refusal: "421 4.7.0 Too many errors, closing connection\r\n", isClosed: true,
            reason: "protocol-errors"),
        CommandLimit(
            name: "max_idle_commands", limit: 6,
            set: { $0.smtpd.limits.maxIdleCommands = $1 + 1 }, before: [],
            commands: { [["NOOP", "RSET", "HELP", "EHLO c", "VRFY x"][$0 % 5]] }, accepted: "2",
            refusal: "421 4.7.0 Too many commands without a message, closing connection\r\n",
            isClosed: true, reason: "idle-commands"),
        CommandLimit(
            name: "session_memory", limit: 2,
            set: {
                // Behind the buffers there is room for two of these recipients, not three.
                $0.smtpd.limits.sessionMemory = 1_310_720 + 500 * $1
            },
            before: [mail],
            commands: {
                [to(["alice", "bob", "postmaster"][$0 - 1]) + " ORCPT=rfc822;" + long]
            },
            accepted: "250 2.1.5 ", refusal: "452 4.5.3 Too many recipients\r\n"),
        CommandLimit(
            name: "max_message_size at MAIL", limit: 1,
            set: { $0.smtpd.listeners[0].maxMessageSize = 70_000 * $1 }, before: [],
            commands: { ["RSET", mail + " SIZE=\(69_999 + $0)"] }, accepted: "250 2.1.0 ",
            refusal: "552 5.3.4 Message size exceeds the limit\r\n"),
        CommandLimit(
            name: "max_message_size in DATA", limit: 1,
            set: { $0.smtpd.listeners[0].maxMessageSize = 70_000 * $1 }, before: [],
            commands: {
                ["RSET", mail, "RCPT TO:<bob@example.test>", "DATA", text(69_999 + $0) + "."]
            },
            accepted: "250 2.0.0 ", refusal: "552 5.3.4 Message size exceeds the limit\r\n",
            reason: "size"),
        CommandLimit(
            name: "max_message_size in BDAT", limit: 1,
            set: { $0.smtpd.listeners[0].maxMessageSize = 70_000 * $1 }, before: [],
            commands: {
                [
                    "RSET", mail, "RCPT TO:<bob@example.test>",
                    "BDAT \(70_001 + $0 - 2) LAST\r\n" + text(69_999 + $0).dropLast(),
                ]
            },
            accepted: "250 2.0.0 ", refusal: "552 5.3.4 Message size exceeds the limit\r\n"),
    ]

    private static let long = String(repeating: "x", count: 400) + "@far.test"

    private static func to(_ name: String) -> String { "RCPT TO:<\(name)@example.test>" }

    private static func rcpt(_ number: Int) -> String { to(number % 2 == 0 ? "alice" : "bob") }

    /// So many octets, with CRLF at the end.
    private static func text(_ count: Int) -> String {
        var text = "Subject: x\r\n\r\n"
        while text.utf8.count + 100 < count { text += String(repeating: "x", count: 70) + "\r\n" }
        return text + String(repeating: "y", count: count - text.utf8.count - 2) + "\r\n"
    }
}

@Suite("Limits", .timeLimit(.minutes(1)))
struct LimitTests {
    @Test(arguments: ConnectionLimit.all)
    func `connections: N are let in, one more is told why and counted`(_ row: ConnectionLimit)
        throws
    {
        let daemon = try TestDaemon(
            FakeStore(),
            change: {
                proxied(&$0)
                row.set(&$0, row.limit)
            })
        var held: [Client] = []
        for number in 1...row.limit {
            let (client, greeting) = try daemon.client(at: row.address(number))
            #expect(greeting.hasPrefix("220 "), "client \(number)")
            held.append(client)
        }
        let (refused, reply) = try daemon.client(at: row.address(row.limit + 1))
        #expect(reply == row.refusal)
        #expect(refused.line().isEmpty, "the connection is closed")
        let text = String(decoding: daemon.metrics.exposition(), as: UTF8.self)
        #expect(
            text.contains(
                "smtpd_connections_refused_total{listener=\"smtp\",limit=\"\(row.name)\"} 1\n"))
        if let other = row.other {
            #expect(try daemon.client(at: other).greeting.hasPrefix("220 "))
        }
        guard row.name != "connections-per-ip" else { return }
        // Whoever leaves makes room.
        #expect(held[0].command("QUIT").hasPrefix("221 "))
        #expect(held[0].line().isEmpty)
        var again = ""
        for _ in 0..<200 where !again.hasPrefix("220 ") {
            usleep(5_000)
            again = try daemon.client(at: row.address(1)).greeting
        }
        #expect(again.hasPrefix("220 "))
    }

    @Test(arguments: CommandLimit.all)
    func `commands: N are carried out, one more is not`(_ row: CommandLimit) throws {
        let daemon = try TestDaemon(
            FakeStore(),
            change: {
                proxied(&$0)
                $0.server.devMode = true  // AUTH without TLS
                row.set(&$0, row.limit)
            })
        // The login needs a client on loopback; every other one comes from somewhere.
        let address = row.before.contains { $0.hasPrefix("AUTH") } ? "127.0.0.1" : "192.0.2.1"
        let (client, _) = try daemon.client(at: address)
        _ = client.command("EHLO client.test")
        for command in row.before { #expect(client.command(command).first == "2") }
        for number in 1...(row.limit + 1) {
            var reply = ""
            for command in row.commands(number) { reply = client.command(command) }
            if number <= row.limit {
                #expect(reply.hasPrefix(row.accepted), "number \(number)")
            } else {
                #expect(reply == row.refusal)
            }
        }
        if row.isClosed {
            #expect(client.line().isEmpty)
        } else {
            #expect(client.command("NOOP").hasPrefix("250 "), "the session goes on")
        }
        if let reason = row.reason {
            let text = String(decoding: daemon.metrics.exposition(), as: UTF8.self)
            #expect(text.contains("listener=\"smtp\",reason=\"\(reason)\""))
        }
    }

    @Test func `an exempt client is not counted by address, an account always`() throws {
        let daemon = try TestDaemon(
            FakeStore(),
            change: {
                proxied(&$0)
                $0.server.exempt = ["192.0.2.0/24"]
                $0.smtpd.limits.clients.perAddress = 1
                $0.smtpd.limits.messagesPerAddress = 1
            })
        var held: [Client] = []
        for _ in 0..<4 {
            let (client, greeting) = try daemon.client(at: "192.0.2.9")
            #expect(greeting.hasPrefix("220 "))
            _ = client.command("EHLO c")
            #expect(client.command("MAIL FROM:<a@b.test>").hasPrefix("250 "))
            held.append(client)
        }
    }

    @Test func `a message that takes too long ends the session`() throws {
        let daemon = try TestDaemon(
            FakeStore(), change: { $0.smtpd.messageTimeout = .milliseconds(300) })
        for command in ["DATA", "BDAT 3\r\na\r\n"] {
            let client = try daemon.ready()
            client.send(command == "DATA" ? "DATA\r\n" : command)
            _ = client.reply()
            for _ in 0..<8 {
                usleep(60_000)
                if command == "DATA" { client.send("drip\r\n") }
            }
            #expect(client.line() == "421 4.4.2 Timeout, closing connection\r\n", "\(command)")
            #expect(client.line().isEmpty)
        }
    }

    @Test func `the tarpit answers further mistakes late, and nobody who is exempt`() throws {
        for isExempt in [false, true] {
            let daemon = try TestDaemon(
                FakeStore(),
                change: {
                    if !isExempt { $0.server.exempt = [] }
                    $0.smtpd.limits.tarpitAfter = 1
                    $0.smtpd.limits.tarpit = .milliseconds(400)
                })
            let client = try daemon.greeted()
            let clock = ContinuousClock()
            #expect(clock.measure { _ = client.command("WHAT") } < .milliseconds(390))
            let second = clock.measure { #expect(client.command("WHAT").hasPrefix("500 ")) }
            #expect((second >= .milliseconds(400)) == !isExempt)
            #expect(clock.measure { _ = client.command("NOOP") } < .milliseconds(390))
            let text = String(decoding: daemon.metrics.exposition(), as: UTF8.self)
            #expect(
                text.contains("smtpd_replies_delayed_total{listener=\"smtp\"} 1\n") == !isExempt)
        }
    }
}
