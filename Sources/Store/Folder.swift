// SPDX-License-Identifier: Apache-2.0
//
// One open folder of an account: its directories, its counters, and what other programs may have
// done to it. RFC 9051 §2.3.1.1 (UIDs), RFC 7162 §3.1.1 (MODSEQ).

import Mail

/// A mailbox's row and open directories, while they are in use.
final class Folder: NumberKeeper {
    /// What the index gives out.
    let numbers: SQLiteMailbox
    var name: MailboxName
    /// Below the Maildir; empty for INBOX.
    var directory: PathOctets
    let blobs: MaildirBlobs
    var state: FolderState
    var keywords: KeywordTable
    var currentTime: Int64
    var newTime: Int64
    /// The times above are in the row.
    var isTimeStored = true
    /// The rows may be older than the directory (index lost or restored): UIDs below the mark may
    /// have been given out, and every client must look at everything again.
    var isBehind = false
    /// Files are being taken in: the rows are not complete.
    var adopting: Adopting?
    /// The newest rows may have been lost in a power cut: UIDs below the mark may have been seen.
    var hasLostRows = false
    /// A comparison has taken away all that was doomed, also what waited for the background.
    var doomsAreDone = false
    /// cur/ must be compared with the rows before it is used again.
    var needsScan = false
    var lastUse: UInt64 = 0

    /// Changes since `recentStart`, by rising MODSEQ: spares a scan of all rows per event.
    private(set) var recent: [(modSeq: UInt64, uid: UInt32)] = []
    private(set) var recentStart: UInt64
    private static let recentLimit = 8_192

    /// The last snapshot, valid while MODSEQ stays.
    var image: (modSeq: UInt64, entries: [MessageEntry])?
    static let imageLimit = 200_000
    var counts: (modSeq: UInt64, totals: MailboxTotals)?

    init(
        _ numbers: SQLiteMailbox, name: MailboxName, directory: PathOctets, blobs: MaildirBlobs,
        state: FolderState, keywords: KeywordTable
    ) {
        self.numbers = numbers
        self.name = name
        self.directory = directory
        self.blobs = blobs
        self.state = state
        self.keywords = keywords
        currentTime = numbers.marks.currentTime
        newTime = numbers.marks.newTime
        recentStart = numbers.modSeq
        numbers.keeper = self
    }

    var id: MailboxID { numbers.id }

    var uidNext: UInt32 {
        get { numbers.uidNext }
        set { numbers.uidNext = newValue }
    }

    var modSeq: UInt64 {
        get { numbers.modSeq }
        set { numbers.modSeq = newValue }
    }

    /// Expunges up to this MODSEQ are forgotten.
    var floor: UInt64 {
        get { numbers.floor }
        set { numbers.floor = newValue }
    }

    var uidValidity: UInt32 { state.uidValidity }

    /// Remembers changes that a committed transaction made.
    func changed(_ uids: some Sequence<UInt32>, at modSeq: UInt64) {
        for uid in uids { recent.append((modSeq, uid)) }
        guard recent.count > Self.recentLimit else { return }
        // Whole MODSEQs are forgotten, never a part of one.
        let cut = recent[recent.count - Self.recentLimit / 2].modSeq
        recentStart = cut
        recent.removeAll { $0.modSeq <= cut }
    }

    /// Adds new messages to the last snapshot, if it was up to date before them.
    func extendImage(_ entries: [MessageEntry], at modSeq: UInt64) {
        guard let old = image, old.modSeq + 1 == modSeq,
            old.entries.count + entries.count <= Self.imageLimit
        else { return }
        image = nil  // the entries are used in one place only, so they grow without a copy
        var grown = old.entries
        grown += entries
        image = (modSeq, grown)
    }

    /// Puts changed flags into the last snapshot, if it was up to date before them.
    func updateImage(_ entries: [MessageEntry], at modSeq: UInt64) {
        guard let old = image, old.modSeq + 1 == modSeq else { return }
        image = nil
        var updated = old.entries
        var index = 0
        for entry in entries {  // both rise
            while index < updated.count, updated[index].uid < entry.uid { index += 1 }
            guard index < updated.count, updated[index].uid == entry.uid else { return }
            updated[index] = entry
        }
        image = (modSeq, updated)
    }

    /// Takes expunged messages out of the last snapshot, if it was up to date before.
    func shrinkImage(_ uids: [UInt32], at modSeq: UInt64) {
        guard let old = image, old.modSeq + 1 == modSeq else { return }
        image = nil
        var next = uids[...]  // both rise
        image = (
            modSeq,
            old.entries.filter { entry in
                while let uid = next.first, uid < entry.uid { next.removeFirst() }
                return next.first != entry.uid
            }
        )
    }

    /// Changes before now are not remembered one by one.
    func forgetRecent() {
        recent = []
        recentStart = modSeq
    }

    /// UIDs changed after `since`, rising; nil if that is further back than is remembered.
    func recentlyChanged(since: UInt64) -> [UInt32]? {
        guard since >= recentStart else { return nil }
        return Set(recent.lazy.filter { $0.modSeq > since }.map(\.uid)).sorted()
    }

    /// The state file promises more UIDs than were given out.
    func willReach(uidNext next: UInt32) throws(StoreError) {
        guard next > state.uidMark else { return }
        var raised = state
        let (mark, overflow) = next.addingReportingOverflow(FolderState.uidStep)
        raised.uidMark = overflow ? .max : mark
        try blobs.write(raised)
        state = raised
    }

    func willReach(modSeq next: UInt64) throws(StoreError) {
        guard next >= state.modSeqMark else { return }
        var raised = state
        raised.modSeqMark = next + FolderState.modSeqStep
        try blobs.write(raised)
        state = raised
    }

    /// Makes names made and removed in cur/ durable.
    func synchronize() throws(StoreError) { try blobs.synchronize() }

    /// Rows of `doomed` whose files are unlinked, but not durably.
    var hasUnlinkedDoomed: Bool {
        get { blobs.hasUnlinkedDoomed }
        set { blobs.hasUnlinkedDoomed = newValue }
    }

    /// Rows of `doomed` whose files are durably gone: those that do not wait for the background,
    /// or all, if `doomsAreDone`.
    var canClearDoomed: Bool { blobs.canClearDoomed }

    func doomedCleared() {
        if canClearDoomed { doomsAreDone = false }
        blobs.doomedCleared()
    }

    /// Notes the time of cur/ after this process changed it.
    func ownChange() throws(StoreError) {
        currentTime = try blobs.time
        isTimeStored = false
    }
}
