// SPDX-License-Identifier: Apache-2.0
//
// What backup, restore and undelete ask through the control door, and what comes back.
// docs/wire.md, docs/backup.md.

import Mail

package enum BackupRequest: Equatable, Sendable {
    /// Everything the account has at one moment. Parts `.folder` and `.messages`, then `.snapshot`.
    /// From here to `release` (or the end of the connection) no message file of it goes away.
    case snapshot(EmailAddress, withMessageIDs: Bool)
    /// One `.file` part for each that is still there, in the order asked, then `.done`.
    case files(EmailAddress, MailboxID, [SnapshotFile])
    case release(EmailAddress)  // .done
    /// `.file`: a copy of directory.sqlite, or the same as SQL text.
    case copyDirectory(asText: Bool)
    /// Adds what a staged copy of directory.sqlite has and this one has not: everything, or one
    /// account. `.directoryRestored`
    case restoreDirectory(StageToken, EmailAddress?)
    /// Puts a directory that lies beside the domains (`.restore-*`, `.removed-*`) in the place of
    /// the account's, which is kept as a removed one. `.done`
    case placeAccount(EmailAddress, directory: [UInt8])
    /// What was expunged within the retention time. Parts `.retained`, then `.done`.
    case listRetained(EmailAddress)
    /// Brings expunged messages back, by their paths. `.undeleted`
    case undelete(EmailAddress, paths: [[UInt8]])
    /// Accounts removed within the retention time. `.removedAccounts`
    case listRemoved
    /// All accounts were backed up completely at this time. `.done`
    case noteBackup(SecondsSince1970)
}

package enum BackupReply: Equatable, Sendable {
    /// A part; a later one for the same folder counts.
    case folder(SnapshotFolder)
    /// A part: messages that are there (a later one for the same UID counts), and UIDs that are
    /// not any more. `isAnew`: what was sent for this folder before is void.
    case messages(MailboxID, isAnew: Bool, [SnapshotMessage], gone: [UInt32])
    case snapshot(AccountSnapshot)
    /// A read-only descriptor comes with it. `uid` is 0 for what is no message.
    case file(uid: UInt32, size: UInt64, date: SecondsSince1970)
    case retained([RetainedMessage])
    /// How many came back, how many were there already, how many are gone for good.
    case undeleted(restored: UInt32, present: UInt32, missing: UInt32)
    case removedAccounts([RemovedAccount])
    case directoryRestored(domains: UInt32, accounts: UInt32, rows: UInt32)

    package static let messagesPerPart = 4_096
}

extension WireLimit {
    /// Octets of one file name.
    package static let fileName = 255
    /// Octets of a path below an account.
    package static let path = 1_024
    /// Files in one `files` request, paths in one `undelete`.
    package static let backupFiles = 1_024
    /// Octets of a small file of a folder or account.
    package static let smallFile = 1 << 20
    /// Octets of a header field for lists.
    package static let fieldText = 4_096
}
