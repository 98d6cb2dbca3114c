// SPDX-License-Identifier: Apache-2.0
//
// The BODY and BODYSTRUCTURE data items. RFC 9051 §7.5.2, RFC 3501 §7.4.2.

import Bytes
import MIME

package enum BodyStructure {
    package enum Form: Sendable {
        /// `BODY`: without extension data.
        case body
        /// `BODYSTRUCTURE`: with MD5, disposition, language and location.
        case bodyStructure
    }

    /// Appends the parenthesized list to `output`.
    ///
    /// - Parameters:
    ///   - structure: made from exactly `message`.
    ///   - message: all octets of the message.
    package static func append(
        _ structure: MessageStructure, of message: Span<UInt8>, form: Form,
        to output: inout [UInt8]
    ) {
    }
}
