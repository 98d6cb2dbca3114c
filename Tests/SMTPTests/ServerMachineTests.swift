// SPDX-License-Identifier: Apache-2.0
//
// The session's rules, one transition at a time. RFC 5321 §4.1.4; RFC 3030; RFC 3207; RFC 4954.

import Bytes
import Mail
import SMTP
import Testing

@Suite("Greeting and EHLO, RFC 5321 §4.1.1.1")
struct HelloTests {
    @Test func `EHLO in clear lists exactly what is offered`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: false)
        #expect(
            text(machine.received(ehlo)) == """
                250-mx.test Hello client\r
                250-SIZE 26214400\r
                250-8BITMIME\r
                250-PIPELINING\r
                250-SMTPUTF8\r
                250-ENHANCEDSTATUSCODES\r
                250-CHUNKING\r
                250-DSN\r
                250-STARTTLS\r
                250 HELP\r\n
                """)
    }

    @Test func `EHLO under TLS offers AUTH and no STARTTLS`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: true)
        let reply = text(machine.received(ehlo))
        #expect(reply.contains("250-AUTH PLAIN LOGIN\r\n250 HELP\r\n"))
        #expect(reply.contains("250-REQUIRETLS\r\n250-BINARYMIME\r\n250-LIMITS RCPTMAX=100\r\n"))
        #expect(!reply.contains("STARTTLS") && !reply.contains("DELIVERBY"))
    }

    @Test func `EHLO without certificate offers neither`() {
        var machine = ServerMachine(policy: policy(offersStartTLS: false), isEncrypted: false)
        let reply = text(machine.received(ehlo))
        #expect(!reply.contains("STARTTLS") && !reply.contains("AUTH"))
    }

    @Test func `AUTH is not listed again once it was used`() {
        var machine = authenticated()
        let reply = text(machine.received(ehlo))
        #expect(!reply.contains("AUTH"))
        #expect(reply.contains("250-DELIVERBY\r\n250-MT-PRIORITY\r\n"))
    }

    @Test func `HELO gets one line`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: false)
        #expect(
            text(machine.received(.hello(name: Array("c"), isExtended: false)))
                == "250 mx.test Hello c\r\n")
    }

    @Test func `the greeting says ESMTP`() {
        #expect(policy().greeting.octets == Array("220 mx.test ESMTP Martlet\r\n"))
    }

    @Test func `EHLO ends a transaction`() {
        var machine = ready()
        _ = machine.received(ehlo)
        #expect(machine.envelope == nil)
        #expect(machine.received(.data) == .reply(.noMail))
    }
}

@Suite("What is taken only where it is offered")
struct OfferTests {
    private func mail(_ change: (inout EnvelopeTerms) -> Void) -> Command {
        var parameters = MailParameters()
        change(&parameters.terms)
        return .mail(from: .null, parameters)
    }

    @Test func `REQUIRETLS and BINARYMIME need TLS`() {
        let commands: [(Command, UInt16)] = [
            (mail { $0.requiresTLS = true }, 530), (mail { $0.body = .binary }, 555),
        ]
        for (command, refusal) in commands {
            var clear = greeted()
            #expect(code(clear.received(command)) == refusal)
            var secure = greeted(isEncrypted: true)
            #expect(secure.received(command) == .reply(.senderOK))
        }
    }

    @Test func `DELIVERBY and MT-PRIORITY need a login`() {
        let by = mail { $0.deliverBy = DeliverBy(seconds: 60, mode: .return) }
        for command in [by, mail { $0.priority = 3 }] {
            var stranger = greeted(isEncrypted: true)
            #expect(code(stranger.received(command)) == 555)
            var known = authenticated()
            #expect(known.received(command) == .reply(.senderOK))
        }
    }

    @Test func `BINARYMIME goes with BDAT only, and the transaction stays`() {
        var machine = greeted(isEncrypted: true)
        _ = machine.received(mail { $0.body = .binary })
        _ = machine.received(rcptBob)
        _ = machine.recipientChecked(bob, .recipientOK)
        #expect(machine.received(.data) == .reply(.binaryNeedsChunks))
        #expect(
            machine.received(.bdat(size: 3, isLast: true)) == .receiveChunk(size: 3, isLast: true))
    }

    @Test func `terms follow their recipients`() {
        var machine = greeted()
        _ = machine.received(mailAlice)
        let carol = EmailAddress(local: Array("carol"), domain: Array("example.test"))
        let named: [(EmailAddress, NotifyConditions?)] = [
            (bob, nil), (alice, .success), (carol, nil), (bob, .some([])),
        ]
        for (address, notify) in named {
            let terms = RecipientTerms(notify: notify)
            _ = machine.received(.rcpt(to: .address(address), RecipientParameters(terms)))
            _ = machine.recipientChecked(address, .recipientOK)
        }
        #expect(machine.envelope?.recipients == [bob, alice, carol])
        #expect(machine.envelope?.recipientTerms.first?.notify == .some([]))
        #expect(machine.envelope?.recipientTerms.dropFirst().first?.notify == .success)
    }

    @Test func `a domain that is not ASCII needs SMTPUTF8 although it has another spelling`() throws
    {
        var machine = greeted()
        #expect(
            machine.received(try parse("MAIL FROM:<a@b\u{fc}cher.test>")) == .reply(.notASCII))
        #expect(
            machine.received(try parse("MAIL FROM:<a@xn--bcher-kva.test>")) == .reply(.senderOK))
        #expect(
            machine.received(try parse("RCPT TO:<a@b\u{fc}cher.test>")) == .reply(.notASCII))
    }
}

