// SPDX-License-Identifier: Apache-2.0
//
// The states of a POP3 session, transition by transition.

import POP3
import Testing

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A machine that is logged in, with three messages of 100, 200 and 300 octets.
private func loggedIn(limits: ServerMachine.Limits = .init()) -> ServerMachine {
    var machine = ServerMachine(isTLS: true, offersTLS: true, limits: limits)
    _ = machine.received(.user(octets("alice")))
    _ = machine.received(.pass(octets("secret")))
    _ = machine.opened(
        Maildrop(
            uidValidity: 9,
            messages: [
                .init(uid: 5, size: 100), .init(uid: 6, size: 200), .init(uid: 9, size: 300),
            ]))
    return machine
}

extension ServerMachine.Action {
    fileprivate var line: String? {
        switch self {
        case .reply(let reply), .close(let reply), .startTLS(let reply), .lines(let reply, _),
            .listing(let reply, _):
            String(decoding: reply.line, as: UTF8.self)
        case .login, .authenticate, .send, .update: nil
        }
    }
    fileprivate var isRefusal: Bool { line?.hasPrefix("-ERR") ?? false }
    fileprivate var isClose: Bool { if case .close = self { true } else { false } }
    fileprivate var capabilities: [String] {
        if case .lines(_, let lines) = self { lines } else { [] }
    }
}

@Suite("The POP3 session, RFC 1939 §4 to §6")
struct ServerMachineTests {
    // MARK: Before the login

    @Test(arguments: [
        Command.user([0x61]), .pass([0x61]), .auth(mechanism: octets("PLAIN"), initial: nil),
        .auth(mechanism: nil, initial: nil),
    ])
    func `no password is taken before TLS`(command: Command) {
        var machine = ServerMachine(isTLS: false, offersTLS: true)
        #expect(machine.received(command).line?.hasPrefix("-ERR [AUTH]") == true)
    }

    @Test func `CAPA before TLS offers STLS and no way to log in`() {
        var machine = ServerMachine(isTLS: false, offersTLS: true)
        let lines = machine.received(.capa).capabilities
        #expect(lines.contains("STLS"))
        #expect(!lines.contains("USER"))
        #expect(!lines.contains { $0.hasPrefix("SASL") })
    }

