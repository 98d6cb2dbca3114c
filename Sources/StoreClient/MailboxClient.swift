// SPDX-License-Identifier: Apache-2.0
//
// What imapd and pop3d ask of msgstored, through the door `mailbox`.

import Mail
import SASL
import Transport
import Wire

/// Logins. One per loop.
package final class MailboxClient {
    private let link: StoreLink

    package init(_ link: StoreLink) { self.link = link }

    /// Whether the store answers now.
    package func isReachable() async -> Bool { await link.isReachable() }

    package func login(_ credentials: Credentials) async throws(StoreFailure) -> MailboxSession {
        switch try await link.ask(.authenticate(credentials)) {
        case .authenticated(let session, let account):
            return MailboxSession(link: link, handle: session, account: account)
        case .access(.refused): throw .badCredentials
        default: throw .unavailable
        }
    }

    /// A name and password that came without an exchange.
    package func logIn(
        _ response: PlainResponse, _ client: LoginClient
    ) async -> LoginOutcome<MailboxSession> {
        await link.logIn(response, client).map(session)
    }

    /// Runs the exchange of a mechanism; `answer` sends a challenge and reads its answer.
    package func logIn<E: Error>(
        _ attempt: LoginAttempt, answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<MailboxSession> {
        try await link.logIn(attempt, answer: answer).map(session)
    }

    private func session(_ login: StoreLogin) -> MailboxSession {
        MailboxSession(link: link, handle: login.handle, account: login.account)
    }
}

/// One login: the mailboxes of one account. Ends with `logout`, at the latest with the object.
///
/// After the connection to the store was lost every call throws `.staleHandle`.
package final class MailboxSession {
    package let account: EmailAddress
    let link: StoreLink
    let handle: SessionHandle
    private let epoch: UInt64
    private var isOver = false
    private var watched: Set<MailboxID> = []

    init(link: StoreLink, handle: SessionHandle, account: EmailAddress) {
        self.link = link
        self.handle = handle
        self.account = account
        epoch = link.epoch
    }

    deinit { logout() }

    /// The client has gone. Does not wait; closes every open mailbox.
    package func logout() {
        guard !isOver else { return }
        isOver = true
        guard epoch == link.epoch else { return }
        for mailbox in watched { link.unwatch(handle, mailbox) }
        link.unwatchAll(handle)
        link.tell(.logout(handle))
    }

    /// Whether calls can still succeed.
    package var isValid: Bool { !isOver && epoch == link.epoch }

    func checkValid() throws(StoreFailure) {
        guard isValid else { throw .staleHandle }
    }

    private func call(
        _ request: Request, within: Duration = .seconds(60)
    ) async throws(StoreFailure) -> Reply {
        try checkValid()
        return try await link.call(request, within: within)
    }

    private func perform(_ request: Request, _ call: PendingCall) async throws(StoreFailure)
        -> Reply
    {
        try checkValid()
        return try await link.perform(request, call)
    }

    private func done(_ request: Request) async throws(StoreFailure) {
        guard case .done = try await call(request) else { throw .unavailable }
    }

    // MARK: - Mailboxes

    package func list() async throws(StoreFailure) -> [MailboxInfo] {
        guard case .mailboxes(let rows) = try await call(.list(handle)) else { throw .unavailable }
        return rows
    }

    package func create(
        _ name: MailboxName, _ use: SpecialUse = .none
    ) async throws(StoreFailure) {
        try await done(.create(handle, name, use))
    }

    package func delete(_ name: MailboxName) async throws(StoreFailure) {
        try await done(.delete(handle, name))
    }

    package func rename(
        from: MailboxName, to name: MailboxName
    ) async throws(StoreFailure) {
        try await done(.rename(handle, from: from, to: name))
    }

    package func subscribe(_ name: MailboxName, _ wanted: Bool) async throws(StoreFailure) {
        try await done(.subscribe(handle, name, wanted))
    }

    package func status(_ name: MailboxName) async throws(StoreFailure) -> MailboxStatus {
        guard case .status(let status) = try await call(.status(handle, name)) else {
            throw .unavailable
        }
        return status
    }

    /// What the account keeps, and what it may keep. RFC 9208.
    package func quota() async throws(StoreFailure) -> (usage: MailUsage, limits: QuotaLimits) {
        guard case .directory(.quota(let usage, let limits)) = try await call(.quota(handle))
        else { throw .unavailable }
        return (usage, limits)
    }

    /// Octets of the messages with `\Deleted`.
    package func deletedSize(_ name: MailboxName) async throws(StoreFailure) -> UInt64 {
        guard case .directory(.octets(let count)) = try await call(.deletedSize(handle, name))
        else { throw .unavailable }
        return count
    }

    /// Opens and watches a mailbox.
    ///
    /// - Parameter onChange: called on the loop when there may be changes to ask for, and once
    ///   when the store is lost. It must not wait; it may wake whoever does.
    package func open(
        _ name: MailboxName, _ mode: OpenMode, onChange: @escaping () -> Void
    ) async throws(StoreFailure) -> MailboxSnapshot {
        let call = PendingCall(deadline: link.now.advanced(by: .seconds(120)))
        // An event may be right behind the answer, before this task runs again.
        call.onReply = { [link, handle] reply in
            if case .opened(let snapshot) = reply { link.watch(handle, snapshot.id, onChange) }
        }
        guard case .opened(var snapshot) = try await perform(.open(handle, name, mode), call)
        else { throw .unavailable }
        try opened(snapshot)
        snapshot.entries = call.entries
        return snapshot
    }

    private func opened(_ snapshot: MailboxSnapshot) throws(StoreFailure) {
        if isOver {
            link.unwatch(handle, snapshot.id)
            throw .staleHandle
        }
        watched.insert(snapshot.id)
    }

    /// As `open`, but what this loop knows of the mailbox already does not come again.
    package func open(
        _ name: MailboxName, _ mode: OpenMode, knowing known: KnownMailboxes,
        onChange: @escaping () -> Void
    ) async throws(StoreFailure) -> MailboxSnapshot {
        guard let old = known.take(account, name, epoch: epoch) else {
            let snapshot = try await open(name, mode, onChange: onChange)
            known.keep(snapshot, account, name, epoch: epoch)
            return snapshot
        }
        let call = PendingCall(deadline: link.now.advanced(by: .seconds(120)))
        call.onReply = { [link, handle] reply in
            if case .resumed(let snapshot, _, _) = reply {
                link.watch(handle, snapshot.id, onChange)
            }
        }
        let request = Request.resume(handle, name, mode, old.id, since: old.highestModSeq)
        guard
            case .resumed(var snapshot, let isWhole, let vanished) = try await perform(
                request, call)
        else { throw .unavailable }
        try opened(snapshot)
        snapshot.entries =
            isWhole ? call.entries : Self.merge(old.entries, call.entries, without: vanished)
        known.keep(snapshot, account, name, epoch: epoch)
        return snapshot
    }

    /// `entries` with what changed; everything rises by UID.
    private static func merge(
        _ entries: [MessageEntry], _ changed: [MessageEntry], without vanished: [UInt32]
    ) -> [MessageEntry] {
        if changed.isEmpty, vanished.isEmpty { return entries }
        let gone = Set(vanished)
        var merged: [MessageEntry] = []
        merged.reserveCapacity(entries.count + changed.count)
        var next = 0
        for entry in entries {
            while next < changed.count, changed[next].uid < entry.uid {
                merged.append(changed[next])
                next += 1
            }
            if next < changed.count, changed[next].uid == entry.uid {
                merged.append(changed[next])
                next += 1
            } else if !gone.contains(entry.uid) {
                merged.append(entry)
            }
        }
        merged += changed[next...]
        return merged
    }

    /// Stops watching. Does not fail if the mailbox or the store is gone.
    package func close(_ mailbox: MailboxID) async throws(StoreFailure) {
        watched.remove(mailbox)
        guard isValid else { return }
        link.unwatch(handle, mailbox)
        try await done(.close(handle, mailbox))
    }

    /// The same without waiting; what is asked next is carried out after it.
    package func closeSoon(_ mailbox: MailboxID) {
        watched.remove(mailbox)
        guard isValid else { return }
        link.unwatch(handle, mailbox)
        link.tell(.close(handle, mailbox))
    }

    /// Watches all mailboxes, open or not.
    ///
    /// - Parameter onChange: called on the loop with the number of a mailbox that may have
    ///   changed, and with 0 when the list of mailboxes may have, or the store is lost.
    package func watchAll(_ onChange: @escaping (MailboxID) -> Void) async throws(StoreFailure) {
        link.watchAll(handle, onChange)
        do throws(StoreFailure) {
            try await done(.watchAccount(handle))
        } catch {
            link.unwatchAll(handle)
            throw error
        }
    }

    package func unwatchAll() {
        link.unwatchAll(handle)
        if isValid { link.tell(.close(handle, MailboxID(rawValue: 0))) }
    }

    package func changes(
        _ mailbox: MailboxID, since: UInt64
    ) async throws(StoreFailure) -> MailboxChanges {
        let call = PendingCall(deadline: link.now.advanced(by: .seconds(60)))
        let request = Request.changes(handle, mailbox, since: since)
        guard case .changes(var changes) = try await perform(request, call) else {
            throw .unavailable
        }
        changes.entries = call.entries
        return changes
    }

    // MARK: - Messages

    package func append(
        _ name: MailboxName, flags: NamedFlags, date: SecondsSince1970?, body: MessageBody
    ) async throws(StoreFailure) -> (uidValidity: UInt32, uid: UInt32) {
        let request = Request.append(handle, name, flags: flags, date: date, body: body)
        guard
            case .appended(let uidValidity, let uid) = try await call(
                request, within: .seconds(240))
        else { throw .unavailable }
        return (uidValidity, uid)
    }

    /// An empty file to write a long message to. Close it before `append` names its token.
    package func stage() async throws(StoreFailure) -> StagedFile {
        try checkValid()
        return try await link.stage()
    }

    /// Forgets a staged file that is not wanted any more. Does not wait.
    package func unstage(_ token: StageToken) {
        if epoch == link.epoch { link.tell(.unstage(token)) }
    }

    /// Changes flags.
    ///
    /// - Returns: the messages with their new flags, those refused because their MODSEQ is above
    ///   `unchangedSince`, and the keyword table.
    package func store(
        _ mailbox: MailboxID, uids: [UIDRange], _ operation: FlagOperation, _ flags: NamedFlags,
        unchangedSince: UInt64? = nil
    ) async throws(StoreFailure) -> (
        entries: [MessageEntry], modified: [UInt32], keywords: [[UInt8]]
    ) {
        let request = Request.store(
            handle, mailbox, uids: uids, operation, flags, unchangedSince: unchangedSince)
        guard
            case .stored(let entries, let modified, let keywords) = try await call(
                request, within: .seconds(240))
        else { throw .unavailable }
        return (entries, modified, keywords)
    }

    package func copy(
        _ mailbox: MailboxID, uids: [UIDRange], to name: MailboxName, move: Bool = false
    ) async throws(StoreFailure) -> CopyResult {
        let request = Request.copy(handle, mailbox, uids: uids, to: name, move: move)
        guard case .copied(let result) = try await call(request, within: .seconds(600)) else {
            throw .unavailable
        }
        return result
    }

    /// Removes messages with `\Deleted` (in the whole mailbox if `uids` is nil), or with `force`
    /// those named.
    package func expunge(
        _ mailbox: MailboxID, uids: [UIDRange]? = nil, force: Bool = false
    ) async throws(StoreFailure) -> (uids: [UInt32], highestModSeq: UInt64) {
        let request = Request.expunge(handle, mailbox, uids: uids, force: force)
        guard
            case .expunged(let gone, let highestModSeq) = try await call(
                request, within: .seconds(600))
        else { throw .unavailable }
        return (gone, highestModSeq)
    }

    /// Asks about the text of messages.
    ///
    /// - Returns: the UIDs of those of `uids` that match, in no order.
    package func search(
        _ mailbox: MailboxID, uids: [UIDRange], _ query: TextQuery
    ) async throws(StoreFailure) -> [UInt32] {
        let call = PendingCall(deadline: link.now.advanced(by: .seconds(60)))
        guard case .done = try await perform(.search(handle, mailbox, uids: uids, query), call)
        else { throw .unavailable }
        return call.found
    }

    /// Starts reading what lists show of messages, by rising UID; those that are gone or cannot be
    /// read are left out.
    package func summaries(
        _ mailbox: MailboxID, uids: [UInt32], _ pieces: SummaryPieces
    ) -> SummaryStream {
        SummaryStream(session: self, mailbox: mailbox, uids: uids, pieces)
    }

    /// Starts reading messages, in the order given; those that are gone are left out.
    package func read(
        _ mailbox: MailboxID, uids: [UInt32], part: ReadPart = .whole
    ) -> MessageReader {
        MessageReader(session: self, uids: uids) { [handle] in
            .read(handle, mailbox, uids: $0, part)
        }
    }
}