@Suite("Order of commands, RFC 5321 §4.1.4")
struct SequenceTests {
    @Test func `MAIL before EHLO is 503`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: false)
        #expect(code(machine.received(mailAlice)) == 503)
    }

    @Test func `RCPT and DATA before MAIL are 503`() {
        var machine = greeted()
        #expect(code(machine.received(rcptBob)) == 503)
        #expect(code(machine.received(.data)) == 503)
    }

    @Test func `a second MAIL is 503 and the first stands`() {
        var machine = ready()
        #expect(machine.received(.mail(from: .null, MailParameters())) == .reply(.nested))
        #expect(machine.envelope?.from == .address(alice))
    }

    @Test func `DATA with no accepted recipient is 503`() {
        var machine = greeted()
        _ = machine.received(mailAlice)
        #expect(code(machine.received(.data)) == 503)
        #expect(machine.received(rcptBob) == .checkRecipient(.address(bob)))
        _ = machine.recipientChecked(bob, Reply(550, (5, 1, 1), "No such user here"))
        #expect(machine.received(.data) == .reply(.noRecipients))
    }

    @Test func `a whole transaction`() {
        var machine = greeted()
        #expect(machine.received(mailAlice) == .reply(.senderOK))
        #expect(machine.received(rcptBob) == .checkRecipient(.address(bob)))
        #expect(machine.recipientChecked(bob, .recipientOK) == .reply(.recipientOK))
        #expect(machine.received(.data) == .receiveText(.startMail))
        #expect(machine.envelope?.recipients == [bob])
        #expect(machine.messageEnded(.ok) == .reply(.ok))
        #expect(machine.envelope == nil)
        #expect(machine.received(mailAlice) == .reply(.senderOK))
    }

    @Test func `a recipient named twice is one recipient`() {
        var machine = ready()
        _ = machine.received(rcptBob)
        #expect(machine.recipientChecked(bob, .recipientOK) == .reply(.recipientOK))
        #expect(machine.envelope?.recipients == [bob])
    }

    @Test func `RSET forgets the transaction and nothing else`() {
        var machine = ready()
        #expect(machine.received(.rset) == .reply(.ok))
        #expect(machine.received(.data) == .reply(.noMail))
        #expect(machine.received(mailAlice) == .reply(.senderOK))
        var fresh = ServerMachine(policy: policy(), isEncrypted: false)
        _ = fresh.received(.rset)
        #expect(fresh.received(mailAlice) == .reply(.helloFirst))
    }

    @Test func `one recipient over the limit is 452 and the others stay`() {
        var machine = greeted(policy(recipientLimit: 2))
        _ = machine.received(mailAlice)
        for name in ["a", "b"] {
            let address = EmailAddress(local: Array(name), domain: Array("example.test"))
            _ = machine.received(.rcpt(to: .address(address)))
            _ = machine.recipientChecked(address, .recipientOK)
        }
        #expect(machine.received(rcptBob) == .reply(.tooManyRecipients))
        #expect(machine.envelope?.recipients.count == 2)
    }

    @Test func `a declared size over the limit is 552 at MAIL`() {
        var machine = greeted()
        let command = Command.mail(from: .null, MailParameters(size: 26_214_401))
        #expect(machine.received(command) == .reply(.tooLarge))
        #expect(machine.envelope == nil)
        let exact = Command.mail(from: .null, MailParameters(size: 26_214_400))
        #expect(machine.received(exact) == .reply(.senderOK))
    }

    @Test func `UTF-8 addresses need SMTPUTF8`() {
        let jose = EmailAddress(local: Array("jos\u{e9}"), domain: Array("example.test"))
        var machine = greeted()
        #expect(
            machine.received(.mail(from: .address(jose), MailParameters())) == .reply(.notASCII))
        _ = machine.received(mailAlice)
        #expect(machine.received(.rcpt(to: .address(jose))) == .reply(.notASCII))
        _ = machine.received(.rset)
        let parameters = MailParameters(isInternational: true)
        #expect(machine.received(.mail(from: .address(jose), parameters)) == .reply(.senderOK))
        #expect(machine.received(.rcpt(to: .address(jose))) == .checkRecipient(.address(jose)))
    }

    /// Each leaves a machine in which DATA must not start.
    private static let failures: [(String, @Sendable () -> ServerMachine)] = [
        (
            "sender refused",
            {
                var machine = authenticated()
                _ = machine.received(.mail(from: .address(bob), MailParameters()))
                _ = machine.senderChecked(Reply(553, (5, 7, 1), "no"))
                return machine
            }
        ),
        (
            "size refused",
            {
                var machine = greeted()
                _ = machine.received(.mail(from: .null, MailParameters(size: .max)))
                return machine
            }
        ),
        (
            "recipient refused",
            {
                var machine = greeted()
                _ = machine.received(mailAlice)
                _ = machine.received(rcptBob)
                _ = machine.recipientChecked(bob, Reply(550, (5, 1, 1), "no"))
                return machine
            }
        ),
        (
            "message refused",
            {
                var machine = ready()
                _ = machine.received(.data)
                _ = machine.messageEnded(.bareNewline)
                return machine
            }
        ),
        (
            "chunk too large",
            {
                var machine = ready()
                _ = machine.received(.bdat(size: 1 << 40, isLast: false))
                return machine
            }
        ),
        (
            "chunk refused",
            {
                var machine = ready()
                _ = machine.received(.bdat(size: 10, isLast: false))
                _ = machine.chunkReceived(size: 10, fault: .bareNewline)
                return machine
            }
        ),
        (
            "last chunk refused",
            {
                var machine = ready()
                _ = machine.received(.bdat(size: 10, isLast: true))
                _ = machine.messageEnded(.loop)
                return machine
            }
        ),
        (
            "TLS started",
            {
                var machine = greeted()
                _ = machine.received(.startTLS)
                machine.tlsStarted()
                return machine
            }
        ),
    ]

    @Test(arguments: failures.indices)
    func `after a failure DATA never gets 354 without fresh MAIL and RCPT`(row: Int) {
        let (what, make) = Self.failures[row]
        var machine = make()
        #expect(code(machine.received(.data)) == 503, "\(what)")
        #expect(code(machine.received(.bdat(size: 1, isLast: true))) == 503, "\(what)")
        _ = machine.received(mailAlice)
        #expect(code(machine.received(.data)) == 503, "\(what)")
    }
}

