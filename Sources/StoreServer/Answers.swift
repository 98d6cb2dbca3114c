// SPDX-License-Identifier: Apache-2.0
//
// Which request does what. Each is at most one hop to the account's thread.

import Bytes
import Mail
import Store
import Telemetry
import Transport
import Wire

extension DoorConnection {
    /// Nil: the answer has been sent already.
    func perform(_ request: Request, _ id: UInt32) async throws(StoreFailure) -> Reply? {
        switch request {
        case .authenticate(let credentials): return try await authenticate(credentials)
        case .attempt(let attempt, let client): return try await self.attempt(attempt, client)
        case .access(let request): return try await access(request)
        case .logout(let handle):
            end(try session(handle))
            return .done
        case .stage: return try await stage(id)
        case .unstage(let token):
            staged[token] = nil
            return .done
        case .checkRecipient(let address): return .recipient(try await recipient(address))
        case .checkMail(let address, let size):
            return .recipient(try await recipient(address, size: size))
        case .maySend(let handle, let address):
            let account = try session(handle).account
            return .permission(try await maySend(account.address, as: address))
        case .deliver(let delivery):
            try await deliver(delivery)
            return .delivered
        case .list(let handle), .create(let handle, _, _), .createAs(let handle, _, _, _),
            .delete(let handle, _),
            .rename(let handle, _, _), .subscribe(let handle, _, _), .status(let handle, _),
            .deletedSize(let handle, _):
            let session = try session(handle)
            let reply = try await performOnAccount(request, session)
            if request.changesMailboxList {
                core.watchers.mailboxListChanged(session.account.address)
            }
            return reply
        case .open(let handle, let name, let mode):
            return try await open(name, mode, nil, try session(handle), id)
        case .resume(let handle, let name, let mode, let mailbox, let since):
            return try await open(name, mode, (mailbox, since), try session(handle), id)
        case .summaries(let handle, let mailbox, let uids, let pieces):
            return try await summaries(mailbox, uids, pieces, try session(handle), id)
        case .close(let handle, let mailbox):
            closeMailbox(mailbox, of: try session(handle))
            return .done
        case .watchAccount(let handle):
            try watchAccount(try session(handle))
            return .done
        case .changes(let handle, let mailbox, _), .store(let handle, let mailbox, _, _, _, _),
            .copy(let handle, let mailbox, _, _, _), .expunge(let handle, let mailbox, _, _):
            return try await performOnMailbox(request, mailbox, try session(handle), id)
        case .append(let handle, let name, let flags, let date, let body):
            let message = PendingAppend(
                mailbox: name, flags: flags, date: date, source: .octets([]))
            return try await append(message, body, try session(handle))
        case .place(let handle, let name, let wanted, let flags, let date, let body):
            let message = PendingAppend(
                mailbox: name, flags: flags, date: date, source: .octets([]),
                wanted: WantedUID(uidValidity: wanted.uidValidity, uid: wanted.uid))
            return try await append(message, body, try session(handle))
        case .read(let handle, let mailbox, let uids, let part):
            return try await read(mailbox, uids, part, try session(handle), id)
        case .search(let handle, let mailbox, let uids, let query):
            return try await search(mailbox, uids, query, try session(handle), id)
        case .listDomains, .addDomain, .removeDomain, .listAccounts, .changeAccount, .storeStatus,
            .rebuildIndex, .checkIndex, .optimizeIndex, .assume, .rebuildSearch,
            .searchStats:
            return try await control(request)
        case .directory(let request): return try await directory(request)
        case .quota(let handle): return try await quota(try session(handle))
        case .backup(let request): return try await backup(request, id)
        case .content(let request): return try await content(request, id)
        }
    }

    /// One hop to the account's thread.
    func onAccount<R: Sendable>(
        _ session: Session,
        _ body: @escaping @Sendable (AccountStore) throws(StoreError) -> R
    ) async throws(StoreFailure) -> R {
        switch await core.perform(session.account, body) {
        case .success(let result): return result
        case .failure(.noSuchAccount): throw .staleHandle  // removed while it was logged in
        case .failure(let error): throw StoreFailure(error)
        }
    }

    // MARK: - Mailboxes

