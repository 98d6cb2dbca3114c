// SPDX-License-Identifier: Apache-2.0
//
// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE and STATUS. RFC 3501 §6.3.3 to §6.3.10; RFC 8438.

import Bytes
import IMAP
import Mail
import StoreClient
import Wire

extension Session {
    func create(_ tag: [UInt8], _ wire: [UInt8], _ use: SpecialUse) async throws(Failure) {
        let store = try requireLogin()
        // RFC 3501 §6.3.3: a trailing separator only announces that names below will follow
        let name = try mailboxName(wire.last == MailboxName.separator ? wire.dropLast() : wire)
        guard !name.isInbox else { throw .no("[ALREADYEXISTS] INBOX always exists") }
        try await asking { () async throws(StoreFailure) in try await store.create(name, use) }
        guard isOffered(.objectID) else {
            writer.line(tag, "OK CREATE completed")
            return
        }
        let number = try await mailboxNumber(name, .mailboxID, store)
        writer.write(tag)
        writer.write(" OK [MAILBOXID ")
        writer.mailboxID(number)
        writer.write("] CREATE completed\r\n")
    }

    func delete(_ tag: [UInt8], _ wire: [UInt8]) async throws(Failure) {
        let store = try requireLogin()
        let name = try mailboxName(wire)
        guard !name.isInbox else { throw .no("[CANNOT] INBOX cannot be deleted") }
        if case .selected(_, let selection) = state, selection.name == name {
            leaveMailbox(says: true)
        }
        try await asking { () async throws(StoreFailure) in try await store.delete(name) }
        writer.line(tag, "OK DELETE completed")
    }

    func rename(_ tag: [UInt8], _ old: [UInt8], _ new: [UInt8]) async throws(Failure) {
        let store = try requireLogin()
        let from = try mailboxName(old)
        let to = try mailboxName(new.last == MailboxName.separator ? new.dropLast() : new)
        guard !to.isInbox else { throw .no("[ALREADYEXISTS] INBOX always exists") }
        try await asking { () async throws(StoreFailure) in
            try await store.rename(from: from, to: to)
        }
        if from.isInbox { viewIsBehind() }
        writer.line(tag, "OK RENAME completed")
    }

    func subscribe(_ tag: [UInt8], _ wire: [UInt8], _ isOn: Bool) async throws(Failure) {
        let store = try requireLogin()
        let name = try mailboxName(wire)
        try await asking { () async throws(StoreFailure) in
            try await store.subscribe(name, isOn)
        }
        writer.line(tag, isOn ? "OK SUBSCRIBE completed" : "OK UNSUBSCRIBE completed")
    }

    func status(_ tag: [UInt8], _ wire: [UInt8], _ items: StatusItems) async throws(Failure) {
        let store = try requireLogin()
        let name = try mailboxName(wire)
        if items.contains(.highestModSeq) { enableCondstore() }
        let status = try await asking { () async throws(StoreFailure) in
            try await store.status(name)
        }
        var deleted: UInt64 = 0
        if items.contains(.deletedStorage) {
            deleted = try await asking { () async throws(StoreFailure) in
                try await store.deletedSize(name)
            }
        }
        let number = try await mailboxNumber(name, items, store)
        writeStatus(
            name, status, items, deletedOctets: deleted, mailboxID: number, of: store.account)
        writer.line(tag, "OK STATUS completed")
    }

    func writeStatus(
        _ name: MailboxName, _ status: MailboxStatus, _ items: StatusItems,
        deletedOctets: UInt64, mailboxID: UInt64, of account: EmailAddress
    ) {
        writer.write("* STATUS ")
        writer.mailbox(name)
        writer.write(" (")
        var isFirst = true
        func item(_ which: StatusItems, _ label: StaticString, _ value: UInt64) {
            guard items.contains(which) else { return }
            if !isFirst { writer.write(" ") }
            isFirst = false
            writer.write(label)
            writer.write(value)
        }
        item(.messages, "MESSAGES ", UInt64(status.messages))
        item(.recent, "RECENT ", UInt64(recent(name, status, account)))
        item(.uidNext, "UIDNEXT ", UInt64(status.uidNext))
        item(.uidValidity, "UIDVALIDITY ", UInt64(status.uidValidity))
        item(.unseen, "UNSEEN ", UInt64(status.unseen))
        item(.highestModSeq, "HIGHESTMODSEQ ", status.highestModSeq)
        item(.size, "SIZE ", status.size)
        item(.deleted, "DELETED ", UInt64(status.deleted))
        item(.deletedStorage, "DELETED-STORAGE ", deletedOctets)
        if items.contains(.mailboxID) {
            writer.write(isFirst ? "MAILBOXID " : " MAILBOXID ")
            writer.mailboxID(mailboxID)
        }
        writer.write(")\r\n")
    }

    /// Messages that no session was told of, as far as the numbers of STATUS can say.
    private func recent(
        _ name: MailboxName, _ status: MailboxStatus, _ account: EmailAddress
    ) -> UInt32 {
        if case .selected(_, let selection) = state, selection.name == name {
            return selection.view.recentCount
        }
        let floor = service.ledger.floor(
            .init(account: account, mailbox: name, uidValidity: status.uidValidity),
            uidNext: status.uidNext, claims: false)
        guard let floor else { return status.unseen }
        return min(status.messages, status.uidNext > floor ? status.uidNext - floor : 0)
    }
}
