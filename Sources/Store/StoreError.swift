// SPDX-License-Identifier: Apache-2.0
//
// Why a store operation was not carried out, and the notices for the log. The store itself writes
// no log lines: whoever owns it does.

import Glibc
import Mail

/// Causes, not words: StoreServer turns them into answers. Nothing was changed unless said.
package enum StoreError: Error, Equatable, Sendable {
    case noSuchMailbox
    case mailboxExists
    /// A request that makes no sense: INBOX deleted, a name that cannot be a folder.
    case notPermitted
    case noSuchAccount
    case noSuchDomain
    case alreadyExists
    /// More keywords, mailboxes, recipients or octets than the store keeps.
    case limit
    /// The account would keep more than it may.
    case overQuota
    /// What was asked for an address, alias or domain cannot be.
    case address(AddressProblem)
    /// Another process holds the index or the whole root.
    case inUse
    /// The account is being moved: later.
    case busy
    /// A staged message that somebody can still write to.
    case badStage
    /// ENOSPC or EDQUOT: temporary.
    case noSpace
    /// A system call failed: what was tried, and errno. It is unknown whether the change happened.
    case file(String, errno: Int32)
    /// SQLite failed: what was tried, and its extended result code.
    case index(String, code: Int32)

    /// The error of a call that set errno.
    static func system(_ operation: String, _ code: Int32 = errno) -> StoreError {
        code == ENOSPC || code == EDQUOT ? .noSpace : .file(operation, errno: code)
    }
}

/// Something the owner should put into the log: repairs, foreign files, leftovers.
package struct StoreNotice: Equatable, Sendable {
    package enum Kind: String, Sendable {
        /// `index.sqlite` was damaged or of another version and is made anew.
        case indexRebuilt = "index-rebuilt"
        /// `index.sqlite` of an earlier release was brought forward.
        case indexMigrated = "index-migrated"
        /// The damaged database was moved aside under this name.
        case indexMovedAside = "index-moved-aside"
        /// Files of other programs, or of an interrupted append, were taken in.
        case adopted = "messages-adopted"
        /// Messages whose files other programs removed were expunged.
        case vanished = "messages-vanished"
        /// A folder appeared, moved or disappeared on disk.
        case folderChanged = "folder-changed"
        /// A directory or file that cannot be a folder or message was left alone.
        case ignored = "ignored"
        /// Messages that only the delivery log had were stored.
        case deliveryRedone = "delivery-redone"
        /// The delivery log does not work; mail takes the other path.
        case logFailed = "log-failed"
        /// What the disk had lost was written again from the delivery log, which works again.
        case logMended = "log-mended"
        /// An interrupted delivery to many was taken back.
        case deliveryRolledBack = "delivery-rolled-back"
        /// The search index cannot be used; it is made anew, and messages are read meanwhile.
        case searchUnusable = "search-unusable"
        /// A step that can be done again later failed.
        case postponed = "postponed"
    }

    package var kind: Kind
    package var account: String
    package var subject: String
    package var count: Int

    package init(_ kind: Kind, account: String, subject: String = "", count: Int = 0) {
        self.kind = kind
        self.account = account
        self.subject = subject
        self.count = count
    }
}

/// Where notices go; called on the worker that runs the operation.
package typealias NoticeSink = @Sendable (StoreNotice) -> Void