    private func performOnAccount(
        _ request: Request, _ session: Session
    ) async throws(StoreFailure) -> Reply {
        try await onAccount(session) { store throws(StoreError) in
            switch request {
            case .list: return .mailboxes(try store.list())
            case .create(_, let name, let use): try store.create(name, use)
            case .createAs(_, let name, let use, let uidValidity):
                try store.create(name, use, uidValidity: uidValidity)
            case .delete(_, let name): try store.delete(name)
            case .rename(_, let name, let target): try store.rename(name, to: target)
            case .subscribe(_, let name, let wanted): try store.subscribe(name, wanted)
            case .status(_, let name): return .status(try store.status(name))
            case .deletedSize(_, let name):
                return .directory(.octets(try store.deletedOctets(name)))
            default: throw .notPermitted
            }
            return .done
        }
    }

    private func open(
        _ name: MailboxName, _ mode: OpenMode, _ known: (id: MailboxID, since: UInt64)?,
        _ session: Session, _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        let address = session.account.address
        var lease: Lease?
        if mode == .maildrop {
            guard name.isInbox else { throw .notPermitted }
            lease = try await maildropLease(address)
        }
        let watcher = watcher(session)
        let watchers = core.watchers
        let account = session.account
        var recorded: MailboxID?
        do throws(StoreFailure) {
            var found: OpenSnapshot?
            repeat {
                // What other programs brought, in slices, so that others are served in between.
                // Watched from the moment of the snapshot: nothing can change in between.
                found = try await onAccount(session) { store throws(StoreError) in
                    guard try store.adoptSome(name) else { return nil }
                    let opened = try store.openSnapshot(
                        name, knowing: known?.id, since: known?.since ?? 0)
                    watchers.add(watcher, address, opened.snapshot.id)
                    return opened
                }
            } while found == nil
            guard var opened = found else { throw .unavailable }
            let snapshot = opened.snapshot
            guard sessions[session.handle] != nil else {
                watchers.remove(watcher, address, snapshot.id)
                throw .staleHandle  // logged out meanwhile
            }
            if let earlier = session.open[snapshot.id], earlier == .maildrop, mode != .maildrop {
                session.open[snapshot.id] = .maildrop
            } else {
                session.open[snapshot.id] = mode
            }
            if let lease { session.maildrop = lease }
            recorded = snapshot.id
            sendEntries(opened.snapshot.entries, id)
            opened.snapshot.entries = []
            try await sendRest(of: opened, session, id)
            watchDirectories(snapshot.id, account)
            guard known != nil else { return .opened(opened.snapshot) }
            return .resumed(
                opened.snapshot, isWhole: opened.isWhole, vanished: opened.vanished)
        } catch {
            if let recorded {
                closeMailbox(recorded, of: session)
            } else if let lease {
                core.leases.release(lease)
            }
            throw error
        }
    }

    /// Has the kernel watch an open mailbox. It goes through all the directory's entries that it
    /// knows for that, so nobody waits for it; what happened before is looked for then.
    private func watchDirectories(_ mailbox: MailboxID, _ account: AccountRef) {
        let watchers = core.watchers
        core.postWhenHere(account) { lane in
            // What fails is in the log already; the next request of the session meets it again.
            _ = lane.perform(account) { store throws(StoreError) in
                if watchers.watch(account, mailbox, path: store.watchPath(mailbox)) {
                    try store.noticed(mailbox, FolderEvents())
                }
            }
        }
    }

    /// RFC 1939 §4: one session at a time.
    private func maildropLease(_ address: EmailAddress) async throws(StoreFailure) -> Lease {
        let leases = core.leases
        let key = LeaseKey(.maildrop, address.octets)
        let outcome = await core.run(on: core.lane(of: address)) {
            Result { () throws(StoreError) in
                try leases.acquire(key, for: Lease.lifeOfProcess)
            }
        }
        switch outcome {
        case .success(let lease?): return lease
        case .success(nil): throw .inUse
        case .failure(let error): throw StoreFailure(error)
        }
    }

    func sendEntries(_ entries: [MessageEntry], _ id: UInt32) {
        var rest = entries[...]
        while !rest.isEmpty {
            let part = rest.prefix(Reply.entriesPerPart)
            rest = rest.dropFirst(part.count)
            send(.entries(Array(part)), id, kind: .part)
        }
    }

