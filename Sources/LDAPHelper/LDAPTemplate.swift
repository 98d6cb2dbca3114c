// SPDX-License-Identifier: Apache-2.0
//
// An address in a name (RFC 4514 §2.4) or a filter (RFC 4515 §3): every octet that could mean
// something else is escaped, so that a user name is never more than a value.

import Bytes

/// Names and filters both take a backslash and two digits for any octet, so one escape serves both.
enum LDAPTemplate {
    private static let plain = Array("@.-_")
    private static let digits = Array("0123456789abcdef")

    /// %u: the address, %n: what is before the @, %d: the domain, %%: a per cent sign. Nil: the
    /// address has no @, or the template another letter.
    static func expand(_ template: String, _ address: [UInt8]) -> String? {
        guard let at = address.lastIndex(of: 0x40), !address.contains(0) else { return nil }
        var text: [UInt8] = []
        var isSign = false
        for octet in template.utf8 {
            guard isSign else {
                if octet == 0x25 { isSign = true } else { text.append(octet) }
                continue
            }
            isSign = false
            switch octet {
            case 0x75: text += escaped(address[...])
            case 0x6E: text += escaped(address[..<at])
            case 0x64: text += escaped(address[(at + 1)...])
            case 0x25: text.append(0x25)
            default: return nil
            }
        }
        return isSign ? nil : String(decoding: text, as: UTF8.self)
    }

    /// In hexadecimal, whatever is no letter, digit or harmless mark.
    private static func escaped(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        for octet in value {
            if octet.isASCIILetter || octet.isASCIIDigit || plain.contains(octet) {
                text.append(octet)
            } else {
                text += [0x5C, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
        return text
    }
}
