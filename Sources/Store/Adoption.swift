// SPDX-License-Identifier: Apache-2.0
//
// Files that become messages: of other programs, of interrupted appends, of an index that was lost,
// of another server's folder. In slices, so that a large folder does not hold up its neighbours.
// docs/store.md, "Other programs".

import Bytes
import Mail

/// A file without a row.
struct Candidate {
    var name: PathOctets
    var isNew: Bool
    /// Another message has the same unique name already.
    var needsName = false
    /// From its name, or from the list of another server; 0: none.
    var uid: UInt32
    /// Modification time, where it decides about the order.
    var time: Int64 = 0
}

/// A folder whose files are being taken in.
final class Adopting {
    /// Those that keep a UID, by rising UID, then those that get one.
    fileprivate var kept: [Candidate] = []
    fileprivate var fresh: [Candidate] = []
    fileprivate var next = 0
    fileprivate var findings: Findings
    fileprivate let foreign: ForeignUIDs?
    fileprivate let all: Bool
    fileprivate let newTime: Int64
    /// The time of cur/ if nobody else touched it so far, else 0.
    fileprivate var expected: Int64
    fileprivate var hasNew = false
    fileprivate var isFirst = true
    private var isPastMark = false
    fileprivate var count = 0

    init(
        _ findings: Findings, foreign: ForeignUIDs?, all: Bool, newTime: Int64, expected: Int64
    ) {
        self.findings = findings
        self.foreign = foreign
        self.all = all
        self.newTime = newTime
        self.expected = expected
    }

    fileprivate var total: Int { kept.count + fresh.count }
    fileprivate var isDone: Bool { next == kept.count + fresh.count }

    /// UIDs below the mark may have been given out: the next one lies behind it.
    fileprivate func passMark(_ folder: Folder) {
        guard folder.isBehind || folder.hasLostRows, !isPastMark else { return }
        isPastMark = true
        folder.uidNext = max(folder.uidNext, folder.state.uidMark)
    }

    /// The next candidates, all of one kind.
    fileprivate func take(_ limit: Int) -> ArraySlice<Candidate> {
        if next < kept.count {
            let end = min(next + limit, kept.count)
            defer { next = end }
            return kept[next..<end]
        }
        let start = next - kept.count
        let end = min(start + limit, fresh.count)
        next = kept.count + end
        return fresh[start..<end]
    }
}

/// A file that has a UID and a name for it.
private struct Adoption {
    var uid: UInt32
    var file: FileName
    var name: PathOctets
    var size: UInt32
    var date: SecondsSince1970
    var summary: MessageSummary
}

extension AccountStore {
    /// Messages that are taken in together: one sync, one transaction.
    static let adoptionSlice = 4_000
    /// In larger folders what lists show is worked out when it is asked for, or in the background.
    private static let briefLimit = 200

    /// In one hop, where others wait: some 50 ms.
    private static let shortSlice = 400

    /// Takes in some of what other programs brought into a mailbox.
    ///
    /// - Returns: true if it agrees with its directory now.
    package func adoptSome(_ name: MailboxName) throws(StoreError) -> Bool {
        try guarded { () throws(StoreError) in
            guard let id = try mailboxID(name) else { return true }  // looked for when it is used
            let folder: Folder
            do throws(StoreError) {
                folder = try loadFolder(id)
            } catch .noSuchMailbox {
                return true  // replaced on disk, perhaps: who uses it finds out
            }
            if folder.adopting == nil, try beginRefresh(folder) { return true }
            return try continueAdopting(folder, limit: Self.shortSlice)
        }
    }

    /// Puts the candidates in order: who keeps a UID, who gets one.
    ///
    /// A UID in a name counts if it was given out (below the mark) and no row can have had it
    /// since: an append that was cut off before its row, any message after the index was lost, and
    /// the messages of another server's list.
    func plan(_ folder: Folder, _ adopting: Adopting) throws(StoreError) {
        let mark = folder.state.uidMark
        var taken: Set<UInt32> = []
        let sorted = adopting.findings.candidates.sorted(by: Self.arrivedBefore)
        adopting.findings.candidates = []
        for candidate in sorted {
            if candidate.uid >= folder.uidNext, candidate.uid < mark,
                taken.insert(candidate.uid).inserted
            {
                adopting.kept.append(candidate)
            } else {
                adopting.fresh.append(candidate)
            }
        }
        guard let foreign = adopting.foreign, !foreign.keywords.isEmpty else { return }
        var keywords = folder.keywords
        for keyword in foreign.keywords where KeywordTable.isKeyword(keyword) {
            _ = keywords.makeFlag(keyword)
        }
        guard keywords != folder.keywords else { return }
        try folder.blobs.write(keywords)
        folder.keywords = keywords
    }

