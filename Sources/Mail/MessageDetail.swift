// SPDX-License-Identifier: Apache-2.0
//
// What the store knows of a message beside its octets: SAVEDATE (RFC 8514), EMAILID (RFC 8474) and
// PREVIEW (RFC 8970).

/// One message.
package struct MessageDetail: Equatable, Sendable {
    /// Octets of an EMAILID.
    package static let emailIDCount = 24
    /// Octets of a preview: 200 characters.
    package static let previewLimit = 800

    package var uid: UInt32
    /// When it came into this mailbox.
    package var saved: SecondsSince1970
    /// The same for all copies of a message; hexadecimal digits.
    package var emailID: [UInt8]
    /// UTF-8; nil if it was not asked for, or is not known.
    package var preview: [UInt8]?

    package init(
        uid: UInt32, saved: SecondsSince1970, emailID: [UInt8], preview: [UInt8]? = nil
    ) {
        self.uid = uid
        self.saved = saved
        self.emailID = emailID
        self.preview = preview
    }
}

/// How much trouble a preview is worth.
package enum PreviewWish: UInt8, Sendable {
    case none = 0
    /// RFC 8970 §3.1, LAZY: those that were made before.
    case kept = 1
    case made = 2
}
