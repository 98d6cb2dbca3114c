// SPDX-License-Identifier: Apache-2.0
//
// The server's side of every mechanism as a value: a line from the client in, a challenge or a
// question to the store out. Checking is the store's. RFC 4422 §3; RFC 4616 (PLAIN) and
// draft-murchison-sasl-login-00 (LOGIN) are here, the others in files of their own.

import Bytes

/// What the store has to say before an exchange can go on.
package enum Question: Equatable, Sendable {
    /// Is this password right? Then `accepted`.
    case password(PlainResponse)
    /// Salt and iterations of this name; then `scramParameters`.
    case scramParameters(isSHA256: Bool, name: [UInt8])
    /// Is the proof right? Then `scramProven`.
    case scramProof(ScramProof)
    /// Then `accepted`.
    case cramMD5(CramResponse)
    /// The name in the client's certificate acts as this one; empty: as itself. Then `accepted`.
    case external(authorizationID: [UInt8])
    /// Then `accepted`, or `tokenRefused`.
    case token(BearerResponse)
}

/// What to do next.
package enum Step: Equatable, Sendable {
    /// Send this (already Base64; the protocol adds `334 ` or `+ `), then call `received`.
    case challenge([UInt8])
    /// Ask the store, then say what it answered.
    case ask(Question)
    /// The client has been told all it has to know: it is logged in.
    case succeeded
    /// The store has refused, and the client has heard why.
    case refused
}

/// LOGIN: the name, then the password.
package struct LoginExchange: Sendable {
    /// Base64 of `Username:` and of `Password:`.
    package static let nameChallenge = Array("VXNlcm5hbWU6")
    package static let passwordChallenge = Array("UGFzc3dvcmQ6")

    private var name: [UInt8]?

    package init() {}

    /// Takes one line: the name first, the password second.
    package mutating func received(_ line: Span<UInt8>) throws(SASLError) -> Step {
        let text = try decoding(line)
        guard !text.isEmpty, !text.contains(0), String(validating: text, as: UTF8.self) != nil
        else { throw .malformed }
        guard let name else {
            guard text.count <= SASLLimits.identity else { throw .tooLong }
            name = text
            return .challenge(Self.passwordChallenge)
        }
        guard text.count <= SASLLimits.password else { throw .tooLong }
        return .ask(.password(PlainResponse(authenticationID: name, password: text)))
    }
}

/// One authentication exchange of any mechanism.
package struct Exchange: Sendable {
    private enum State {
        case plain
        case login(LoginExchange)
        case scram(ScramExchange)
        case cramMD5(challenge: [UInt8])
        case external
        case bearer(isOAuthBearer: Bool)
        /// The reason for a refusal was sent; whatever comes ends the exchange.
        case refusing
    }

    private var state: State

    /// - Parameters:
    ///   - nonce: fresh and unguessable, printable without commas: for SCRAM and CRAM-MD5.
    ///   - hostname: for the challenge of CRAM-MD5.
    ///   - offersBinding: a -PLUS mechanism is on offer, so a client that says it could not see
    ///     one was lied to (RFC 5802 §6).
    package init(
        _ mechanism: Mechanism, nonce: [UInt8] = [], hostname: [UInt8] = [],
        bindings: ChannelBindings = ChannelBindings(), offersBinding: Bool = false
    ) {
        switch mechanism {
        case .plain: state = .plain
        case .login: state = .login(LoginExchange())
        case .scramSHA1, .scramSHA1Plus, .scramSHA256, .scramSHA256Plus:
            state = .scram(
                ScramExchange(
                    isSHA256: mechanism == .scramSHA256 || mechanism == .scramSHA256Plus,
                    isPlus: mechanism == .scramSHA1Plus || mechanism == .scramSHA256Plus,
                    nonce: nonce, bindings: bindings, offersBinding: offersBinding))
        case .cramMD5: state = .cramMD5(challenge: [0x3C] + nonce + [0x40] + hostname + [0x3E])
        case .external: state = .external
        case .oauthBearer: state = .bearer(isOAuthBearer: true)
        case .xoauth2: state = .bearer(isOAuthBearer: false)
        }
    }

    /// The first step when the client sent no initial response.
    package func begin() -> Step {
        switch state {
        case .login: .challenge(LoginExchange.nameChallenge)
        case .cramMD5(let challenge): .challenge(Base64.encode(challenge.span))
        default: .challenge([])
        }
    }

    /// Takes an initial response; `=` alone stands for an empty one (RFC 4954 §4).
    package mutating func begin(initial: Span<UInt8>) throws(SASLError) -> Step {
        // The server speaks first in CRAM-MD5 (RFC 2195 §2).
        if case .cramMD5 = state { throw .malformed }
        if initial.count == 1, initial[0] == 0x3D { return try received([UInt8]().span) }
        return try received(initial)
    }

    /// Takes the line that answers the last challenge.
    package mutating func received(_ line: Span<UInt8>) throws(SASLError) -> Step {
        switch state {
        case .plain: return .ask(.password(try PlainResponse(base64: line)))
        case .login(var exchange):
            let step = try exchange.received(line)
            state = .login(exchange)
            return step
        case .scram(var exchange):
            let step = try exchange.received(line)
            state = .scram(exchange)
            return step
        case .cramMD5(let challenge):
            return .ask(.cramMD5(try CramResponse(try decoding(line), challenge: challenge)))
        case .external:
            let name = try decoding(line)
            guard name.count <= SASLLimits.identity else { throw .tooLong }
            guard !name.contains(0), String(validating: name, as: UTF8.self) != nil else {
                throw .malformed
            }
            return .ask(.external(authorizationID: name))
        case .bearer(let isOAuthBearer):
            let message = try decoding(line)
            return .ask(
                .token(
                    isOAuthBearer
                        ? try BearerResponse(oauthBearer: message)
                        : try BearerResponse(xoauth2: message)))
        case .refusing:
            if line.count == 1, line[0] == 0x2A { throw .cancelled }
            return .refused
        }
    }

    // MARK: - What the store said

    /// The answer to `.scramParameters`.
    package mutating func scramParameters(salt: [UInt8], iterations: UInt32) -> Step {
        guard case .scram(var exchange) = state else { preconditionFailure("not SCRAM") }
        let step = exchange.parameters(salt: salt, iterations: iterations)
        state = .scram(exchange)
        return step
    }

    /// The answer to `.scramProof` when it was right.
    package mutating func scramProven(signature: [UInt8]) -> Step {
        guard case .scram(var exchange) = state else { preconditionFailure("not SCRAM") }
        let step = exchange.proven(signature)
        state = .scram(exchange)
        return step
    }

    /// The answer to everything else when it was right.
    package func accepted() -> Step { .succeeded }

    /// The store refused. Only the token mechanisms have something to tell (RFC 7628 §3.2.2).
    package mutating func rejected() -> Step {
        guard case .bearer(let isOAuthBearer) = state else { return .refused }
        state = .refusing
        let reason =
            isOAuthBearer
            ? #"{"status":"invalid_token"}"#
            : #"{"status":"401","schemes":"bearer","scope":"mail"}"#
        return .challenge(Base64.encode(Array(reason).span))
    }
}
