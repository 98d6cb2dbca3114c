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
struct Findings {
    /// Files without a row.
    var candidates: [Candidate] = []
    /// Rows whose file has another name now.
    var renamed: [(uid: UInt32, name: PathOctets)] = []
    var flagged: [(uid: UInt32, flags: Flags, diskFlags: Flags)] = []
    /// Rows without a file.
    var gone: [UInt32] = []
    /// Files whose message was expunged.
    var doomed: [(name: PathOctets, row: DoomedFile)] = []
    /// Hashes of unique names.
    var knownUniques: Set<Int> = []
    var highestLetter = -1
}

extension AccountStore {
    /// Temporary files of other programs older than this are leftovers. maildir(5).
    private static let temporaryAge: Int64 = 36 * 3_600

    /// Looks whether other programs changed the folder, and takes in what they did.
    ///
    /// Two stats when nothing happened. A change of others to cur/ within one tick of the file
    /// system's clock behind one of ours may be noticed only with their next.
    func refresh(_ folder: Folder) throws(StoreError) {
        if try beginRefresh(folder) { return }
        while try !continueAdopting(folder, limit: Self.adoptionSlice) {}
    }

    /// True if the folder agrees with its directory; else `continueAdopting` has to be called.
    func beginRefresh(_ folder: Folder) throws(StoreError) -> Bool {
        guard folder.adopting == nil else { return false }
        let time = try folder.blobs.time
        let all = folder.needsScan || folder.isBehind || time != folder.currentTime
        let newTime = try folder.blobs.newTime
        guard all || newTime != folder.newTime else { return true }
        try scan(folder, all: all, newTime: newTime)
        return false
    }

    /// - Parameter all: compare cur/ as well, not only new/.
    private func scan(_ folder: Folder, all: Bool, newTime: Int64) throws(StoreError) {
        let startTime = try folder.blobs.time
        if all, folder.uidNext == 1, !folder.isBehind,
            let foreign = try folder.blobs.foreignHeader(),
            foreign.uidValidity != folder.uidValidity
        {
            // Another server's folder was put where an empty one of ours was.
            try scanFolders()
            guard openedFolder(folder.id) != nil else { throw .noSuchMailbox }
        }
        let foreign = all ? try folder.blobs.foreignUIDs(folder.uidValidity) : nil
        var findings = Findings()
        if all {
            try compare(folder, foreign, &findings)
            try folder.blobs.sweepTemporary(olderThan: Self.temporaryAge)
        }
        if let names = try folder.blobs.newNames() {
            try collect(folder, isNew: true, from: names, foreign, &findings)
        }
        let isUndisturbed = try folder.blobs.time == startTime
        try retireFound(findings.doomed, folder)
        if all {
            folder.hasUnlinkedDoomed = true
            folder.doomsAreDone = true
        }
        if findings.highestLetter >= folder.keywords.names.count {
            var keywords = folder.keywords
            keywords.fill(upTo: findings.highestLetter)
            try folder.blobs.write(keywords)
            folder.keywords = keywords
        }
        let expected = isUndisturbed ? try folder.blobs.time : 0
        let adopting = Adopting(
            findings, foreign: foreign, all: all, newTime: newTime, expected: expected)
        try plan(folder, adopting)
        folder.adopting = adopting
    }

    // MARK: - Looking

    /// Names in cur/ against rows. Names are compared by 64-bit hashes with a key of this process:
    /// a folder may have a million of them.
    private func compare(
        _ folder: Folder, _ foreign: ForeignUIDs?, _ findings: inout Findings
    ) throws(StoreError) {
        comparisons += 1
        var rows: [Int: (uid: UInt32, name: Int)] = [:]
        try index.eachBlob(folder.id) { uid, name in
            rows[FileName.uniqueHash(of: name)] = (uid, name.hash)
        }
        var doomed: [Int: DoomedFile] = [:]
        for row in try index.doomedFiles(folder.id) {
            doomed[FileName.uniqueHash(of: row.blob)] = row
        }
        for key in rows.keys { findings.knownUniques.insert(key) }

        var unknown: [PathOctets] = []
        var renamed: [(uid: UInt32, name: PathOctets)] = []
        func match(_ name: PathOctets) {
            let unique = FileName.uniqueHash(of: name)
            guard let row = rows.removeValue(forKey: unique) else {
                if !findings.knownUniques.contains(unique), let row = doomed[unique] {
                    findings.doomed.append((name, row))
                } else {
                    unknown.append(name)
                }
                return
            }
            if name.hash != row.name { renamed.append((row.uid, name)) }
        }
        try folder.blobs.eachName(match)
        if !rows.isEmpty {
            // A file renamed while the directory is read may be missed: only what is missing in
            // a second reading is gone.
            let seen = Set(unknown)
            try folder.blobs.eachName { name in
                guard rows[FileName.uniqueHash(of: name)] != nil, !seen.contains(name) else {
                    return
                }
                match(name)
            }
        }
        for (uid, name) in renamed { try compareFlags(folder, uid, name, &findings) }
        findings.gone = rows.values.map(\.uid).sorted()
        if !findings.gone.isEmpty {
            notify(.vanished, folder.name.text, count: findings.gone.count)
        }
        try collect(folder, isNew: false, from: unknown, foreign, &findings)
    }

    /// What another program did to the letters is done to the flags, which may be ahead.
    private func compareFlags(
        _ folder: Folder, _ uid: UInt32, _ name: PathOctets, _ findings: inout Findings
    ) throws(StoreError) {
        findings.renamed.append((uid, name))
        guard let (flags, diskFlags) = try index.flags(folder.id, uid) else { return }
        let disk = FileName(name).flags
        guard disk != diskFlags else { return }
        findings.highestLetter = max(findings.highestLetter, Self.highestLetter(disk))
        let added = disk.subtracting(diskFlags)
        let removed = diskFlags.subtracting(disk)
        findings.flagged.append((uid, flags.subtracting(removed).union(added), disk))
    }

    private func collect(
        _ folder: Folder, isNew: Bool, from names: [PathOctets], _ foreign: ForeignUIDs?,
        _ findings: inout Findings
    ) throws(StoreError) {
        for name in names where name.first != 0x2E {
            let file = FileName(name)
            var candidate = Candidate(name: name, isNew: isNew, uid: file.uid ?? 0)
            if let foreign { candidate.uid = foreign.entry(file.unique)?.uid ?? 0 }
            if !findings.knownUniques.insert(FileName.uniqueHash(of: name)).inserted {
                candidate.needsName = true
                candidate.uid = 0
            }
            if candidate.uid == 0 {
                guard let status = try folder.blobs.status(name, isNew: isNew) else { continue }
                guard status.isRegular else {
                    ignore(folder, name)
                    continue
                }
                candidate.time = status.time
            }
            findings.highestLetter = max(findings.highestLetter, Self.highestLetter(file.flags))
            findings.candidates.append(candidate)
        }
    }

    private static func highestLetter(_ flags: Flags) -> Int {
        (0..<Flags.keywordLimit).last { flags.contains(.keyword($0)) } ?? -1
    }
}

extension Flags {
    /// As the index has it.
    var stored: Int64 { Int64(rawValue) }
}