    private func performOnMailbox(
        _ request: Request, _ mailbox: MailboxID, _ session: Session, _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        guard let mode = session.open[mailbox] else { throw .staleHandle }
        switch request {
        case .changes(_, _, let since):
            var changes = try await onAccount(session) { store throws(StoreError) in
                try store.changes(mailbox, since: since)
            }
            sendEntries(changes.entries, id)
            changes.entries = []
            return .changes(changes)
        case .store(_, _, let uids, let operation, let flags, let unchangedSince):
            guard mode != .readOnly else { throw .notPermitted }
            let stored = try await onAccount(session) { store throws(StoreError) in
                try store.store(
                    mailbox, uids: uids, operation, flags, unchangedSince: unchangedSince)
            }
            return .stored(
                entries: stored.entries, modified: stored.modified, keywords: stored.keywords)
        case .copy(_, _, let uids, let name, let move):
            guard mode != .readOnly || !move else { throw .notPermitted }
            return .copied(
                try await onAccount(session) { store throws(StoreError) in
                    try store.copy(mailbox, uids: uids, to: name, move: move)
                })
        case .expunge(_, _, let uids, let force):
            guard mode != .readOnly else { throw .notPermitted }
            let expunged = try await onAccount(session) { store throws(StoreError) in
                try store.expunge(mailbox, uids: uids, force: force)
            }
            return .expunged(uids: expunged.uids, highestModSeq: expunged.highestModSeq)
        default: throw .notPermitted
        }
    }

    // MARK: - Messages

    private func append(
        _ message: PendingAppend, _ body: MessageBody, _ session: Session
    ) async throws(StoreFailure) -> Reply {
        var message = message
        switch body {
        case .inline(let octets): message.source = .octets(octets)
        case .staged(let token):
            let file = try takeStaged(token)
            message.source = .staged(try await seal(file, for: session.account.address))
        }
        switch await core.append(session.account, message) {
        case .success(let appended):
            return .appended(uidValidity: appended.uidValidity, uid: appended.uid)
        case .failure(.noSuchAccount): throw .staleHandle
        case .failure(let error): throw StoreFailure(error)
        }
    }

    /// Sends the messages in the order asked, a few per hop.
    private func read(
        _ mailbox: MailboxID, _ uids: [UInt32], _ part: ReadPart, _ session: Session, _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        guard session.open[mailbox] != nil else { throw .staleHandle }
        let wanted: MessagePart = part == .whole ? .whole : .header
        var next = 0
        while next < uids.count {
            let some = Array(uids[next..<min(next + 16, uids.count)])
            next += some.count
            let found = try await onAccount(session) { store throws(StoreError) in
                var found: [FoundMessage] = []
                for uid in some {
                    if let content = try store.read(
                        mailbox, uid: uid, wanted, inlineLimit: Reply.inlineBodyLimit)
                    {
                        found.append(FoundMessage(uid: uid, content: content))
                    }
                }
                return found
            }
            for message in found { sendMessage(message, id) }
            do {
                try await outputRoom()
            } catch {
                throw .unavailable
            }
        }
        return .done
    }

    func sendMessage(_ message: FoundMessage, _ id: UInt32) {
        let size = message.content.size
        switch message.content {
        case .octets(let octets):
            send(.message(uid: message.uid, size: size, inline: octets), id, kind: .part)
        case .file(let shared, _):
            guard let descriptor = shared.take() else { return }
            send(
                .message(uid: message.uid, size: size, inline: nil), id, kind: .part,
                attaching: Descriptor(descriptor))
        }
    }
}

/// What the account's thread found for one UID.
struct FoundMessage: Sendable {
    var uid: UInt32
    var content: MessageContent
}

extension StoreFailure {
    init(_ error: StoreError) {
        switch error {
        case .noSuchMailbox: self = .noSuchMailbox
        case .mailboxExists: self = .mailboxExists
        case .notPermitted, .address: self = .notPermitted
        case .noSuchAccount: self = .noSuchAccount
        case .noSuchDomain: self = .noSuchDomain
        case .alreadyExists: self = .alreadyExists
        case .limit: self = .limit
        case .overQuota: self = .overQuota
        case .badStage: self = .badStage
        case .inUse, .busy, .noSpace, .file, .index: self = .unavailable
        }
    }
}

extension RequestCode {
    /// The label of metrics.
    var name: String { String(describing: self) }
}
