// SPDX-License-Identifier: Apache-2.0
//
// Mailbox names on the wire: modified UTF-7. RFC 3501 §5.1.3.

import Bytes
import Mail

/// Both directions between modified UTF-7 and UTF-8.
package enum ModifiedUTF7 {
    /// UTF-8 to modified UTF-7. Octets that are not UTF-8 become U+FFFD.
    package static func encode(_ utf8: [UInt8]) -> [UInt8] {
        if utf8.allSatisfy({ $0 >= 0x20 && $0 <= 0x7E && $0 != 0x26 }) { return utf8 }
        var octets: [UInt8] = []
        var shifted: [UInt16] = []
        for scalar in String(decoding: utf8, as: UTF8.self).unicodeScalars {
            guard (0x20...0x7E).contains(scalar.value) else {
                shifted.append(contentsOf: scalar.utf16)
                continue
            }
            flush(&shifted, to: &octets)
            octets.append(UInt8(scalar.value))
            if scalar.value == 0x26 { octets.append(0x2D) }
        }
        flush(&shifted, to: &octets)
        return octets
    }

    private static func flush(_ units: inout [UInt16], to octets: inout [UInt8]) {
        guard !units.isEmpty else { return }
        octets.append(0x26)
        var bits: UInt32 = 0
        var count = 0
        for unit in units {
            bits = bits << 16 | UInt32(unit)
            count += 16
            while count >= 6 {
                count -= 6
                octets.append(digits[Int(bits >> UInt32(count)) & 63])
            }
            bits &= (1 << UInt32(count)) - 1
        }
        if count > 0 { octets.append(digits[Int(bits << UInt32(6 - count)) & 63]) }
        octets.append(0x2D)
        units.removeAll(keepingCapacity: true)
    }

    /// Modified UTF-7 to UTF-8. Nil if it is not well formed, shifts printable US-ASCII, or is not
    /// the only spelling of its name: two spellings would be two ways to one mailbox.
    package static func decode(_ octets: [UInt8]) -> [UInt8]? {
        if !octets.contains(0x26) {
            return octets.allSatisfy { $0 >= 0x20 && $0 <= 0x7E } ? octets : nil
        }
        var utf8: [UInt8] = []
        var index = 0
        while index < octets.count {
            let octet = octets[index]
            guard (0x20...0x7E).contains(octet) else { return nil }
            index += 1
            guard octet == 0x26 else {
                utf8.append(octet)
                continue
            }
            guard let end = octets[index...].firstIndex(of: 0x2D) else { return nil }
            if end == index {
                utf8.append(0x26)
            } else {
                guard let text = unshift(octets[index..<end]) else { return nil }
                utf8.append(contentsOf: text)
            }
            index = end + 1
        }
        return encode(utf8) == octets ? utf8 : nil
    }

    private static func unshift(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
        var units: [UInt16] = []
        var bits: UInt32 = 0
        var count = 0
        for digit in digits {
            guard let value = value(of: digit) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 16 {
                count -= 16
                units.append(UInt16(truncatingIfNeeded: bits >> UInt32(count)))
                bits &= (1 << UInt32(count)) - 1
            }
        }
        guard count < 6, bits == 0, let text = String(validating: units, as: UTF16.self) else {
            return nil
        }
        return Array(text.utf8)
    }

    private static let digits = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,".utf8)

    private static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case 0x41...0x5A: digit - 0x41
        case 0x61...0x7A: digit - 0x61 + 26
        case 0x30...0x39: digit - 0x30 + 52
        case 0x2B: 62
        case 0x2C: 63
        default: nil
        }
    }
}

extension MailboxName {
    /// A name as a client wrote it: modified UTF-7, or plain UTF-8, which some send. Nil if it
    /// cannot be a name.
    package init?(wire octets: [UInt8]) {
        if octets.contains(where: { $0 >= 0x80 }) {
            self.init(octets)
        } else if let decoded = ModifiedUTF7.decode(octets) {
            self.init(decoded)
        } else {
            return nil
        }
    }
}
