// SPDX-License-Identifier: Apache-2.0
//
// The selected mailbox as one client knows it: which message has which number. RFC 3501 §2.3.1.2,
// §5.2, §7.3, §7.4.1; RFC 7162 for MODSEQ. The store's changes come in, and untagged responses go
// out when the protocol allows them.

import Bytes
import Mail

/// A pure value: 32 octets per message and nothing else per message.
package struct ClientView {
    package let id: MailboxID
    package let uidValidity: UInt32
    package private(set) var uidNext: UInt32
    /// The store's state up to which this view has been brought.
    package private(set) var highestModSeq: UInt64
    package private(set) var keywords: [[UInt8]]
    /// By rising UID; the message at index i has the number i + 1. Messages that are gone stay
    /// until their EXPUNGE was told. `flags` may have `.recent`.
    package private(set) var entries: [MessageEntry]

    /// Gone from the store, EXPUNGE not yet told. Rising.
    private var vanished: [UInt32] = []
    /// New flags or MODSEQ not yet told. Rising.
    private var altered: [UInt32] = []
    /// The count of the last EXISTS told, less the EXPUNGEs told since.
    private var toldMessages: UInt32
    private var keywordsAreNew = false
    /// CONDSTORE is on in this session: a new MODSEQ is news too (RFC 7162 §3.2).
    package var tellsModSeq = false
    /// QRESYNC is on: VANISHED in place of EXPUNGE (RFC 7162 §3.2.10).
    package var tellsVanished = false
    /// `\\Recent` and RECENT are not there in IMAP4rev2 (RFC 9051, appendix E).
    private var knowsRecent = true
    /// What `$` means (RFC 5182): UIDs that the last SEARCH with SAVE found. Those that are gone
    /// are in no view any more, so nobody needs to take them out.
    package var saved: [UIDRange] = []

    /// - Parameter recent: which messages are `\Recent` in this session.
    package init(_ snapshot: MailboxSnapshot, recent: (MessageEntry) -> Bool) {
        id = snapshot.id
        uidValidity = snapshot.uidValidity
        uidNext = snapshot.uidNext
        highestModSeq = snapshot.highestModSeq
        keywords = snapshot.keywords
        entries = snapshot.entries
        toldMessages = UInt32(snapshot.entries.count)
        for index in entries.indices where recent(entries[index]) { markRecent(index) }
    }

    /// - Parameter floor: messages from this UID on are `\Recent` in this session; nil: those
    ///   without `\Seen` are.
    package init(_ snapshot: MailboxSnapshot, recentFrom floor: UInt32?) {
        self.init(snapshot) { _ in false }
        markRecent(from: floor)
    }

    /// Selects the mailbox anew as this view has it now.
    package mutating func reselect(recentFrom floor: UInt32?) {
        if !vanished.isEmpty {
            entries.removeAll { vanished.holds($0.uid) }
            vanished = []
        }
        altered = []
        saved = []
        keywordsAreNew = false
        toldMessages = messages
        if recentCount > 0 {
            for index in entries.indices { entries[index].flags.remove(.recent) }
            recentCount = 0
        }
        markRecent(from: floor)
    }

    private mutating func markRecent(from floor: UInt32?) {
        for index in (floor.map { lowerBound($0) } ?? 0)..<entries.count
        where floor != nil || !entries[index].flags.contains(.seen) {
            markRecent(index)
        }
    }

    /// The client has turned IMAP4rev2 on.
    package mutating func forgetRecent() {
        knowsRecent = false
        for index in entries.indices { entries[index].flags.remove(.recent) }
        recentCount = 0
    }

    private mutating func markRecent(_ index: Int) {
        guard knowsRecent else { return }
        entries[index].flags.insert(.recent)
        recentCount += 1
    }

    package var messages: UInt32 { UInt32(entries.count) }
    package var largestUID: UInt32 { entries.last?.uid ?? 0 }
    package private(set) var recentCount: UInt32 = 0
    /// The number of the first message without `\Seen`.
    package var firstUnseen: UInt32? {
        entries.firstIndex { !$0.flags.contains(.seen) }.map { UInt32($0) + 1 }
    }
    /// True if there is an EXPUNGE that the client was not told.
    package var hasUntoldExpunges: Bool { !vanished.isEmpty }

    /// The first index whose UID is not less than `uid`.
    package func lowerBound(_ uid: UInt32) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].uid < uid { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The index of a message, told or not told to be gone.
    package func index(of uid: UInt32) -> Int? {
        let index = lowerBound(uid)
        return index < entries.count && entries[index].uid == uid ? index : nil
    }

    /// True if the store does not have it any more although the client still counts it.
    package func isVanished(_ uid: UInt32) -> Bool { vanished.holds(uid) }

    /// Indexes that a set means, rising.
    ///
    /// - Returns: nil if it names a number beyond the last message (RFC 3501 §9, seq-number).
    package func indexes(_ set: SequenceSet, byUID: Bool) -> [Range<Int>]? {
        if byUID || set.isSaved {
            var ranges: [Range<Int>] = []
            for range in set.isSaved ? saved : set.resolved(largest: largestUID) {
                let start = lowerBound(range.first)
                let end = range.last == .max ? entries.count : lowerBound(range.last + 1)
                if start < end { ranges.append(start..<end) }
            }
            return ranges
        }
        guard set.greatestNumber <= messages || entries.isEmpty && set.hasStar else { return nil }
        guard !entries.isEmpty else { return [] }
        return set.resolved(largest: messages).map { Int($0.first) - 1..<Int($0.last) }
    }
}

