// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 (FIPS 180-4) of files, by OpenSSL.

import CSSL

/// Takes octets, gives their digest.
@safe final class SHA256 {  // the context never leaves it
    private let context: OpaquePointer

    init() throws(Failure) {
        guard let made = unsafe EVP_MD_CTX_new() else {
            throw Failure(.software, "OpenSSL has no memory")
        }
        unsafe context = made
        guard unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            throw Failure(.software, "OpenSSL has no SHA-256")
        }
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    func add(_ octets: ArraySlice<UInt8>) throws(Failure) {
        let done = unsafe octets.withUnsafeBytes { buffer in
            unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
        }
        guard done == 1 else { throw Failure(.software, "SHA-256 failed") }
    }

    /// In hexadecimal digits, as sha256sum(1) writes it. Once only.
    func digest() throws(Failure) -> String {
        var octets = [UInt8](repeating: 0, count: 32)
        guard unsafe EVP_DigestFinal_ex(context, &octets, nil) == 1 else {
            throw Failure(.software, "SHA-256 failed")
        }
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for octet in octets { text += [digits[Int(octet >> 4)], digits[Int(octet & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }

    static func digest(_ octets: [UInt8]) throws(Failure) -> String {
        let digest = try SHA256()
        try digest.add(octets[...])
        return try digest.digest()
    }
}
