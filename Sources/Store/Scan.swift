// SPDX-License-Identifier: Apache-2.0
//
// Comparing a folder's directory with its rows: files of other programs, of interrupted appends,
// and of an index that was lost. maildir(5); docs/store.md. Nothing here deletes a file whose
// message was not expunged.

import Bytes
import Mail

extension PathOctets {
    static let cur = PathOctets("cur")
    static let new = PathOctets("new")
    static let tmp = PathOctets("tmp")
}

/// What a comparison found.
private struct Findings {
    struct Candidate {
        var name: PathOctets
        var isNew: Bool
        var file: FileName
        var status: FileStatus
    }

    /// Files without a row.
    var candidates: [Candidate] = []
    /// Rows whose file has another name now.
    var renamed: [(uid: UInt32, name: PathOctets)] = []
    var flagged: [(uid: UInt32, flags: Flags, diskFlags: Flags)] = []
    /// Rows without a file.
    var gone: [UInt32] = []
    /// Files whose message was expunged.
    var doomed: [PathOctets] = []
    var knownUniques: Set<PathOctets> = []
    var highestLetter = -1
}

/// A file that becomes a message.
private struct Adoption {
    var uid: UInt32
    var file: FileName
    var name: PathOctets
    var size: UInt32
    var date: SecondsSince1970
    var summary: MessageSummary
}

extension AccountStore {
    /// Temporary files of other programs older than this are leftovers. maildir(5).
    private static let temporaryAge: Int64 = 36 * 3_600

    /// Looks whether other programs changed the folder, and takes in what they did.
    ///
    /// Two stats when nothing happened. A change of others to cur/ within one tick of the file
    /// system's clock behind one of ours may be noticed only with their next.
    func refresh(_ folder: Folder) throws(StoreError) {
        let time = try System.status(folder.current.descriptor).time
        let all = folder.needsScan || folder.isBehind || time != folder.currentTime
        let newTime = try System.status(.new, in: folder.root.descriptor)?.time ?? 0
        guard all || newTime != folder.newTime else { return }
        try scan(folder, all: all, newTime: newTime)
    }

    /// - Parameter all: compare cur/ as well, not only new/.
    private func scan(_ folder: Folder, all: Bool, newTime: Int64) throws(StoreError) {
        let startTime = try System.status(folder.current.descriptor).time
        var findings = Findings()
        if all {
            try compare(folder, &findings)
            try sweepTemporary(folder)
        }
        try collect(folder, isNew: true, from: try newNames(folder), &findings)
        let isUndisturbed = try System.status(folder.current.descriptor).time == startTime
        for name in findings.doomed { try System.unlink(name, in: folder.current.descriptor) }
        if all { folder.hasUnlinkedDoomed = true }
        if findings.highestLetter >= folder.keywords.names.count {
            var keywords = folder.keywords
            keywords.fill(upTo: findings.highestLetter)
            try keywords.write(in: folder.root.descriptor)
            folder.keywords = keywords
        }
        let adopted = try adopt(folder, findings)
        let endTime = try System.status(folder.current.descriptor).time
        folder.currentTime = isUndisturbed ? endTime : 0
        // A delivery in the same tick as this look at new/ would not show: look again.
        let isSettled = System.now().seconds - newTime / 1_000_000_000 > 2
        folder.newTime = isSettled && !adopted.contains { $0.isNew } ? newTime : 0
        folder.isTimeStored = false
        folder.needsScan = false
        try record(folder, findings, adopted.map(\.adoption), all: all)
    }

    private func newNames(_ folder: Folder) throws(StoreError) -> [PathOctets] {
        guard let new = try System.openDirectoryIfPresent(.new, in: folder.root.descriptor)
        else { return [] }
        return try System.names(in: new.descriptor)
    }

    // MARK: - Looking

