// SPDX-License-Identifier: Apache-2.0
//
// What a token must say to be a login here: RFC 7519 §4.1, RFC 7662 §2.2, RFC 9068 §4.

import Bytes

/// Why a token is no login. For our log; the client hears `invalid_token`.
package enum TokenRefusal: String, Error, Sendable {
    case malformed = "not a token"
    case signature = "bad signature"
    case unknownKey = "unknown key"
    case inactive = "not active"
    case issuer = "other issuer"
    case audience = "other audience"
    case expired = "expired"
    case early = "not valid yet"
    case scope = "scope is missing"
    case user = "names no user"
    case unverified = "address is not verified"
}

package struct TokenRules: Equatable, Sendable {
    /// Clocks differ by so many seconds.
    private static let leeway = 60.0
    private static let userLimit = 320

    package var issuer: [UInt8]
    package var audience: [UInt8]
    /// Empty: none is needed.
    package var scope: [UInt8]
    package var userClaim: String

    package init(issuer: String, audience: String, scope: String, userClaim: String) {
        self.issuer = Array(issuer)
        self.audience = Array(audience)
        self.scope = Array(scope)
        self.userClaim = userClaim
    }

    /// The user that these claims stand for.
    ///
    /// - Parameter isAnswer: the issuer itself has said so, about this token, now: what RFC 7662
    ///   lets it leave out may be missing.
    package func user(
        _ claims: JSON, now: Int64, isAnswer: Bool
    ) throws(TokenRefusal) -> [UInt8] {
        if isAnswer, claims["active"]?.isTrue != true { throw .inactive }
        if claims["iss"] != nil || !isAnswer {
            guard claims["iss"]?.text == issuer else { throw .issuer }
        }
        if claims["aud"] != nil || !isAnswer { try checkAudience(claims["aud"]) }
        if claims["exp"] != nil || !isAnswer {
            guard let end = claims["exp"]?.number, Double(now) < end + Self.leeway else {
                throw .expired
            }
        }
        if let start = claims["nbf"] {
            guard let start = start.number, Double(now) >= start - Self.leeway else {
                throw .early
            }
        }
        guard scope.isEmpty || scopes(claims).contains(scope) else { throw .scope }
        guard let user = claims[userClaim]?.text, (1...Self.userLimit).contains(user.count),
            user.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else { throw .user }
        // OpenID Connect Core §5.1: an address that anybody may have typed in.
        if userClaim == "email", let verified = claims["email_verified"] {
            guard verified.isTrue || verified.text == Array("true") else { throw .unverified }
        }
        return user
    }

    private func checkAudience(_ claim: JSON?) throws(TokenRefusal) {
        switch claim {
        case .string(let one) where one == audience: return
        case .array(let all) where all.contains(.string(audience)): return
        default: throw .audience
        }
    }

    /// `scope` is one string with spaces (RFC 8693 §4.2); some issuers have `scp`, a list.
    private func scopes(_ claims: JSON) -> [[UInt8]] {
        var found: [[UInt8]] = []
        for claim in [claims["scope"], claims["scp"]] {
            if let text = claim?.text { found += text.split(separator: .space).map { Array($0) } }
            found += claim?.elements?.compactMap(\.text) ?? []
        }
        return found
    }
}
