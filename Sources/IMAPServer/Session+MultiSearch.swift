// SPDX-License-Identifier: Apache-2.0
//
// ESEARCH: several mailboxes one after the other, each opened, searched and closed again; the
// selected one is left as it is. RFC 7377.

import Bytes
import IMAP
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    func multiSearch(_ tag: [UInt8], _ command: MultiSearchCommand) async throws(Failure) {
        let store = try requireLogin()
        if writer.isUTF8, command.program.namesCharset {
            throw .bad("No charset with UTF8=ACCEPT")
        }
        if command.isOfSelected {
            let (found, _, selection) = try await run(command.program)
            try await answer(tag, found, command.program, in: selection)
            follow(tag, found, command.program, nil, byUID: true, selection)
        } else {
            guard !command.program.charsetIsUnknown else { throw .no(Failure.badCharset) }
            if command.program.mentionsModSeq { enableCondstore() }
            if case .selected = state { try await synchronize(expunges: false) }
            let names = try await names(of: command.sources, store)
            guard names.count <= MultiSearchCommand.mailboxLimit else {
                throw .no("[LIMIT] Too many mailboxes at once")
            }
            for name in names { try await search(name, tag, command.program, store) }
        }
        if case .selected(_, let selection) = state { tell(selection, expunges: true) }
        writer.line(tag, "OK ESEARCH completed")
    }

    private func search(
        _ name: MailboxName, _ tag: [UInt8], _ program: SearchProgram, _ store: MailboxSession
    ) async throws(Failure) {
        if case .selected(_, let selection) = state, selection.name == name {
            let found = try await matching(program, store, selection)
            return try await answer(tag, found, program, in: selection)
        }
        let snapshot: MailboxSnapshot
        do throws(StoreFailure) {
            snapshot = try await store.open(name, .readOnly) {}
        } catch {
            // What is not there has no matches (RFC 7377 §2.2)
            if error == .noSuchMailbox || error == .notPermitted { return }
            throw .store(error)
        }
        let selection = Selection(
            name: name, isReadOnly: true, view: ClientView(snapshot) { _ in false },
            signal: ChangeSignal(), askedAt: service.context.now, floor: nil)
        defer { store.closeSoon(snapshot.id) }
        let found = try await matching(program, store, selection)
        try await answer(tag, found, program, in: selection)
    }

    /// Nothing is said of a mailbox without matches.
    private func answer(
        _ tag: [UInt8], _ found: [Int], _ program: SearchProgram, in selection: Selection
    ) async throws(Failure) {
        guard let returns = program.returns else { return }
        if returns.contains(.save) { save(found, returns, selection) }
        guard !found.isEmpty, !returns.isOnlySave else { return }
        writer.write("* ESEARCH (TAG ")
        writer.string(tag)
        writer.write(" MAILBOX ")
        writer.mailbox(selection.name)
        writer.write(" UIDVALIDITY ")
        writer.write(selection.view.uidValidity)
        writer.write(") UID")
        try await write(returns, found.map { selection.view.entries[$0].uid })
        writeModSeq(found, program, selection)
        writer.write("\r\n")
        try await drainOutput()
    }

    /// Each mailbox once, in the order of LIST.
    private func names(
        of sources: [MultiSearchCommand.Source], _ store: MailboxSession
    ) async throws(Failure) -> [MailboxName] {
        let all = try await asking { () async throws(StoreFailure) in try await store.list() }
        var wanted: Set<MailboxName> = []
        for source in sources {
            switch source {
            case .selected: wanted.insert(try requireSelection().1.name)
            case .inboxes: wanted.insert(.inbox)
            case .personal: wanted.formUnion(all.map(\.name))
            case .subscribed: wanted.formUnion(all.filter(\.isSubscribed).map(\.name))
            case .mailboxes(let names): wanted.formUnion(names.compactMap(known))
            case .subtree(let names), .subtreeOne(let names):
                var isOne = false
                if case .subtreeOne = source { isOne = true }
                for name in names.compactMap(known) {
                    wanted.formUnion(
                        all.map(\.name).filter { Self.isBelow($0, name, onlyOne: isOne) })
                }
            }
        }
        return all.filter { wanted.contains($0.name) && $0.isSelectable }.map(\.name)
    }

    /// A name as the client wrote it; nil if there can be no such mailbox.
    private func known(_ wire: [UInt8]) -> MailboxName? {
        writer.isUTF8 ? MailboxName(wire) : MailboxName(wire: wire)
    }

    /// Whether `name` is `top` or below it.
    private static func isBelow(
        _ name: MailboxName, _ top: MailboxName, onlyOne: Bool
    ) -> Bool {
        if name == top { return true }
        let prefix = top.octets + [0x2F]
        guard name.octets.starts(with: prefix) else { return false }
        return !onlyOne || !name.octets.dropFirst(prefix.count).contains(0x2F)
    }
}