    private static func arrivedBefore(_ left: Candidate, _ right: Candidate) -> Bool {
        // 0, no UID, comes last.
        if left.uid != right.uid { return left.uid &- 1 < right.uid &- 1 }
        if left.time != right.time { return left.time < right.time }
        return left.name.lexicographicallyPrecedes(right.name)
    }

    /// Takes in what is left, at most `limit` messages.
    ///
    /// - Returns: true if the folder agrees with its directory now.
    func continueAdopting(_ folder: Folder, limit: Int) throws(StoreError) -> Bool {
        guard let adopting = folder.adopting else { return true }
        do throws(StoreError) {
            var left = limit
            repeat {
                let some = adopting.take(min(left, Self.adoptionSlice))
                left -= max(some.count, 1)
                try adopt(folder, adopting, some)
            } while left > 0 && !adopting.isDone
        } catch {
            folder.adopting = nil
            folder.needsScan = true
            throw error
        }
        guard adopting.isDone else { return false }
        folder.isTimeStored = false
        folder.needsScan = false
        if adopting.count > 0 { notify(.adopted, folder.name.text, count: adopting.count) }
        if let foreign = adopting.foreign {
            try folder.blobs.retire(foreign.server)
            reached(.adoptRetired)
        }
        return true
    }

    /// One slice: names that carry the UIDs, made durable; then rows.
    private func adopt(
        _ folder: Folder, _ adopting: Adopting, _ candidates: ArraySlice<Candidate>
    ) throws(StoreError) {
        if try folder.blobs.time != adopting.expected { adopting.expected = 0 }
        let isKept = adopting.next <= adopting.kept.count && !candidates.isEmpty
        if !isKept { adopting.passMark(folder) }
        if isKept, let last = candidates.last { folder.uidNext = last.uid + 1 }
        var uid =
            isKept || candidates.isEmpty
            ? 0 : try index.allocateUIDs(candidates.count, in: folder.numbers)
        var adopted: [Adoption] = []
        adopted.reserveCapacity(candidates.count)
        for candidate in candidates {
            let given = isKept ? candidate.uid : uid
            if let adoption = try take(folder, adopting, candidate, given) {
                adopted.append(adoption)
                if candidate.isNew { adopting.hasNew = true }
            }
            uid += 1
        }
        // The last slice may hold no more than those that keep a UID.
        if adopting.isDone { adopting.passMark(folder) }
        if !adopted.isEmpty {
            try folder.synchronize()
            reached(.adoptRenamed)
        }
        if adopting.expected != 0 { adopting.expected = try folder.blobs.time }
        if adopting.isDone {
            folder.adopting = nil
            folder.currentTime = adopting.expected
            // A delivery in the same tick as the look at new/ would not show: look again.
            let isSettled = System.now().seconds - adopting.newTime / 1_000_000_000 > 2
            folder.newTime = isSettled && !adopting.hasNew ? adopting.newTime : 0
        }
        try record(folder, adopting, adopted)
        adopting.count += adopted.count
        adopting.isFirst = false
    }

