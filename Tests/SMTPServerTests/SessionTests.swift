// SPDX-License-Identifier: Apache-2.0
//
// Sessions: submission, limits, time, the end of the daemon.

import Bytes
import Config
import Glibc
import Telemetry
import Testing
import Wire

@testable import SMTPServer

private func plain(_ name: String, _ password: String) -> String {
    String(decoding: Base64.encode(Array("\0\(name)\0\(password)").span), as: UTF8.self)
}

/// Submission rules without TLS, which only a development suite on loopback allows.
private func submission(_ store: FakeStore) throws -> TestDaemon {
    try TestDaemon(store, mode: "submission", change: { $0.server.devMode = true })
}

@Suite("Submission, RFC 6409", .timeLimit(.minutes(1)))
struct SubmissionTests {
    @Test func `without AUTH nothing is taken`() throws {
        let client = try submission(FakeStore()).greeted()
        #expect(
            client.command("MAIL FROM:<alice@example.test>")
                == "530 5.7.0 Authentication required\r\n")
    }

    @Test func `without TLS and outside development AUTH is not there`() throws {
        let client = try TestDaemon(FakeStore(), mode: "submission").connect()
        _ = client.reply()
        #expect(!client.command("EHLO c").contains("AUTH"))
        #expect(
            client.command("AUTH PLAIN " + plain("alice@example.test", "secret"))
                .hasPrefix("538 5.7.11 "))
    }

    @Test func `PLAIN with an initial response, then a message of one's own`() throws {
        let store = try FakeStore()
        let client = try submission(store).greeted()
        #expect(
            client.command("AUTH PLAIN " + plain("alice@example.test", "secret"))
                == "235 2.7.0 Authentication succeeded\r\n")
        #expect(client.command("MAIL FROM:<bob@example.test>").hasPrefix("553 5.7.1 "))
        #expect(client.command("MAIL FROM:<alice@example.test>") == "250 2.1.0 OK\r\n")
        #expect(client.command("RCPT TO:<x@far.test>").hasPrefix("550 5.7.1 "))
        #expect(client.command("RCPT TO:<bob@example.test>") == "250 2.1.5 OK\r\n")
        #expect(client.data("Subject: x\r\n\r\nhi\r\n.\r\n").hasPrefix("250 "))
        let message = try #require(store.stored.first)
        #expect(message.text.contains(" with ESMTPA\r\n"))
        #expect(
            message.text.contains(
                "\r\nMessage-ID: <\(message.delivery.id)@mx.example.test>\r\nFrom: <alice@example.test>\r\nSubject: x\r\n\r\nhi\r\n"
            ))
        #expect(message.text.contains(" +0000\r\nDate: "))
    }

    @Test func `fields that are there are not added`() throws {
        let store = try FakeStore()
        let client = try submission(store).greeted()
        _ = client.command("AUTH PLAIN " + plain("alice@example.test", "secret"))
        _ = client.command("MAIL FROM:<alice@example.test>")
        _ = client.command("RCPT TO:<bob@example.test>")
        let text = "date: x\r\nMESSAGE-id: <y@z>\r\nFROM: alice@example.test\r\n\r\nhi\r\n"
        #expect(client.data(text + ".\r\n").hasPrefix("250 "))
        #expect(store.stored.first?.body == text)
    }

    @Test func `LOGIN asks in exactly the words that clients wait for`() throws {
        let client = try submission(FakeStore()).greeted()
        #expect(client.command("AUTH LOGIN") == "334 VXNlcm5hbWU6\r\n")
        let name = Base64.encode(Array("alice@example.test").span)
        #expect(client.command(String(decoding: name, as: UTF8.self)) == "334 UGFzc3dvcmQ6\r\n")
        let password = Base64.encode(Array("secret").span)
        #expect(
            client.command(String(decoding: password, as: UTF8.self))
                == "235 2.7.0 Authentication succeeded\r\n")
    }

    @Test func `PLAIN without initial response gets an empty challenge`() throws {
        let client = try submission(FakeStore()).greeted()
        #expect(client.command("AUTH PLAIN") == "334 \r\n")
        #expect(client.command("*").hasPrefix("501 "))
        #expect(client.command("AUTH PLAIN") == "334 \r\n")
        #expect(client.command(plain("alice@example.test", "secret")).hasPrefix("235 "))
    }

    @Test func `a foreign authorization id is refused`() throws {
        let client = try submission(FakeStore()).greeted()
        let foreign = Base64.encode(Array("bob@example.test\0alice@example.test\0secret").span)
        #expect(
            client.command("AUTH PLAIN " + String(decoding: foreign, as: UTF8.self))
                .hasPrefix("535 5.7.8 "))
    }

    @Test func `a wrong password is 535, the third one 421`() throws {
        let client = try submission(FakeStore()).greeted()
        let attempt = "AUTH PLAIN " + plain("alice@example.test", "wrong")
        #expect(client.command(attempt).hasPrefix("535 5.7.8 "))
        #expect(client.command(attempt).hasPrefix("535 5.7.8 "))
        #expect(client.command(attempt).hasPrefix("421 4.7.0 "))
        #expect(client.line() == "")
    }

    @Test func `a store that is away is 454`() throws {
        let client = try submission(FakeStore()).greeted()
        #expect(client.command("AUTH PLAIN " + plain("away", "x")).hasPrefix("454 4.7.0 "))
    }

    @Test func `a login that the store has forgotten ends the connection`() throws {
        let client = try submission(FakeStore()).greeted()
        _ = client.command("AUTH PLAIN " + plain("alice@example.test", "secret"))
        #expect(client.command("MAIL FROM:<stale@example.test>").hasPrefix("421 4.3.0 "))
        #expect(client.line() == "")
    }
}

