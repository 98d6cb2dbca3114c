// SPDX-License-Identifier: Apache-2.0
//
// xtext: octets as ESMTP parameter values can carry them. RFC 3461 §4.

import Bytes

package enum Xtext {
    /// The octets that `text` stands for; nil if it is not xtext. UTF-8 passes as it is, for the
    /// addresses of RFC 6533 §3.
    package static func decoded(_ text: [UInt8]) -> [UInt8]? {
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let octet = text[index]
            guard octet >= 0x21, octet != 0x7F, octet != 0x3D else { return nil }
            if octet == 0x2B {
                guard index + 2 < text.count, let high = text[index + 1].hexValue,
                    let low = text[index + 2].hexValue
                else { return nil }
                octets.append(high << 4 | low)
                index += 3
            } else {
                octets.append(octet)
                index += 1
            }
        }
        return octets
    }

    /// `octets` as xtext.
    package static func encoded(_ octets: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF")
        var text: [UInt8] = []
        for octet in octets {
            if octet < 0x21 || octet == 0x7F || octet == 0x2B || octet == 0x3D {
                text += [0x2B, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            } else {
                text.append(octet)
            }
        }
        return text
    }
}

extension UInt8 {
    fileprivate var hexValue: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x37
        case 0x61...0x66: self - 0x57
        default: nil
        }
    }
}
