// SPDX-License-Identifier: Apache-2.0
//
// What a client that was here before has missed: SELECT with QRESYNC, UID FETCH with VANISHED.
// RFC 7162 §3.2.5, §3.2.6. The store knows which messages are gone since a MODSEQ; where it has
// forgotten, it names every UID that does not exist, and a client is told more than it needs.

import Bytes
import IMAP
import Mail
import StoreClient
import Transport
import Wire

/// What SELECT tells beyond the mailbox as it is.
struct ResyncNews {
    /// Rising and not in the view.
    var vanished: [UIDRange]
    /// Messages with a MODSEQ above this are told.
    var since: UInt64
    /// Of these only; nil: of all.
    var known: [UIDRange]?
}

extension Session {
    /// Asks what happened since the client was here, and brings the view to that moment.
    /// Nil: it knows another mailbox of this name, and must forget it (§3.2.5.1).
    func news(
        _ resync: Resynchronization, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> ResyncNews? {
        guard resync.uidValidity == selection.view.uidValidity else { return nil }
        // A MODSEQ that the mailbox never had is of no use: everything is told
        let since = resync.modSeq > selection.view.highestModSeq ? 0 : resync.modSeq
        let vanished = try await vanished(since: since, store, selection)
        // What is gone since the mailbox was opened is gone before it is counted
        selection.view.reselect(recentFrom: isRevision2 ? .max : selection.floor)
        let known = resync.known?.resolved(largest: 0)
        let matched = resync.matchedUID(in: selection.view)
        let view = selection.view
        let news = vanished.filter { uid in
            uid > matched && (known?.holds(uid) ?? true) && view.index(of: uid) == nil
        }
        return ResyncNews(vanished: UIDRange.ranges(of: news), since: since, known: known)
    }

    /// The UIDs that are gone since a MODSEQ, rising, as of the view after it.
    private func vanished(
        since: UInt64, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> [UInt32] {
        let changes = try await update(store, selection, since: since)
        return changes.vanished.sorted()
    }

    func write(_ news: ResyncNews, _ selection: Selection) async throws(Failure) {
        writeEarlier(news.vanished)
        var index = 0
        while index < selection.view.entries.count {
            let entry = selection.view.entries[index]
            index += 1
            guard entry.modSeq > news.since, news.known?.holds(entry.uid) ?? true else { continue }
            writer.flagUpdate(
                number: UInt32(index), entry, keywords: selection.view.keywords, withUID: true,
                withFlags: true, withModSeq: true)
            try await drainOutput()
        }
    }

    private func writeEarlier(_ vanished: [UIDRange]) {
        guard !vanished.isEmpty else { return }
        writer.write("* VANISHED (EARLIER) ")
        writer.with { SequenceSet.append(vanished, to: &$0) }
        writer.write("\r\n")
    }

    /// `UID FETCH set (...) (CHANGEDSINCE n VANISHED)`: before the FETCH responses.
    func tellVanished(
        _ command: FetchCommand, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) {
        guard command.tellsVanished, let asked = command.changedSince else { return }
        guard qresync else { throw .bad("QRESYNC is not enabled") }
        let since = asked > selection.view.highestModSeq ? 0 : asked
        let set = command.set.resolved(largest: max(1, selection.view.uidNext) - 1)
        let vanished = try await vanished(since: since, store, selection)
        // Those that the client still counts will be told as VANISHED without EARLIER
        let view = selection.view
        writeEarlier(
            UIDRange.ranges(of: vanished.filter { set.holds($0) && view.index(of: $0) == nil }))
    }

    /// The tagged OK of what expunged: the client knows everything up to that MODSEQ now.
    func writeHighest(_ tag: [UInt8], _ selection: Selection, _ text: StaticString) {
        writer.write(tag)
        writer.write(" OK [HIGHESTMODSEQ ")
        writer.write(selection.view.highestModSeq)
        writer.write("] ")
        writer.write(text)
        writer.write("\r\n")
    }
}
