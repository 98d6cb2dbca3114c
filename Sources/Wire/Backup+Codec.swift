// SPDX-License-Identifier: Apache-2.0
//
// The encoding of backup requests and replies. docs/wire.md has the same table for readers.

import Bytes
import Mail

extension BackupRequest {
    package var code: RequestCode {
        switch self {
        case .snapshot: .backupSnapshot
        case .files: .backupFiles
        case .release: .backupRelease
        case .copyDirectory: .copyDirectory
        case .restoreDirectory: .restoreDirectory
        case .placeAccount: .placeAccount
        case .listRetained: .listRetained
        case .undelete: .undelete
        case .listRemoved: .listRemoved
        case .noteBackup: .noteBackup
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .snapshot(let address, let withMessageIDs):
            encoder.put(address)
            encoder.put(withMessageIDs)
        case .files(let address, let mailbox, let files):
            encoder.put(address)
            encoder.put(mailbox)
            encoder.put(list: files, limit: WireLimit.backupFiles) {
                $0.put($1.uid)
                $0.put($1.unique, limit: WireLimit.fileName)
            }
        case .release(let address), .listRetained(let address): encoder.put(address)
        case .copyDirectory(let asText): encoder.put(asText)
        case .restoreDirectory(let token, let address):
            encoder.put(token)
            encoder.put(optional: address) { $0.put($1) }
        case .placeAccount(let address, let directory):
            encoder.put(address)
            encoder.put(directory, limit: WireLimit.fileName)
        case .undelete(let address, let paths):
            encoder.put(address)
            encoder.put(list: paths, limit: WireLimit.backupFiles) {
                $0.put($1, limit: WireLimit.path)
            }
        case .listRemoved: break
        case .noteBackup(let time): encoder.put(time)
        }
    }

    /// Nil for a code that is not one of these.
    init?(_ code: RequestCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .backupSnapshot:
            self = .snapshot(try decoder.address(), withMessageIDs: try decoder.bool())
        case .backupFiles:
            self = .files(
                try decoder.address(), try decoder.mailboxID(),
                try decoder.list(limit: WireLimit.backupFiles, minimum: 8) { d throws(WireError) in
                    SnapshotFile(
                        uid: try d.integer(UInt32.self),
                        unique: try d.string(limit: WireLimit.fileName))
                })
        case .backupRelease: self = .release(try decoder.address())
        case .copyDirectory: self = .copyDirectory(asText: try decoder.bool())
        case .restoreDirectory:
            self = .restoreDirectory(
                try decoder.stageToken(),
                try decoder.optional { d throws(WireError) in try d.address() })
        case .placeAccount:
            self = .placeAccount(
                try decoder.address(), directory: try decoder.string(limit: WireLimit.fileName))
        case .listRetained: self = .listRetained(try decoder.address())
        case .undelete:
            self = .undelete(
                try decoder.address(),
                paths: try decoder.list(limit: WireLimit.backupFiles, minimum: 4) {
                    d throws(WireError) in try d.string(limit: WireLimit.path)
                })
        case .listRemoved: self = .listRemoved
        case .noteBackup: self = .noteBackup(try decoder.integer(Int64.self))
        default: return nil
        }
    }
}

extension BackupReply {
    package var code: ReplyCode {
        switch self {
        case .folder: .snapshotFolder
        case .messages: .snapshotMessages
        case .snapshot: .snapshot
        case .file: .file
        case .retained: .retained
        case .undeleted: .undeleted
        case .removedAccounts: .removedAccounts
        case .directoryRestored: .directoryRestored
        }
    }

    var sizeHint: Int {
        switch self {
        case .messages(_, _, let messages, _): 64 + 160 * messages.count
        case .retained(let messages): 64 + 300 * messages.count
        default: 512
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .folder(let folder):
            encoder.put(folder.id)
            encoder.put(folder.name)
            encoder.put(folder.directory, limit: WireLimit.fileName)
            encoder.put(folder.highestModSeq)
            encoder.put(folder.state, limit: WireLimit.smallFile)
            encoder.put(folder.keywords, limit: WireLimit.smallFile)
        case .messages(let mailbox, let isAnew, let messages, let gone):
            encoder.put(mailbox)
            encoder.put(isAnew)
            encoder.put(list: messages, limit: Self.messagesPerPart) { $0.put($1) }
            encoder.put(uids: gone)
        case .snapshot(let snapshot):
            encoder.put(snapshot.time)
            encoder.put(snapshot.state, limit: WireLimit.smallFile)
            encoder.put(snapshot.subscriptions, limit: WireLimit.smallFile)
            encoder.put(list: snapshot.folders, limit: WireLimit.rows) { $0.put($1) }
        case .file(let uid, let size, let date):
            encoder.put(uid)
            encoder.put(size)
            encoder.put(date)
        case .retained(let messages):
            encoder.put(list: messages, limit: Self.messagesPerPart) { $0.put($1) }
        case .undeleted(let restored, let present, let missing):
            encoder.put(restored)
            encoder.put(present)
            encoder.put(missing)
        case .removedAccounts(let accounts):
            encoder.put(list: accounts, limit: WireLimit.rows) {
                $0.put($1.directory, limit: WireLimit.fileName)
                $0.put($1.address, limit: WireLimit.path)
                $0.put($1.removedAt)
            }
        case .directoryRestored(let domains, let accounts, let rows):
            encoder.put(domains)
            encoder.put(accounts)
            encoder.put(rows)
        }
    }

