// SPDX-License-Identifier: Apache-2.0
//
// Logins other than by name and password, why a login is refused, app passwords and bans: what is
// asked, what is answered, and how both become octets. docs/wire.md.

import Mail

/// For logs and limits: who asks.
package struct LoginClient: Equatable, Sendable {
    /// The client's address.
    package var remote: [UInt8]
    package var session: TraceID
    /// `imap`, `pop3` or `smtp`.
    package var service: [UInt8]

    package init(remote: [UInt8], session: TraceID, service: [UInt8]) {
        self.remote = remote
        self.session = session
        self.service = service
    }
}

/// One step of an exchange that needs the store. Keys never leave it.
package enum Attempt: Equatable, Sendable {
    /// SCRAM's salt and iterations, for any name; `hash` is 1 for SHA-1, 2 for SHA-256.
    case scramParameters(hash: UInt8, name: [UInt8])  // .scramParameters
    case scramProof(
        hash: UInt8, authorizationID: [UInt8], name: [UInt8], message: [UInt8], proof: [UInt8]
    )  // .proven
    case cramMD5(name: [UInt8], challenge: [UInt8], digest: [UInt8])  // .authenticated
    /// The front daemon has verified a client certificate for `name`.
    case external(authorizationID: [UInt8], name: [UInt8])  // .authenticated
    /// `name` may be empty: whoever the token is for.
    case token(name: [UInt8], token: [UInt8])  // .authenticated
}

/// Why nobody is logged in.
package enum LoginRefusalReason: UInt8, CaseIterable, Sendable {
    /// Unknown name, wrong password, or one that is not for this service.
    case badCredentials = 0
    /// The client's network is banned.
    case banned = 1
    /// Too many failures for this name: nothing was checked.
    case throttled = 2
    case disabled = 3
    case expired = 4
}

/// The client hears of it `delay` milliseconds after it asked, whatever the reason.
package struct LoginRefusal: Equatable, Sendable {
    package var reason: LoginRefusalReason
    package var delay: UInt32

    package init(_ reason: LoginRefusalReason, delay: UInt32) {
        self.reason = reason
        self.delay = delay
    }
}

/// What an app password is good for.
package struct LoginScopes: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let imap = LoginScopes(rawValue: 1)
    package static let pop3 = LoginScopes(rawValue: 2)
    package static let smtp = LoginScopes(rawValue: 4)
    package static let all: LoginScopes = [.imap, .pop3, .smtp]
}

package struct AppPassword: Equatable, Sendable {
    package var id: UInt32
    package var name: [UInt8]
    package var scopes: LoginScopes
    package var created: SecondsSince1970
    /// 0: never.
    package var expires: SecondsSince1970
    /// 0: never yet. To the hour.
    package var used: SecondsSince1970

    package init(
        id: UInt32, name: [UInt8], scopes: LoginScopes, created: SecondsSince1970,
        expires: SecondsSince1970, used: SecondsSince1970
    ) {
        self.id = id
        self.name = name
        self.scopes = scopes
        self.created = created
        self.expires = expires
        self.used = used
    }
}

package struct Ban: Equatable, Sendable {
    /// `192.0.2.7` or `2001:db8::/64`.
    package var network: [UInt8]
    package var since: SecondsSince1970
    /// 0: until it is taken back.
    package var until: SecondsSince1970
    /// By an owner; false: by failures.
    package var isManual: Bool
    package var failures: UInt32

    package init(
        network: [UInt8], since: SecondsSince1970, until: SecondsSince1970, isManual: Bool,
        failures: UInt32
    ) {
        self.network = network
        self.since = since
        self.until = until
        self.isManual = isManual
        self.failures = failures
    }
}

/// On the control door.
package enum AccessRequest: Equatable, Sendable {
    /// `password` is made by the asker, at random.
    case addAppPassword(
        EmailAddress, name: [UInt8], scopes: LoginScopes, expires: SecondsSince1970,
        password: [UInt8])  // .appPasswords with one row
    case listAppPasswords(EmailAddress)  // .appPasswords
    case removeAppPassword(EmailAddress, id: UInt32)  // .done
    case listBans  // .bans
    /// `seconds` 0: until it is taken back.
    case addBan([UInt8], seconds: UInt64)  // .done
    case removeBan([UInt8])  // .done
    /// The secret of CRAM-MD5 beside the password that is being set; empty: no more.
    case setCramSecret(EmailAddress, password: [UInt8])  // .done
}

