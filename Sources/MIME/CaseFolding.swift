// SPDX-License-Identifier: Apache-2.0
//
// Simple case folding of UTF-8: one character to one, so `ß` and `SS` stay different. In the
// spirit of RFC 5051, without its decomposition.

import Bytes

package enum CaseFolding {
    /// Folded forms of U+0080 to U+058F: Latin, Greek, Cyrillic and Armenian are nearly all that
    /// has case. Made once, 2.5 KB.
    private static let table: [UInt16] = (UInt32(0x80)..<0x590).map { scalar in
        let folded = fold(slow: scalar)
        return UInt16(exactly: folded) ?? UInt16(scalar)
    }

    /// Appends the folded form of `text`, which must be whole characters of valid UTF-8.
    package static func append(_ text: Span<UInt8>, to output: inout [UInt8]) {
        output.reserveCapacity(output.count + text.count)
        let table = Self.table
        var index = 0
        let count = text.count
        while index < count {
            let octet = text[index]
            if octet < 0x80 {
                let run = index..<text.firstNonASCII(in: index..<count)
                output.append(addingCapacity: run.count) { output in
                    for position in run { output.append(text[position].asciiLowercased) }
                }
                index = run.upperBound
                continue
            }
            let length = octet < 0xE0 ? 2 : octet < 0xF0 ? 3 : 4
            guard index + length <= count else {
                output.append(octet)
                index += 1
                continue
            }
            var scalar = UInt32(octet) & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07)
            for offset in 1..<length {
                scalar = scalar << 6 | UInt32(text[index + offset] & 0x3F)
            }
            index += length
            if scalar < 0x590, scalar >= 0x80 {
                output.append(scalar: UInt32(table[Int(scalar) - 0x80]))
            } else if hasCase(scalar) {
                output.append(scalar: fold(slow: scalar))
            } else {
                for offset in (index - length)..<index { output.append(text[offset]) }
            }
        }
    }

    /// The same for an array; for callers whose input and output live in one value.
    package static func append(_ text: [UInt8], to output: inout [UInt8]) {
        append(text.span, to: &output)
    }

    /// Blocks behind the table that have letters with case.
    private static func hasCase(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x10A0...0x10FF, 0x13A0...0x13FF, 0x1C80...0x1CBF, 0x1D79...0x1D8E, 0x1E00...0x1FFF,
            0x2126...0x2188, 0x24B6...0x24E9, 0x2C00...0x2D2F, 0xA640...0xA7FF, 0xAB53...0xABBF,
            0xFF21...0xFF5A, 0x1_0400...0x1_04FF, 0x1_0570...0x1_05BF, 0x1_0C80...0x1_0CFF,
            0x1_18A0...0x1_18DF, 0x1_6E40...0x1_6E7F, 0x1_E900...0x1_E943:
            true
        default: false
        }
    }

    /// Upper case first, so that variants (`ς`, `ſ`, `µ`) meet; only mappings to one character.
    private static func fold(slow value: UInt32) -> UInt32 {
        guard let scalar = Unicode.Scalar(value) else { return 0xFFFD }
        let upper = single(scalar.properties.uppercaseMapping) ?? scalar
        return (single(upper.properties.lowercaseMapping) ?? upper).value
    }

    private static func single(_ text: String) -> Unicode.Scalar? {
        let scalars = text.unicodeScalars
        return scalars.count == 1 ? scalars.first : nil
    }
}

/// Finds one string in texts that come in pieces, in linear time (Knuth, Morris and Pratt).
package struct Needle: Sendable {
    /// Case-folded UTF-8.
    package let octets: [UInt8]
    package let isASCII: Bool
    /// How much of the needle is still matched after a mismatch behind this many octets.
    private let fallback: [Int]

    /// - Parameter text: UTF-8 in any case; what is none is taken for Windows-1252.
    package init(_ text: [UInt8]) {
        var folded: [UInt8] = []
        CaseFolding.append(Charset.utf8.utf8(from: text).span, to: &folded)
        octets = folded
        isASCII = folded.allSatisfy { $0 < 0x80 }
        var table = [Int](repeating: 0, count: folded.count)
        var length = 0
        for index in folded.indices.dropFirst() {
            while length > 0, folded[index] != folded[length] { length = table[length - 1] }
            if folded[index] == folded[length] { length += 1 }
            table[index] = length
        }
        fallback = table
    }

    package var isEmpty: Bool { octets.isEmpty }

    /// Looks on through `text`, which is folded already.
    ///
    /// - Parameter matched: octets of the needle that the text before ended with; 0 at first.
    /// - Returns: true as soon as the needle was found.
    package func isFound(inFolded text: Span<UInt8>, matched: inout Int) -> Bool {
        guard let first = octets.first else { return true }
        var length = matched
        for index in text.indices {
            let octet = text[index]
            if length == 0 {
                guard octet == first else { continue }
                length = 1
            } else {
                while length > 0, octet != octets[length] { length = fallback[length - 1] }
                if octet == octets[length] { length += 1 }
            }
            if length == octets.count { return true }
        }
        matched = length
        return false
    }

    /// The same on octets of an ASCII-compatible charset. The needle must be ASCII.
    package func isFound(inASCII text: Span<UInt8>, matched: inout Int) -> Bool {
        guard let first = octets.first else { return true }
        var length = matched
        for index in text.indices {
            let octet = text[index].asciiLowercased
            if length == 0 {
                guard octet == first else { continue }
                length = 1
            } else {
                while length > 0, octet != octets[length] { length = fallback[length - 1] }
                if octet == octets[length] { length += 1 }
            }
            if length == octets.count { return true }
        }
        matched = length
        return false
    }
}
