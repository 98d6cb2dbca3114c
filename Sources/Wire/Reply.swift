// SPDX-License-Identifier: Apache-2.0
//
// Everything that msgstored answers.

import Mail

/// Why a request was not carried out. Nothing was changed, unless the case says otherwise.
package enum StoreFailure: Error, Hashable, Sendable {
    /// The store cannot be reached, is shutting down, or failed in a way that a retry may mend
    /// (disk full, I/O error). For changes: it is unknown whether they happened.
    case unavailable
    case noSuchMailbox
    case mailboxExists
    /// A name or a request that makes no sense: INBOX deleted, a name that cannot be a folder.
    case notPermitted
    case noSuchAccount
    case noSuchDomain
    case alreadyExists
    /// Wrong name or password, or an authorization id that is not one's own.
    case badCredentials
    case overQuota
    /// A limit of the store: keywords, mailboxes, recipients.
    case limit
    /// The maildrop is locked by another session.
    case inUse
    /// The handle or mailbox is not (or no longer) valid on this connection.
    case staleHandle
    /// A staged message whose writer has not closed it, or that was never staged here.
    case badStage
}

/// What RCPT needs to know.
package enum RecipientStatus: UInt8, Sendable {
    case accepted = 0
    case unknownAccount = 1
    /// The domain is not ours: relaying.
    case notLocal = 2
    case overQuota = 3
    case disabled = 4
}

package struct DomainInfo: Equatable, Sendable {
    package var name: [UInt8]
    package var accounts: UInt32
    /// Named in mail.toml: cannot be removed with mailctl.
    package var isConfigured: Bool

    package init(name: [UInt8], accounts: UInt32, isConfigured: Bool) {
        self.name = name
        self.accounts = accounts
        self.isConfigured = isConfigured
    }
}

package struct AccountInfo: Equatable, Sendable {
    package var address: EmailAddress
    /// Octets and messages over all mailboxes.
    package var size: UInt64
    package var messages: UInt64
    package var mailboxes: UInt32
    package var created: SecondsSince1970

    package init(
        address: EmailAddress, size: UInt64, messages: UInt64, mailboxes: UInt32,
        created: SecondsSince1970
    ) {
        self.address = address
        self.size = size
        self.messages = messages
        self.mailboxes = mailboxes
        self.created = created
    }
}

/// For `mailctl status`.
package struct StoreStatus: Equatable, Sendable {
    package var version: [UInt8]
    package var startedAt: SecondsSince1970
    package var accounts: UInt32
    package var domains: UInt32
    package var openDatabases: UInt32
    package var sessions: UInt32
    package var deliveries: UInt64

    package init(
        version: [UInt8], startedAt: SecondsSince1970, accounts: UInt32, domains: UInt32,
        openDatabases: UInt32, sessions: UInt32, deliveries: UInt64
    ) {
        self.version = version
        self.startedAt = startedAt
        self.accounts = accounts
        self.domains = domains
        self.openDatabases = openDatabases
        self.sessions = sessions
        self.deliveries = deliveries
    }
}

package enum Reply: Equatable, Sendable {
    case failure(StoreFailure)
    case done
    /// The account's canonical address, and the handle for what follows.
    case authenticated(SessionHandle, EmailAddress)
    /// A writable descriptor comes with it.
    case staged(StageToken)
    case recipient(RecipientStatus)
    case permission(Bool)
    /// Durable for every recipient.
    case delivered
    case mailboxes([MailboxInfo])
    case status(MailboxStatus)
    /// A part: up to 16,384 entries, by rising UID.
    case entries([MessageEntry])
    /// `entries` of the snapshot is empty here: they came as parts.
    case opened(MailboxSnapshot)
    /// `entries` of the changes is empty here: they came as parts.
    case changes(MailboxChanges)
    case appended(uidValidity: UInt32, uid: UInt32)
    /// Messages with their new flags, the UIDs refused by `unchangedSince`, the keyword table.
    case stored(entries: [MessageEntry], modified: [UInt32], keywords: [[UInt8]])
    case copied(CopyResult)
    case expunged(uids: [UInt32], highestModSeq: UInt64)
    /// A part: `inline` octets, or (nil) a read-only descriptor of a file of `size` octets comes
    /// with it.
    case message(uid: UInt32, size: UInt32, inline: [UInt8]?)
    /// A part: rows for `SummaryReader`, at most `summaryOctets` and one row.
    case summaries([UInt8])
    /// `entries` of the snapshot came as parts: all of them, or (`isWhole` is false) those that
    /// changed after what the asker knew, beside those that vanished.
    case resumed(MailboxSnapshot, isWhole: Bool, vanished: [UInt32])
    case domains([DomainInfo])
    case accounts([AccountInfo])
    case storeStatus(StoreStatus)
    case indexReport(IndexReport)
    /// A part: UIDs that `search` found, at most `foundPerPart`.
    case found([UInt32])
    case searchStats(SearchStats)
    /// Octets of the index before and after.
    case indexOptimized(before: UInt64, after: UInt64)
    /// Addresses, rights, quota: Directory.swift.
    case directory(DirectoryReply)
    case backup(BackupReply)
    /// Content.swift.
    case content(ContentReply)
    /// Logins, app passwords, bans: Authentication.swift.
    case access(AccessReply)

    /// Longer bodies travel as descriptors (measured: equal at 4 KiB, descriptors win from 16 on).
    package static let inlineBodyLimit = 16 << 10
    /// Octets of summaries after which a part ends.
    package static let summaryOctets = 256 << 10
    /// Entries in one part.
    package static let entriesPerPart = 16_384
    /// UIDs in one part.
    package static let foundPerPart = 65_536
}