package enum AccessReply: Equatable, Sendable {
    case refused(LoginRefusal)
    case scramParameters(salt: [UInt8], iterations: UInt32)
    case proven(SessionHandle, EmailAddress, signature: [UInt8])
    case appPasswords([AppPassword])
    case bans([Ban])
}

extension WireLimit {
    /// Octets of a message of SASL: a token with what is around it.
    package static let exchange = 12_288
    package static let salt = 64
    package static let proof = 64
    package static let appPasswordName = 128
    package static let appPasswords = 100
    /// Octets of a network in text.
    package static let network = 64
}

extension Attempt {
    func encode(into encoder: inout Encoder) {
        switch self {
        case .scramParameters(let hash, let name):
            encoder.put(UInt8(0))
            encoder.put(hash)
            encoder.put(name, limit: WireLimit.identity)
        case .scramProof(let hash, let authorizationID, let name, let message, let proof):
            encoder.put(UInt8(1))
            encoder.put(hash)
            encoder.put(authorizationID, limit: WireLimit.identity)
            encoder.put(name, limit: WireLimit.identity)
            encoder.put(message, limit: WireLimit.exchange)
            encoder.put(proof, limit: WireLimit.proof)
        case .cramMD5(let name, let challenge, let digest):
            encoder.put(UInt8(2))
            encoder.put(name, limit: WireLimit.identity)
            encoder.put(challenge, limit: WireLimit.exchange)
            encoder.put(digest, limit: WireLimit.proof)
        case .external(let authorizationID, let name):
            encoder.put(UInt8(3))
            encoder.put(authorizationID, limit: WireLimit.identity)
            encoder.put(name, limit: WireLimit.identity)
        case .token(let name, let token):
            encoder.put(UInt8(4))
            encoder.put(name, limit: WireLimit.identity)
            encoder.put(token, limit: WireLimit.exchange)
        }
    }

    init(from decoder: inout Decoder) throws(WireError) {
        switch try decoder.octet() {
        case 0:
            self = .scramParameters(
                hash: try decoder.octet(), name: try decoder.string(limit: WireLimit.identity))
        case 1:
            self = .scramProof(
                hash: try decoder.octet(),
                authorizationID: try decoder.string(limit: WireLimit.identity),
                name: try decoder.string(limit: WireLimit.identity),
                message: try decoder.string(limit: WireLimit.exchange),
                proof: try decoder.string(limit: WireLimit.proof))
        case 2:
            self = .cramMD5(
                name: try decoder.string(limit: WireLimit.identity),
                challenge: try decoder.string(limit: WireLimit.exchange),
                digest: try decoder.string(limit: WireLimit.proof))
        case 3:
            self = .external(
                authorizationID: try decoder.string(limit: WireLimit.identity),
                name: try decoder.string(limit: WireLimit.identity))
        case 4:
            self = .token(
                name: try decoder.string(limit: WireLimit.identity),
                token: try decoder.string(limit: WireLimit.exchange))
        default: throw .invalid("attempt")
        }
    }
}

extension LoginClient {
    func encode(into encoder: inout Encoder) {
        encoder.put(remote, limit: WireLimit.remote)
        encoder.put(session)
        encoder.put(service, limit: WireLimit.service)
    }

    init(from decoder: inout Decoder) throws(WireError) {
        remote = try decoder.string(limit: WireLimit.remote)
        session = try decoder.traceID()
        service = try decoder.string(limit: WireLimit.service)
    }
}

extension AccessRequest {
    var code: RequestCode {
        switch self {
        case .addAppPassword: .addAppPassword
        case .listAppPasswords: .listAppPasswords
        case .removeAppPassword: .removeAppPassword
        case .listBans: .listBans
        case .addBan: .addBan
        case .removeBan: .removeBan
        case .setCramSecret: .setCramSecret
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .addAppPassword(let address, let name, let scopes, let expires, let password):
            encoder.put(address)
            encoder.put(name, limit: WireLimit.appPasswordName)
            encoder.put(scopes.rawValue)
            encoder.put(expires)
            encoder.put(password, limit: WireLimit.password)
        case .listAppPasswords(let address): encoder.put(address)
        case .removeAppPassword(let address, let id):
            encoder.put(address)
            encoder.put(id)
        case .listBans: break
        case .addBan(let network, let seconds):
            encoder.put(network, limit: WireLimit.network)
            encoder.put(seconds)
        case .removeBan(let network): encoder.put(network, limit: WireLimit.network)
        case .setCramSecret(let address, let password):
            encoder.put(address)
            encoder.put(password, limit: WireLimit.password)
        }
    }

