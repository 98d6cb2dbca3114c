// SPDX-License-Identifier: Apache-2.0
//
// Text of strangers on a terminal: what is in a message must not move the cursor, change the title
// or hide other text. ECMA-48 control sequences, Unicode bidirectional controls.

enum Shown {
    /// Control characters, line ends included, as `\xNN`; marks that turn the direction of text
    /// around as `\u{...}`.
    static func text(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09: result += " "
            case 0..<0x20, 0x7F..<0xA0: result += "\\x" + hex(scalar.value, 2)
            case 0x061C, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x2069, 0xFEFF,
                0xE0000...0xE007F:
                result += "\\u{" + hex(scalar.value, 4) + "}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func text(_ octets: [UInt8]) -> String { text(String(decoding: octets, as: UTF8.self)) }

    /// At most `width` characters, the last one `…` if some are missing.
    static func text(_ octets: [UInt8], width: Int) -> String {
        let whole = text(octets)
        guard whole.unicodeScalars.count > width else { return whole }
        var cut = String.UnicodeScalarView(whole.unicodeScalars.prefix(max(0, width - 1)))
        cut.append("…")
        return String(cut)
    }

    private static func hex(_ value: UInt32, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }
}
