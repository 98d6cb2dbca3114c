// SPDX-License-Identifier: Apache-2.0
//
// What a comparison of an account's index with its Maildir found: `mailctl index check`.
// docs/store.md, "When something is broken".

/// One difference between the index and the Maildir.
package struct IndexFinding: Equatable, Sendable {
    package enum Kind: UInt8, CaseIterable, Sendable {
        /// SQLite finds the file damaged.
        case damagedIndex = 0
        case rowWithoutFile = 1
        case fileWithoutRow = 2
        /// `S=` in the name is not the file's size.
        case sizeDiffers = 3
        /// `W=` in the name, or the row, is not the size with CRLF.
        case wireSizeDiffers = 4
        case flagsDiffer = 5
        case dateDiffers = 6
        /// Two files carry one UID.
        case duplicateUID = 7
        /// A name that no reader of Maildirs can be sure of.
        case badName = 8
        /// A link, pipe, device or directory among the messages.
        case foreignObject = 9
        /// A UID at or beyond UIDNEXT.
        case uidBeyondNext = 10
        /// A number at or beyond its mark in `martlet-folder`.
        case numberBeyondMark = 11
        case missingStateFile = 12
        /// Leftovers of an interrupted write, and messages where none belong.
        case orphanFile = 13
        /// Rows that belong to no mailbox, or to no message.
        case orphanRow = 14
        case subscriptionWithoutMailbox = 15
        case mailboxWithoutDirectory = 16
        case directoryWithoutMailbox = 17
    }

    package var kind: Kind
    /// The mailbox's name, or that of a directory that is none; empty: the whole account.
    package var mailbox: [UInt8]
    /// 0: none.
    package var uid: UInt32
    package var detail: [UInt8]
    package var isRepaired: Bool

    package init(
        _ kind: Kind, mailbox: [UInt8] = [], uid: UInt32 = 0, detail: [UInt8] = [],
        isRepaired: Bool = false
    ) {
        self.kind = kind
        self.mailbox = mailbox
        self.uid = uid
        self.detail = detail
        self.isRepaired = isRepaired
    }
}

/// What was looked at, and what was found.
package struct IndexReport: Equatable, Sendable {
    /// More are counted, not kept.
    package static let findingLimit = 10_000

    package var mailboxes: UInt32 = 0
    package var messages: UInt64 = 0
    package var findings: [IndexFinding] = []
    package var omitted: UInt64 = 0

    package init() {}

    package mutating func add(_ finding: IndexFinding) {
        if findings.count < Self.findingLimit {
            findings.append(finding)
        } else {
            omitted += 1
        }
    }
}
