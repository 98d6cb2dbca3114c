// SPDX-License-Identifier: Apache-2.0
//
// STARTTLS, AUTH and patience of the server machine. RFC 3207, RFC 4954, RFC 6409.

import Bytes
import Mail
import SMTP
import Testing

@Suite("TLS and AUTH, RFC 3207, RFC 4954, RFC 6409")
struct SecurityTests {
    @Test func `STARTTLS forgets what was said in clear`() {
        var machine = greeted()
        #expect(machine.received(.startTLS) == .startTLS(.readyForTLS))
        machine.tlsStarted()
        #expect(machine.clientName.isEmpty && machine.isEncrypted)
        #expect(machine.received(mailAlice) == .reply(.helloFirst))
        _ = machine.received(ehlo)
        #expect(machine.received(.startTLS) == .reply(.alreadyTLS))
    }

    @Test func `STARTTLS inside a transaction is 503, without certificate 502`() {
        var machine = ready()
        #expect(machine.received(.startTLS) == .reply(.badSequence))
        var plain = greeted(policy(offersStartTLS: false))
        #expect(code(plain.received(.startTLS)) == 502)
    }

    @Test func `submission in clear wants STARTTLS at MAIL and refuses AUTH with 538`() {
        var machine = greeted(policy(mode: "submission"))
        #expect(
            text(machine.received(mailAlice))
                == "530 5.7.0 Must issue a STARTTLS command first\r\n")
        #expect(
            text(machine.received(.auth(mechanism: Array("PLAIN"), initial: Array("AGEAYg=="))))
                .hasPrefix("538 5.7.11 "))
    }

    @Test func `submission under TLS wants AUTH at MAIL`() {
        var machine = greeted(policy(mode: "submission"), isEncrypted: true)
        #expect(text(machine.received(mailAlice)) == "530 5.7.0 Authentication required\r\n")
        #expect(code(machine.received(.vrfy)) == 530)
    }

    @Test func `AUTH asks for an exchange, and its success is 235 once`() {
        var machine = greeted(policy(mode: "submission"), isEncrypted: true)
        #expect(
            machine.received(.auth(mechanism: Array("plain"), initial: nil))
                == .authenticate(mechanism: Array("PLAIN"), initial: nil))
        #expect(
            text(machine.authenticated(as: alice))
                == "235 2.7.0 Authentication succeeded\r\n")
        #expect(
            machine.received(.auth(mechanism: Array("PLAIN"), initial: nil))
                == .reply(.alreadyAuthenticated))
        #expect(machine.received(mailAlice) == .checkSender(alice))
        #expect(machine.senderChecked(.senderOK) == .reply(.senderOK))
        #expect(machine.envelope?.from == .address(alice))
    }

    @Test func `reports from an authenticated client need no check`() {
        var machine = authenticated()
        #expect(machine.received(.mail(from: .null, MailParameters())) == .reply(.senderOK))
    }

    @Test func `a mechanism that is not offered is 504`() {
        var machine = greeted(isEncrypted: true)
        #expect(
            machine.received(.auth(mechanism: Array("CRAM-MD5"), initial: nil))
                == .reply(.unknownMechanism))
    }

    @Test func `AUTH before EHLO, after HELO or inside a transaction is 503`() {
        let auth = Command.auth(mechanism: Array("PLAIN"), initial: nil)
        var fresh = ServerMachine(policy: policy(), isEncrypted: true)
        #expect(code(fresh.received(auth)) == 503)
        _ = fresh.received(.hello(name: Array("c"), isExtended: false))
        #expect(code(fresh.received(auth)) == 503)
        var busy = greeted(isEncrypted: true)
        _ = busy.received(mailAlice)
        #expect(code(busy.received(auth)) == 503)
    }

    @Test func `the third failure hangs up with 421`() {
        var machine = greeted(isEncrypted: true)
        let bad = Reply(535, (5, 7, 8), "Authentication credentials invalid")
        for round in 1...3 {
            _ = machine.received(.auth(mechanism: Array("PLAIN"), initial: nil))
            let action = machine.authenticationFailed(bad)
            #expect(action == (round < 3 ? .reply(bad) : .close(.tooManyErrors)))
        }
    }

    @Test func `a store that is away is no failure of the client`() {
        var machine = greeted(isEncrypted: true)
        let away = Reply(454, (4, 7, 0), "Temporary authentication failure")
        for _ in 0..<30 {
            _ = machine.received(.auth(mechanism: Array("PLAIN"), initial: nil))
            #expect(machine.authenticationEnded(away) == .reply(away))
        }
    }

    @Test func `plain-text AUTH for development needs no STARTTLS`() {
        var settings = policy(mode: "submission")
        settings.allowsPlaintextAuthentication = true
        var machine = ServerMachine(policy: settings, isEncrypted: false)
        #expect(text(machine.received(ehlo)).contains("250-AUTH PLAIN LOGIN\r\n"))
        #expect(machine.received(mailAlice) == .reply(.authenticationRequired))
    }
}

@Suite("Patience")
struct LimitTests {
    @Test func `twenty bad commands end the connection`() {
        var machine = greeted()
        for _ in 1..<20 { #expect(code(machine.refused(.unrecognized)) == 500) }
        #expect(machine.refused(.unrecognized) == .close(.tooManyErrors))
    }

    @Test func `an accepted message forgives earlier errors`() {
        var machine = ready()
        for _ in 1..<20 { _ = machine.refused(.unrecognized) }
        _ = machine.received(.data)
        _ = machine.messageEnded(.ok)
        #expect(code(machine.refused(.unrecognized)) == 500)
    }

    @Test func `a hundred unknown recipients end the connection`() {
        var machine = greeted()
        _ = machine.received(mailAlice)
        let unknown = Reply(550, (5, 1, 1), "No such user here")
        for round in 1...100 {
            #expect(machine.received(rcptBob) == .checkRecipient(.address(bob)))
            let action = machine.recipientChecked(bob, unknown)
            #expect(action == (round < 100 ? .reply(unknown) : .close(.tooManyErrors)))
        }
    }

    @Test func `QUIT is always answered`() {
        var machine = ServerMachine(policy: policy(), isEncrypted: false)
        #expect(machine.received(.quit) == .close(.bye))
        var busy = ready()
        #expect(busy.received(.quit) == .close(.bye))
    }
}
