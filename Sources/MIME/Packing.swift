// SPDX-License-Identifier: Apache-2.0
//
// Numbers and texts one after the other: how an index keeps what was once read out of a message.
// Texts are kept as answers need them, so that what reads them only copies.

import Bytes

/// One text in packed octets.
package struct PackedText: Equatable, Sendable {
    package var range: Range<Int>
    /// US-ASCII without `"` and backslash: can be quoted as it is.
    package var isPlain: Bool
}

/// Takes packed values in the order in which they were appended.
package struct PackedReader: Sendable {
    package private(set) var position: Int
    private let end: Int
    /// What was read is not what a packer makes: nothing of it may be used.
    package private(set) var isBroken = false

    package init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
    }

    package var isAtEnd: Bool { position >= end }

    package mutating func fail() {
        isBroken = true
        position = end
    }

    @inline(__always)
    package mutating func number(_ packed: Span<UInt8>) -> Int {
        guard position < end else {
            isBroken = true
            return 0
        }
        let first = packed[position]
        position += 1
        return first < 0x80 ? Int(first) : longNumber(packed, Int(first & 0x7F))
    }

    private mutating func longNumber(_ packed: Span<UInt8>, _ low: Int) -> Int {
        var value = low
        var shift = 7
        while position < end, shift < 56 {
            let octet = packed[position]
            position += 1
            value |= Int(octet & 0x7F) << shift
            if octet < 0x80 { return value }
            shift += 7
        }
        fail()
        return 0
    }

    /// Nil: there is none (NIL), or the octets are broken.
    @inline(__always)
    package mutating func text(_ packed: Span<UInt8>) -> PackedText? {
        let mark = number(packed)
        guard mark > 0 else { return nil }
        let length = (mark - 1) >> 1
        guard length <= end - position else {
            fail()
            return nil
        }
        let start = position
        position += length
        return PackedText(range: start..<position, isPlain: (mark - 1) & 1 == 1)
    }

    /// A text as octets; empty if there is none.
    package mutating func octets(_ packed: Span<UInt8>) -> [UInt8] {
        guard let text = text(packed) else { return [] }
        return [UInt8](copying: packed.extracting(text.range))
    }
}

extension [UInt8] {
    /// Seven bits an octet, the lowest first.
    mutating func pack(_ number: Int) {
        var rest = UInt(bitPattern: number)
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// The octets at `range` without CR, LF and NUL; without a range the mark of no text.
    mutating func pack(_ range: Range<Int>?, of text: Span<UInt8>) {
        guard let range else {
            append(0)
            return
        }
        var isPlain = true
        var dropped = 0
        for index in range {
            let octet = text[index]
            if octet >= 0x80 || octet == 0x22 || octet == 0x5C {
                isPlain = false
            } else if octet == .cr || octet == .lf || octet == 0 {
                dropped += 1
            }
        }
        pack((range.count - dropped) << 1 + (isPlain ? 2 : 1))
        if dropped == 0 {
            append(copying: text.extracting(range))
        } else {
            for index in range {
                let octet = text[index]
                if octet != .cr, octet != .lf, octet != 0 { append(octet) }
            }
        }
    }

    /// Whole octets, kept likewise.
    mutating func pack(_ text: [UInt8]) { pack(0..<text.count, of: text.span) }

    /// A word that can be quoted.
    mutating func pack(plain word: StaticString) {
        pack(word.utf8CodeUnitCount << 1 + 2)
        append(literal: word)
    }
}