    /// Nil for a code that is not one of these.
    init?(_ code: ReplyCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .snapshotFolder: self = .folder(try decoder.snapshotFolder())
        case .snapshotMessages:
            self = .messages(
                try decoder.mailboxID(), isAnew: try decoder.bool(),
                try decoder.list(limit: Self.messagesPerPart, minimum: 24) {
                    d throws(WireError) in try d.snapshotMessage()
                }, gone: try decoder.uids())
        case .snapshot:
            self = .snapshot(
                AccountSnapshot(
                    time: try decoder.integer(Int64.self),
                    state: try decoder.string(limit: WireLimit.smallFile),
                    subscriptions: try decoder.string(limit: WireLimit.smallFile),
                    folders: try decoder.rows(8) { d throws(WireError) in try d.mailboxID() }))
        case .file:
            self = .file(
                uid: try decoder.integer(UInt32.self), size: try decoder.integer(UInt64.self),
                date: try decoder.integer(Int64.self))
        case .retained:
            self = .retained(
                try decoder.list(limit: Self.messagesPerPart, minimum: 40) {
                    d throws(WireError) in try d.retainedMessage()
                })
        case .undeleted:
            self = .undeleted(
                restored: try decoder.integer(UInt32.self),
                present: try decoder.integer(UInt32.self),
                missing: try decoder.integer(UInt32.self))
        case .removedAccounts:
            self = .removedAccounts(
                try decoder.rows(16) { d throws(WireError) in
                    RemovedAccount(
                        directory: try d.string(limit: WireLimit.fileName),
                        address: try d.string(limit: WireLimit.path),
                        removedAt: try d.integer(Int64.self))
                })
        case .directoryRestored:
            self = .directoryRestored(
                domains: try decoder.integer(UInt32.self),
                accounts: try decoder.integer(UInt32.self),
                rows: try decoder.integer(UInt32.self))
        default: return nil
        }
    }
}

extension Encoder {
    fileprivate mutating func put(_ message: SnapshotMessage) {
        put(message.uid)
        put(message.size)
        put(message.date)
        put(message.name, limit: WireLimit.fileName)
        put(message.messageID, limit: WireLimit.fieldText)
    }

    fileprivate mutating func put(_ message: RetainedMessage) {
        put(message.path, limit: WireLimit.path)
        put(message.mailbox)
        put(message.day, limit: WireLimit.service)
        put(message.expungedAt)
        put(message.size)
        put(message.date)
        put(message.sender, limit: WireLimit.fieldText)
        put(message.subject, limit: WireLimit.fieldText)
    }
}

extension Decoder {
    fileprivate mutating func snapshotFolder() throws(WireError) -> SnapshotFolder {
        SnapshotFolder(
            id: try mailboxID(), name: try mailboxName(),
            directory: try string(limit: WireLimit.fileName),
            highestModSeq: try integer(UInt64.self),
            state: try string(limit: WireLimit.smallFile),
            keywords: try string(limit: WireLimit.smallFile))
    }

    fileprivate mutating func snapshotMessage() throws(WireError) -> SnapshotMessage {
        SnapshotMessage(
            uid: try integer(UInt32.self), size: try integer(UInt32.self),
            date: try integer(Int64.self), name: try string(limit: WireLimit.fileName),
            messageID: try string(limit: WireLimit.fieldText))
    }

    fileprivate mutating func retainedMessage() throws(WireError) -> RetainedMessage {
        RetainedMessage(
            path: try string(limit: WireLimit.path), mailbox: try mailboxName(),
            day: try string(limit: WireLimit.service), expungedAt: try integer(Int64.self),
            size: try integer(UInt32.self), date: try integer(Int64.self),
            sender: try string(limit: WireLimit.fieldText),
            subject: try string(limit: WireLimit.fieldText))
    }
}