    /// Names in cur/ against rows.
    private func compare(_ folder: Folder, _ findings: inout Findings) throws(StoreError) {
        var rows: [PathOctets: (uid: UInt32, flags: Flags, diskFlags: Flags, name: PathOctets)] =
            [:]
        let statement = try database.query(.folderFiles).bind(folder.id.rawValue)
        while try statement.step() {
            let name = statement.octets(3)
            rows[FileName.unique(of: name)] = (
                UInt32(statement.integer(0)), Flags(rawValue: UInt64(statement.integer(1))),
                Flags(rawValue: UInt64(statement.integer(2))), name
            )
        }
        var doomed: Set<PathOctets> = []
        let doomedRows = try database.query(.doomed).bind(folder.id.rawValue)
        while try doomedRows.step() { doomed.insert(FileName.unique(of: doomedRows.octets(0))) }
        findings.knownUniques = Set(rows.keys)

        var unknown: [PathOctets] = []
        func match(_ name: PathOctets) {
            let unique = FileName.unique(of: name)
            guard let row = rows.removeValue(forKey: unique) else {
                if !findings.knownUniques.contains(unique), doomed.contains(unique) {
                    findings.doomed.append(name)
                } else {
                    unknown.append(name)
                }
                return
            }
            guard name != row.name else { return }
            findings.renamed.append((row.uid, name))
            // What another program did to the letters is done to the flags, which may be ahead.
            let disk = FileName(name).flags
            guard disk != row.diskFlags else { return }
            findings.highestLetter = max(findings.highestLetter, Self.highestLetter(disk))
            let added = disk.subtracting(row.diskFlags)
            let removed = row.diskFlags.subtracting(disk)
            findings.flagged.append((row.uid, row.flags.subtracting(removed).union(added), disk))
        }
        for name in try System.names(in: folder.current.descriptor) { match(name) }
        if !rows.isEmpty {
            // A file renamed while the directory is read may be missed: only what is missing in
            // a second reading is gone.
            let seen = Set(unknown)
            for name in try System.names(in: folder.current.descriptor)
            where rows[FileName.unique(of: name)] != nil && !seen.contains(name) { match(name) }
        }
        findings.gone = rows.values.map(\.uid).sorted()
        if !findings.gone.isEmpty {
            notify(.vanished, folder.name.text, count: findings.gone.count)
        }
        try collect(folder, isNew: false, from: unknown, &findings)
    }

    private func collect(
        _ folder: Folder, isNew: Bool, from names: [PathOctets], _ findings: inout Findings
    ) throws(StoreError) {
        for name in names where name.first != 0x2E {
            let path = isNew ? .new + [0x2F] + name : name
            let parent = isNew ? folder.root.descriptor : folder.current.descriptor
            guard let status = try System.status(path, in: parent) else { continue }
            guard status.isRegular else {
                notify(.ignored, "\(folder.name.text): \(String(decoding: name, as: UTF8.self))")
                continue
            }
            var file = FileName(name)
            if findings.knownUniques.contains(file.unique) {
                file = file.renamed(root.makeUniqueName())
                file.uid = nil
            }
            findings.knownUniques.insert(file.unique)
            findings.highestLetter = max(findings.highestLetter, Self.highestLetter(file.flags))
            findings.candidates.append(
                Findings.Candidate(name: name, isNew: isNew, file: file, status: status))
        }
    }

    private static func highestLetter(_ flags: Flags) -> Int {
        (0..<Flags.keywordLimit).last { flags.contains(.keyword($0)) } ?? -1
    }

    private func sweepTemporary(_ folder: Folder) throws(StoreError) {
        guard let tmp = try System.openDirectoryIfPresent(.tmp, in: folder.root.descriptor)
        else { return }
        let now = System.now().seconds
        for name in try System.names(in: tmp.descriptor) {
            guard let status = try System.status(name, in: tmp.descriptor), status.isRegular,
                now - status.seconds > Self.temporaryAge
            else { continue }
            try System.unlink(name, in: tmp.descriptor)
        }
    }

    // MARK: - Taking in

    /// Gives every candidate a UID and a name that carries it; the names are durable then.
    private func adopt(
        _ folder: Folder, _ findings: Findings
    ) throws(StoreError) -> [(adoption: Adoption, isNew: Bool)] {
        let mark = folder.state.uidMark
        // A UID in a name counts if it was given out (below the mark) and no row can have had
        // it since: an append that was cut off before its row, or any message after index loss.
        var taken: Set<UInt32> = []
        func keepsUID(_ candidate: Findings.Candidate) -> Bool {
            guard let uid = candidate.file.uid, uid >= folder.uidNext, uid < mark else {
                return false
            }
            return taken.insert(uid).inserted
        }
        var kept: [Findings.Candidate] = []
        var fresh: [Findings.Candidate] = []
        for candidate in findings.candidates.sorted(by: Self.arrivedBefore) {
            if keepsUID(candidate) { kept.append(candidate) } else { fresh.append(candidate) }
        }
        if let last = taken.max() { folder.uidNext = last + 1 }
        if folder.isBehind { folder.uidNext = max(folder.uidNext, mark) }
        var uid = fresh.isEmpty ? 0 : try folder.reserveUIDs(fresh.count)
        var adopted: [(adoption: Adoption, isNew: Bool)] = []
        for candidate in kept {
            guard let uid = candidate.file.uid else { continue }
            if let adoption = try take(folder, candidate, uid) {
                adopted.append((adoption, candidate.isNew))
            }
        }
        for candidate in fresh {
            if let adoption = try take(folder, candidate, uid) {
                adopted.append((adoption, candidate.isNew))
            }
            uid += 1
        }
        if !adopted.isEmpty {
            try folder.synchronize()
            reached(.adoptRenamed)
        }
        return adopted
    }

    private static func arrivedBefore(
        _ left: Findings.Candidate, _ right: Findings.Candidate
    ) -> Bool {
        let leftUID = left.file.uid ?? .max
        let rightUID = right.file.uid ?? .max
        if leftUID != rightUID { return leftUID < rightUID }
        if left.status.time != right.status.time { return left.status.time < right.status.time }
        return left.name.lexicographicallyPrecedes(right.name)
    }

