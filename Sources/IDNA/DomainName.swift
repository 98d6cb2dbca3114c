// SPDX-License-Identifier: Apache-2.0
//
// One spelling for each domain: lower case, and A-labels where it is international. RFC 5890 §2.3,
// RFC 5891; done by libidn2, UTS 46 non-transitional, as browsers and other mail servers do it.

import Bytes
import CIDN2

package enum DomainName {
    /// Octets of a domain (RFC 5321 §4.5.3.1.2).
    private static let limit = 255

    /// The spelling under which a domain is kept and compared. One that is no domain at all keeps
    /// its own and equals nothing else.
    package static func canonical(_ domain: [UInt8]) -> [UInt8] {
        guard domain.contains(where: { $0 >= 0x80 }) else { return domain.asciiLowercased }
        return ascii(domain) ?? domain.asciiLowercased
    }

    /// The A-label form of `domain`, in lower case; nil if it has none.
    package static func ascii(_ domain: [UInt8]) -> [UInt8]? {
        guard domain.contains(where: { $0 >= 0x80 }) else { return domain.asciiLowercased }
        guard domain.count <= limit, !domain.contains(0) else { return nil }
        var room = [UInt8](repeating: 0, count: limit)
        let length = unsafe martlet_idn2_ascii(domain + [0], &room, room.count)
        let name = Array(room[..<length]).asciiLowercased
        // What looks like a letter to Unicode may become punctuation, which no domain has.
        let isPlain = name.allSatisfy {
            $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
        }
        return length > 0 && isPlain ? name : nil
    }
}
