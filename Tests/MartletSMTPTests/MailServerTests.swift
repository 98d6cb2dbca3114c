// SPDX-License-Identifier: Apache-2.0
//
// The server in this process, as a program of others would have it. RFC 5321.

import Glibc
import MartletSMTP
import Synchronization
import Testing

@Suite("the SMTP server as a library", .serialized) struct MailServerTests {
    init() { MailServer.log(.error) }

    @Test func `a message arrives whole, with trace fields, and its sender hears so`() async throws
    {
        let agent = Recorder()
        let server = try started(agent)
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\n..dot\r\nlast\r\n")
        let reply = client.command(".")
        let message = try #require(agent.last)
        #expect(reply == "250 2.0.0 Message accepted for delivery id=\(message.id)")
        let text = String(decoding: try message.octets(), as: UTF8.self)
        #expect(text.hasPrefix("Return-Path: <carol@elsewhere.test>\r\nReceived: from client.test"))
        #expect(text.hasSuffix("\r\nSubject: x\r\n\r\n.dot\r\nlast\r\n"))
        #expect(message.size == text.utf8.count)
        #expect(message.sender?.description == "carol@elsewhere.test")
        #expect(message.recipients.map(\.address.description) == ["alice@example.test"])
        #expect(message.client.name == "client.test")
        #expect(message.client.address == "127.0.0.1")
        #expect(message.client.listener == "smtp")
        #expect(message.client.tlsVersion == nil)
        await server.stop()
    }

    @Test func `250 is said after the agent has returned, not before`() async throws {
        let gate = Mutex(false)
        let agent = Recorder { _ in
            while !gate.withLock({ $0 }) { usleep(1_000) }
            return .accept
        }
        let server = try started(agent)
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\nx\r\n.\r\n")
        usleep(300_000)
        // The agent blocks its thread, and the loops go on: somebody else is served meanwhile.
        let other = try Client(server)
        #expect(other.reply().hasPrefix("220 "))
        #expect(other.command("NOOP") == "250 2.0.0 OK")
        #expect(agent.last == nil)
        gate.withLock { $0 = true }
        #expect(client.reply().hasPrefix("250 "))
        #expect(agent.last != nil)
        await server.stop()
    }

    @Test(arguments: [
        (Verdict.reject("Not here"), "550 5.7.1 Not here"),
        (.tryLater("Full moon"), "451 4.7.1 Full moon"),
        (.refuse(Refusal(code: 552, status: (5, 2, 2), text: "a\r\n250 b")), "552 5.2.2 a??250 b"),
        (nil, "451 4.3.0 Mail system temporarily unavailable"),
    ])
    func `the last reply is the agent's verdict`(verdict: Verdict?, expected: String) async throws {
        let agent = Recorder { _ in
            guard let verdict else { throw Trouble() }
            return verdict
        }
        let server = try started(agent)
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\nx\r\n")
        #expect(client.command(".") == expected)
        #expect(client.command("RSET") == "250 2.0.0 OK")
        await server.stop()
    }

