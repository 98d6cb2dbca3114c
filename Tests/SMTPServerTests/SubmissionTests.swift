// SPDX-License-Identifier: Apache-2.0
//
// What happens to messages of our own users, and what reaches the store beside the text.

import Bytes
import Config
import Mail
import Testing
import Wire

@testable import SMTPServer

@Suite("Submissions, RFC 6409", .timeLimit(.minutes(1)))
struct SubmissionMessageTests {
    private func ready(_ store: FakeStore, mail: String = "") throws -> Client {
        let client = try TestDaemon(
            store, mode: "submission", change: { $0.server.devMode = true }
        ).greeted()
        #expect(
            client.command("AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=").hasPrefix("235 "))
        #expect(
            client.command("MAIL FROM:<alice@example.test>" + mail) == "250 2.1.0 OK\r\n")
        #expect(client.command("RCPT TO:<bob@example.test>") == "250 2.1.5 OK\r\n")
        return client
    }

    @Test(arguments: [
        ("Bcc: x@y.test\r\nFrom: alice@example.test\r\n", "From: alice@example.test\r\n"),
        ("Return-Path: <x@y.test>\r\nFrom: alice@example.test\r\n", "From: alice@example.test\r\n"),
        (
            "From: alice@example.test\r\nBCC: a,\r\n b\r\nTo: c\r\n",
            "From: alice@example.test\r\nTo: c\r\n"
        ),
        (
            "From: alice@example.test\r\nResent-Bcc: a\r\nbcc : b\r\nX-Bcc: c\r\n",
            "From: alice@example.test\r\nX-Bcc: c\r\n"
        ),
    ])
    func `Bcc is taken out and the rest stays`(header: String, kept: String) throws {
        for chunks in [false, true] {
            let store = try FakeStore()
            let client = try ready(store)
            let text = header + "\r\nBcc: in the body\r\n"
            if chunks {
                for octet in text.utf8 { client.send(Array("BDAT 1\r\n") + [octet]) }
                for _ in text.utf8 { #expect(client.reply().hasPrefix("250 ")) }
                #expect(client.command("BDAT 0 LAST").hasPrefix("250 "))
            } else {
                #expect(client.data(text + ".\r\n").hasPrefix("250 "))
            }
            let stored = try #require(store.stored.first?.text)
            #expect(stored.hasSuffix(kept + "\r\nBcc: in the body\r\n"))
        }
    }

    @Test func `mail from others keeps its Bcc`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        #expect(client.data("Bcc: x@y.test\r\n\r\n.\r\n").hasPrefix("250 "))
        #expect(store.stored.first?.body == "Bcc: x@y.test\r\n\r\n")
    }

    @Test func `a large submission loses its Bcc too`() throws {
        let store = try FakeStore()
        let client = try ready(store)
        let body = String(repeating: String(repeating: "y", count: 98) + "\r\n", count: 6_000)
        let text = "From: alice@example.test\r\nBcc: x@y.test\r\nDate: x\r\n\r\n" + body
        #expect(client.data(text + ".\r\n").hasPrefix("250 "))
        let stored = try #require(store.stored.first)
        #expect(stored.text.hasSuffix("From: alice@example.test\r\nDate: x\r\n\r\n" + body))
        if case .inline = stored.delivery.body { Issue.record("not staged") }
    }

    @Test func `a submission whose header does not end is refused`() throws {
        let store = try FakeStore()
        let client = try ready(store)
        let line = "X-Long: " + String(repeating: "y", count: 90) + "\r\n"
        let reply = client.data(String(repeating: line, count: 4_000) + "\r\n.\r\n")
        #expect(reply.hasPrefix("552 5.3.4 "))
        #expect(store.stored.isEmpty && store.openStages == 0)
    }

    @Test func `what is missing is added`() throws {
        let store = try FakeStore()
        #expect(try ready(store).data("Subject: x\r\n\r\n.\r\n").hasPrefix("250 "))
        let stored = try #require(store.stored.first?.text)
        for field in ["\r\nDate: ", "\r\nMessage-ID: <", "\r\nFrom: <alice@example.test>\r\n"] {
            #expect(stored.contains(field), "\(field)")
        }
    }

    @Test(arguments: [
        ("From: alice@example.test", "250 2.0.0"),
        ("From: Alice <alice@example.test>", "250 2.0.0"),
        ("From: mallory@example.test", "550 5.7.1"),
        ("To: x\r\nfrom : mallory@example.test", "550 5.7.1"),
        ("From: alice@example.test, mallory@example.test", "550 5.7.1"),
        ("From: alice@example.test <mallory@example.test>", "550 5.7.1"),
        ("From: alice@example.test\r\nSender: mallory@example.test", "550 5.7.1"),
        ("From: alice@example.test\r\nFrom: mallory@example.test", "550 5.7.1"),
        ("From: undisclosed", "550 5.6.0"), ("From: <>", "550 5.6.0"),
        ("From: group: alice@example.test;", "250 2.0.0"),
        ("From: stale@example.test", "451 4.3.0"),
        // RFC 5322 §3.6.6: sent on.
        ("Resent-From: alice@example.test\r\nFrom: mallory@example.test", "250 2.0.0"),
        ("From: mallory@example.test\r\nRESENT-FROM: <alice@example.test>", "250 2.0.0"),
        ("Resent-From: alice@example.test\r\nFrom: undisclosed", "250 2.0.0"),
        ("Resent-From: mallory@example.test\r\nFrom: alice@example.test", "550 5.7.1"),
        (
            "Resent-From: alice@example.test\r\nResent-Sender: mallory@example.test\r\nFrom: a@b.c",
            "550 5.7.1"
        ),
        (
            "Resent-From: alice@example.test\r\nResent-From: bob@b.test\r\nResent-Sender: c@b.test",
            "250 2.0.0"
        ),
        (
            "Resent-From: mallory@b.test\r\nResent-From: alice@example.test\r\nFrom: a@b.c",
            "550 5.7.1"
        ),
        ("Resent-From: alice@example.test, mallory@example.test", "550 5.7.1"),
        ("Resent-From: nobody\r\nFrom: alice@example.test", "550 5.6.0"),
        ("Resent-From: \r\nFrom: mallory@example.test", "550 5.7.1"),
        ("Resent-Sender: alice@example.test\r\nFrom: mallory@example.test", "550 5.7.1"),
        ("Resent-To: alice@example.test\r\nFrom: mallory@example.test", "550 5.7.1"),
    ])
    func `the author must be the user`(field: String, code: String) throws {
        let store = try FakeStore()
        let reply = try ready(store).data(field + "\r\n\r\nx\r\n.\r\n")
        #expect(reply.hasPrefix(code), "\(reply)")
        #expect(store.stored.isEmpty == !code.hasPrefix("250"))
    }

    @Test func `terms reach the store and stay in the message`() throws {
        let store = try FakeStore()
        let client = try ready(store, mail: " RET=HDRS ENVID=x+2By MT-PRIORITY=3 BODY=8BITMIME")
        #expect(
            client.command("RCPT TO:<bob@example.test> NOTIFY=SUCCESS ORCPT=rfc822;b@c.test")
                == "250 2.1.5 OK\r\n")
        #expect(client.data("From: alice@example.test\r\n\r\n.\r\n").hasPrefix("250 "))
        let stored = try #require(store.stored.first)
        var terms = EnvelopeTerms()
        terms.body = .eightBit
        terms.ret = .headers
        terms.envelopeID = Array("x+y")
        terms.priority = 3
        terms.mayReport = true
        #expect(stored.delivery.terms == terms)
        #expect(stored.delivery.recipientTerms.first?.notify == .success)
        #expect(stored.text.contains("\r\n\tPRIORITY 3;\r\n"))
        #expect(
            stored.text.contains(
                "X-Martlet-Envelope: RET=HDRS\r\n\tENVID=x+2By\r\n\tBODY=8BITMIME\r\n"
                    + "\tMT-PRIORITY=3\r\n\tNOTIFY=SUCCESS\r\n\tORCPT=rfc822;b@c.test\r\n"
                    + "Original-Recipient: rfc822;b@c.test\r\nReceived: from "))
    }

    @Test func `a stranger's NOTIFY is kept but makes no report`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).greeted()
        _ = client.command("MAIL FROM:<alice@example.test>")
        _ = client.command("RCPT TO:<bob@example.test> NOTIFY=SUCCESS")
        #expect(client.data("x: y\r\n\r\n.\r\n").hasPrefix("250 "))
        let delivery = try #require(store.stored.first?.delivery)
        #expect(delivery.recipientTerms.first?.notify == .success && !delivery.terms.mayReport)
    }
}

