// SPDX-License-Identifier: Apache-2.0
//
// STORE, COPY, MOVE, EXPUNGE. RFC 3501 §6.4.3, §6.4.6, §6.4.7; RFC 6851; RFC 4315;
// RFC 7162 §3.1.3. The store's answer is durable before the client gets its OK.

import Bytes
import IMAP
import Mail
import StoreClient
import Wire

extension Session {
    func store(_ tag: [UInt8], _ command: StoreCommand) async throws(Failure) {
        _ = try requireSelection()
        if command.unchangedSince != nil { enableCondstore() }
        // A silent STORE tells flags only behind its own change: a client that is told the flags
        // of before would take them for those of after
        try await synchronize(expunges: command.byUID, flags: !command.isSilent)
        let (store, selection) = try requireSelection()
        guard !selection.isReadOnly else { throw .no("[READ-ONLY] Mailbox is read-only") }
        let uids = try uids(command.set, byUID: command.byUID, in: selection)
        guard !uids.isEmpty else {
            tell(selection, expunges: false)
            writer.line(tag, "OK No messages")
            return
        }
        var command = command
        if !command.byUID, uids.contains(where: { selection.view.isVanished($0) }) {
            command.isSilent = false  // it will be NO, and nobody knows what was stored
        }
        let id = selection.view.id
        let change = command
        let result = try await asking { () async throws(StoreFailure) in
            try await store.store(
                id, uids: UIDRange.ranges(of: uids), change.operation, change.flags,
                unchangedSince: change.unchangedSince)
        }
        var assumed: ((Flags, [[UInt8]]) -> Flags)?
        if change.isSilent { assumed = { change.flagsAfter($0, $1) } }
        selection.view.stored(result.entries, keywords: result.keywords, silently: assumed)
        tell(selection, expunges: false)
        let refused = Set(result.modified)
        let gone = try await tellStored(command, uids, refused, selection)
        if !refused.isEmpty {
            writeModified(tag, command, result.modified, selection)
        } else if gone, !command.byUID {
            throw .no("[EXPUNGEISSUED] Some messages are gone")
        } else {
            writer.line(tag, "OK STORE completed")
        }
    }

    /// FETCH responses for what STORE changed.
    ///
    /// - Returns: true if a message is gone.
    private func tellStored(
        _ command: StoreCommand, _ uids: [UInt32], _ refused: Set<UInt32>, _ selection: Selection
    ) async throws(Failure) -> Bool {
        var gone = false
        for uid in uids {
            if selection.view.isVanished(uid) {
                gone = true
                continue
            }
            // Silent, but the new MODSEQ is told (RFC 7162 §3.1.3)
            guard !command.isSilent || condstore else { continue }
            guard let index = selection.view.index(of: uid), !refused.contains(uid) else {
                continue
            }
            writer.flagUpdate(
                number: UInt32(index) + 1, selection.view.entries[index],
                keywords: selection.view.keywords, withUID: command.byUID || condstore,
                withFlags: !command.isSilent, withModSeq: condstore)
            try await drainOutput()
        }
        return gone
    }

    /// `OK [MODIFIED set]`: numbers in a STORE, UIDs in a UID STORE.
    private func writeModified(
        _ tag: [UInt8], _ command: StoreCommand, _ modified: [UInt32], _ selection: Selection
    ) {
        var numbers = modified.sorted()
        if !command.byUID {
            numbers = numbers.compactMap { selection.view.index(of: $0).map { UInt32($0) + 1 } }
        }
        writer.write(tag)
        writer.write(" OK [MODIFIED ")
        writer.with { SequenceSet.append(inOrder: numbers, to: &$0) }
        writer.write("] Some messages were changed meanwhile\r\n")
    }

    /// The UIDs that a set means in the view, rising.
    func uids(
        _ set: SequenceSet, byUID: Bool, in selection: Selection
    ) throws(Failure) -> [UInt32] {
        guard let ranges = selection.view.indexes(set, byUID: byUID) else {
            throw .bad("No such message")
        }
        return ranges.flatMap { selection.view.entries[$0].map(\.uid) }
    }

