// SPDX-License-Identifier: Apache-2.0
//
// The text keys of SEARCH: is a string in this header, field or body? RFC 9051 §6.4.4.

import Bytes
import MIME

/// A string to look for, prepared once for many messages. Case does not matter.
package struct SearchText: Sendable {
    /// - Parameter octets: UTF-8; other charsets are converted before (`Charset.utf8(from:)`).
    package init(_ octets: [UInt8]) {
    }

    /// HEADER, SUBJECT, FROM, TO, CC, BCC. An empty string is in every field that exists.
    package func isIn(field name: [UInt8], ofHeader header: Span<UInt8>) -> Bool {
        false
    }

    /// BODY: in a text part, decoded.
    package func isInBody(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        false
    }

    /// TEXT: in the header or in a text part, decoded.
    package func isInText(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        false
    }

    /// Days since 1970 of the Date field as written, zone disregarded: SENTON and its siblings.
    package static func sentDay(ofHeader header: Span<UInt8>) -> Int? {
        nil
    }
}
