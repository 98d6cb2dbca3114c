// SPDX-License-Identifier: Apache-2.0
//
// Base64 with the alphabet and padding of RFC 4648 §4, strictly: no line ends, no missing or
// surplus padding, no bits behind the end, so that one value has exactly one spelling.

/// Why octets are not Base64.
package enum Base64Error: Error, Equatable, Sendable {
    /// Not a multiple of four octets.
    case length
    /// An octet outside the alphabet, or `=` where it may not be.
    case octet(at: Int)
    /// Bits that padding should have left zero (RFC 4648 §3.5).
    case trailingBits
    /// Longer than the caller allows.
    case tooLong
}

package enum Base64 {
    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The 6 bits that `octet` stands for.
    private static func value(_ octet: UInt8) -> UInt32? {
        switch octet {
        case 0x41...0x5A: UInt32(octet - 0x41)
        case 0x61...0x7A: UInt32(octet - 0x61) + 26
        case 0x30...0x39: UInt32(octet - 0x30) + 52
        case 0x2B: 62
        case 0x2F: 63
        default: nil
        }
    }

    /// Decodes all of `text`.
    ///
    /// - Parameter limit: octets of the result.
    package static func decode(
        _ text: Span<UInt8>, limit: Int
    ) throws(Base64Error) -> [UInt8] {
        guard text.count % 4 == 0 else { throw .length }
        guard text.count / 4 * 3 <= limit + 2 else { throw .tooLong }
        var result: [UInt8] = []
        result.reserveCapacity(text.count / 4 * 3)
        var index = 0
        while index < text.count {
            let isLast = index + 4 == text.count
            var padding = 0
            if isLast, text[index + 3] == 0x3D { padding = text[index + 2] == 0x3D ? 2 : 1 }
            var bits: UInt32 = 0
            for place in 0..<(4 - padding) {
                guard let six = value(text[index + place]) else { throw .octet(at: index + place) }
                bits |= six << UInt32(18 - 6 * place)
            }
            guard padding == 0 || bits & (padding == 1 ? 0xFF : 0xFFFF) == 0 else {
                throw .trailingBits
            }
            result.append(UInt8(truncatingIfNeeded: bits >> 16))
            if padding < 2 { result.append(UInt8(truncatingIfNeeded: bits >> 8)) }
            if padding < 1 { result.append(UInt8(truncatingIfNeeded: bits)) }
            index += 4
        }
        guard result.count <= limit else { throw .tooLong }
        return result
    }

    /// The Base64 of `octets`, padded, on one line.
    package static func encode(_ octets: Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity((octets.count + 2) / 3 * 4)
        var index = 0
        while index < octets.count {
            let left = octets.count - index
            var bits = UInt32(octets[index]) << 16
            if left > 1 { bits |= UInt32(octets[index + 1]) << 8 }
            if left > 2 { bits |= UInt32(octets[index + 2]) }
            result.append(alphabet[Int(bits >> 18 & 63)])
            result.append(alphabet[Int(bits >> 12 & 63)])
            result.append(left > 1 ? alphabet[Int(bits >> 6 & 63)] : 0x3D)
            result.append(left > 2 ? alphabet[Int(bits & 63)] : 0x3D)
            index += 3
        }
        return result
    }
}
