// SPDX-License-Identifier: Apache-2.0
//
// Searching and copying octets in blocks. With Cursor.swift the only place in the pure targets where
// memory is read without a bounds check per octet; each load is inside the span by the loop's test.

extension Span where Element == UInt8 {
    /// The first CR or LF at or behind `start`; `count` if there is none.
    package func firstLineEnd(from start: Int) -> Int {
        var index = start
        let bytes = unsafe self.bytes
        while index &+ 8 <= count {
            let word = UInt64(
                littleEndian: unsafe bytes.unsafeLoadUnaligned(
                    fromByteOffset: index, as: UInt64.self))
            let found =
                Self.zeroOctets(word ^ 0x0D0D_0D0D_0D0D_0D0D)
                | Self.zeroOctets(word ^ 0x0A0A_0A0A_0A0A_0A0A)
            // The lowest marked octet is always a true one: borrows only run upwards.
            if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < count {
            let octet = self[index]
            if octet == 0x0A || octet == 0x0D { return index }
            index &+= 1
        }
        return count
    }

    /// The first `octet` inside `range`; its upper bound if there is none.
    package func first(_ octet: UInt8, in range: Range<Int>) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        var index = range.lowerBound
        let end = range.upperBound
        let bytes = unsafe self.bytes
        let pattern = UInt64(octet) &* 0x0101_0101_0101_0101
        while index &+ 8 <= end {
            let word = UInt64(
                littleEndian: unsafe bytes.unsafeLoadUnaligned(
                    fromByteOffset: index, as: UInt64.self))
            let found = Self.zeroOctets(word ^ pattern)
            if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < end, self[index] != octet { index &+= 1 }
        return index
    }

    /// The first octet inside `range` that is not US-ASCII; its upper bound if there is none.
    package func firstNonASCII(in range: Range<Int>) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        var index = range.lowerBound
        let end = range.upperBound
        let bytes = unsafe self.bytes
        while index &+ 8 <= end {
            let word = UInt64(
                littleEndian: unsafe bytes.unsafeLoadUnaligned(
                    fromByteOffset: index, as: UInt64.self))
            let found = word & 0x8080_8080_8080_8080
            if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < end, self[index] < 0x80 { index &+= 1 }
        return index
    }

    /// The first place from `start` on where `first` is and `last` is `distance` octets behind it,
    /// both under their masks (0x20 for letters whose case does not matter, 0 for others); `count`
    /// if there is none.
    package func firstPair(
        _ first: UInt8, _ last: UInt8, masks: (UInt8, UInt8), distance: Int, from start: Int
    ) -> Int {
        precondition(start >= 0 && distance >= 0)
        let end = count &- distance
        var index = start
        let ones: UInt64 = 0x0101_0101_0101_0101
        let (mask, otherMask) = (UInt64(masks.0) &* ones, UInt64(masks.1) &* ones)
        let (pattern, otherPattern) = (UInt64(first) &* ones, UInt64(last) &* ones)
        let bytes = unsafe self.bytes
        while index &+ 8 <= end {
            let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            let other = unsafe bytes.unsafeLoadUnaligned(
                fromByteOffset: index &+ distance, as: UInt64.self)
            let differences =
                ((UInt64(littleEndian: word) | mask) ^ pattern)
                | ((UInt64(littleEndian: other) | otherMask) ^ otherPattern)
            // The high bit of every octet that is zero, and possibly of some above the first.
            let found = (differences &- ones) & ~differences & 0x8080_8080_8080_8080
            if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < end {
            if self[index] | masks.0 == first, self[index &+ distance] | masks.1 == last {
                return index
            }
            index &+= 1
        }
        return count
    }

    /// The high bit of every octet of `word` that is zero, and possibly of some above the first.
    private static func zeroOctets(_ word: UInt64) -> UInt64 {
        (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
    }
}

extension [UInt8] {
    /// Appends a copy of `octets`, as one block; the array grows geometrically.
    package mutating func append(copying octets: Span<UInt8>) {
        unsafe octets.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }

    /// Appends a literal, as one block.
    package mutating func append(literal text: StaticString) {
        text.withUTF8Buffer { unsafe append(contentsOf: $0) }
    }
}
