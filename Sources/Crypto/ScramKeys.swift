// SPDX-License-Identifier: Apache-2.0
//
// What SCRAM needs of a password: the stored key and the server key. RFC 5802 §3; RFC 7677. In text
// as Dovecot and PostgreSQL write it: `{SCRAM-SHA-256}4096,salt,stored,server`.

import Bytes

/// The hash of a SCRAM mechanism.
package enum ScramHash: UInt8, CaseIterable, Sendable {
    case sha1 = 1
    case sha256 = 2

    package var digest: MessageDigest { self == .sha1 ? .sha1 : .sha256 }
    /// `SCRAM-SHA-1`, `SCRAM-SHA-256`.
    package var name: String { self == .sha1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256" }
}

package struct ScramKeys: Equatable, Sendable {
    /// What new keys cost: RFC 7677 §4 wants at least 4,096.
    package static let iterations = 15_000
    package static let saltOctets = 16
    /// Keys from elsewhere may not cost more than this.
    private static let iterationLimit = 2_000_000

    package let hash: ScramHash
    package let storedKey: [UInt8]
    package let serverKey: [UInt8]

    /// - Parameter octets: stored key and server key, one behind the other.
    package init?(_ hash: ScramHash, octets: [UInt8]) {
        let count = hash.digest.count
        guard octets.count == 2 * count else { return nil }
        self.hash = hash
        storedKey = Array(octets[..<count])
        serverKey = Array(octets[count...])
    }

    /// Derives them. Takes milliseconds: run it on a worker.
    package init(_ hash: ScramHash, password: [UInt8], salt: [UInt8], iterations: Int) {
        let digest = hash.digest
        let salted = digest.pbkdf2(password, salt: salt, iterations: iterations)
        self.hash = hash
        storedKey = digest.digest(digest.hmac(key: salted, Array("Client Key".utf8)))
        serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
    }

    package var octets: [UInt8] { storedKey + serverKey }

    /// The server's signature if the client's proof is right; nil if it is not.
    package func signature(_ message: [UInt8], proof: [UInt8]) -> [UInt8]? {
        let digest = hash.digest
        guard proof.count == digest.count else { return nil }
        let signature = digest.hmac(key: storedKey, message)
        let clientKey = zip(proof, signature).map { $0 ^ $1 }
        guard ConstantTime.equal(digest.digest(clientKey), storedKey) else { return nil }
        return digest.hmac(key: serverKey, message)
    }

    /// Whether these are the keys of a password in clear.
    package func verify(_ password: [UInt8], salt: [UInt8], iterations: Int) -> Bool {
        let other = ScramKeys(hash, password: password, salt: salt, iterations: iterations)
        return ConstantTime.equal(other.storedKey, storedKey)
    }

    /// What follows `{SCRAM-SHA-256}`.
    package static func parse(
        _ hash: ScramHash, _ text: ArraySlice<UInt8>
    ) -> (keys: ScramKeys, salt: [UInt8], iterations: Int)? {
        let parts = text.split(separator: 0x2C, omittingEmptySubsequences: false)
        guard parts.count == 4, let iterations = Int(String(decoding: parts[0], as: UTF8.self)),
            (1...iterationLimit).contains(iterations)
        else { return nil }
        var values: [[UInt8]] = []
        for part in parts[1...] {
            guard let value = try? Base64.decode(Array(part).span, limit: 256) else { return nil }
            values.append(value)
        }
        guard !values[0].isEmpty, let keys = ScramKeys(hash, octets: values[1] + values[2]),
            values[1].count == hash.digest.count
        else { return nil }
        return (keys, values[0], iterations)
    }
}
