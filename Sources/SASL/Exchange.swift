// SPDX-License-Identifier: Apache-2.0
//
// Server side of PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00), step by step: a line
// from the client in, a challenge or a name with its password out. Checking them is the store's.

import Bytes

/// Mechanisms that the suite knows.
package enum Mechanism: String, CaseIterable, Sendable {
    case plain = "PLAIN"
    case login = "LOGIN"

    /// By name in any case.
    package init?(name: [UInt8]) {
        for mechanism in Self.allCases
        where Array(mechanism.rawValue).equalsIgnoringASCIICase(name) {
            self = mechanism
            return
        }
        return nil
    }
}

/// What to do next.
package enum Step: Equatable, Sendable {
    /// Send this (already Base64; the protocol adds `334 ` or `+ `), then call `received`.
    case challenge([UInt8])
    /// Ask the store.
    case finished(PlainResponse)
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
        return .finished(PlainResponse(authenticationID: name, password: text))
    }
}

/// One authentication exchange of either mechanism.
package struct Exchange: Sendable {
    private enum State {
        case plain
        case login(LoginExchange)
    }

    private var state: State

    package init(_ mechanism: Mechanism) {
        switch mechanism {
        case .plain: state = .plain
        case .login: state = .login(LoginExchange())
        }
    }

    /// The first step when the client sent no initial response.
    package func begin() -> Step {
        switch state {
        case .plain: .challenge([])
        case .login: .challenge(LoginExchange.nameChallenge)
        }
    }

    /// Takes an initial response; `=` alone stands for an empty one (RFC 4954 §4).
    package mutating func begin(initial: Span<UInt8>) throws(SASLError) -> Step {
        // Neither mechanism has a use for an empty response.
        if initial.count == 1, initial[0] == 0x3D { throw .malformed }
        return try received(initial)
    }

    /// Takes the line that answers the last challenge.
    package mutating func received(_ line: Span<UInt8>) throws(SASLError) -> Step {
        switch state {
        case .plain:
            return .finished(try PlainResponse(base64: line))
        case .login(var exchange):
            let step = try exchange.received(line)
            state = .login(exchange)
            return step
        }
    }
}