    /// Nil for a code that is another's.
    init?(_ code: RequestCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .addAppPassword:
            self = .addAppPassword(
                try decoder.address(), name: try decoder.string(limit: WireLimit.appPasswordName),
                scopes: LoginScopes(rawValue: try decoder.octet()),
                expires: try decoder.integer(Int64.self),
                password: try decoder.string(limit: WireLimit.password))
        case .listAppPasswords: self = .listAppPasswords(try decoder.address())
        case .removeAppPassword:
            self = .removeAppPassword(
                try decoder.address(), id: try decoder.integer(UInt32.self))
        case .listBans: self = .listBans
        case .addBan:
            self = .addBan(
                try decoder.string(limit: WireLimit.network),
                seconds: try decoder.integer(UInt64.self))
        case .removeBan: self = .removeBan(try decoder.string(limit: WireLimit.network))
        case .setCramSecret:
            self = .setCramSecret(
                try decoder.address(), password: try decoder.string(limit: WireLimit.password))
        default: return nil
        }
    }
}

extension AccessReply {
    var code: ReplyCode {
        switch self {
        case .refused: .loginRefused
        case .scramParameters: .scramParameters
        case .proven: .proven
        case .appPasswords: .appPasswords
        case .bans: .bans
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .refused(let refusal):
            encoder.put(refusal.reason.rawValue)
            encoder.put(refusal.delay)
        case .scramParameters(let salt, let iterations):
            encoder.put(salt, limit: WireLimit.salt)
            encoder.put(iterations)
        case .proven(let handle, let address, let signature):
            encoder.put(handle.rawValue)
            encoder.put(address)
            encoder.put(signature, limit: WireLimit.proof)
        case .appPasswords(let rows):
            encoder.put(list: rows, limit: WireLimit.appPasswords) { encoder, row in
                encoder.put(row.id)
                encoder.put(row.name, limit: WireLimit.appPasswordName)
                encoder.put(row.scopes.rawValue)
                encoder.put(row.created)
                encoder.put(row.expires)
                encoder.put(row.used)
            }
        case .bans(let rows):
            encoder.put(list: rows, limit: WireLimit.rows) { encoder, row in
                encoder.put(row.network, limit: WireLimit.network)
                encoder.put(row.since)
                encoder.put(row.until)
                encoder.put(row.isManual)
                encoder.put(row.failures)
            }
        }
    }

    /// Nil for a code that is another's.
    init?(_ code: ReplyCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .loginRefused:
            self = .refused(
                LoginRefusal(
                    try decoder.choice(LoginRefusalReason.self, "refusal"),
                    delay: try decoder.integer(UInt32.self)))
        case .scramParameters:
            self = .scramParameters(
                salt: try decoder.string(limit: WireLimit.salt),
                iterations: try decoder.integer(UInt32.self))
        case .proven:
            self = .proven(
                SessionHandle(rawValue: try decoder.integer(UInt64.self)), try decoder.address(),
                signature: try decoder.string(limit: WireLimit.proof))
        case .appPasswords:
            self = .appPasswords(
                try decoder.list(limit: WireLimit.appPasswords, minimum: 33) {
                    d throws(WireError) in
                    AppPassword(
                        id: try d.integer(UInt32.self),
                        name: try d.string(limit: WireLimit.appPasswordName),
                        scopes: LoginScopes(rawValue: try d.octet()),
                        created: try d.integer(Int64.self), expires: try d.integer(Int64.self),
                        used: try d.integer(Int64.self))
                })
        case .bans:
            self = .bans(
                try decoder.list(limit: WireLimit.rows, minimum: 25) { d throws(WireError) in
                    Ban(
                        network: try d.string(limit: WireLimit.network),
                        since: try d.integer(Int64.self), until: try d.integer(Int64.self),
                        isManual: try d.bool(), failures: try d.integer(UInt32.self))
                })
        default: return nil
        }
    }
}
