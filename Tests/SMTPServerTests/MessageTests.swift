// SPDX-License-Identifier: Apache-2.0
//
// Messages from a client's socket to the store, octet by octet.

import Bytes
import Config
import Glibc
import Mail
import Testing
import Wire

@testable import SMTPServer

private func isAccepted(_ reply: String) -> Bool {
    reply.hasPrefix("250 2.0.0 Message accepted for delivery id=")
}

@Suite("DATA, RFC 5321 §4.1.1.4", .timeLimit(.minutes(1)))
struct DataTests {
    @Test func `a message reaches the store with its trace fields in front`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        let reply = client.data("Subject: x\r\n\r\n..dot\r\n.\r\n")
        #expect(isAccepted(reply))
        let message = try #require(store.stored.first)
        #expect(message.body == "Subject: x\r\n\r\n.dot\r\n")
        #expect(reply.contains("id=\(message.delivery.id)\r\n"))
        #expect(
            message.text.hasPrefix(
                "Return-Path: <carol@elsewhere.test>\r\n"
                    + "Received: from client.test ([127.0.0.1])\r\n\tby mx.example.test (Martlet)"
                    + " with ESMTP\r\n\tid \(message.delivery.id)\r\n"
                    + "\tfor <alice@example.test>;\r\n\t"))
        #expect(message.delivery.recipients.map(\.text) == ["alice@example.test"])
    }

    @Test func `a whole session in one write is answered in order`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).connect()
        #expect(client.reply() == "220 mx.example.test ESMTP Martlet\r\n")
        client.send(
            "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<no@example.test>\r\n"
                + "RCPT TO:<BOB@example.test>\r\nRCPT TO:<bob@EXAMPLE.test>\r\nDATA\r\n")
        let codes = (0..<7).map { _ in client.reply().prefix(3) }
        #expect(codes == ["250", "250", "250", "550", "550", "250", "354"])
        client.send("Subject: a\r\n\r\nb\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n")
        #expect(isAccepted(client.reply()))
        #expect(client.reply() == "250 2.1.0 OK\r\n")
        #expect(client.reply() == "221 2.0.0 Bye\r\n")
        #expect(client.line() == "")
        #expect(store.stored.count == 1)
        #expect(store.stored.first?.delivery.sender == .null)
        #expect(store.stored.first?.delivery.recipients.count == 2)
        // Nobody learns of the other recipients.
        #expect(store.stored.first?.text.contains("for <") == false)
    }

    @Test(arguments: [
        1, 1_000, 200_000, 245_700, 245_760, 245_761, 261_900, 262_144, 262_145, 400_000, 3_000_000,
    ])
    func `messages of any size are stored to the octet`(size: Int) throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        var body = Array("Subject: x\r\n\r\n")
        var line = 0
        while body.count < size {
            body += Array("line \(line) \(String(repeating: "y", count: line % 70))\r\n")
            line += 1
        }
        #expect(isAccepted(client.data(body + Array(".\r\n"))))
        let message = try #require(store.stored.first)
        #expect(Array(message.octets.suffix(body.count)) == body)
        #expect(message.octets.count < body.count + 500)
        if case .staged = message.delivery.body { #expect(body.count > 240_000) }
        #expect(store.openStages == 0)
    }

    @Test func `a text over the limit is 552 and the session goes on`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store, change: { $0.smtpd.maxMessageSize = 1_000_000 }).ready()
        let line = [UInt8](repeating: 0x61, count: 998) + [0x0D, 0x0A]
        let text = Array(repeatElement(line, count: 1_500).joined())
        #expect(client.data(text + Array(".\r\n")).hasPrefix("552 5.3.4 "))
        #expect(store.stored.isEmpty)
        #expect(client.command("DATA").hasPrefix("503 "))
        #expect(client.command("MAIL FROM:<>") == "250 2.1.0 OK\r\n")
        #expect(client.command("RCPT TO:<alice@example.test>") == "250 2.1.5 OK\r\n")
        #expect(isAccepted(client.data("\r\nsmall\r\n.\r\n")))
        #expect(store.openStages == 0 && store.unstaged == 1)
    }

    @Test(arguments: [
        "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r.\n", "\n.\r", "\n\n.\n",
        "\r\n.\r\r\n", "\r\r\n.\n",
    ])
    func `a smuggled message is refused with the one around it`(end: String) throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        let reply = client.data(
            "Subject: a\r\n\r\nb\(end)MAIL FROM:<x@y>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
                + "smuggled\r\n.\r\n")
        #expect(reply.hasPrefix("550 5.6.11 "))
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(store.stored.isEmpty)
    }

    @Test func `a message that made 101 hops is 554`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        let hops = String(repeating: "Received: from a by b; x\r\n", count: 101)
        #expect(client.data(hops + "\r\nx\r\n.\r\n").hasPrefix("554 5.4.6 "))
        #expect(store.stored.isEmpty)
    }

    @Test func `text without header gets an empty line in front`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        #expect(isAccepted(client.data("just words\r\n.\r\n")))
        #expect(store.stored.first?.body == "\r\njust words\r\n")
    }

    @Test func `a client that goes away in the middle leaves nothing`() throws {
        let store = try FakeStore()
        let daemon = try TestDaemon(store)
        do {
            let client = try daemon.ready()
            #expect(client.command("DATA").hasPrefix("354 "))
            client.send([UInt8](repeating: 0x61, count: 1_000_000))
        }
        // The same store connection: what comes behind it is asked later.
        let client = try daemon.greeted()
        for _ in 0..<1_000 where store.unstaged == 0 {
            _ = client.command("NOOP")
            usleep(5_000)
        }
        #expect(store.stored.isEmpty)
        #expect(store.openStages == 0)
    }
}

