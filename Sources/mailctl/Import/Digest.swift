// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 of octets that come in pieces. FIPS 180-4.

import CSSL

/// Fed with pieces, asked once.
@safe final class Digest {
    private let context: OpaquePointer

    init() throws(Failure) {
        guard let made = unsafe EVP_MD_CTX_new() else { throw Self.failure }
        unsafe context = made
        guard unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else { throw Self.failure }
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    private static let failure = Failure(.software, "OpenSSL cannot make a SHA-256 digest")

    func update(_ octets: [UInt8]) throws(Failure) {
        let result = unsafe octets.withUnsafeBytes { space in
            unsafe EVP_DigestUpdate(context, space.baseAddress, space.count)
        }
        guard result == 1 else { throw Self.failure }
    }

    /// 32 octets.
    func finish() throws(Failure) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 64)
        var count: UInt32 = 0
        guard unsafe EVP_DigestFinal_ex(context, &digest, &count) == 1 else { throw Self.failure }
        return Array(digest.prefix(Int(count)))
    }

    static func of(_ octets: [UInt8]) throws(Failure) -> [UInt8] {
        let digest = try Digest()
        try digest.update(octets)
        return try digest.finish()
    }

    static func hex(_ octets: some Sequence<UInt8>) -> String {
        var text = ""
        for octet in octets {
            let digits = String(octet, radix: 16)
            text += digits.utf8.count < 2 ? "0" + digits : digits
        }
        return text
    }
}
