// SPDX-License-Identifier: Apache-2.0
//
// SELECT, EXAMINE, CLOSE, UNSELECT, and how the view follows the store. RFC 3501 §6.3.1, §6.3.2,
// §6.4.2; RFC 3691; RFC 7162 §3.1.2.

import IMAP
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    func select(_ tag: [UInt8], _ command: SelectCommand) async throws(Failure) {
        let store = try requireLogin()
        let (wire, isReadOnly) = (command.mailbox, command.isReadOnly)
        guard command.resync == nil || qresync else { throw .bad("QRESYNC is not enabled") }
        let selection: Selection
        if let same = await reselect(wire, isReadOnly: isReadOnly) {
            selection = same
        } else {
            // RFC 3501 §6.3.1: also a SELECT that fails leaves no mailbox selected
            leaveMailbox(says: true)
            selection = try await open(try mailboxName(wire), isReadOnly: isReadOnly, store)
        }
        if command.condstore { condstore = true }
        selection.view.tellsModSeq = condstore
        selection.view.tellsVanished = qresync
        if isRevision2 { selection.view.forgetRecent() }
        var news: ResyncNews?
        if let resync = command.resync {
            do throws(Failure) {
                news = try await self.news(resync, store, selection)
            } catch {
                state = .authenticated(store)
                store.closeSoon(selection.view.id)
                throw error
            }
        }
        state = .selected(store, selection)
        writer.keywordsChanged()
        writeSelected(selection)
        if isRevision2 { try await writeListed(selection, store) }
        if let news { try await write(news, selection) }
        writer.write(tag)
        writer.write(isReadOnly ? " OK [READ-ONLY] EXAMINE" : " OK [READ-WRITE] SELECT")
        writer.write(" completed\r\n")
    }

    private func open(
        _ name: MailboxName, isReadOnly: Bool, _ store: MailboxSession
    ) async throws(Failure) -> Selection {
        let connection = connection
        let covered = inputPosition + connection.buffered
        let signal = ChangeSignal()
        let askedAt = service.context.now
        let known = service.knownMailboxes
        let snapshot = try await asking { () async throws(StoreFailure) in
            try await store.open(name, isReadOnly ? .readOnly : .readWrite, knowing: known) {
                signal.isRaised = true
                connection.wake()
            }
        }
        let floor = service.ledger.floor(
            .init(account: store.account, mailbox: name, uidValidity: snapshot.uidValidity),
            uidNext: snapshot.uidNext, claims: !isReadOnly)
        coveredPosition = covered
        // Nobody knows who saw what before this process: unread messages count as recent then
        return Selection(
            name: name, isReadOnly: isReadOnly, view: ClientView(snapshot, recentFrom: floor),
            signal: signal, askedAt: askedAt, floor: floor)
    }

    /// The selected mailbox, if it is this one and the store still has it: it stays open there,
    /// and only what changed is asked for.
    private func reselect(_ wire: [UInt8], isReadOnly: Bool) async -> Selection? {
        guard case .selected(let store, let selection) = state,
            selection.isReadOnly == isReadOnly, MailboxName(wire: wire) == selection.name
        else { return nil }
        if !isFresh(selection) {
            do throws(Failure) {
                try await update(store, selection)
            } catch {
                return nil  // opening it tells the client why
            }
        }
        let view = selection.view
        let floor = service.ledger.floor(
            .init(
                account: store.account, mailbox: selection.name, uidValidity: view.uidValidity),
            uidNext: view.uidNext, claims: !isReadOnly)
        selection.view.reselect(recentFrom: floor)
        selection.floor = floor
        selection.contexts = []
        sayClosed()
        return selection
    }

    private func writeSelected(_ selection: Selection) {
        let view = selection.view
        writer.flagTable(keywords: view.keywords, isReadOnly: selection.isReadOnly)
        writer.write("* ")
        writer.write(view.messages)
        writer.write(" EXISTS\r\n")
        if !isRevision2 {
            writer.write("* ")
            writer.write(view.recentCount)
            writer.write(" RECENT\r\n")
        }
        if !isRevision2, let unseen = view.firstUnseen {
            writer.write("* OK [UNSEEN ")
            writer.write(unseen)
            writer.write("] First unseen message\r\n")
        }
        writer.write("* OK [UIDVALIDITY ")
        writer.write(view.uidValidity)
        writer.write("] UIDs valid\r\n* OK [UIDNEXT ")
        writer.write(view.uidNext)
        writer.write("] Predicted next UID\r\n")
        if isOffered(.condstore) {
            writer.write("* OK [HIGHESTMODSEQ ")
            writer.write(view.highestModSeq)
            writer.write("] Highest\r\n")
        }
        if isOffered(.objectID) {
            writer.write("* OK [MAILBOXID ")
            writer.mailboxID(UInt64(bitPattern: view.id.rawValue))
            writer.write("] For as long as it is there\r\n")
        }
    }

    /// CLOSE expunges without telling, UNSELECT does not expunge.
    func close(_ tag: [UInt8], expunges: Bool) async throws(Failure) {
        let (store, selection) = try requireSelection()
        if expunges, !selection.isReadOnly {
            _ = try await asking { () async throws(StoreFailure) in
                try await store.expunge(selection.view.id)
            }
        }
        leaveMailbox(says: false)
        writer.line(tag, expunges ? "OK CLOSE completed" : "OK UNSELECT completed")
    }

    /// Back to the authenticated state.
    func leaveMailbox(says: Bool) {
        guard case .selected(let store, let selection) = state else { return }
        state = .authenticated(store)
        store.closeSoon(selection.view.id)
        if says { sayClosed() }
    }

    /// RFC 7162 §3.2.11: what follows is about the next mailbox.
    private func sayClosed() { writer.write("* OK [CLOSED] Previous mailbox closed\r\n") }

    // MARK: - Following the store

    /// Brings the view up to date and tells the client what it may be told.
    ///
    /// The store is asked unless this very command had arrived before the store was asked last:
    /// then its answer cannot be older than anything the client knew when it sent the command.
    /// Nor is it asked if it was a moment ago and has not said since that something changed.
    func synchronize(expunges: Bool, flags: Bool = true) async throws(Failure) {
        let (store, selection) = try requireSelection()
        if inputPosition > coveredPosition, !isFresh(selection) {
            try await update(store, selection)
        }
        tell(selection, expunges: expunges, flags: flags)
        try await updateContexts()
    }

    /// Asked for so short a time ago, a mailbox can have changed only if the store says so.
    private static let freshness = Duration.milliseconds(50)

    private func isFresh(_ selection: Selection) -> Bool {
        coveredPosition >= 0 && !selection.signal.isRaised
            && service.context.now - selection.askedAt < Self.freshness
    }

    /// Asks for changes and puts them into the view, without telling.
    func update(_ store: MailboxSession, _ selection: Selection) async throws(Failure) {
        _ = try await update(store, selection, since: selection.view.highestModSeq)
    }

    /// - Returns: what has happened since a MODSEQ that is not behind the view.
    func update(
        _ store: MailboxSession, _ selection: Selection, since: UInt64
    ) async throws(Failure) -> MailboxChanges {
        let covered = inputPosition + connection.buffered
        let id = selection.view.id
        let changes: MailboxChanges
        selection.signal.isRaised = false
        selection.askedAt = service.context.now
        do throws(StoreFailure) {
            changes = try await store.changes(id, since: since)
        } catch {
            selection.signal.isRaised = true
            // A view that cannot be brought up to date must not answer for the mailbox
            throw error == .noSuchMailbox ? .over(.mailboxGone) : .store(error)
        }
        if changes.isGone { throw .over(.mailboxGone) }
        coveredPosition = covered
        apply(changes, to: selection, of: store.account)
        return changes
    }

    func apply(
        _ changes: MailboxChanges, to selection: Selection, of account: EmailAddress
    ) {
        guard changes.uidNext > selection.view.uidNext else {
            selection.view.apply(changes) { _ in false }
            return
        }
        let floor = service.ledger.floor(
            .init(
                account: account, mailbox: selection.name,
                uidValidity: selection.view.uidValidity),
            uidNext: changes.uidNext, claims: !selection.isReadOnly)
        selection.view.apply(changes) { $0.uid >= floor ?? 0 }
    }

    func tell(_ selection: Selection, expunges: Bool, flags: Bool = true) {
        if expunges { tellRemoved(selection) }
        selection.view.tell(
            .init(expunges: expunges, isReadOnly: selection.isReadOnly, flags: flags), to: &writer)
    }

    /// After a change of our own the view is behind, whatever had arrived before.
    func viewIsBehind() { coveredPosition = -1 }
}