@Suite("Limits and time", .timeLimit(.minutes(1)))
struct SessionLimitTests {
    @Test func `a client that speaks before the greeting is 554`() throws {
        // The client must be faster than the server: let it queue behind another connection.
        let daemon = try TestDaemon(FakeStore())
        var wasRefused = false
        for _ in 0..<200 where !wasRefused {
            let client = try daemon.connect()
            client.send("EHLO early\r\n")
            wasRefused = client.reply().hasPrefix("554 5.5.1 ")
        }
        #expect(wasRefused)
    }

    @Test func `with greet_delay strangers wait for the greeting, and who does not is 554`() throws
    {
        let daemon = try TestDaemon(
            FakeStore(),
            change: {
                $0.server.exempt = []
                $0.smtpd.limits.greetDelay = .milliseconds(400)
            })
        let began = ContinuousClock.now
        let patient = try daemon.connect()
        let hasty = try daemon.connect()
        usleep(100_000)
        hasty.send("EHLO hasty\r\n")
        #expect(hasty.reply() == "554 5.5.1 You talked before the greeting\r\n")
        #expect(hasty.line() == "")
        #expect(ContinuousClock.now - began < .milliseconds(390))
        #expect(patient.reply().hasPrefix("220 "))
        #expect(ContinuousClock.now - began >= .milliseconds(400))
        let known = try TestDaemon(
            FakeStore(), change: { $0.smtpd.limits.greetDelay = .seconds(60) })
        #expect(try known.connect().reply().hasPrefix("220 "))
    }

    @Test func `one client too many is 421`() throws {
        let daemon = try TestDaemon(FakeStore(), change: { $0.smtpd.maxClients = 2 })
        let first = try daemon.greeted()
        let second = try daemon.greeted()
        let third = try daemon.connect()
        #expect(third.reply().hasPrefix("421 4.3.2 "))
        #expect(third.line() == "")
        #expect(first.command("QUIT").hasPrefix("221 "))
        #expect(first.line() == "")
        _ = try daemon.greeted()
        #expect(second.command("NOOP").hasPrefix("250 "))
    }

    @Test func `silence ends in 421`() throws {
        let daemon = try TestDaemon(
            FakeStore(), change: { $0.smtpd.commandTimeout = .milliseconds(100) })
        let client = try daemon.greeted()
        #expect(client.reply().hasPrefix("421 4.4.2 "))
        #expect(client.line() == "")
    }