@Suite("BDAT, RFC 3030")
struct ChunkTests {
    @Test func `chunks are taken in turn and the last one ends the message`() {
        var machine = ready()
        #expect(
            machine.received(.bdat(size: 5, isLast: false))
                == .receiveChunk(size: 5, isLast: false))
        #expect(
            text(machine.chunkReceived(size: 5, fault: nil))
                == "250 2.0.0 5 octets received\r\n")
        #expect(
            machine.received(.bdat(size: 0, isLast: true))
                == .receiveChunk(size: 0, isLast: true))
        #expect(machine.messageEnded(.ok) == .reply(.ok))
        #expect(machine.envelope == nil)
    }

    @Test func `between chunks DATA, MAIL and RCPT are 503 and the message goes on`() {
        var machine = ready()
        _ = machine.received(.bdat(size: 5, isLast: false))
        _ = machine.chunkReceived(size: 5, fault: nil)
        for command in [.data, mailAlice, rcptBob] {
            #expect(machine.received(command) == .reply(.insideChunks))
        }
        #expect(machine.received(.noop) == .reply(.ok))
        #expect(
            machine.received(.bdat(size: 5, isLast: true))
                == .receiveChunk(size: 5, isLast: true))
    }

    @Test func `RSET between chunks drops the message`() {
        var machine = ready()
        _ = machine.received(.bdat(size: 5, isLast: false))
        _ = machine.chunkReceived(size: 5, fault: nil)
        _ = machine.received(.rset)
        #expect(machine.received(.bdat(size: 5, isLast: true)) == .skipChunk(size: 5, .noMail))
    }

    @Test func `chunks out of place are skipped, so that the stream stays in step`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: false)
        #expect(machine.received(.bdat(size: 7, isLast: true)) == .skipChunk(size: 7, .helloFirst))
        _ = machine.received(ehlo)
        #expect(machine.received(.bdat(size: 7, isLast: true)) == .skipChunk(size: 7, .noMail))
        _ = machine.received(mailAlice)
        #expect(
            machine.received(.bdat(size: 7, isLast: true))
                == .skipChunk(size: 7, .noRecipients))
    }

    @Test func `chunks that together pass the limit are skipped with 552`() {
        var machine = ready()
        _ = machine.received(.bdat(size: 26_214_400, isLast: false))
        _ = machine.chunkReceived(size: 26_214_400, fault: nil)
        #expect(machine.received(.bdat(size: 1, isLast: true)) == .skipChunk(size: 1, .tooLarge))
        #expect(machine.received(.bdat(size: 1, isLast: true)) == .skipChunk(size: 1, .noMail))
    }

    @Test func `a BDAT without size ends the connection`() {
        var machine = ready()
        #expect(machine.refused(.chunkSize) == .close(CommandError.chunkSize.reply))
    }
}