    /// Nil if the file went away meanwhile.
    private func take(
        _ folder: Folder, _ candidate: Findings.Candidate, _ uid: UInt32
    ) throws(StoreError) -> Adoption? {
        let path = candidate.isNew ? .new + [0x2F] + candidate.name : candidate.name
        let parent = candidate.isNew ? folder.root.descriptor : folder.current.descriptor
        guard let opened = try System.openFile(path, in: parent) else { return nil }
        var file = candidate.file
        let size = candidate.status.size
        let isOurs = file.uid != nil && file.wireSize == nil
        // Sizes that another program wrote count if they fit the file.
        let isCounted = file.fileSize == size && (file.wireSize.map { $0 >= size } ?? false)
        if !isOurs, !isCounted {
            let missing = try MessageText.bareLineFeeds(in: opened.descriptor, size: size)
            file.wireSize = missing > 0 ? size + missing : nil
        }
        file.fileSize = size
        file.uid = uid
        let head = try System.read(opened.descriptor, from: 0, count: MessageSummary.window)
        var name = file.octets
        if name == nil {
            file = file.renamed(root.makeUniqueName())
            name = file.octets
        }
        guard let name else { return nil }
        if candidate.isNew || name != candidate.name {
            // rename(2) replaces: never another message.
            guard try System.status(name, in: folder.current.descriptor) == nil else {
                notify(.ignored, String(decoding: candidate.name, as: UTF8.self))
                return nil
            }
            guard
                try System.rename(path, in: parent, to: name, in: folder.current.descriptor)
            else { return nil }
        }
        return Adoption(
            uid: uid, file: file, name: name, size: UInt32(clamping: file.wireSize ?? size),
            date: candidate.status.seconds, summary: MessageSummary(head))
    }

    // MARK: - Recording

    private func record(
        _ folder: Folder, _ findings: Findings, _ adopted: [Adoption], all: Bool
    ) throws(StoreError) {
        let isChange = !adopted.isEmpty || !findings.flagged.isEmpty || !findings.gone.isEmpty
        guard isChange || folder.isBehind || !findings.renamed.isEmpty else {
            return
        }
        let modSeq = isChange || folder.isBehind ? try folder.nextModSeq() : folder.modSeq
        let id = folder.id.rawValue
        do throws(StoreError) {
            try transaction { () throws(StoreError) in
                if folder.isBehind {
                    folder.floor = modSeq
                    try database.query(.touchMessages).bind(id, Int64(modSeq)).run()
                }
                for change in findings.renamed {
                    let statement = try database.query(.setName).bind(id, Int64(change.uid))
                    statement.set(3, change.name)
                    try statement.run()
                }
                for change in findings.flagged {
                    try database.query(.setBothFlags).bind(
                        id, Int64(change.uid), change.flags.stored, change.diskFlags.stored,
                        Int64(modSeq)
                    ).run()
                }
                for uid in findings.gone { try removeRows(id, uid, modSeq) }
                for message in adopted {
                    try insertRow(
                        id, message.uid, flags: message.file.flags, modSeq: modSeq,
                        size: message.size, date: message.date, name: message.name,
                        message.summary)
                }
                try putCounters(folder)
            }
        } catch {
            folder.needsScan = true
            throw error
        }
        if folder.isBehind {
            folder.isBehind = false
            folder.forgetRecent()
        }
        committed(
            folder, findings.gone + findings.flagged.map(\.uid) + adopted.map(\.uid), at: modSeq)
        if !adopted.isEmpty { notify(.adopted, folder.name.text, count: adopted.count) }
        reached(.adoptCommitted)
    }
}

extension Flags {
    /// As the index has it.
    var stored: Int64 { Int64(rawValue) }
}

extension AccountStore {
    /// A message's two rows, as part of a transaction.
    func insertRow(
        _ mailbox: Int64, _ uid: UInt32, flags: Flags, modSeq: UInt64, size: UInt32,
        date: SecondsSince1970, name: PathOctets, _ summary: MessageSummary
    ) throws(StoreError) {
        try database.query(.insertMessage).bind(
            mailbox, Int64(uid), flags.stored, flags.stored, Int64(modSeq), Int64(size), date
        ).run()
        let file = try database.query(.insertFile).bind(mailbox, Int64(uid))
        file.set(3, name)
        file.set(4, summary.subject)
        file.set(5, summary.sender)
        file.set(6, summary.recipients)
        file.set(7, summary.messageID)
        try file.run()
    }

    /// Takes a message out of the index and remembers that it was there, as part of a transaction.
    func removeRows(_ mailbox: Int64, _ uid: UInt32, _ modSeq: UInt64) throws(StoreError) {
        try database.query(.removeMessage).bind(mailbox, Int64(uid)).run()
        try database.query(.removeFile).bind(mailbox, Int64(uid)).run()
        try database.query(.insertExpunged).bind(mailbox, Int64(modSeq), Int64(uid)).run()
    }
}