@Suite("Verdicts of the store", .timeLimit(.minutes(1)))
struct StoreVerdictTests {
    @Test(arguments: [
        (StoreFailure.overQuota, 1, false, "552 5.2.2"), (.overQuota, 1, true, "452 4.2.2"),
        (.overQuota, 2, false, "452 4.2.2"), (.noSuchAccount, 1, false, "550 5.1.1"),
        (.noSuchAccount, 2, false, "451 4.3.0"), (.noSuchDomain, 1, false, "550 5.1.1"),
        (.limit, 2, false, "452 4.5.3"), (.unavailable, 1, false, "451 4.3.0"),
        (.badStage, 1, false, "451 4.3.0"), (.staleHandle, 1, false, "451 4.3.0"),
    ])
    func `the reply to DATA is the store's`(
        failure: StoreFailure, recipients: Int, isTemporary: Bool, code: String
    ) throws {
        let store = try FakeStore()
        let client = try TestDaemon(store, change: { $0.msgstored.quotaTemporary = isTemporary })
            .ready()
        if recipients == 2 { _ = client.command("RCPT TO:<bob@example.test>") }
        store.fail(failure)
        let reply = client.data("x: y\r\n\r\n.\r\n")
        #expect(reply.hasPrefix(code), "\(reply)")
    }