    @Test func `text that stops coming ends in 421`() throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(
            store, change: { $0.smtpd.dataTimeout = .milliseconds(100) })
        let client = try daemon.ready()
        #expect(client.data("half a line").hasPrefix("421 4.4.2 "))
        #expect(store.stored.isEmpty)
    }

    @Test func `a connection has an end`() throws {
        let daemon = try TestDaemon(
            FakeStore(), change: { $0.smtpd.connectionTimeout = .milliseconds(200) })
        let client = try daemon.greeted()
        var reply = ""
        for _ in 0..<200 where !reply.hasPrefix("421") {
            reply = client.command("NOOP")
            usleep(5_000)
        }
        #expect(reply.hasPrefix("421 4.4.2 "))
    }

    @Test func `twenty bad commands are enough`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        for _ in 1..<20 { #expect(client.command("FOO").hasPrefix("500 5.5.2 ")) }
        #expect(client.command("FOO").hasPrefix("421 4.7.0 "))
        #expect(client.line() == "")
    }

    @Test func `long lines are refused and the session goes on`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        #expect(client.command(String(repeating: "x", count: 100_000)).hasPrefix("500 5.5.2 "))
        #expect(client.command("NOOP " + String(repeating: "x", count: 600)).hasPrefix("500 "))
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(client.command("NOOP a\rMAIL FROM:<>").hasPrefix("500 "))
        #expect(client.command("RCPT TO:<alice@example.test>").hasPrefix("503 "))
    }

    @Test func `a lone LF in a command ends the connection`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        #expect(client.command("NOOP\nMAIL FROM:<>").hasPrefix("500 "))
        #expect(client.line() == "")
    }

    @Test func `XDEBUG, XCLIENT and EXPN are 502, VRFY is 252`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        for verb in ["XDEBUG", "XCLIENT ADDR=1.2.3.4", "EXPN all"] {
            #expect(client.command(verb).hasPrefix("502 5.5.1 "))
        }
        #expect(client.command("VRFY alice").hasPrefix("252 2.5.0 "))
        #expect(client.command("HELP").hasPrefix("214-2.0.0 "))
    }

    @Test func `a stopping daemon says so to the idle and lets a message finish`() throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(store)
        let idle = try daemon.greeted()
        let busy = try daemon.ready()
        #expect(busy.command("DATA").hasPrefix("354 "))
        busy.send("Subject: x\r\n")
        daemon.drain()
        #expect(idle.reply().hasPrefix("421 4.3.2 "))
        #expect(idle.line() == "")
        busy.send("\r\nlate\r\n.\r\n")
        #expect(busy.reply().hasPrefix("250 2.0.0 "))
        #expect(busy.reply().hasPrefix("421 4.3.2 "))
        #expect(store.stored.count == 1)
    }

    @Test func `metrics count what happened, without anybody's address`() throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(store)
        let client = try daemon.ready()
        _ = client.command("RCPT TO:<nobody@example.test>")
        #expect(client.data("a: b\r\n\r\n.\r\n").hasPrefix("250 "))
        let text = String(decoding: daemon.metrics.exposition(), as: UTF8.self)
        for line in [
            "smtpd_connections_total{listener=\"smtp\",ip=\"127.0.0.1\"} 1",
            "smtpd_connections_active{listener=\"smtp\"} 1",
            "smtpd_messages_received_total{listener=\"smtp\",recipient_domain=\"example.test\"} 1",
            "smtpd_messages_rejected_total{listener=\"smtp\",reason=\"unknown-user\","
                + "recipient_domain=\"example.test\"} 1",
            "smtpd_messages_size_bytes_count{listener=\"smtp\"} 1",
            "smtpd_delivery_duration_seconds_count{result=\"success\"} 1",
            "smtpd_command_duration_seconds_count{command=\"MAIL\"} 1",
        ] {
            #expect(text.contains(line + "\n"), "\(line)")
        }
        #expect(!text.contains("@") && !text.contains("alice"))
    }
}
