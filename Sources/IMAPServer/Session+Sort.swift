// SPDX-License-Identifier: Apache-2.0
//
// SORT and THREAD: the store sends what it keeps of each message for them, here only what is
// compared is held, a few words for each. RFC 5256; RFC 5957; RFC 5267 §3.

import Bytes
import IMAP
import MIME
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    func sort(_ tag: [UInt8], _ command: SortCommand) async throws(Failure) {
        let (found, store, selection) = try await run(command.program)
        let sorted = try await sort(found, command.order, store, selection)
        try await answer(tag, sorted, command.program, "SORT", byUID: command.byUID, selection)
        follow(
            tag, sorted, command.program, command.order, byUID: command.byUID, selection)
        if command.byUID { tell(selection, expunges: true) }
        writer.line(tag, "OK SORT completed")
    }

    /// - Parameter found: indexes of the view, rising.
    /// - Returns: the same in their order.
    func sort(
        _ found: [Int], _ order: [SortCriterion], _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> [Int] {
        var columns = SortColumns(order, count: found.count)
        if columns.needsHeaders {
            try await collect(found, into: &columns, store, selection)
        } else {
            let nothing: [UInt8] = []
            for (place, index) in found.enumerated() {
                columns.add(place, selection.view.entries[index], ListKeyRow(), nothing.span)
            }
        }
        return columns.sorted().map { found[$0] }
    }

    func thread(_ tag: [UInt8], _ command: ThreadCommand) async throws(Failure) {
        let (found, store, selection) = try await run(command.program)
        let numbers = found.map { index in
            command.byUID ? selection.view.entries[index].uid : UInt32(index) + 1
        }
        var builder = ThreadBuilder(command.algorithm, numbers: numbers)
        try await collect(found, into: &builder, store, selection)
        var threads = ThreadForest.Writer(builder.finish())
        writer.write("* THREAD")
        if !found.isEmpty { writer.write(" ") }
        while writer.with({ threads.append(to: &$0, limit: Self.outputLimit) }) {
            emit()
            try await drainOutput()
        }
        writer.write("\r\n")
        if command.byUID { tell(selection, expunges: true) }
        writer.line(tag, "OK THREAD completed")
    }

    /// Gives the keys of messages to `collector`; those of messages that are gone are empty.
    ///
    /// - Parameter indexes: of the view, rising.
    private func collect<Collector: KeyCollector>(
        _ indexes: [Int], into collector: inout Collector, _ store: MailboxSession,
        _ selection: Selection
    ) async throws(Failure) {
        let uids = indexes.map { selection.view.entries[$0].uid }
        let stream = store.summaries(selection.view.id, uids: uids, .keys)
        /// Places whose keys are not kept.
        var missing: [Int] = []
        var next = 0
        while let rows = try await nextRows(stream) {
            var reader = SummaryReader(.keys)
            while let row = reader.next(rows.span) {
                while next < uids.count, uids[next] < row.uid {
                    missing.append(next)
                    next += 1
                }
                guard next < uids.count, uids[next] == row.uid else { continue }
                if !row.keys.isEmpty, let keys = ListKeyRow(rows.span, row.keys) {
                    collector.add(
                        next, selection.view.entries[indexes[next]], keys, rows.span)
                } else {
                    missing.append(next)
                }
                next += 1
            }
            guard !reader.isBroken else { throw .store(.unavailable) }
        }
        missing += next..<uids.count
        guard !missing.isEmpty else { return }
        try await collectHeaders(missing, indexes, into: &collector, store, selection)
    }

    /// The same from the messages themselves.
    private func collectHeaders<Collector: KeyCollector>(
        _ places: [Int], _ indexes: [Int], into collector: inout Collector,
        _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) {
        let uids = places.map { selection.view.entries[indexes[$0]].uid }
        let reader = store.read(selection.view.id, uids: uids, part: .header)
        var next = 0
        let nothing: [UInt8] = []
        while let message = try await self.next(reader) {
            let uid = message.uid
            while next < uids.count, uids[next] < uid {
                let entry = selection.view.entries[indexes[places[next]]]
                collector.add(places[next], entry, ListKeyRow(), nothing.span)
                next += 1
            }
            guard next < uids.count, uids[next] == uid else { continue }
            let entry = selection.view.entries[indexes[places[next]]]
            var packed = nothing
            // A header of more than half a megabyte comes as a file, and is not sorted by
            if case .inline(let header) = message.takeBody() {
                packed = ListKeys(header.span, 0..<header.count).packed
            }
            let keys = ListKeyRow(packed.span, 0..<packed.count) ?? ListKeyRow()
            collector.add(places[next], entry, keys, packed.span)
            next += 1
        }
        for place in places[next...] {
            let entry = selection.view.entries[indexes[place]]
            collector.add(place, entry, ListKeyRow(), nothing.span)
        }
    }
}
