// SPDX-License-Identifier: Apache-2.0
//
// The ENVELOPE data item, made from a message header. RFC 9051 §7.5.2, RFC 3501 §7.4.2.

import Bytes
import MIME

package enum Envelope {
    /// Appends the parenthesized ENVELOPE list of `header` to `output`.
    ///
    /// - Parameter header: a message header; anything after its empty line is not looked at.
    package static func append(header: Span<UInt8>, to output: inout [UInt8]) {
    }
}
