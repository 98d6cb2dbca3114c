// SPDX-License-Identifier: Apache-2.0
//
// The POP3 session as a value: states, what is allowed when, what happens next. RFC 1939 §3 to §7,
// RFC 2449 §5, RFC 2595 §4, RFC 5034 §4. Pure: a session performs the actions and reports back.

import Bytes

/// What one POP3 connection is up to.
package struct ServerMachine: Equatable, Sendable {
    package struct Limits: Equatable, Sendable {
        /// Refused commands after which the connection is closed.
        package var errors = 20
        /// Wrong passwords after which the connection is closed.
        package var authenticationFailures = 3

        package init() {}
    }

    /// What the session has to do. Each is answered by one of the machine's events.
    package enum Action: Equatable, Sendable {
        /// Write the line and read the next command.
        case reply(Reply)
        /// Write the line, these lines and a final dot, and read the next command. None of the
        /// lines begins with a dot.
        case lines(Reply, [String])
        /// Write the line, then close.
        case close(Reply)
        /// Write the line, start TLS, then `tlsStarted`.
        case startTLS(Reply)
        /// Check the password and open the maildrop, then `opened` or `loginRefused`.
        case login(user: [UInt8], password: [UInt8])
        /// The same through an exchange; `initial` is base64.
        case authenticate([UInt8], initial: [UInt8]?)
        /// Write the line, the whole listing and a final dot, and read the next command.
        case listing(Reply, Maildrop.Listing)
        /// Write a line and the message, or its header and `lines` lines; then the next command.
        case send(Maildrop.Message, lines: Int?)
        /// Delete these from the store, then `updated`.
        case update([UInt32])
    }

    /// Why a login failed.
    package enum LoginRefusal: Equatable, Sendable {
        case badCredentials
        /// The client's address has failed too often.
        case banned
        /// The exchange is not base64 or not what the mechanism wants.
        case malformed
        /// The client sent `*`.
        case cancelled
        case inUse
        case unavailable
        /// A limit of the store, or the account has no maildrop.
        case notPossible
    }

    private enum State: Equatable {
        case authorization(user: [UInt8]?)
        case loggingIn
        case transaction(Maildrop)
        case updating(Maildrop)
        case ended
    }

    private var state = State.authorization(user: nil)
    private var isTLS: Bool
    /// Names of the mechanisms that AUTH offers, in capitals.
    package var mechanisms: [String]
    private let takesPasswordsInClear: Bool
    private let offersTLS: Bool
    private let limits: Limits
    private var errors = 0
    private var authenticationFailures = 0

    /// - Parameters:
    ///   - isTLS: the connection is encrypted already.
    ///   - offersTLS: STLS works (there is a certificate).
    ///   - mechanisms: what AUTH offers, in capitals; it may change with TLS.
    ///   - takesPasswordsInClear: without TLS too; for this very machine in dev_mode only.
    package init(
        isTLS: Bool, offersTLS: Bool, mechanisms: [String] = ["PLAIN", "LOGIN"],
        takesPasswordsInClear: Bool = false,
        limits: Limits = Limits()
    ) {
        self.takesPasswordsInClear = takesPasswordsInClear
        self.isTLS = isTLS
        self.mechanisms = mechanisms
        self.offersTLS = offersTLS
        self.limits = limits
    }

    /// The client ended the session itself, with QUIT.
    package private(set) var hasQuit = false

    /// No command is read any more.
    package var isEnded: Bool { state == .ended }

    /// The maildrop, once there is one.
    package var maildrop: Maildrop? {
        switch state {
        case .transaction(let maildrop), .updating(let maildrop): maildrop
        case .authorization, .loggingIn, .ended: nil
        }
    }

    // MARK: - Events

    package func greeting() -> Reply { .ok("POP3 server ready") }

    package mutating func tlsStarted() {
        isTLS = true
        // Nothing that was said in clear may count afterwards (RFC 2595 §4).
        state = .authorization(user: nil)
    }

    package mutating func refused(_ error: CommandError) -> Action { failed(error.reply) }

    package mutating func received(_ command: Command) -> Action {
        if case .capa = command { return .lines(.ok("capability list follows"), capabilities) }
        if case .quit = command { hasQuit = true }
        switch state {
        case .authorization(let user):
            return authorize(command, user: user)
        case .transaction(var maildrop):
            return transact(command, &maildrop)
        case .loggingIn, .updating, .ended:
            preconditionFailure("a command while another is being carried out")
        }
    }

    /// The password was right and the maildrop is locked for us.
    package mutating func opened(_ maildrop: Maildrop) -> Action {
        state = .transaction(maildrop)
        return .reply(.ok(Self.summary(maildrop)))
    }

    package mutating func loginRefused(_ refusal: LoginRefusal) -> Action {
        state = .authorization(user: nil)
        switch refusal {
        case .badCredentials:
            authenticationFailures += 1
            let reply = Reply.error("wrong name or password", .auth)
            return authenticationFailures >= limits.authenticationFailures
                ? end(reply) : .reply(reply)
        case .banned:
            return end(.error("too many failed logins from your address, try later", .auth))
        case .malformed: return failed(.error("malformed authentication exchange"))
        case .cancelled: return failed(.error("authentication cancelled"))
        case .inUse: return failed(.error("maildrop is locked by another session", .inUse))
        case .unavailable:
            return failed(.error("mail store is not available, try later", .systemTemporary))
        case .notPossible:
            return failed(.error("maildrop cannot be opened", .systemPermanent))
        }
    }

    /// The deletions of QUIT were carried out, or not.
    package mutating func updated(_ isDone: Bool) -> Action {
        guard case .updating(let maildrop) = state else {
            preconditionFailure("updated without an update")
        }
        guard isDone else {
            return end(.error("messages marked as deleted were not removed", .systemTemporary))
        }
        return end(.ok("bye, \(maildrop.count) messages left"))
    }

    /// Another client removed the message. Does not count as an error of this one.
    package func messageIsGone() -> Action {
        .reply(.error("message was removed by another client"))
    }

    /// The store did not answer; a second attempt may succeed. Not the client's error either.
    package func messageIsUnavailable() -> Action {
        .reply(.error("mail store is not available, try later", .systemTemporary))
    }

    /// The store forgot the session, and with it the lock. Nothing is deleted.
    package mutating func storeWasLost() -> Action {
        end(.error("mail store was lost, log in again", .systemTemporary))
    }

    /// The daemon stops. Nothing is deleted.
    package mutating func stopping() -> Action {
        end(.error("server is shutting down", .systemTemporary))
    }

    /// Nothing was heard for too long. Nothing is deleted (RFC 1939 §3).
    package mutating func timedOut() -> Action { end(.error("nothing heard for too long")) }

    // MARK: - States

    private var takesPasswords: Bool { isTLS || takesPasswordsInClear }

    private mutating func authorize(_ command: Command, user: [UInt8]?) -> Action {
        switch command {
        case .quit:
            return end(.ok("bye"))
        case .stls:
            guard offersTLS else { return failed(.error("STLS is not offered")) }
            guard !isTLS else { return failed(.error("TLS is active already")) }
            return .startTLS(.ok("begin TLS now"))
        case .user(let name):
            guard takesPasswords else { return failed(Self.needsTLS) }
            state = .authorization(user: name)
            // The same answer for every name: who exists is nobody's business (RFC 1939 §13).
            return .reply(.ok("send PASS"))
        case .pass(let password):
            guard takesPasswords else { return failed(Self.needsTLS) }
            guard let user else { return failed(.error("USER comes first")) }
            state = .loggingIn
            return .login(user: user, password: password)
        case .auth(let mechanism, let initial):
            return authenticate(mechanism, initial)
        case .dele, .list, .noop, .retr, .rset, .stat, .top, .uidl, .capa:
            return failed(.error("log in first"))
        }
    }

    private mutating func authenticate(_ name: [UInt8]?, _ initial: [UInt8]?) -> Action {
        guard takesPasswords else { return failed(Self.needsTLS) }
        guard let name else {
            return .lines(.ok("mechanisms follow"), mechanisms)
        }
        guard mechanisms.contains(where: { name.elementsEqual($0.utf8) }) else {
            return failed(.error("unknown mechanism"))
        }
        state = .loggingIn
        return .authenticate(name, initial: initial)
    }

    private mutating func transact(_ command: Command, _ maildrop: inout Maildrop) -> Action {
        switch command {
        case .stat: return .reply(.ok("\(maildrop.count) \(maildrop.octets)"))
        case .noop: return .reply(.ok(""))
        case .list(let number): return list(.scan, number, maildrop)
        case .uidl(let number): return list(.uniqueID, number, maildrop)
        case .retr(let number):
            guard let message = maildrop.message(number) else { return failed(Self.noSuchMessage) }
            return .send(message, lines: nil)
        case .top(let number, let lines):
            guard let message = maildrop.message(number) else { return failed(Self.noSuchMessage) }
            return .send(message, lines: lines)
        case .dele(let number):
            state = .ended  // so that the marks are changed in place, not in a copy
            let isMarked = maildrop.delete(number)
            state = .transaction(maildrop)
            return isMarked ? .reply(.ok("marked")) : failed(Self.noSuchMessage)
        case .rset:
            state = .ended
            maildrop.reset()
            state = .transaction(maildrop)
            return .reply(.ok(Self.summary(maildrop)))
        case .quit:
            let uids = maildrop.deletedUIDs
            state = .updating(maildrop)
            return uids.isEmpty ? updated(true) : .update(uids)
        case .user, .pass, .auth: return failed(.error("already logged in"))
        case .stls: return failed(.error("STLS is for the authorization state only"))
        case .capa: return .lines(.ok("capability list follows"), capabilities)
        }
    }

    private mutating func list(
        _ listing: Maildrop.Listing, _ number: Int?, _ maildrop: Maildrop
    ) -> Action {
        guard let number else { return .listing(.ok("\(maildrop.count) messages"), listing) }
        guard maildrop.message(number) != nil else { return failed(Self.noSuchMessage) }
        var line: [UInt8] = []
        maildrop.append(listing, number, to: &line)
        return .reply(.ok(String(decoding: line, as: UTF8.self)))
    }

    /// The answer to CAPA (RFC 2449 §6, RFC 3206 §6, RFC 5034 §6).
    private var capabilities: [String] {
        var lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if takesPasswords {
            lines.append("USER")
            if !mechanisms.isEmpty {
                lines.append("SASL " + mechanisms.joined(separator: " "))
            }
        }
        if !isTLS, offersTLS, case .authorization = state {
            lines.append("STLS")
        }
        lines.append("IMPLEMENTATION Martlet")
        return lines
    }

    // MARK: - Endings

    /// A refusal that counts; the one too many ends the session. Nothing is deleted then.
    private mutating func failed(_ reply: Reply) -> Action {
        errors += 1
        return errors >= limits.errors ? end(.error("too many errors")) : .reply(reply)
    }

    private mutating func end(_ reply: Reply) -> Action {
        state = .ended
        return .close(reply)
    }

    private static let needsTLS = Reply.error("passwords are taken over TLS only, use STLS", .auth)
    private static let noSuchMessage = Reply.error("no such message")

    private static func summary(_ maildrop: Maildrop) -> String {
        "\(maildrop.count) messages (\(maildrop.octets) octets)"
    }
}
