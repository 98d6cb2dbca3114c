// SPDX-License-Identifier: Apache-2.0
//
// Passwords as other programs keep them: crypt(3), and Dovecot's {SCHEME} with `.b64` and `.hex`.
// docs/security.md lists them. PHC strings are PasswordHash's.

import Bytes
import CCrypt
import CSSL

/// A stored password in any form that can be checked here.
package enum StoredPassword: Equatable, Sendable {
    case phc([UInt8])
    /// For crypt(3): begins with `$id$`, or 13 characters of DES.
    case crypt([UInt8])
    /// A digest of the password and a salt behind it, which may be empty.
    case digest(MessageDigest, hash: [UInt8], salt: [UInt8])
    case scram(ScramKeys, salt: [UInt8], iterations: Int)
    case cram(CramSecret)
    case pbkdf2(salt: [UInt8], iterations: Int, hash: [UInt8])
    case plain([UInt8])

    package static let textLimit = 512

    /// Nil for what cannot be checked here.
    package init?(_ text: [UInt8]) {
        guard (1...Self.textLimit).contains(text.count),
            text.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { return nil }
        guard text.first == 0x7B, let close = text.firstIndex(of: 0x7D) else {
            self.init(unmarked: text)
            return
        }
        var name = String(decoding: text[1..<close].map(\.asciiUppercased), as: UTF8.self)
        let value = Array(text[(close + 1)...])
        var notation = ""
        for ending in [".B64", ".BASE64", ".HEX"] where name.hasSuffix(ending) {
            name.removeLast(ending.utf8.count)
            notation = ending
        }
        self.init(scheme: name, value, notation)
    }

    private init?(unmarked text: [UInt8]) {
        if PasswordHash.isSupported(text) {
            self = .phc(text)
        } else if Self.isCrypt(text) {
            self = .crypt(text)
        } else {
            return nil
        }
    }

    private static func isCrypt(_ text: [UInt8]) -> Bool {
        let marks = ["$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$", "$6$", "$5$", "$1$", "$sha1$"]
        if marks.contains(where: { text.starts(with: $0.utf8) }) { return text.count > 12 }
        return text.count == 13
            && text.allSatisfy {
                $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2E || $0 == 0x2F
            }
    }

    private init?(scheme: String, _ value: [UInt8], _ notation: String) {
        switch scheme {
        case "CRYPT", "BLF-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "MD5-CRYPT", "MD5", "DES-CRYPT",
            "ARGON2I", "ARGON2ID":
            self.init(unmarked: value)
        case "SCRAM-SHA-1", "SCRAM-SHA-256":
            guard
                let read = ScramKeys.parse(scheme == "SCRAM-SHA-1" ? .sha1 : .sha256, value[...])
            else { return nil }
            self = .scram(read.keys, salt: read.salt, iterations: read.iterations)
        case "CRAM-MD5":
            guard let octets = Self.decoded(value, notation, or: ".HEX"),
                let secret = CramSecret(octets: octets)
            else { return nil }
            self = .cram(secret)
        case "PBKDF2": self.init(pbkdf2: value)
        case "PLAIN", "CLEARTEXT", "CLEAR":
            guard let password = notation.isEmpty ? value : Self.decoded(value, notation, or: "")
            else { return nil }
            self = .plain(password)
        default:
            let (digest, isSalted, usual): (MessageDigest, Bool, String)
            switch scheme {
            case "SSHA": (digest, isSalted, usual) = (.sha1, true, ".B64")
            case "SSHA256": (digest, isSalted, usual) = (.sha256, true, ".B64")
            case "SSHA512": (digest, isSalted, usual) = (.sha512, true, ".B64")
            case "SMD5": (digest, isSalted, usual) = (.md5, true, ".B64")
            case "SHA", "SHA1": (digest, isSalted, usual) = (.sha1, false, ".B64")
            case "SHA256": (digest, isSalted, usual) = (.sha256, false, ".B64")
            case "SHA512": (digest, isSalted, usual) = (.sha512, false, ".B64")
            case "PLAIN-MD5": (digest, isSalted, usual) = (.md5, false, ".HEX")
            case "LDAP-MD5": (digest, isSalted, usual) = (.md5, false, ".B64")
            default: return nil
            }
            guard let octets = Self.decoded(value, notation, or: usual),
                isSalted ? octets.count > digest.count : octets.count == digest.count
            else { return nil }
            self = .digest(
                digest, hash: Array(octets[..<digest.count]), salt: Array(octets[digest.count...]))
        }
    }

    /// Dovecot's: `$1$salt$rounds$hex`.
    private init?(pbkdf2 value: [UInt8]) {
        let parts = value.split(separator: 0x24, omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1].elementsEqual("1".utf8),
            !parts[2].isEmpty, let rounds = Int(String(decoding: parts[3], as: UTF8.self)),
            (1...2_000_000).contains(rounds), let hash = Self.hexadecimal(Array(parts[4])),
            hash.count == 20
        else { return nil }
        self = .pbkdf2(salt: Array(parts[2]), iterations: rounds, hash: hash)
    }

    private static func decoded(
        _ value: [UInt8], _ notation: String, or usual: String
    ) -> [UInt8]? {
        switch notation.isEmpty ? usual : notation {
        case ".HEX": hexadecimal(value)
        default: try? Base64.decode(value.span, limit: textLimit)
        }
    }

    private static func hexadecimal(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 2 == 0 else { return nil }
        var octets: [UInt8] = []
        for at in stride(from: 0, to: text.count, by: 2) {
            guard text[at] != 0x2B, text[at] != 0x2D,
                let octet = UInt8(
                    String(decoding: text[at..<(at + 2)], as: UTF8.self), radix: 16)
            else { return nil }
            octets.append(octet)
        }
        return octets
    }

    /// Can be turned back into the password quickly by whoever reads it.
    package var isWeak: Bool {
        switch self {
        case .phc, .scram, .pbkdf2: false
        case .crypt(let text): text.starts(with: "$1$".utf8) || text.first != 0x24
        case .digest(let digest, _, let salt): salt.isEmpty || digest == .md5
        case .cram, .plain: true
        }
    }

    /// Whether it is what `PasswordHash.make` makes.
    package func isCurrent(_ parameters: Argon2Parameters) -> Bool {
        guard case .phc(let text) = self else { return false }
        let wanted =
            "$argon2id$v=19$m=\(parameters.memoryKiB),t=\(parameters.iterations),"
            + "p=\(parameters.parallelism)$"
        return text.starts(with: wanted.utf8)
    }

    /// Compares in constant time. Slow by intent: run it on a worker.
    package func verify(_ password: [UInt8]) throws(PasswordHashError) -> Bool {
        guard password.count <= PasswordHash.passwordLimit else { throw .tooLong }
        switch self {
        case .phc(let text): return try PasswordHash.verify(password, text)
        case .crypt(let text): return try Self.verifyCrypt(password, text)
        case .digest(let digest, let hash, let salt):
            return ConstantTime.equal(digest.digest(password + salt), hash)
        case .scram(let keys, let salt, let iterations):
            return keys.verify(password, salt: salt, iterations: iterations)
        case .cram(let secret):
            return ConstantTime.equal(CramSecret(password: password).octets, secret.octets)
        case .pbkdf2(let salt, let iterations, let hash):
            return ConstantTime.equal(
                MessageDigest.sha1.pbkdf2(password, salt: salt, iterations: iterations), hash)
        case .plain(let known):
            // Of digests, so that the length tells nothing.
            return ConstantTime.equal(
                MessageDigest.sha256.digest(password), MessageDigest.sha256.digest(known))
        }
    }

    private static func verifyCrypt(
        _ password: [UInt8], _ text: [UInt8]
    ) throws(PasswordHashError) -> Bool {
        // crypt(3) would stop at a NUL and take the beginning for the whole.
        guard !password.contains(0) else { return false }
        let key = (password + [0]).map { CChar(bitPattern: $0) }
        let setting = (text + [0]).map { CChar(bitPattern: $0) }
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        unsafe memset(data, 0, MemoryLayout<crypt_data>.size)
        defer {
            unsafe OPENSSL_cleanse(data, MemoryLayout<crypt_data>.size)
            unsafe data.deallocate()
        }
        let answer: [UInt8]? = unsafe key.withUnsafeBufferPointer { key in
            unsafe setting.withUnsafeBufferPointer { setting in
                guard let hashed = unsafe crypt_r(key.baseAddress, setting.baseAddress, data)
                else { return nil }
                return unsafe [UInt8](
                    UnsafeBufferPointer(
                        start: UnsafeRawPointer(hashed).assumingMemoryBound(to: UInt8.self),
                        count: strlen(hashed)))
            }
        }
        // `*0` and `*1`: a setting that crypt(3) does not know.
        guard let answer, answer.first != 0x2A else { throw .unsupported }
        return ConstantTime.equal(answer, text)
    }
}
