// SPDX-License-Identifier: Apache-2.0
//
// CIDR blocks: who may relay, whose PROXY header is believed, who is not limited. RFC 4632 §3.1.

import Bytes

/// A range of addresses: those whose first `length` bits are those of `prefix`.
package struct AddressBlock: Equatable, Sendable {
    package let prefix: IPAddress
    /// Counted for IPv6: an IPv4 /24 has 120.
    package let length: Int

    /// `192.0.2.0/24`, `2001:db8::/32`, or one address. Nil if it is neither.
    package init?(_ text: String) {
        let parts = text.utf8.split(
            separator: 0x2F, maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        let isDotted = !parts[0].contains(0x3A)
        var bits = 128
        if parts.count == 2 {
            guard (1...3).contains(parts[1].count), parts[1].allSatisfy(\.isASCIIDigit),
                let count = Int(String(decoding: parts[1], as: UTF8.self)),
                count <= (isDotted ? 32 : 128)
            else { return nil }
            bits = isDotted ? count + 96 : count
        }
        prefix = address
        length = bits
    }

    private init(_ prefix: UInt128, _ length: Int) {
        self.prefix = IPAddress(bits: prefix)
        self.length = length
    }

    package func contains(_ address: IPAddress) -> Bool {
        length == 0 || (address.bits ^ prefix.bits) >> UInt128(128 - length) == 0
    }

    /// Every address of `other` is in this block.
    package func contains(_ other: AddressBlock) -> Bool {
        other.length >= length && contains(other.prefix)
    }

    /// Networks that no stranger on the internet can send from: loopback, private use, link-local
    /// (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6).
    private static let inner: [AddressBlock] = [
        AddressBlock(0xFFFF_7F00_0000, 104), AddressBlock(0xFFFF_0A00_0000, 104),
        AddressBlock(0xFFFF_AC10_0000, 108), AddressBlock(0xFFFF_C0A8_0000, 112),
        AddressBlock(0xFFFF_6440_0000, 106), AddressBlock(0xFFFF_A9FE_0000, 112),
        AddressBlock(1, 128), AddressBlock(0xFC00 << 112, 7), AddressBlock(0xFE80 << 112, 10),
    ]

    /// Too many strangers for anybody to mean it: more public addresses than an IPv4 /16 or an
    /// IPv6 /32 has.
    package var isOpen: Bool {
        if Self.inner.contains(where: { $0.contains(self) }) { return false }
        return length < (length >= 96 && prefix.isIPv4 ? 112 : 32)
    }
}

extension [AddressBlock] {
    package func contains(_ address: IPAddress) -> Bool { contains { $0.contains(address) } }
}