extension [UInt32] {
    /// Whether `uid` is in it; it must rise.
    fileprivate func holds(_ uid: UInt32) -> Bool {
        let index = position(of: uid)
        return index < count && self[index] == uid
    }

    fileprivate func position(of uid: UInt32) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < uid { low = middle + 1 } else { high = middle }
        }
        return low
    }

    fileprivate mutating func insertRising(_ uid: UInt32) {
        if let last, last >= uid {
            let index = position(of: uid)
            if self[index] != uid { insert(uid, at: index) }
        } else {
            append(uid)
        }
    }
}

extension ClientView {
    /// Takes what happened in the store. Nothing is told yet.
    ///
    /// - Parameter recent: whether new messages are `\Recent` in this session.
    package mutating func apply(_ changes: MailboxChanges, recent: (MessageEntry) -> Bool) {
        if changes.keywords != keywords {
            keywords = changes.keywords
            keywordsAreNew = true
        }
        var alteredNow: [UInt32] = []
        for entry in changes.entries {
            if entry.uid >= uidNext {
                entries.append(entry)
                if recent(entry) { markRecent(entries.count - 1) }
            } else if let index = index(of: entry.uid) {
                if replace(at: index, with: entry) { alteredNow.append(entry.uid) }
            }
            // Any other UID was told as expunged: it stays gone.
        }
        altered.merge(rising: alteredNow)
        vanished.merge(rising: changes.vanished.filter { index(of: $0) != nil })
        uidNext = max(uidNext, changes.uidNext)
        highestModSeq = max(highestModSeq, changes.highestModSeq)
    }

    /// - Returns: true if the client has not seen it so.
    private mutating func replace(at index: Int, with entry: MessageEntry) -> Bool {
        let old = entries[index]
        // Answers to this session's own requests and changes() overlap: the later state stays.
        guard entry.modSeq > old.modSeq else { return false }
        var new = entry
        if old.flags.contains(.recent) { new.flags.insert(.recent) }
        entries[index] = new
        return tellsModSeq || new.flags != old.flags
    }

    /// Takes the result of this session's own STORE: what the client is told is up to the caller.
    ///
    /// - Parameter silently: what the client takes for granted without being told (`.SILENT`,
    ///   RFC 3501 §6.4.6). Where somebody else changed a message too, it is told nevertheless.
    package mutating func stored(
        _ changed: [MessageEntry], keywords table: [[UInt8]],
        silently assumed: ((Flags, [[UInt8]]) -> Flags)? = nil
    ) {
        if table != keywords {
            keywords = table
            keywordsAreNew = true
        }
        var told: Set<UInt32> = []
        for entry in changed {
            guard let index = index(of: entry.uid) else { continue }
            let expected = assumed?(entries[index].flags, keywords)
            _ = replace(at: index, with: entry)
            // What was untold before is told with this change in it
            if let expected, expected != entries[index].flags || altered.holds(entry.uid) {
                altered.merge(rising: [entry.uid])
            } else {
                told.insert(entry.uid)
            }
        }
        if !told.isEmpty { altered.removeAll { told.contains($0) } }
    }