    /// Nil if the file went away meanwhile, or is none.
    private func take(
        _ folder: Folder, _ adopting: Adopting, _ candidate: Candidate, _ uid: UInt32
    ) throws(StoreError) -> Adoption? {
        let (listedName, isNew) = (candidate.name, candidate.isNew)
        guard let listed = try folder.blobs.status(listedName, isNew: isNew) else { return nil }
        guard listed.isRegular else {
            ignore(folder, candidate.name)
            return nil
        }
        guard let opened = try folder.blobs.open(listedName, isNew: isNew) else { return nil }
        var file = FileName(candidate.name)
        let isOurs = file.isOurs && file.fileSize == listed.size
        if let foreign = adopting.foreign { complete(&file, foreign, folder, listed.size) }
        if candidate.needsName { file = file.renamed(root.makeUniqueName()) }
        let size = listed.size
        let head = try opened.read(from: 0, count: min(Int(size), MessageSummary.window))
        // Sizes that another program wrote count if they fit the file.
        let isCounted = file.fileSize == size && (file.wireSize.map { $0 >= size } ?? false)
        if !isOurs, !isCounted {
            let missing =
                head.count == Int(size)
                ? MessageText.bareLineFeeds(in: head)
                : try MessageText.bareLineFeeds(in: opened.descriptor, size: size)
            file.wireSize = missing > 0 ? size + missing : nil
        }
        file.fileSize = size
        file.uid = uid
        var name = file.octets
        if name == nil {
            file = file.renamed(root.makeUniqueName())
            name = file.octets
        }
        guard let name else { return nil }
        if isNew || name != listedName {
            // rename(2) replaces: never another message.
            guard try folder.blobs.status(name) == nil else {
                ignore(folder, candidate.name)
                return nil
            }
            guard try folder.blobs.rename(listedName, isNew: isNew, to: name) else { return nil }
        }
        return Adoption(
            uid: uid, file: file, name: name, size: UInt32(clamping: file.wireSize ?? size),
            date: listed.seconds,
            summary: MessageSummary(
                head, isWhole: Int64(head.count) == size, needsCRLF: file.needsCRLF,
                isBrief: adopting.total > Self.briefLimit))
    }

    func ignore(_ folder: Folder, _ name: PathOctets) {
        notify(.ignored, "\(folder.name.text): \(String(decoding: name, as: UTF8.self))")
    }

    /// What the other server knew beside the name.
    private func complete(
        _ file: inout FileName, _ foreign: ForeignUIDs, _ folder: Folder, _ size: Int64
    ) {
        guard let entry = foreign.entry(file.unique) else { return }
        if file.wireSize == nil, Int64(entry.wireSize) >= size,
            entry.fileSize == 0 || Int64(entry.fileSize) == size,
            file.fileSize.map({ $0 == size }) ?? true
        {
            file.fileSize = size
            file.wireSize = Int64(entry.wireSize)
        }
        for keyword in foreign.keywords(file.unique) {
            if let flag = folder.keywords.flag(keyword) { file.flags.insert(flag) }
        }
    }

    // MARK: - Recording

    private func record(
        _ folder: Folder, _ adopting: Adopting, _ adopted: [Adoption]
    ) throws(StoreError) {
        let findings = adopting.isFirst ? adopting.findings : Findings()
        let isChange = !adopted.isEmpty || !findings.flagged.isEmpty || !findings.gone.isEmpty
        guard isChange || folder.isBehind || !findings.renamed.isEmpty else { return }
        let modSeq =
            isChange || folder.isBehind
            ? try index.allocateModSeq(in: folder.numbers) : folder.modSeq
        let id = folder.id
        try transaction(rows: adopted.count + findings.gone.count) { () throws(StoreError) in
            if folder.isBehind, adopting.isFirst {
                folder.floor = modSeq
                try index.touchAll(id, at: modSeq)
            }
            for change in findings.renamed {
                try index.setBlob(id, change.uid, change.name)
            }
            for change in findings.flagged {
                try index.setFlags(
                    id, change.uid, change.flags, diskFlags: change.diskFlags, at: modSeq)
            }
            for uid in findings.gone { try index.removeRows(id, uid, modSeq) }
            for message in adopted {
                try index.insert(
                    IndexedMessage(
                        entry: MessageEntry(
                            uid: message.uid, size: message.size, flags: message.file.flags,
                            modSeq: modSeq, internalDate: message.date),
                        blob: message.name, summary: message.summary), in: id)
            }
            try putCounters(folder)
        }
        if folder.isBehind, folder.adopting == nil {
            folder.isBehind = false
            folder.forgetRecent()
        }
        committed(
            folder, findings.gone + findings.flagged.map(\.uid) + adopted.map(\.uid), at: modSeq)
        reached(.adoptCommitted)
    }
}