@Suite("BDAT, RFC 3030", .timeLimit(.minutes(1)))
struct ChunkTests {
    @Test func `pipelined chunks are stored to the octet`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).connect()
        _ = client.reply()
        client.send(
            Array(
                "EHLO c\r\nMAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<alice@example.test>\r\n"
                    + "BDAT 14\r\n" + "Subject: x\r\n\r\n" + "BDAT 9\r\n.\r\n..\r\n") + [
                    0xE9, 0xFF,
                ]
                + Array("BDAT 0 LAST\r\nQUIT\r\n"))
        let replies = (0..<7).map { _ in client.reply() }
        #expect(replies.map { $0.prefix(3) } == ["250", "250", "250", "250", "250", "250", "221"])
        #expect(replies[3] == "250 2.0.0 14 octets received\r\n")
        #expect(isAccepted(replies[5]))
        #expect(
            store.stored.first.map { Array($0.octets.suffix(9)) } == Array(".\r\n..\r\n") + [
                0xE9, 0xFF,
            ])
    }

    @Test func `a lone LF in a chunk refuses the message and the rest of it`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        client.send("BDAT 3\r\na\nbBDAT 3\r\ncdeBDAT 1 LAST\r\nf")
        #expect(client.reply().hasPrefix("550 5.6.11 "))
        #expect(client.reply().hasPrefix("503 "))
        #expect(client.reply().hasPrefix("503 "))
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(store.stored.isEmpty)
    }

    @Test func `a chunk over the limit is 552 and the stream stays in step`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store, change: { $0.smtpd.maxMessageSize = 100_000 }).ready()
        client.send("BDAT 90000\r\n")
        client.send([UInt8](repeating: 0x61, count: 90_000))
        #expect(client.reply().hasPrefix("250 "))
        client.send("BDAT 90000 LAST\r\n")
        client.send([UInt8](repeating: 0x61, count: 90_000))
        #expect(client.reply().hasPrefix("552 5.3.4 "))
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(client.command("DATA").hasPrefix("503 "))
        #expect(store.stored.isEmpty)
    }

    @Test func `RSET between chunks gives a staged file back`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        client.send("BDAT 400000\r\n")
        client.send([UInt8](repeating: 0x61, count: 400_000))
        #expect(client.reply().hasPrefix("250 "))
        #expect(store.openStages == 1)
        #expect(client.command("RSET").hasPrefix("250 "))
        #expect(client.command("MAIL FROM:<>").hasPrefix("250 "))
        #expect(client.command("RCPT TO:<alice@example.test>").hasPrefix("250 "))
        #expect(store.openStages == 0)
        #expect(client.command("BDAT 0 LAST").hasPrefix("250 "))
    }

    @Test func `a BDAT whose size cannot be read ends the connection`() throws {
        let client = try TestDaemon(FakeStore()).ready()
        #expect(client.command("BDAT many").hasPrefix("501 "))
        #expect(client.line() == "")
    }
}

@Suite("The store's verdict", .timeLimit(.minutes(1)))
struct VerdictTests {
    @Test(arguments: [
        ("alice", "250 2.1.5 "), ("nobody", "550 5.1.1 "), ("full", "552 5.2.2 "),
        ("off", "550 5.2.1 "), ("away", "451 4.3.0 "),
    ])
    func `RCPT says what the store says`(name: String, prefix: String) throws {
        let client = try TestDaemon(FakeStore()).greeted()
        _ = client.command("MAIL FROM:<>")
        #expect(client.command("RCPT TO:<\(name)@example.test>").hasPrefix(prefix))
    }

    @Test(arguments: [
        (StoreFailure.unavailable, "451 4.3.0 "), (.overQuota, "552 5.2.2 "),
        (.noSuchAccount, "550 5.1.1 "), (.badStage, "451 4.3.0 "),
    ])
    func `the reply to DATA is the store's, and a retry works`(
        failure: StoreFailure, prefix: String
    ) throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        store.fail(failure)
        #expect(client.data("a: b\r\n\r\n.\r\n").hasPrefix(prefix))
        store.fail(nil)
        _ = client.command("MAIL FROM:<>")
        _ = client.command("RCPT TO:<alice@example.test>")
        #expect(isAccepted(client.data("a: b\r\n\r\n.\r\n")))
        #expect(store.stored.count == 1)
    }

    @Test func `without a store recipients are 451`() throws {
        let client = try TestDaemon(FakeStore(isRunning: false)).greeted()
        _ = client.command("MAIL FROM:<>")
        #expect(client.command("RCPT TO:<alice@example.test>").hasPrefix("451 4.3.0 "))
        #expect(client.command("DATA").hasPrefix("503 "))
    }

    @Test func `postmaster without domain is ours`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).greeted()
        _ = client.command("MAIL FROM:<>")
        #expect(client.command("RCPT TO:<Postmaster>") == "250 2.1.5 OK\r\n")
        #expect(store.asked == ["postmaster@example.test"])
    }

    @Test func `strangers cannot relay, and those who may are told that nobody can yet`() throws {
        let stranger = try TestDaemon(FakeStore(), change: { $0.smtpd.allowedRelays = [] })
            .greeted()
        _ = stranger.command("MAIL FROM:<a@b.test>")
        #expect(
            stranger.command("RCPT TO:<x@far.test>")
                == "554 5.7.1 Client host rejected: Access denied\r\n")
        let friend = try TestDaemon(
            FakeStore(), change: { $0.smtpd.allowedRelays = ["::1", "127.0.0.0/8"] }
        ).greeted()
        _ = friend.command("MAIL FROM:<a@b.test>")
        #expect(friend.command("RCPT TO:<x@far.test>").hasPrefix("550 5.7.1 This server does not"))
    }
}
