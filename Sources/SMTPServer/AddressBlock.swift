// SPDX-License-Identifier: Apache-2.0
//
// Internet addresses and CIDR blocks, for `allowed_relays`. RFC 4291 §2.2, RFC 4632 §3.1. IPv4 is
// kept as ::ffff:0:0/96, so one comparison serves both.

import Bytes

/// A range of addresses: those whose first `length` bits are those of `prefix`.
struct AddressBlock: Equatable, Sendable {
    let prefix: UInt128
    let length: Int

    /// `192.0.2.0/24`, `2001:db8::/32`, or one address. Nil if it is neither.
    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = Self.address(Array(parts[0].utf8)) else { return nil }
        let isIPv4 = !parts[0].utf8.contains(0x3A)
        var bits = 128
        if parts.count == 2 {
            guard let count = Int(parts[1]), (0...(isIPv4 ? 32 : 128)).contains(count) else {
                return nil
            }
            bits = isIPv4 ? count + 96 : count
        }
        prefix = address
        length = bits
    }

    /// True if `address` (as text) is in the block.
    func contains(_ address: String) -> Bool {
        guard let address = Self.address(Array(address)) else { return false }
        return length == 0 || (address ^ prefix) >> UInt128(128 - length) == 0
    }

    private static func address(_ text: [UInt8]) -> UInt128? {
        text.contains(0x3A) ? ipv6(text) : ipv4(text[...]).map { 0xFFFF << 32 | UInt128($0) }
    }

    private static func ipv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: 0x2E, maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy(\.isASCIIDigit) else { return nil }
            let number = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - 0x30) }
            guard number <= 255 else { return nil }
            value = value << 8 | number
        }
        return value
    }

    private static func ipv6(_ text: [UInt8]) -> UInt128? {
        // At most one `::`: the groups in front of it and those behind it.
        guard text.count <= 45 else { return nil }
        var halves: [ArraySlice<UInt8>] = [text[...]]
        for index in text.indices.dropLast() where text[index] == 0x3A && text[index + 1] == 0x3A {
            halves = [text[..<index], text[(index + 2)...]]
            break
        }
        var groups: [[UInt16]] = []
        for (number, half) in halves.enumerated() {
            var numbers: [UInt16] = []
            let parts = half.split(separator: 0x3A, omittingEmptySubsequences: false)
            for (place, part) in parts.enumerated() where !half.isEmpty {
                let isLast = place == parts.count - 1 && number == halves.count - 1
                if part.contains(0x2E), isLast, let value = ipv4(part) {
                    numbers += [UInt16(value >> 16), UInt16(value & 0xFFFF)]
                } else {
                    guard (1...4).contains(part.count),
                        part.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit }),
                        let number = UInt16(String(decoding: part, as: UTF8.self), radix: 16)
                    else { return nil }
                    numbers.append(number)
                }
            }
            groups.append(numbers)
        }
        let count = groups.reduce(0) { $0 + $1.count }
        guard groups.count == 1 ? count == 8 : count <= 7 else { return nil }
        var all = groups[0]
        if groups.count == 2 {
            all += [UInt16](repeating: 0, count: 8 - count) + groups[1]
        }
        return all.reduce(UInt128(0)) { $0 << 16 | UInt128($1) }
    }
}
