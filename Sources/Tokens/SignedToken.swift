// SPDX-License-Identifier: Apache-2.0
//
// JSON Web Tokens and the keys that sign them: RFC 7515 (compact form only), RFC 7517, RFC 7518
// §3.3, §3.4, RFC 8037. What a key may verify is said by the key, never by the token: neither
// "none" nor an HMAC with a public key can pass (RFC 8725 §3.1).

import Bytes
import CSSL

package enum SignatureAlgorithm: String, Sendable {
    case rs256 = "RS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"
}

/// A public key for signatures.
package struct VerifyingKey: Equatable, Sendable {
    package let algorithm: SignatureAlgorithm
    /// Nil: it has none.
    package let identifier: [UInt8]?
    /// RSA: modulus and exponent; P-256: x and y; Ed25519: x and nothing.
    private let first: [UInt8]
    private let second: [UInt8]

    /// Nil for keys of other kinds and for other uses: sets hold them, too.
    init?(_ key: JSON) {
        guard let use = key["use"].map({ $0.text }) ?? Array("sig"), use == Array("sig"),
            let kind = key["kty"]?.text
        else { return nil }
        func part(_ name: String, _ sizes: ClosedRange<Int>) -> [UInt8]? {
            guard let text = key[name]?.text, let octets = Base64URL.decode(text),
                sizes.contains(octets.count)
            else { return nil }
            return octets
        }
        switch String(decoding: kind, as: UTF8.self) {
        case "RSA":
            // 2,048 bits at least (RFC 7518 §3.3), 8,192 at most.
            guard let modulus = part("n", 256...1_025), let exponent = part("e", 1...8) else {
                return nil
            }
            (algorithm, first, second) = (.rs256, modulus, exponent)
        case "EC":
            guard key["crv"]?.text == Array("P-256"), let x = part("x", 32...32),
                let y = part("y", 32...32)
            else { return nil }
            (algorithm, first, second) = (.es256, x, y)
        case "OKP":
            guard key["crv"]?.text == Array("Ed25519"), let x = part("x", 32...32) else {
                return nil
            }
            (algorithm, first, second) = (.edDSA, x, [])
        default: return nil
        }
        if let wanted = key["alg"] {
            guard wanted.text == Array(algorithm.rawValue) else { return nil }
        }
        identifier = key["kid"]?.text
    }

    func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        let kind: Int32 =
            switch algorithm {
            case .rs256: 1
            case .es256: 2
            case .edDSA: 3
            }
        return unsafe martlet_verify_jws(
            kind, first, first.count, second, second.count, message, message.count, signature,
            signature.count) == 1
    }
}

/// What an issuer publishes. RFC 7517 §5.
package struct KeySet: Equatable, Sendable {
    private static let limit = 64
    package let keys: [VerifyingKey]

    package init() { keys = [] }

    /// Nil: not a set.
    package init?(_ octets: [UInt8]) {
        do throws(JSONError) {
            guard let all = try JSON(octets)["keys"]?.elements else { return nil }
            keys = all.prefix(Self.limit).compactMap { VerifyingKey($0) }
        } catch {
            return nil
        }
    }

    /// The keys that a token may have been signed with.
    package func candidates(_ token: SignedToken) -> [VerifyingKey] {
        keys.filter { key in
            key.algorithm == token.algorithm
                && (token.key == nil || key.identifier == token.key)
        }
    }
}

/// A token in its three parts; nothing of it is to be believed before `isSigned`.
package struct SignedToken: Equatable, Sendable {
    package let algorithm: SignatureAlgorithm
    /// Whose key, by `kid`.
    package let key: [UInt8]?
    package let claims: JSON
    private let signed: [UInt8]
    private let signature: [UInt8]

    private static let limit = 16_384

    /// Nil: it is not one, or nothing that we would verify.
    package init?(_ token: [UInt8]) {
        let parts = token.split(separator: 0x2E, maxSplits: 3, omittingEmptySubsequences: false)
        guard token.count <= Self.limit, parts.count == 3,
            let header = Base64URL.decode(Array(parts[0])),
            let payload = Base64URL.decode(Array(parts[1])),
            let signature = Base64URL.decode(Array(parts[2])), !signature.isEmpty
        else { return nil }
        do throws(JSONError) {
            let header = try JSON(header)
            // RFC 7515 §4.1.11: what must be understood and is not.
            guard header["crit"] == nil, let name = header["alg"]?.text,
                let algorithm = SignatureAlgorithm(
                    rawValue: String(decoding: name, as: UTF8.self))
            else { return nil }
            self.algorithm = algorithm
            if let key = header["kid"] {
                guard let text = key.text else { return nil }
                self.key = text
            } else {
                key = nil
            }
            claims = try JSON(payload)
            guard case .object = claims else { return nil }
        } catch {
            return nil
        }
        signed = Array(token[..<parts[1].endIndex])
        self.signature = signature
    }

    package func isSigned(by keys: [VerifyingKey]) -> Bool {
        keys.contains { $0.verifies(signature, of: signed) }
    }
}

/// RFC 4648 §5 without padding (RFC 7515 §2).
enum Base64URL {
    static func decode(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 4 != 1,
            text.allSatisfy({
                $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F
            })
        else { return nil }
        var plain = text.map { $0 == 0x2D ? 0x2B : $0 == 0x5F ? 0x2F : $0 }
        plain += [UInt8](repeating: 0x3D, count: (4 - plain.count % 4) % 4)
        do throws(Base64Error) {
            return try Base64.decode(plain.span, limit: JSON.limit)
        } catch {
            return nil
        }
    }
}
