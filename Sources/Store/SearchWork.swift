// SPDX-License-Identifier: Apache-2.0
//
// Searching an account's messages, and keeping its search index up to date: what runs on the
// account's lane. Nothing here fails because of the index: without it messages are read.
// RFC 9051 §6.4.4; docs/store.md.

import Bytes
import MIME
import Mail

/// How far the indexer has looked through a mailbox.
struct SearchPass {
    var mailbox: MailboxID?
    /// UIDs below were looked at.
    var next: UInt32 = 1
    /// Messages found that are not indexed.
    var pending: [(uid: UInt32, size: UInt32)] = []
    /// UIDNEXT when everything below it was found indexed.
    var complete: [MailboxID: UInt32] = [:]
    /// Messages of each segment that are still in the mailbox.
    var alive: [Int64: Int] = [:]
}

/// What the indexer has to do next.
package enum SearchWork: Sendable {
    /// Read these messages and put them into a segment, together with some earlier ones.
    case index(MailboxID, [(uid: UInt32, size: UInt32)], merge: [StoredSegment])
    /// Ask again: the lane should do something else in between.
    case again
}

extension AccountStore {
    /// Rows that one call looks through.
    private static let windowRows = 50_000
    /// Keys that one message is expected to have, to guess how much fits into a segment.
    private static let expectedPairs = 1_500

    // MARK: - Searching

    /// What the index says about a query; without one every message is open.
    ///
    /// - Parameter usesIndex: false: as if there were none.
    package func searchPlan(
        _ id: MailboxID, uids: [UIDRange], _ query: TextQuery, usesIndex: Bool
    ) throws(StoreError) -> SearchPlan {
        try guarded { () throws(StoreError) in
            let folder: Folder
            if let opened = openedFolder(id) {
                folder = opened
            } else {
                folder = try self.folder(id)
            }
            let entries = try entries(of: folder)
            guard let first = uids.first?.first, let last = uids.last?.last else {
                return SearchPlan()
            }
            let start = entries.partitioningIndex { $0.uid >= first }
            let end = entries.partitioningIndex { $0.uid > last }
            let wanted = entries[start..<max(start, end)]
            let isWhole = uids.count == 1
            func isWanted(_ uid: UInt32) -> Bool { isWhole || uids.contains(uid: uid) }
            if usesIndex, !wanted.isEmpty {
                let plan = withSearchIndex { index throws(StoreError) in
                    try index.plan(id, wanted, isWanted: isWanted, query)
                }
                if let plan { return plan }
            }
            return SearchPlan(open: wanted.lazy.map(\.uid).filter { isWanted($0) })
        }
    }

    /// How far the index is.
    package func searchState(usesIndex: Bool) throws(StoreError) -> (
        messages: UInt64, indexed: UInt64, opaque: UInt64, octets: UInt64, source: UInt64,
        segments: Int
    ) {
        let messages = try totals().messages
        var size: UInt64 = 0
        for name in SearchIndex.files {
            let status = try System.status(PathOctets(name), in: account.descriptor)
            size += UInt64(clamping: status?.size ?? 0)
        }
        return try guarded { () throws(StoreError) in
            let totals = withSearchIndex { index throws(StoreError) in try index.totals() }
            guard usesIndex, let totals else { return (messages, 0, 0, size, 0, 0) }
            return (
                messages, totals.messages, totals.opaque, size, totals.octets, totals.segments
            )
        }
    }

    /// Throws the index away; the next work makes it again.
    package func dropSearchIndex() throws(StoreError) {
        searchIndex = nil
        try SearchIndex.remove(in: account.descriptor)
    }

    // MARK: - Indexing

    /// What is to be done for the index; nil if nothing is.
    ///
    /// - Parameter minimum: messages that are not worth a segment; until there are more they are
    ///   read when somebody searches.
    package func searchWork(minimum: Int) throws(StoreError) -> SearchWork? {
        try guarded { () throws(StoreError) in
            let mailboxes = try uidNextOfMailboxes()
            let work = withSearchIndex { index throws(StoreError) -> SearchWork? in
                for gone in try index.mailboxes() where mailboxes[gone] == nil {
                    if try index.removeSegment(of: gone) { return .again }
                }
                let ids = mailboxes.keys.sorted { $0.rawValue < $1.rawValue }
                for id in ids {
                    guard let uidNext = mailboxes[id], index.pass.complete[id] != uidNext else {
                        continue
                    }
                    if let work = try look(in: index, id, uidNext, minimum: minimum) {
                        return work
                    }
                }
                return nil
            }
            guard let found = work ?? nil else {
                searchIndex = nil  // open only while it is of use: accounts are many
                return nil
            }
            return found
        }
    }

    /// Puts a finished segment in the place of those merged into it.
    ///
    /// - Parameter attempted: messages that were to be in it; some may have been gone.
    /// - Returns: false if the index was made anew in between: then nothing was done.
    package func commitSearch(
        _ segment: EncodedSegment, attempted: [UInt32], replacing old: [StoredSegment]
    ) throws(StoreError) -> Bool {
        try guarded { () throws(StoreError) in
            let isDone = withSearchIndex { index throws(StoreError) in
                let isDone = try index.write(segment, replacing: old.map(\.id))
                let fresh = Set(attempted)
                index.pass.pending.removeAll { fresh.contains($0.uid) }
                for segment in old { index.pass.alive[segment.id] = nil }
                if !isDone { index.pass = SearchPass() }
                return isDone
            }
            return isDone ?? false
        }
    }