    // MARK: - COPY and MOVE

    func copy(
        _ tag: [UInt8], _ set: SequenceSet, to wire: [UInt8], move: Bool, byUID: Bool
    ) async throws(Failure) {
        _ = try requireSelection()
        // Numbers are those that the client knows: nothing may move before they are resolved
        try await synchronize(expunges: byUID)
        let (store, selection) = try requireSelection()
        if move, selection.isReadOnly { throw .no("[READ-ONLY] Mailbox is read-only") }
        let name = try mailboxName(wire)
        let uids = try uids(set, byUID: byUID, in: selection)
        guard !uids.isEmpty else {
            writer.line(tag, "OK No messages")
            return
        }
        let id = selection.view.id
        let result: CopyResult
        do throws(StoreFailure) {
            result = try await store.copy(
                id, uids: UIDRange.ranges(of: uids), to: name, move: move)
        } catch {
            if error == .noSuchMailbox { throw .no("[TRYCREATE] No such mailbox") }
            throw .store(error)
        }
        viewIsBehind()
        if move {
            // RFC 6851 §4.3: COPYUID comes before the EXPUNGEs
            if !result.source.isEmpty, isOffered(.uidPlus) {
                writer.write("* OK ")
                writeCopied(result)
                writer.write("Moved\r\n")
            }
            selection.view.expunged(result.source)
            tell(selection, expunges: true)
            writer.line(tag, "OK MOVE completed")
            return
        }
        if selection.name == name { try await synchronize(expunges: byUID) }
        if result.source.isEmpty, !byUID {
            throw .no("[EXPUNGEISSUED] Messages are gone")
        }
        writer.write(tag)
        writer.write(" OK ")
        if !result.source.isEmpty, isOffered(.uidPlus) { writeCopied(result) }
        writer.write("COPY completed\r\n")
    }

    private func writeCopied(_ result: CopyResult) {
        writer.write("[COPYUID ")
        writer.write(result.uidValidity)
        writer.write(" ")
        writer.with { SequenceSet.append(inOrder: result.source, to: &$0) }
        writer.write(" ")
        writer.with { SequenceSet.append(inOrder: result.destination, to: &$0) }
        writer.write("] ")
    }

    // MARK: - EXPUNGE

    func expunge(_ tag: [UInt8], _ set: SequenceSet?) async throws(Failure) {
        try await synchronize(expunges: true)
        let (store, selection) = try requireSelection()
        guard !selection.isReadOnly else { throw .no("[READ-ONLY] Mailbox is read-only") }
        var ranges: [UIDRange]?
        if let set {
            let uids = try uids(set, byUID: true, in: selection)
            guard !uids.isEmpty else {
                writer.line(tag, "OK No messages")
                return
            }
            ranges = UIDRange.ranges(of: uids)
        }
        let id = selection.view.id
        let wanted = ranges
        let result = try await asking { () async throws(StoreFailure) in
            try await store.expunge(id, uids: wanted)
        }
        selection.view.expunged(result.uids)
        guard condstore, !result.uids.isEmpty else {
            tell(selection, expunges: true)
            writer.line(tag, "OK EXPUNGE completed")
            return
        }
        // RFC 7162 §3.2.7. What others changed meanwhile is told before, so that the client knows
        // everything up to the MODSEQ that it is given
        try await update(store, selection)
        tell(selection, expunges: true)
        writeHighest(tag, selection, "EXPUNGE completed")
    }
}

extension StoreCommand {
    /// The flags that a client takes a message to have after this command.
    func flagsAfter(_ before: Flags, _ keywords: [[UInt8]]) -> Flags {
        var named = flags.system
        for keyword in flags.keywords {
            let number = keywords.firstIndex { $0.equalsIgnoringASCIICase(keyword) }
            guard let number else { continue }
            named.insert(.keyword(number))
        }
        switch operation {
        case .add: return before.union(named)
        case .remove: return before.subtracting(named)
        case .replace: return before.contains(.recent) ? named.union(.recent) : named
        }
    }
}
