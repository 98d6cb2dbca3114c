// SPDX-License-Identifier: Apache-2.0
//
// Internet addresses as numbers: RFC 4291 §2.2, RFC 5952 §4. IPv4 is kept as ::ffff:0:0/96, so one
// comparison serves both.

import Bytes

/// An IPv4 or IPv6 address.
package struct IPAddress: Hashable, Sendable {
    /// In the order of the wire; IPv4 in the last 32 bits, behind ::ffff.
    package let bits: UInt128

    package init(bits: UInt128) { self.bits = bits }

    package init(ipv4: UInt32) { bits = 0xFFFF << 32 | UInt128(ipv4) }

    /// `192.0.2.1`, `2001:db8::1`, `::ffff:192.0.2.1`. Nil if it is none of them.
    package init?(_ text: some Collection<UInt8>) {
        guard text.count <= 45 else { return nil }
        let text = Array(text)
        if text.contains(0x3A) {
            guard let bits = Self.ipv6(text) else { return nil }
            self.init(bits: bits)
        } else {
            guard let value = Self.ipv4(text[...]) else { return nil }
            self.init(ipv4: value)
        }
    }

    package init?(_ text: String) { self.init(text.utf8) }

    package var isIPv4: Bool { bits >> 32 == 0xFFFF }

    /// 127.0.0.0/8 and ::1.
    package var isLoopback: Bool {
        isIPv4 ? (bits >> 24) & 0xFF == 127 : bits == 1
    }

    /// The network that one customer has, as providers hand them out: a /24 or a /64.
    package var network: IPAddress {
        IPAddress(bits: isIPv4 ? bits & ~0xFF : bits & ~UInt128(UInt64.max))
    }

    /// What one host has: the address, for IPv6 all of its /64.
    package var host: IPAddress { isIPv4 ? self : network }

    /// Dotted decimal, or the form of RFC 5952.
    package var text: String {
        if isIPv4 {
            let value = UInt32(truncatingIfNeeded: bits)
            return "\(value >> 24).\(value >> 16 & 0xFF).\(value >> 8 & 0xFF).\(value & 0xFF)"
        }
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: bits >> UInt128(112 - 16 * $0)) }
        // The first of the longest runs of zeros, if it is longer than one (§4.2.2, §4.2.3).
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        func joined(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty
            ? joined(0..<8) : "\(joined(0..<best.lowerBound))::\(joined(best.upperBound..<8))"
    }

    private static func ipv4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: 0x2E, maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            // A leading zero means octal to some programs and nothing to others.
            guard (1...3).contains(part.count), part.allSatisfy(\.isASCIIDigit),
                part.count == 1 || part.first != 0x30
            else { return nil }
            let number = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - 0x30) }
            guard number <= 255 else { return nil }
            value = value << 8 | number
        }
        return value
    }

    private static func ipv6(_ text: [UInt8]) -> UInt128? {
        // At most one `::`: the groups in front of it and those behind it.
        var halves: [ArraySlice<UInt8>] = [text[...]]
        for index in text.indices.dropLast() where text[index] == 0x3A && text[index + 1] == 0x3A {
            halves = [text[..<index], text[(index + 2)...]]
            break
        }
        var groups: [[UInt16]] = []
        for (number, half) in halves.enumerated() {
            guard let numbers = Self.groups(half, isEnd: number == halves.count - 1) else {
                return nil
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

    private static func groups(_ half: ArraySlice<UInt8>, isEnd: Bool) -> [UInt16]? {
        guard !half.isEmpty else { return [] }
        var numbers: [UInt16] = []
        let parts = half.split(separator: 0x3A, omittingEmptySubsequences: false)
        for (place, part) in parts.enumerated() {
            if part.contains(0x2E), isEnd, place == parts.count - 1, let value = ipv4(part) {
                numbers += [UInt16(value >> 16), UInt16(value & 0xFFFF)]
            } else {
                guard (1...4).contains(part.count), part.allSatisfy(\.isHexDigit),
                    let number = UInt16(String(decoding: part, as: UTF8.self), radix: 16)
                else { return nil }
                numbers.append(number)
            }
        }
        return numbers
    }
}

extension UInt8 {
    fileprivate var isHexDigit: Bool { isASCIIDigit || (0x61...0x66).contains(asciiLowercased) }
}