    @Test(arguments: [
        ("full", "552 5.2.2"), ("off", "550 5.2.1"), ("no", "550 5.1.1"), ("away", "451 4.3.0"),
        ("alice", "250 2.1.5"),
    ])
    func `the reply to RCPT is the store's`(name: String, code: String) throws {
        let client = try TestDaemon(FakeStore()).ready()
        #expect(client.command("RCPT TO:<\(name)@example.test>").hasPrefix(code))
    }
}

@Suite("Octets that no text has", .timeLimit(.minutes(1)))
struct NullTests {
    @Test func `a NUL is 550 5_6_0 in DATA and BDAT`() throws {
        let store = try FakeStore()
        let client = try TestDaemon(store).ready()
        #expect(client.data("a: b\r\n\r\nx\0y\r\n.\r\n").hasPrefix("550 5.6.0 "))
        _ = client.command("MAIL FROM:<>")
        _ = client.command("RCPT TO:<alice@example.test>")
        client.send("BDAT 3 LAST\r\nx\0y")
        #expect(client.reply().hasPrefix("550 5.6.0 "))
        #expect(client.command("NOOP").hasPrefix("250 "))
        #expect(store.stored.isEmpty && store.openStages == 0)
    }

    @Test func `control octets in commands are 500`() throws {
        let client = try TestDaemon(FakeStore()).greeted()
        #expect(client.command("NOOP \0").hasPrefix("500 5.5.2 "))
        #expect(client.command("MAIL FROM:<a\0b@c.test>").hasPrefix("500 5.5.2 "))
        client.send("NOOP\n")
        #expect(client.reply().hasPrefix("500 5.5.2 "))
        #expect(client.line() == "")
    }
}
