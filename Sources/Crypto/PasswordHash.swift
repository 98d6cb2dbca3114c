// SPDX-License-Identifier: Apache-2.0
//
// Passwords as PHC strings: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`. RFC 9106.

import CArgon2

/// How much work one hash is. Defaults: OWASP's second choice, 19 MiB and two passes.
package struct Argon2Parameters: Equatable, Sendable {
    package var memoryKiB: UInt32
    package var iterations: UInt32
    package var parallelism: UInt32

    package init(memoryKiB: UInt32 = 19_456, iterations: UInt32 = 2, parallelism: UInt32 = 1) {
        self.memoryKiB = memoryKiB
        self.iterations = iterations
        self.parallelism = parallelism
    }
}

/// Why a password could not be hashed or compared: never "wrong password".
package enum PasswordHashError: Error, Equatable, Sendable {
    /// Longer than `PasswordHash.passwordLimit`.
    case tooLong
    /// Not a string that this module can read, or with parameters beyond its limits.
    case unsupported
    /// libargon2 failed (memory): its code.
    case failed(Int32)
}

/// Makes and checks PHC strings. Slow by intent: run it on a worker.
package enum PasswordHash {
    package static let passwordLimit = 1_024
    private static let saltOctets = 16
    private static let hashOctets = 32
    /// A PHC string may come from elsewhere (mailctl): more than this it must not cost.
    private static let memoryLimitKiB: UInt64 = 1 << 20
    private static let iterationLimit: UInt64 = 64
    private static let parallelismLimit: UInt64 = 16
    private static let textLimit = 512

    /// Hashes with argon2id and a fresh salt.
    package static func make(
        _ password: [UInt8], _ parameters: Argon2Parameters = Argon2Parameters()
    ) throws(PasswordHashError) -> [UInt8] {
        guard password.count <= passwordLimit else { throw .tooLong }
        let salt = RandomOctets.make(saltOctets)
        let length = argon2_encodedlen(
            parameters.iterations, parameters.memoryKiB, parameters.parallelism,
            UInt32(saltOctets), UInt32(hashOctets), Argon2_id)
        var encoded = [CChar](repeating: 0, count: length)
        let code = unsafe encoded.withUnsafeMutableBufferPointer { encoded in
            unsafe password.withUnsafeBytes { password in
                unsafe salt.withUnsafeBytes { salt in
                    unsafe argon2id_hash_encoded(
                        parameters.iterations, parameters.memoryKiB, parameters.parallelism,
                        password.baseAddress, password.count, salt.baseAddress, salt.count,
                        hashOctets, encoded.baseAddress, encoded.count)
                }
            }
        }
        guard code == ARGON2_OK.rawValue else { throw .failed(code) }
        return encoded.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    }

    /// True if `password` is the one that was hashed. Compares in constant time.
    ///
    /// - Throws: `.unsupported` for a string that `isSupported` refuses.
    package static func verify(
        _ password: [UInt8], _ text: [UInt8]
    ) throws(PasswordHashError) -> Bool {
        guard password.count <= passwordLimit else { throw .tooLong }
        guard let kind = kind(of: text) else { throw .unsupported }
        let terminated = (text + [0]).map { CChar(bitPattern: $0) }
        let code = unsafe terminated.withUnsafeBufferPointer { encoded in
            unsafe password.withUnsafeBytes { password in
                unsafe argon2_verify(
                    encoded.baseAddress, password.baseAddress, password.count, kind)
            }
        }
        switch code {
        case ARGON2_OK.rawValue: return true
        case ARGON2_VERIFY_MISMATCH.rawValue: return false
        case ARGON2_DECODING_FAIL.rawValue: throw .unsupported
        default: throw .failed(code)
        }
    }

    /// True for a PHC string of argon2id, argon2i or argon2d within this module's limits.
    package static func isSupported(_ text: [UInt8]) -> Bool { kind(of: text) != nil }

    /// `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`; `v` may be missing.
    private static func kind(of text: [UInt8]) -> argon2_type? {
        guard text.count <= textLimit, text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        var fields = text.split(separator: 0x24, omittingEmptySubsequences: false)
        guard fields.count >= 5, fields.removeFirst().isEmpty else { return nil }
        let kind: argon2_type
        switch String(decoding: fields.removeFirst(), as: UTF8.self) {
        case "argon2id": kind = Argon2_id
        case "argon2i": kind = Argon2_i
        case "argon2d": kind = Argon2_d
        default: return nil
        }
        if fields[0].starts(with: "v=".utf8) { fields.removeFirst() }
        guard fields.count == 3, !fields[1].isEmpty, !fields[2].isEmpty else { return nil }
        let costs = fields[0].split(separator: 0x2C)
        guard costs.count == 3,
            let memory = number(costs[0], "m="), (8...memoryLimitKiB).contains(memory),
            let iterations = number(costs[1], "t="), (1...iterationLimit).contains(iterations),
            let lanes = number(costs[2], "p="), (1...parallelismLimit).contains(lanes)
        else { return nil }
        return kind
    }

    private static func number(_ field: ArraySlice<UInt8>, _ name: String) -> UInt64? {
        guard field.starts(with: name.utf8) else { return nil }
        return UInt64(String(decoding: field.dropFirst(name.utf8.count), as: UTF8.self))
    }
}