    @Test func `recipients are the agent's to know`() async throws {
        let server = try started(Recorder())
        let client = try Client(server)
        client.reply()
        client.command("EHLO c")
        client.command("MAIL FROM:<>")
        #expect(client.command("RCPT TO:<nobody@example.test>") == "550 5.1.1 No such user here")
        #expect(
            client.command("RCPT TO:<x@elsewhere.test>")
                == "554 5.7.1 Client host rejected: Access denied")
        #expect(client.command("RCPT TO:<broken@example.test>").hasPrefix("451 4.3.0 "))
        #expect(client.command("DATA").hasPrefix("503 "))
        #expect(client.command("RCPT TO:<Postmaster>").hasPrefix("554 "))
        await server.stop()
    }

    @Test func `a long message is in a file without a name, and comes in pieces`() async throws {
        let directory = "/tmp/martlet-library-\(UInt64.random(in: 0 ... .max))"
        mkdir(directory, 0o700)
        defer { rmdir(directory) }
        let agent = Recorder()
        let server = try started(agent, temporaryDirectory: directory)
        let line = String(repeating: "x", count: 76) + "\r\n"
        let body = String(repeating: line, count: 40_000)
        let client = try Client(server)
        client.begin()
        client.send("Subject: long\r\n\r\n" + body)
        #expect(client.command(".").hasPrefix("250 "))
        let message = try #require(agent.last)
        var gathered: [UInt8] = []
        var largest = 0
        for try await chunk in message.chunks {
            gathered += chunk
            largest = max(largest, chunk.count)
        }
        #expect(largest == 64 << 10)
        #expect(gathered.count == message.size)
        #expect(gathered.suffix(body.utf8.count).elementsEqual(body.utf8))
        #expect(try message.octets() == gathered)
        #expect(rmdir(directory) == 0)  // nothing was left in it
        await server.stop()
    }

    @Test func `a directory that takes no file is a temporary failure`() async throws {
        let agent = Recorder()
        let server = try started(agent, temporaryDirectory: "/nowhere/at/all")
        let client = try Client(server)
        client.begin()
        client.send("Subject: long\r\n\r\n" + String(repeating: "0123456789\r\n", count: 40_000))
        #expect(client.command(".").hasPrefix("451 4.3.0 "))
        #expect(agent.last == nil)
        await server.stop()
    }

    @Test func `an agent that does not return is cancelled, and the client is asked to come again`()
        async throws
    {
        let wasCancelled = Mutex(false)
        let agent = Recorder { _ in
            await withTaskCancellationHandler {
                while !wasCancelled.withLock({ $0 }) { usleep(1_000) }
            } onCancel: {
                wasCancelled.withLock { $0 = true }
            }
            return .accept
        }
        let server = try started(agent, handlerTimeout: .seconds(1))
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\nx\r\n")
        #expect(client.command(".") == "451 4.3.0 Mail system temporarily unavailable")
        #expect(wasCancelled.withLock { $0 })
        await server.stop()
    }

    @Test func `filters see every step, in their order, before the agent`() async throws {
        let seen = Mutex<[String]>([])
        @Sendable func note(_ text: String) { seen.withLock { $0.append(text) } }
        let first = FilterClosures(
            connected: { client in
                note("connect \(client.address)")
                return .accept
            },
            sender: { transaction in
                note("mail \(transaction.sender?.description ?? "<>")")
                return transaction.sender?.local == "spammer" ? .reject("No") : .accept
            },
            recipient: { recipient, transaction in
                note("rcpt \(recipient) \(transaction.recipients.count)")
                return .accept
            })
        let second = FilterClosures(
            recipient: { recipient, _ in
                recipient.local == "trap" ? .tryLater("Later") : .accept
            },
            message: { message in
                let text = String(decoding: try message.octets(), as: UTF8.self)
                return text.contains("SPAM") ? .reject("Spam") : .accept
            })
        let agent = Recorder()
        let server = try started(agent, filters: [first, second])
        let client = try Client(server)
        client.reply()
        client.command("EHLO c")
        #expect(client.command("MAIL FROM:<spammer@x.test>") == "550 5.7.1 No")
        #expect(client.command("RCPT TO:<alice@example.test>").hasPrefix("503 "))
        #expect(client.command("MAIL FROM:<>") == "250 2.1.0 OK")
        #expect(client.command("RCPT TO:<alice@example.test>") == "250 2.1.5 OK")
        #expect(client.command("RCPT TO:<trap@example.test>") == "451 4.7.1 Later")
        #expect(client.command("DATA").hasPrefix("354 "))
        #expect(client.command("Subject: SPAM\r\n\r\n.") == "550 5.7.1 Spam")
        #expect(agent.last == nil)
        #expect(
            seen.withLock { $0 } == [
                "connect 127.0.0.1", "mail spammer@x.test", "mail <>", "rcpt alice@example.test 0",
                "rcpt trap@example.test 1",
            ])
        await server.stop()
    }

    @Test func `a client that is not wanted hears it in the place of the greeting`() async throws {
        let filter = FilterClosures(connected: { _ in
            .refuse(Refusal(code: 554, status: (5, 7, 1), text: "Go away"))
        })
        let server = try started(Recorder(), filters: [filter])
        let client = try Client(server)
        #expect(client.line() == "554 5.7.1 Go away")
        #expect(client.line().isEmpty)
        await server.stop()
    }

    @Test func `stopping lets a message end, tells who is idle, and frees the port`() async throws {
        let agent = Recorder { _ in
            usleep(500_000)
            return .accept
        }
        let server = try started(agent)
        let port = try #require(server.port(of: "smtp"))
        let idle = try Client(server)
        idle.reply()
        let busy = try Client(server)
        busy.begin()
        busy.send("Subject: x\r\n\r\nx\r\n.\r\n")
        usleep(100_000)
        await server.stop()
        #expect(idle.line().hasPrefix("421 4.3.2 "))
        #expect(busy.reply().hasPrefix("250 "))
        #expect(agent.last != nil)
        #expect(server.port(of: "smtp") == nil)
        var isFree = false
        // A client of another test may have it for a moment.
        for _ in 0..<200 where !isFree {
            let next = MailServer(
                hostname: "mx.example.test", listeners: [.smtp(host: "127.0.0.1", port: port)],
                delivery: Recorder())
            do {
                try next.start()
                isFree = true
                await next.stop()
            } catch {
                usleep(50_000)
            }
        }
        #expect(isFree)
    }

    @Test func `a handler that hangs does not keep the server from stopping`() async throws {
        let isOver = Mutex(false)
        let server = try started(
            Recorder { _ in
                while !isOver.withLock({ $0 }) { usleep(1_000) }
                return .accept
            })
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\nx\r\n.\r\n")
        usleep(100_000)
        let began = ContinuousClock.now
        await server.stop(within: .milliseconds(500))
        #expect(ContinuousClock.now - began < .seconds(3))
        isOver.withLock { $0 = true }
    }

    @Test func `run ends when its task is cancelled`() async throws {
        let server = MailServer(
            hostname: "mx.example.test", listeners: [.smtp(host: "127.0.0.1", port: 0)],
            delivery: Recorder())
        let task = Task { try await server.run() }
        while server.port(of: "smtp") == nil { usleep(1_000) }
        task.cancel()
        try await task.value
        #expect(throws: MailServer.ConfigurationError.self) { try server.start() }
    }

    /// In a process of its own: other tests have descriptors too.
    @Test func `a server that is gone leaves nothing behind`() async {
        await #expect(processExitsWith: .success) {
            var before = 0
            for round in 0..<12 {
                // The first rounds start what the process keeps.
                if round == 2 { before = openDescriptors() }
                let server = try started(Recorder())
                let client = try Client(server)
                client.begin()
                client.send("Subject: x\r\n\r\nx\r\n")
                #expect(client.command(".").hasPrefix("250 "))
                await server.stop()
            }
            // The last thread may be on its way out still.
            for _ in 0..<200 where openDescriptors() > before { usleep(10_000) }
            #expect(openDescriptors() <= before)
        }
    }

    @Test func `limits can change while it runs`() async throws {
        let server = try started(Recorder())
        let old = try Client(server)
        old.reply()
        var limits = Limits()
        limits.maxMessageSize = 100_000
        try server.update(limits)
        var size = ""
        for _ in 0..<100 where size != "250-SIZE 100000" {
            let client = try Client(server)
            client.reply()
            client.send("EHLO c\r\n")
            _ = client.line()
            size = client.line()
        }
        #expect(size == "250-SIZE 100000")
        old.send("EHLO c\r\n")
        _ = old.line()
        #expect(old.line() == "250-SIZE 26214400")
        limits.maxRecipients = 0
        #expect(throws: MailServer.ConfigurationError.self) { try server.update(limits) }
        #expect(server.metrics().contains("smtpd_connections_total{listener=\"smtp\""))
        await server.stop()
    }

    @Test func `an actor can be an agent, and an executor of its own can be given`() async throws {
        actor Box: DeliveryAgent {
            var count = 0
            func recipient(_ recipient: Address, _ transaction: Transaction) -> Verdict { .accept }
            func deliver(_ message: Message) -> Verdict {
                count += 1
                return .accept
            }
        }
        let box = Box()
        let server = try started(box, executor: globalConcurrentExecutor)
        let client = try Client(server)
        client.begin()
        client.send("Subject: x\r\n\r\nx\r\n")
        #expect(client.command(".").hasPrefix("250 "))
        #expect(await box.count == 1)
        await server.stop()
    }

    @Test(arguments: [
        ([Listener](), "there is no listener"),
        ([.submission(port: 0)], "submission: submission needs a certificate and a provider"),
        ([.smtp(port: 0), .smtp(port: 0)], "two listeners have the same name"),
        ([.smtp(port: 70_000)], "70000 is no port"),
        ([.smtp(host: "192.0.2.1", port: 0)], "smtp: 192.0.2.1:0: Cannot assign requested address"),
    ])
    func `what cannot be is said at the start`(listeners: [Listener], reason: String) {
        let server = MailServer(
            hostname: "mx.example.test", listeners: listeners, delivery: Recorder())
        let error = #expect(throws: MailServer.ConfigurationError.self) { try server.start() }
        #expect(error?.description == reason)
    }

    @Test func `a certificate that is none is said at the start`() {
        let server = MailServer(
            hostname: "mx.example.test", listeners: [.smtp(host: "127.0.0.1", port: 0)],
            certificate: Certificate(chainFile: "/nowhere.pem", keyFile: "/nowhere.pem"),
            delivery: Recorder())
        let error = #expect(throws: MailServer.ConfigurationError.self) { try server.start() }
        #expect(error?.description.contains("/nowhere.pem") == true)
    }
}
