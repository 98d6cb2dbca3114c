// SPDX-License-Identifier: Apache-2.0
//
// Digests, HMAC (RFC 2104) and PBKDF2 (RFC 8018 §5.2) of OpenSSL.

import CSSL

/// A hash function.
package enum MessageDigest: Sendable {
    case md5, sha1, sha256, sha512

    private var method: OpaquePointer? {
        switch self {
        case .md5: unsafe EVP_md5()
        case .sha1: unsafe EVP_sha1()
        case .sha256: unsafe EVP_sha256()
        case .sha512: unsafe EVP_sha512()
        }
    }

    /// Octets of a digest.
    package var count: Int {
        switch self {
        case .md5: 16
        case .sha1: 20
        case .sha256: 32
        case .sha512: 64
        }
    }

    package func digest(_ octets: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        let code = unsafe octets.withUnsafeBytes { octets in
            unsafe result.withUnsafeMutableBufferPointer { result in
                unsafe EVP_Digest(
                    octets.baseAddress, octets.count, result.baseAddress, nil, method, nil)
            }
        }
        precondition(code == 1, "EVP_Digest failed")
        return result
    }

    package func hmac(key: [UInt8], _ octets: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        // An empty key is a key too, and no null pointer.
        let key = key.isEmpty ? [0] : key
        let done = unsafe key.withUnsafeBytes { key in
            unsafe octets.withUnsafeBufferPointer { octets in
                unsafe result.withUnsafeMutableBufferPointer { result in
                    unsafe HMAC(
                        method, key.baseAddress, Int32(key.count), octets.baseAddress,
                        octets.count, result.baseAddress, nil) != nil
                }
            }
        }
        precondition(done, "HMAC failed")
        return result
    }

    /// Slow by intent.
    package func pbkdf2(_ password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        let password = password.map { CChar(bitPattern: $0) }
        let code = unsafe password.withUnsafeBufferPointer { password in
            unsafe salt.withUnsafeBufferPointer { salt in
                unsafe result.withUnsafeMutableBufferPointer { result in
                    unsafe PKCS5_PBKDF2_HMAC(
                        password.baseAddress, Int32(password.count), salt.baseAddress,
                        Int32(salt.count), Int32(iterations), method, Int32(result.count),
                        result.baseAddress)
                }
            }
        }
        precondition(code == 1, "PBKDF2 failed")
        return result
    }
}