    private func uidNextOfMailboxes() throws(StoreError) -> [MailboxID: UInt32] {
        var rows: [MailboxID: UInt32] = [:]
        for row in try self.index.mailboxes() {
            rows[row.id] = try self.index.storedUIDNext(row.id)
        }
        return rows
    }

    /// Looks on through a mailbox for messages that are not indexed.
    private func look(
        in index: SearchIndex, _ id: MailboxID, _ uidNext: UInt32, minimum: Int
    ) throws(StoreError) -> SearchWork? {
        let earlier = index.pass
        if earlier.mailbox != id {
            index.pass = SearchPass()
            index.pass.complete = earlier.complete
            index.pass.mailbox = id
        }
        let segments = try index.segments(of: id)
        if index.pass.pending.count < SegmentDraft.documentLimit, index.pass.next < uidNext {
            let rows = try window(id, from: index.pass.next)
            try note(rows, segments, in: index)
            if rows.count == Self.windowRows, let last = rows.last {
                index.pass.next = last.uid &+ 1
                if index.pass.pending.count < SegmentDraft.documentLimit { return .again }
            } else {
                index.pass.next = uidNext
            }
        }
        let pending = index.pass.pending.prefix(SegmentDraft.documentLimit)
        if pending.count >= max(1, minimum) {
            let merge = try mergeable(with: pending.count, segments, in: index)
            return .index(id, Array(pending), merge: merge)
        }
        // All looked at: a segment of which most is gone is written again without it.
        for segment in segments where segment.documents.count >= 16 {
            guard let alive = index.pass.alive[segment.id],
                alive * 2 < segment.documents.count
            else { continue }
            return .index(id, [], merge: [try load(segment, id, from: index)])
        }
        if pending.isEmpty { index.pass.complete[id] = uidNext }
        index.pass.mailbox = nil
        return nil
    }

    private func window(_ id: MailboxID, from: UInt32) throws(StoreError) -> [MessageEntry] {
        try index.entries(id, UIDRange(from, .max), limit: Self.windowRows)
    }

    private func note(
        _ rows: [MessageEntry], _ segments: [SearchIndex.Segment], in index: SearchIndex
    ) throws(StoreError) {
        var isCovered = [Bool](repeating: false, count: rows.count)
        for segment in segments {
            var finder = EntryFinder(rows[...])
            var alive = 0
            for document in segment.documents {
                guard let place = finder.find(document) else { continue }
                isCovered[place] = true
                alive += 1
            }
            index.pass.alive[segment.id, default: 0] += alive
        }
        for (place, row) in rows.enumerated() where !isCovered[place] {
            index.pass.pending.append((row.uid, row.size))
        }
    }

    /// The last segments, as long as they are small beside what they are merged with: each message
    /// is written again a few times at most.
    private func mergeable(
        with count: Int, _ segments: [SearchIndex.Segment], in index: SearchIndex
    ) throws(StoreError) -> [StoredSegment] {
        var messages = count
        var pairs = count * Self.expectedPairs
        var merge: [StoredSegment] = []
        for segment in segments.reversed() {
            guard segment.documents.count <= 2 * messages,
                messages + segment.documents.count <= SegmentDraft.documentLimit,
                pairs + segment.pairs <= SegmentDraft.pairLimit, merge.count < 64,
                let id = index.pass.mailbox
            else { break }
            messages += segment.documents.count
            pairs += segment.pairs
            merge.append(try load(segment, id, from: index))
        }
        return merge.reversed()
    }

    private func load(
        _ segment: SearchIndex.Segment, _ id: MailboxID, from index: SearchIndex
    ) throws(StoreError) -> StoredSegment {
        var isAlive: [Bool] = []
        for document in segment.documents {
            isAlive.append(try self.index.entry(id, document.uid)?.size == document.size)
        }
        return try index.load(segment, isAlive: isAlive)
    }

    // MARK: - The index's file

    /// Runs `body` with the index, opened or made if need be. Nil if it cannot be used: then it
    /// is removed, unless another process holds it or the disk is full.
    private func withSearchIndex<Result>(
        _ body: (SearchIndex) throws(StoreError) -> Result
    ) -> Result? {
        do throws(StoreError) {
            if let index = searchIndex, try !index.isCurrent(in: account.descriptor) {
                searchIndex = nil
            }
            if let index = searchIndex { return try body(index) }
            let index = try SearchIndex.open(in: account.descriptor, path: path)
            searchIndex = index
            return try body(index)
        } catch {
            searchIndex = nil
            noteSearchFailure(error)
            return nil
        }
    }

    private func noteSearchFailure(_ error: StoreError) {
        switch error {
        case .inUse, .noSpace: notify(.searchUnusable, "\(error)")
        default:
            do throws(StoreError) {
                try SearchIndex.remove(in: account.descriptor)
                notify(.searchUnusable, "removed: \(error)")
            } catch {
                notify(.searchUnusable, "\(error)")
            }
        }
    }
}

extension [UIDRange] {
    fileprivate func contains(uid: UInt32) -> Bool {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = low + (high - low) / 2
            if self[middle].last < uid { low = middle + 1 } else { high = middle }
        }
        return low < endIndex && self[low].first <= uid
    }
}

extension [MessageEntry] {
    /// The first place where `isRight` holds; it holds for all behind it.
    fileprivate func partitioningIndex(_ isRight: (MessageEntry) -> Bool) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = low + (high - low) / 2
            if isRight(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
