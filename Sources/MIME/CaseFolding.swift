// SPDX-License-Identifier: Apache-2.0
//
// Simple case folding of UTF-8: one character to one, so `ß` and `SS` stay different. In the
// spirit of RFC 5051, without its decomposition. No other character becomes an ASCII one (`ſ`, the
// Kelvin sign), so that an ASCII text can be looked for without knowing the charset.

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
        let folded = (single(upper.properties.lowercaseMapping) ?? upper).value
        return folded < 0x80 ? value : folded
    }

    private static func single(_ text: String) -> Unicode.Scalar? {
        let scalars = text.unicodeScalars
        return scalars.count == 1 ? scalars.first : nil
    }
}
