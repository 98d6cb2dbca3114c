// SPDX-License-Identifier: Apache-2.0
//
// Values of backup, restore and undelete, shared by the store, the wire and mailctl. docs/backup.md.

/// A message of a snapshot whose octets are wanted.
package struct SnapshotFile: Equatable, Sendable {
    package var uid: UInt32
    /// The first part of its file name.
    package var unique: [UInt8]

    package init(uid: UInt32, unique: [UInt8]) {
        self.uid = uid
        self.unique = unique
    }
}

package struct SnapshotFolder: Equatable, Sendable {
    package var id: MailboxID
    package var name: MailboxName
    /// Below the Maildir; empty for INBOX.
    package var directory: [UInt8]
    package var highestModSeq: UInt64
    /// The files `martlet-folder` and `dovecot-keywords`.
    package var state: [UInt8]
    package var keywords: [UInt8]

    package init(
        id: MailboxID, name: MailboxName, directory: [UInt8], highestModSeq: UInt64,
        state: [UInt8], keywords: [UInt8]
    ) {
        self.id = id
        self.name = name
        self.directory = directory
        self.highestModSeq = highestModSeq
        self.state = state
        self.keywords = keywords
    }
}

package struct SnapshotMessage: Equatable, Sendable {
    package var uid: UInt32
    /// Octets with CRLF line ends.
    package var size: UInt32
    package var date: SecondsSince1970
    /// The file's name with the flags of the snapshot.
    package var name: [UInt8]
    /// Empty unless asked for.
    package var messageID: [UInt8]

    package init(
        uid: UInt32, size: UInt32, date: SecondsSince1970, name: [UInt8], messageID: [UInt8]
    ) {
        self.uid = uid
        self.size = size
        self.date = date
        self.name = name
        self.messageID = messageID
    }
}

/// The end of a snapshot: what was sent for folders that are not named here is void.
package struct AccountSnapshot: Equatable, Sendable {
    package var time: SecondsSince1970
    /// The files `martlet-account` and `subscriptions`.
    package var state: [UInt8]
    package var subscriptions: [UInt8]
    package var folders: [MailboxID]

    package init(
        time: SecondsSince1970, state: [UInt8], subscriptions: [UInt8], folders: [MailboxID]
    ) {
        self.time = time
        self.state = state
        self.subscriptions = subscriptions
        self.folders = folders
    }
}

/// A message that was expunged and can come back.
package struct RetainedMessage: Equatable, Sendable {
    /// Below the account's `Expunged`.
    package var path: [UInt8]
    package var mailbox: MailboxName
    /// `YYYY-MM-DD`, the day on which it was expunged.
    package var day: [UInt8]
    package var expungedAt: SecondsSince1970
    package var size: UInt32
    package var date: SecondsSince1970
    /// Decoded, UTF-8.
    package var sender: [UInt8]
    package var subject: [UInt8]

    package init(
        path: [UInt8], mailbox: MailboxName, day: [UInt8], expungedAt: SecondsSince1970,
        size: UInt32, date: SecondsSince1970, sender: [UInt8], subject: [UInt8]
    ) {
        self.path = path
        self.mailbox = mailbox
        self.day = day
        self.expungedAt = expungedAt
        self.size = size
        self.date = date
        self.sender = sender
        self.subject = subject
    }
}

/// The mail of an account that was removed.
package struct RemovedAccount: Equatable, Sendable {
    /// Below the mail root.
    package var directory: [UInt8]
    package var address: [UInt8]
    package var removedAt: SecondsSince1970

    package init(directory: [UInt8], address: [UInt8], removedAt: SecondsSince1970) {
        self.directory = directory
        self.address = address
        self.removedAt = removedAt
    }
}