    /// Takes the result of this session's own EXPUNGE or MOVE.
    package mutating func expunged(_ uids: [UInt32]) {
        vanished.merge(rising: uids.filter { index(of: $0) != nil })
    }

    /// What a session may be told at this moment.
    package struct Permission: Sendable {
        /// Not while FETCH, STORE or SEARCH without UID are answered (§7.4.1).
        package var expunges: Bool
        package var isReadOnly: Bool
        /// NOTIFY may have asked for no flags (RFC 5465 §5).
        package var flags = true

        package init(expunges: Bool, isReadOnly: Bool, flags: Bool = true) {
            self.flags = flags
            self.expunges = expunges
            self.isReadOnly = isReadOnly
        }
    }

    /// Tells everything that may be told: flags the client does not know, EXPUNGE, EXISTS and
    /// RECENT, FETCH.
    package mutating func tell(_ permission: Permission, to writer: inout ResponseWriter) {
        if keywordsAreNew {
            keywordsAreNew = false
            writer.keywordsChanged()
            writer.flagTable(keywords: keywords, isReadOnly: permission.isReadOnly)
        }
        if permission.expunges, !vanished.isEmpty { tellExpunges(to: &writer) }
        if messages != toldMessages {
            toldMessages = messages
            writer.write("* ")
            writer.write(messages)
            writer.write(" EXISTS\r\n")
            if knowsRecent {
                writer.write("* ")
                writer.write(recentCount)
                writer.write(" RECENT\r\n")
            }
        }
        guard permission.flags, !altered.isEmpty else { return }
        for uid in altered {
            guard let index = index(of: uid), !vanished.holds(uid) else { continue }
            writer.flagUpdate(
                number: UInt32(index) + 1, entries[index], keywords: keywords, withUID: true,
                withFlags: true, withModSeq: tellsModSeq)
        }
        altered = []
    }

    /// From the highest number down, so that no number changes before it is told.
    private mutating func tellExpunges(to writer: inout ResponseWriter) {
        let gone = vanished.compactMap { index(of: $0) }
        let counted = gone.filter { UInt32($0) < toldMessages }
        if tellsVanished, !counted.isEmpty {
            writer.write("* VANISHED ")
            let uids = UIDRange.ranges(of: counted.map { entries[$0].uid })
            writer.with { SequenceSet.append(uids, to: &$0) }
            writer.write("\r\n")
            toldMessages -= UInt32(counted.count)
        }
        for index in gone.reversed() where !tellsVanished {
            // Messages behind the last EXISTS were never counted by the client.
            guard UInt32(index) < toldMessages else { continue }
            writer.write("* ")
            writer.write(UInt32(index) + 1)
            writer.write(" EXPUNGE\r\n")
            toldMessages -= 1
        }
        var next = 0
        var write = gone.first ?? entries.count
        for read in write..<entries.count {
            if next < gone.count, gone[next] == read {
                next += 1
                if entries[read].flags.contains(.recent) { recentCount -= 1 }
                continue
            }
            entries[write] = entries[read]
            write += 1
        }
        entries.removeLast(entries.count - write)
        vanished = []
    }
}

extension [UInt32] {
    /// Adds `others`, which rise as this does.
    fileprivate mutating func merge(rising others: [UInt32]) {
        guard let first = others.first else { return }
        if let last, last >= first {
            if others.count < 8 {
                for uid in others { insertRising(uid) }
                return
            }
            var merged: [UInt32] = []
            merged.reserveCapacity(count + others.count)
            var (left, right) = (0, 0)
            while left < count || right < others.count {
                if right == others.count || left < count && self[left] < others[right] {
                    merged.append(self[left])
                    left += 1
                } else {
                    if left < count, self[left] == others[right] { left += 1 }
                    merged.append(others[right])
                    right += 1
                }
            }
            self = merged
        } else {
            append(contentsOf: others)
        }
    }
}
