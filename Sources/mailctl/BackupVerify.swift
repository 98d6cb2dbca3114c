// SPDX-License-Identifier: Apache-2.0
//
// `mailctl backup verify`: every octet against its digest, and whether the store could take it
// back: names, UIDs, UIDVALIDITYs. docs/backup.md.

import Bytes
import Mail

/// What is wrong with a generation.
struct BackupProblem {
    /// Below the generation.
    var path: String
    var what: String
}

struct BackupVerifier {
    private let generation: DirectoryHandle
    private(set) var problems: [BackupProblem] = []
    private(set) var files = 0
    private(set) var octets: Int64 = 0
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)

    init(_ generation: DirectoryHandle) { self.generation = generation }

    private mutating func report(_ path: String, _ what: String) {
        problems.append(BackupProblem(path: path, what: what))
    }

    mutating func verify(
        _ manifest: Manifest, _ progress: inout Progress
    ) throws(Failure) {
        for (name, digest) in [
            (BackupName.directory, manifest.directory),
            (BackupName.directoryText, manifest.directoryText),
        ] {
            try check(name, digest, in: generation, "")
        }
        let listed = Set(manifest.accounts.map { "\($0.domain)/\($0.user)" })
        if let mail = try generation.open(BackupName.mail) {
            for domain in try mail.names() {
                for user in try mail.open(domain)?.names() ?? [] {
                    let path =
                        String(decoding: domain, as: UTF8.self) + "/"
                        + String(decoding: user, as: UTF8.self)
                    if !listed.contains(path) { report("mail/\(path)", "not in the manifest") }
                }
            }
        }
        progress.total = manifest.accounts.reduce(0) { $0 + $1.messages }
        for account in manifest.accounts {
            progress.subject = account.address
            try verify(account, &progress)
        }
    }

    private mutating func check(
        _ name: [UInt8], _ digest: String, in directory: DirectoryHandle, _ prefix: String
    ) throws(Failure) {
        let path = prefix + String(decoding: name, as: UTF8.self)
        guard let file = try directory.read(name) else {
            return report(path, "missing")
        }
        let (found, size) = try file.digest(&buffer)
        files += 1
        octets += size
        if found != digest { report(path, "damaged: its digest is another") }
        if let wanted = MessageName(name).fileSize, wanted != size {
            report(path, "its size is not the one in its name")
        }
    }

    mutating func verify(
        _ account: BackedUpAccount, _ progress: inout Progress
    ) throws(Failure) {
        let base = "mail/\(account.domain)/\(account.user)/"
        guard let home = try generation.open(path: account.path),
            let lines = try home.contents(BackupName.sums, limit: 1 << 30)
        else { return report(base, "missing") }
        if try SHA256.digest(lines) != account.sums {
            report(base + "SHA256SUMS", "damaged: its digest is another")
        }
        let sums = Sums(lines)
        var folders: [[UInt8]: [[UInt8]]] = [:]
        for path in sums.entries.keys {
            guard let slash = path.lastIndex(of: 0x2F) else { continue }
            folders[Array(path[..<slash]), default: []].append(Array(path[(slash + 1)...]))
        }
        var messages = 0
        var validities: Set<UInt32> = []
        for (folder, names) in folders.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            let prefix = base + String(decoding: folder, as: UTF8.self) + "/"
            guard
                let directory = try home.open(path: folder.split(separator: 0x2F).map { Array($0) })
            else {
                report(prefix, "missing")
                continue
            }
            let isCur = folder.suffix(4).elementsEqual("/cur".utf8)
            for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
                try check(name, sums.entries[folder + [0x2F] + name] ?? "", in: directory, prefix)
                if isCur { progress.advance() }
            }
            if isCur {
                messages += names.count
                try checkNames(names, home, Array(folder.dropLast(4)), prefix)
            } else {
                try checkState(directory, prefix, &validities)
            }
            let known = Set(names)
            for name in try directory.names() where !known.contains(name) {
                if try directory.status(name)?.isDirectory == true { continue }
                report(prefix + String(decoding: name, as: UTF8.self), "not in SHA256SUMS")
            }
        }
        if messages != account.messages {
            report(base, "\(messages) messages, but \(account.messages) in the manifest")
        }
        if sums.entries[Array("Maildir/martlet-account".utf8)] == nil {
            report(base + "Maildir", "without martlet-account")
        }
    }

    /// UIDs: one for each message, below the mark.
    private mutating func checkNames(
        _ names: [[UInt8]], _ home: DirectoryHandle, _ folder: [UInt8], _ prefix: String
    ) throws(Failure) {
        let directory = try home.open(path: folder.split(separator: 0x2F).map { Array($0) })
        let state = try directory?.contents(BackupName.folderState).flatMap { FolderMarks($0) }
        guard let state else { return report(prefix, "its folder has no martlet-folder") }
        var uids: Set<UInt32> = []
        var uniques: Set<[UInt8]> = []
        for name in names {
            let parsed = MessageName(name)
            let path = prefix + String(decoding: name, as: UTF8.self)
            guard let uid = parsed.uid else {
                report(path, "its name has no UID")
                continue
            }
            if !uids.insert(uid).inserted { report(path, "UID \(uid) is there twice") }
            if uid >= state.uidMark { report(path, "UID \(uid) is above the folder's mark") }
            if !uniques.insert(parsed.unique).inserted { report(path, "its name is there twice") }
        }
    }

    private mutating func checkState(
        _ directory: DirectoryHandle, _ prefix: String, _ validities: inout Set<UInt32>
    ) throws(Failure) {
        guard let octets = try directory.contents(BackupName.folderState) else {
            return report(prefix + "martlet-folder", "missing")
        }
        guard let state = FolderMarks(octets) else {
            return report(prefix + "martlet-folder", "not what it should be")
        }
        if !validities.insert(state.uidValidity).inserted {
            report(prefix + "martlet-folder", "another folder has this UIDVALIDITY")
        }
    }

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let repository = try BackupRepository(opening: invocation.arguments[0])
        let name = invocation.arguments.count > 1 ? invocation.arguments[1] : nil
        let generation = try repository.find(name)
        guard let manifest = generation.manifest else {
            throw Failure(
                .badData,
                generation.isDamaged
                    ? "the manifest of \(generation.name) is damaged"
                    : "\(generation.name) is not complete",
                hints: ["make a new one:  mailctl backup create \(repository.root.path)"])
        }
        var verifier = BackupVerifier(try repository.open(generation))
        var progress = Progress("verifying", "messages", invocation)
        try verifier.verify(manifest, &progress)
        progress.finish()
        let problems = verifier.problems
        if invocation.json {
            for problem in problems {
                Terminal.out(
                    JSON.object([
                        ("path", .string(problem.path)), ("problem", .string(problem.what)),
                    ]).text)
            }
            Terminal.out(
                JSON.object([
                    ("generation", .string(generation.name)),
                    ("accounts", .integer(manifest.accounts.count)),
                    ("files", .integer(verifier.files)),
                    ("octets", .integer(Int(verifier.octets))),
                    ("problems", .integer(problems.count)),
                ]).text)
        } else {
            for problem in problems { Terminal.out("\(problem.path): \(problem.what)") }
            let size = Store.size(UInt64(verifier.octets))
            invocation.say(
                problems.isEmpty
                    ? "\(generation.name) is sound: \(verifier.files) files, \(size)."
                    : "\(generation.name): \(problems.count) problems in \(verifier.files) files.")
        }
        return problems.isEmpty ? .ok : .problems
    }
}

/// What `martlet-folder` says.
struct FolderMarks {
    var uidValidity: UInt32
    var uidMark: UInt32
    var specialUse: SpecialUse

    init?(_ octets: [UInt8]) {
        let lines = octets.split(separator: 0x0A)
        guard lines.first?.elementsEqual("martlet-folder 1".utf8) == true,
            lines.last?.elementsEqual("end".utf8) == true
        else { return nil }
        var numbers: [String: UInt64] = [:]
        for line in lines.dropFirst() {
            let words = line.split(separator: 0x20)
            guard words.count == 2 else { continue }
            numbers[String(decoding: words[0], as: UTF8.self)] = UInt64(
                String(decoding: words[1], as: UTF8.self))
        }
        guard let validity = numbers["uidvalidity"].flatMap({ UInt32(exactly: $0) }),
            let mark = numbers["uid-mark"].flatMap({ UInt32(exactly: $0) })
        else { return nil }
        uidValidity = validity
        uidMark = mark
        specialUse =
            numbers["special-use"].flatMap { UInt8(exactly: $0) }
            .flatMap { SpecialUse(rawValue: $0) } ?? .none
    }
}
