// SPDX-License-Identifier: Apache-2.0
//
// FETCH items that the store knows beside the octets of a message: EMAILID and THREADID (RFC 8474
// §5), SAVEDATE (RFC 8514 §4.2), PREVIEW (RFC 8970 §3) and Dovecot's SNIPPET.

import Bytes
import Mail

extension ResponseWriter {
    /// False if it is no item of that kind.
    package mutating func detail(
        _ attribute: FetchAttribute, _ detail: MessageDetail?, of entry: MessageEntry
    ) -> Bool {
        switch attribute {
        case .emailID:
            guard let detail else { return false }
            write("EMAILID (M")
            write(detail.emailID)
            write(")")
        case .threadID: write("THREADID NIL")  // §5.2: messages are not grouped here
        case .saveDate:
            write("SAVEDATE ")
            // A name that another program made up may say nothing.
            date(detail.flatMap { $0.saved > 0 ? $0.saved : nil } ?? entry.internalDate)
        case .preview:
            write("PREVIEW ")
            preview(detail)
        case .snippet:
            write("SNIPPET (FUZZY ")
            preview(detail)
            write(")")
        default: return false
        }
        return true
    }

    private mutating func preview(_ detail: MessageDetail?) {
        if let text = detail?.preview { string(text) } else { write("NIL") }
    }

    /// `(F123)`: MAILBOXID (RFC 8474 §4).
    package mutating func mailboxID(_ id: UInt64) {
        write("(F")
        write(id)
        write(")")
    }
}