    @Test func `CAPA under TLS offers the logins and no STLS, before and after the login`() {
        var before = ServerMachine(isTLS: true, offersTLS: true)
        var after = loggedIn()
        for lines in [before.received(.capa).capabilities, after.received(.capa).capabilities] {
            #expect(
                Set(lines) == [
                    "TOP", "UIDL", "USER", "SASL PLAIN LOGIN", "RESP-CODES", "AUTH-RESP-CODE",
                    "PIPELINING", "EXPIRE NEVER", "IMPLEMENTATION Martlet",
                ])
        }
    }

    @Test func `STLS without a certificate is refused and not listed`() {
        var machine = ServerMachine(isTLS: false, offersTLS: false)
        #expect(machine.received(.stls).isRefusal)
        #expect(!machine.received(.capa).capabilities.contains("STLS"))
    }

    @Test func `STLS works once, and only before the login`() {
        var machine = ServerMachine(isTLS: false, offersTLS: true)
        guard case .startTLS(let reply) = machine.received(.stls) else {
            Issue.record("STLS did not start TLS")
            return
        }
        #expect(reply.isPositive)
        machine.tlsStarted()
        #expect(machine.received(.stls).isRefusal)
        var later = loggedIn()
        #expect(later.received(.stls).isRefusal)
    }

    @Test func `a name given before STLS does not count afterwards`() {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        _ = machine.received(.user(octets("mallory")))
        machine.tlsStarted()
        #expect(machine.received(.pass(octets("x"))).isRefusal)
    }

    @Test func `USER is welcomed for every name and PASS asks for a login`() {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        #expect(machine.received(.user(octets("nobody"))) == .reply(.ok("send PASS")))
        #expect(
            machine.received(.pass(octets("a b")))
                == .login(user: octets("nobody"), password: octets("a b")))
    }

    @Test func `PASS needs USER in front of it, also after a wrong password`() {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        #expect(machine.received(.pass(octets("x"))).isRefusal)
        _ = machine.received(.user(octets("alice")))
        _ = machine.received(.pass(octets("x")))
        #expect(machine.loginRefused(.badCredentials).line?.hasPrefix("-ERR [AUTH]") == true)
        #expect(machine.received(.pass(octets("x"))).isRefusal)
    }

    @Test(arguments: [
        Command.stat, .list(nil), .retr(1), .dele(1), .noop, .rset, .top(1, lines: 1), .uidl(nil),
    ])
    func `nothing about messages is answered before the login`(command: Command) {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        let action = machine.received(command)
        #expect(action.isRefusal && !action.isClose)
    }

    @Test func `AUTH starts the exchange of a known mechanism only`() {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        #expect(machine.received(.auth(mechanism: octets("CRAM-MD5"), initial: nil)).isRefusal)
        #expect(
            machine.received(.auth(mechanism: nil, initial: nil)).capabilities == [
                "PLAIN", "LOGIN",
            ])
        #expect(
            machine.received(.auth(mechanism: octets("PLAIN"), initial: octets("AA==")))
                == .authenticate(octets("PLAIN"), initial: octets("AA==")))
    }

    @Test func `the third wrong password closes the connection`() {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        for attempt in 1...3 {
            _ = machine.received(.user(octets("alice")))
            _ = machine.received(.pass(octets("x")))
            #expect(machine.loginRefused(.badCredentials).isClose == (attempt == 3))
        }
    }

    @Test(
        arguments: [
            (ServerMachine.LoginRefusal.inUse, "-ERR [IN-USE] "),
            (.unavailable, "-ERR [SYS/TEMP] "), (.notPossible, "-ERR [SYS/PERM] "),
            (.cancelled, "-ERR "), (.malformed, "-ERR "),
        ])
    func `a login that fails for another reason says so and may be tried again`(
        refusal: ServerMachine.LoginRefusal, start: String
    ) {
        var machine = ServerMachine(isTLS: true, offersTLS: true)
        _ = machine.received(.auth(mechanism: octets("PLAIN"), initial: nil))
        let action = machine.loginRefused(refusal)
        #expect(action.line?.hasPrefix(start) == true && !action.isClose)
        #expect(machine.received(.user(octets("alice"))) == .reply(.ok("send PASS")))
    }

    @Test func `QUIT before the login closes and deletes nothing`() {
        var machine = ServerMachine(isTLS: false, offersTLS: true)
        #expect(machine.received(.quit) == .close(.ok("bye")))
    }

    // MARK: After it

    @Test func `STAT counts what is not marked`() {
        var machine = loggedIn()
        #expect(machine.received(.stat) == .reply(.ok("3 600")))
        #expect(machine.received(.dele(2)) == .reply(.ok("marked")))
        #expect(machine.received(.stat) == .reply(.ok("2 400")))
        #expect(machine.received(.rset) == .reply(.ok("3 messages (600 octets)")))
        #expect(machine.received(.stat) == .reply(.ok("3 600")))
    }

    @Test func `LIST and UIDL of one message are one line`() {
        var machine = loggedIn()
        #expect(machine.received(.list(2)) == .reply(.ok("2 200")))
        #expect(machine.received(.uidl(3)) == .reply(.ok("3 9.9")))
        #expect(machine.received(.list(4)).isRefusal)
        #expect(machine.received(.uidl(0)).isRefusal)
    }

    @Test func `LIST and UIDL of all are listings`() {
        var machine = loggedIn()
        #expect(machine.received(.list(nil)) == .listing(.ok("3 messages"), .scan))
        #expect(machine.received(.uidl(nil)) == .listing(.ok("3 messages"), .uniqueID))
    }

    @Test func `a marked message cannot be had by any command`() {
        var machine = loggedIn()
        _ = machine.received(.dele(1))
        for command in [
            Command.retr(1), .top(1, lines: 0), .dele(1), .list(1), .uidl(1), .retr(0), .retr(4),
        ] {
            #expect(machine.received(command).isRefusal)
        }
    }

    @Test func `RETR and TOP send the message`() {
        var machine = loggedIn()
        #expect(machine.received(.retr(1)) == .send(.init(uid: 5, size: 100), lines: nil))
        #expect(machine.received(.top(3, lines: 2)) == .send(.init(uid: 9, size: 300), lines: 2))
    }

    @Test func `a message that is gone is an error and the session lives`() {
        var machine = loggedIn()
        for _ in 0..<100 {
            #expect(machine.messageIsGone().isRefusal)
            #expect(machine.messageIsUnavailable().line?.hasPrefix("-ERR [SYS/TEMP]") == true)
        }
        #expect(machine.received(.noop) == .reply(.ok("")))
    }

    @Test func `QUIT asks for the marked messages to be deleted and then closes`() {
        var machine = loggedIn()
        _ = machine.received(.dele(1))
        _ = machine.received(.dele(3))
        #expect(machine.received(.quit) == .update([5, 9]))
        let action = machine.updated(true)
        #expect(action.isClose && !action.isRefusal)
    }

    @Test func `QUIT says so if the messages were not deleted`() {
        var machine = loggedIn()
        _ = machine.received(.dele(1))
        _ = machine.received(.quit)
        let action = machine.updated(false)
        #expect(action.isClose && action.isRefusal)
    }

    @Test func `QUIT without marks does not trouble the store`() {
        var machine = loggedIn()
        _ = machine.received(.dele(1))
        _ = machine.received(.rset)
        #expect(machine.received(.quit).isClose)
    }

    @Test func `a session that the server ends deletes nothing`() {
        for end in [0, 1, 2] {
            var machine = loggedIn()
            _ = machine.received(.dele(1))
            let action =
                switch end {
                case 0: machine.storeWasLost()
                case 1: machine.stopping()
                default: machine.timedOut()
                }
            #expect(action.isClose && action.isRefusal)
        }
    }

    @Test func `a second login is refused`() {
        var machine = loggedIn()
        #expect(machine.received(.user(octets("bob"))).isRefusal)
        #expect(machine.received(.pass(octets("x"))).isRefusal)
        #expect(machine.received(.auth(mechanism: octets("PLAIN"), initial: nil)).isRefusal)
    }

    @Test func `too many refused commands close the connection without deleting`() {
        var limits = ServerMachine.Limits()
        limits.errors = 5
        var machine = loggedIn(limits: limits)
        _ = machine.received(.dele(1))
        for _ in 1..<5 { #expect(!machine.refused(.unknownCommand).isClose) }
        let action = machine.refused(.lineTooLong)
        #expect(action.isClose && action.isRefusal)
    }

    @Test func `a reply line has its code in front of its text`() {
        #expect(Reply.error("x", .systemTemporary).line == octets("-ERR [SYS/TEMP] x\r\n"))
        #expect(Reply.ok("").line == octets("+OK\r\n"))
    }
}
