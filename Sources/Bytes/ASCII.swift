// SPDX-License-Identifier: Apache-2.0
//
// What the mail protocols mean by letters, digits and case: ASCII, on octets (RFC 20).

extension UInt8 {
    @inlinable package var isASCIILetter: Bool { (self | 0x20) &- 0x61 < 26 }
    @inlinable package var isASCIIDigit: Bool { self &- 0x30 < 10 }
    /// Printable US-ASCII without space: 0x21 to 0x7E.
    @inlinable package var isASCIIVisible: Bool { self &- 0x21 < 94 }
    @inlinable package var asciiLowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
    @inlinable package var asciiUppercased: UInt8 { self &- 0x61 < 26 ? self & 0xDF : self }
    @inlinable package static var cr: UInt8 { 0x0D }
    @inlinable package static var lf: UInt8 { 0x0A }
    @inlinable package static var space: UInt8 { 0x20 }
    @inlinable package static var tab: UInt8 { 0x09 }
}

extension [UInt8] {
    /// A copy with ASCII capitals lowered; other octets are untouched.
    @inlinable package var asciiLowercased: [UInt8] { map(\.asciiLowercased) }

    /// Equal but for the case of ASCII letters.
    @inlinable
    package func equalsIgnoringASCIICase(_ other: [UInt8]) -> Bool {
        guard count == other.count else { return false }
        for index in 0..<count where self[index].asciiLowercased != other[index].asciiLowercased {
            return false
        }
        return true
    }
}

extension Array where Element == UInt8 {
    /// The UTF-8 octets of `text`.
    @inlinable
    package init(_ text: String) { self = [UInt8](text.utf8) }

    /// Appends the UTF-8 octets of `text`.
    @inlinable
    package mutating func append(_ text: String) { append(contentsOf: text.utf8) }

    /// Appends `number` in decimal digits.
    @inlinable
    package mutating func appendDecimal<Number: FixedWidthInteger & UnsignedInteger>(
        _ number: Number
    ) {
        appendDecimal(word: UInt64(number))
    }

    /// Not generic: what a generic function in another module costs is many times the division.
    @usableFromInline
    package mutating func appendDecimal(word number: UInt64) {
        if number < 10 {
            append(0x30 + UInt8(truncatingIfNeeded: number))
            return
        }
        // Two digits at a time, from the back of a place on the stack.
        var digits: InlineArray<20, UInt8> = InlineArray(repeating: 0)
        var start = 20
        var rest = number
        while rest >= 10 {
            let pair = rest % 100
            rest /= 100
            start -= 2
            digits[start + 1] = 0x30 + UInt8(truncatingIfNeeded: pair % 10)
            digits[start] = 0x30 + UInt8(truncatingIfNeeded: pair / 10)
        }
        if rest > 0 {
            start -= 1
            digits[start] = 0x30 + UInt8(truncatingIfNeeded: rest)
        }
        append(copying: digits.span.extracting(start..<20))
    }

    /// A copy of `octets`.
    package init(copying octets: Span<UInt8>) {
        self = []
        append(copying: octets)
    }
}
