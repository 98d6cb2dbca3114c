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
    func select(
        _ tag: [UInt8], _ wire: [UInt8], isReadOnly: Bool, condstore wanted: Bool
    ) async throws(Failure) {
        let store = try requireLogin()
        // RFC 3501 §6.3.1: also a SELECT that fails leaves no mailbox selected
        leaveMailbox(says: true)
        let name = try mailboxName(wire)
        let connection = connection
        let covered = inputPosition + connection.buffered
        let snapshot = try await asking { () async throws(StoreFailure) in
            try await store.open(name, isReadOnly ? .readOnly : .readWrite) { connection.wake() }
        }
        if wanted { condstore = true }
        let floor = service.ledger.floor(
            .init(account: store.account, mailbox: name, uidValidity: snapshot.uidValidity),
            uidNext: snapshot.uidNext, claims: !isReadOnly)
        // Nobody knows who saw what before this process: unread messages count as recent then
        var view = ClientView(snapshot) { entry in
            if let floor { entry.uid >= floor } else { !entry.flags.contains(.seen) }
        }
        view.tellsModSeq = condstore
        let selection = Selection(name: name, isReadOnly: isReadOnly, view: view)
        state = .selected(store, selection)
        coveredPosition = covered
        writer.keywordsChanged()
        writeSelected(selection)
        writer.write(tag)
        writer.write(isReadOnly ? " OK [READ-ONLY] EXAMINE" : " OK [READ-WRITE] SELECT")
        writer.write(" completed\r\n")
    }

    private func writeSelected(_ selection: Selection) {
        let view = selection.view
        writer.flagTable(keywords: view.keywords, isReadOnly: selection.isReadOnly)
        writer.write("* ")
        writer.write(view.messages)
        writer.write(" EXISTS\r\n* ")
        writer.write(view.recentCount)
        writer.write(" RECENT\r\n")
        if let unseen = view.firstUnseen {
            writer.write("* OK [UNSEEN ")
            writer.write(unseen)
            writer.write("] First unseen message\r\n")
        }
        writer.write("* OK [UIDVALIDITY ")
        writer.write(view.uidValidity)
        writer.write("] UIDs valid\r\n* OK [UIDNEXT ")
        writer.write(view.uidNext)
        writer.write("] Predicted next UID\r\n* OK [HIGHESTMODSEQ ")
        writer.write(view.highestModSeq)
        writer.write("] Highest\r\n")
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
        // RFC 7162 §3.2.11: what follows is about the next mailbox
        if says { writer.write("* OK [CLOSED] Previous mailbox closed\r\n") }
    }

    // MARK: - Following the store

    /// Brings the view up to date and tells the client what it may be told.
    ///
    /// The store is asked unless this very command had arrived before the store was asked last:
    /// then its answer cannot be older than anything the client knew when it sent the command.
    func synchronize(expunges: Bool) async throws(Failure) {
        let (store, selection) = try requireSelection()
        if inputPosition > coveredPosition { try await update(store, selection) }
        tell(selection, expunges: expunges)
    }

    /// Asks for changes and puts them into the view, without telling.
    func update(_ store: MailboxSession, _ selection: Selection) async throws(Failure) {
        let covered = inputPosition + connection.buffered
        let id = selection.view.id
        let since = selection.view.highestModSeq
        let changes: MailboxChanges
        do throws(StoreFailure) {
            changes = try await store.changes(id, since: since)
        } catch {
            // A view that cannot be brought up to date must not answer for the mailbox
            throw error == .noSuchMailbox ? .over(.mailboxGone) : .store(error)
        }
        if changes.isGone { throw .over(.mailboxGone) }
        coveredPosition = covered
        apply(changes, to: selection, of: store.account)
    }

    private func apply(
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

    func tell(_ selection: Selection, expunges: Bool) {
        selection.view.tell(
            .init(expunges: expunges, isReadOnly: selection.isReadOnly), to: &writer)
    }

    /// After a change of our own the view is behind, whatever had arrived before.
    func viewIsBehind() { coveredPosition = -1 }
}
