// SPDX-License-Identifier: Apache-2.0
//
// `mailctl backup restore` of everything or an account: the files are placed beside the domains,
// checked and synced, then msgstored puts them in the account's place in one step. Killed in
// between, it goes on where it was when it is run again. docs/backup.md.

import Bytes
import Config
import Glibc
import Mail
import Wire

enum BackupRestore {
    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let repository = try BackupRepository(opening: invocation.arguments[0])
        let only = try invocation.value("account").map { text throws(Failure) in
            try BackupCommands.address(text)
        }
        let isPart = invocation.has("mailbox") || invocation.has("message")
        guard only != nil || !(isPart || invocation.has("to")) else {
            throw Failure(.usage, "of which account?", hints: ["say --account ADDRESS"])
        }
        let generation = try find(repository, only, invocation)
        guard let manifest = generation.manifest else {
            throw Failure(.badData, "\(generation.name) is not complete")
        }
        let source = try repository.open(generation)
        var client = try Store.connect(invocation)
        if isPart, let only {
            let row = try row(of: only, in: manifest, generation)
            return try MessageRestore.run(row, source, generation.name, &client, invocation)
        }
        return try accounts(manifest, only, source, generation.name, &client, invocation)
    }

    private static func find(
        _ repository: BackupRepository, _ account: EmailAddress?, _ invocation: Invocation
    ) throws(Failure) -> Generation {
        let lower = account.map { address in
            EmailAddress(
                local: address.local.asciiLowercased, domain: address.domain.asciiLowercased
            ).text
        }
        guard let text = invocation.value("at") else {
            return try repository.find(at: nil, account: lower)
        }
        if BackupRepository.isGeneration(text) { return try repository.find(text) }
        return try repository.find(at: try BackupRepository.time(text), account: lower)
    }

    private static func row(
        of address: EmailAddress, in manifest: Manifest, _ generation: Generation
    ) throws(Failure) -> BackedUpAccount {
        let row = manifest.accounts.first { row in
            row.emailAddress.map { BackupCommands.isSame($0, address) } ?? false
        }
        guard let row else {
            throw Failure(.noSuchAccount, "\(generation.name) does not have \(address.text)")
        }
        return row
    }

    private static func accounts(
        _ manifest: Manifest, _ only: EmailAddress?, _ source: DirectoryHandle, _ name: String,
        _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        let wanted = manifest.accounts.filter { row in
            only.map { only in
                row.emailAddress.map { BackupCommands.isSame($0, only) } ?? false
            } ?? true
        }
        let target = try invocation.value("to").map { text throws(Failure) in
            try BackupCommands.address(text)
        }
        try confirm(wanted, target, name, invocation)
        let place = try RestorePlace(invocation)
        var restored: (domains: UInt32, accounts: UInt32) = (0, 0)
        if target == nil {
            restored = try restoreDirectory(manifest, only, source, &client)
        }
        let total = wanted.reduce(0) { $0 + $1.messages }
        var progress = Progress("restoring", "messages", of: total, invocation)
        let run = RestoreRun(place, name, isWhole: only == nil)
        var messages = 0
        for row in wanted {
            guard let address = target ?? row.emailAddress else { continue }
            messages += row.messages
            progress.subject = row.address
            if try run.isDone(row) {
                progress.skip(row.messages)
                continue
            }
            try place.restore(row, from: source, as: address, name, &client, &progress)
            try run.note(row)
        }
        try run.finish()
        progress.finish()
        report(name, wanted.count, messages, restored.accounts, target, invocation)
        return .ok
    }

    private static func confirm(
        _ rows: [BackedUpAccount], _ target: EmailAddress?, _ name: String,
        _ invocation: Invocation
    ) throws(Failure) {
        guard !invocation.has("yes") else { return }
        let what =
            rows.count == 1
            ? "the mail of \(target?.text ?? rows[0].address)"
            : "the mail of \(rows.count) accounts"
        guard Terminal.isInputTerminal else {
            throw Failure(
                .usage, "this replaces \(what) and there is no terminal to ask on",
                hints: ["say --yes"])
        }
        guard Terminal.confirm("Replace \(what) by \(name)?") else {
            throw Failure(.usage, "nothing was changed")
        }
    }

    private static func report(
        _ name: String, _ accounts: Int, _ messages: Int, _ made: UInt32,
        _ target: EmailAddress?, _ invocation: Invocation
    ) {
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("generation", .string(name)), ("accounts", .integer(accounts)),
                    ("messages", .integer(messages)), ("accounts_added", .integer(Int(made))),
                ]).text)
        } else {
            invocation.say(
                """
                \(name): \(accounts) accounts with \(messages) messages are back\
                \(target.map { ", as \($0.text)" } ?? "").
                  What was there before is kept for a while:  mailctl undelete ADDRESS --account
                """)
        }
    }

    /// Domains, accounts and hashes that are missing here.
    private static func restoreDirectory(
        _ manifest: Manifest, _ only: EmailAddress?, _ source: DirectoryHandle,
        _ client: inout ControlClient
    ) throws(Failure) -> (domains: UInt32, accounts: UInt32) {
        guard let file = try source.read(BackupName.directory) else {
            throw Failure(.noInput, "\(source.path)/directory.sqlite is missing")
        }
        return try sendDirectory(try stage(file, manifest.directory, &client), only, &client)
    }

    /// The descriptor is closed when this returns, as sealing wants it.
    private static func stage(
        _ file: OpenFile, _ digest: String, _ client: inout ControlClient
    ) throws(Failure) -> StageToken {
        let answer = try client.call(.stage) { _ throws(Failure) in }
        guard case .staged(let token) = answer.reply, let stage = answer.file else {
            throw Store.unexpected(answer.reply)
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        guard try file.digest(copyingTo: stage, &buffer).digest == digest else {
            throw Failure(.badData, "directory.sqlite of the backup is damaged")
        }
        return token
    }

    private static func sendDirectory(
        _ token: StageToken, _ only: EmailAddress?, _ client: inout ControlClient
    ) throws(Failure) -> (domains: UInt32, accounts: UInt32) {
        let reply = try client.call(.backup(.restoreDirectory(token, only)))
        guard case .backup(.directoryRestored(let domains, let accounts, _)) = reply else {
            throw Store.unexpected(reply)
        }
        return (domains, accounts)
    }
}

/// The mail root of the running msgstored, where accounts are put together.
struct RestorePlace {
    let root: DirectoryHandle
    private let owner: UInt32
    private let group: UInt32

    init(_ invocation: Invocation) throws(Failure) {
        let suite = try ConfigFiles.suite(invocation)
        root = try DirectoryHandle(path: suite.msgstored.maildirRoot)
        let status = try root.status()
        owner = status.owner
        group = status.group
        guard geteuid() == 0 || geteuid() == owner else {
            throw Failure(
                .permission, "only root or the owner of \(root.path) can place mail there",
                hints: ["run it again with sudo"])
        }
    }

    /// Files of one sync.
    private static let batch = 128

    func restore(
        _ row: BackedUpAccount, from generation: DirectoryHandle, as address: EmailAddress,
        _ name: String, _ client: inout ControlClient, _ progress: inout Progress
    ) throws(Failure) {
        guard let home = try generation.open(path: row.path),
            let lines = try home.contents(BackupName.sums, limit: 1 << 30),
            try SHA256.digest(lines) == row.sums
        else {
            throw Failure(
                .badData, "the backup of \(row.address) in \(name) is damaged",
                hints: ["mailctl backup verify DEST \(name)"])
        }
        let digest = try SHA256.digest(Array("\(name) \(row.address) \(address.text)".utf8))
        let placeName = Array(".restore-\(digest.prefix(24))".utf8)
        let target = try root.make(placeName)
        try give(target)
        let sums = Sums(lines)
        var folders: [[UInt8]: [[UInt8]]] = [:]
        for path in sums.entries.keys {
            guard let slash = path.lastIndex(of: 0x2F) else { continue }
            folders[Array(path[..<slash]), default: []].append(Array(path[(slash + 1)...]))
        }
        for (folder, names) in folders.sorted(by: { $0.key.count < $1.key.count }) {
            try restore(folder, names, sums, from: home, to: target, &progress)
        }
        try target.synchronize()
        try root.synchronize()
        try place(address, placeName, &client)
    }

    private func place(
        _ address: EmailAddress, _ name: [UInt8], _ client: inout ControlClient
    ) throws(Failure) {
        let reply = try client.call(.backup(.placeAccount(address, directory: name)))
        switch reply {
        case .done: return
        case .failure(.noSuchAccount):
            throw Failure(
                .noSuchAccount, "there is no account \(address.text)",
                hints: ["mailctl account add \(address.text)"])
        default: throw Store.unexpected(reply)
        }
    }

    private func restore(
        _ folder: [UInt8], _ names: [[UInt8]], _ sums: Sums, from home: DirectoryHandle,
        to target: DirectoryHandle, _ progress: inout Progress
    ) throws(Failure) {
        let path = folder.split(separator: 0x2F).map { Array($0) }
        guard let source = try home.open(path: path) else {
            throw Failure(.badData, "\(home.path) is not whole")
        }
        var directory = target
        for name in path {
            directory = try directory.make(name)
            try give(directory)
        }
        let isCur = path.last == BackupName.cur
        if !isCur {
            for name in [BackupName.cur, BackupName.new, BackupName.tmp] {
                try give(try directory.make(name))
            }
        }
        // An earlier attempt may have left others.
        let wanted = Set(names)
        for name in try directory.names() where !wanted.contains(name) {
            if try directory.status(name)?.isDirectory != true { try directory.unlink(name) }
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var written: [OpenFile] = []
        for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let digest = sums.entries[folder + [0x2F] + name] ?? ""
            if try isThere(name, digest, in: directory, &buffer) {
                if isCur { progress.skip() }
                continue
            }
            written.append(try copy(name, digest, from: source, to: directory, &buffer))
            if written.count == Self.batch {
                for file in written { try file.synchronize() }
                written = []
            }
            if isCur { progress.advance() }
        }
        for file in written { try file.synchronize() }
        try directory.synchronize()
    }

    /// From an attempt that was interrupted; what it had not synced may be anything.
    private func isThere(
        _ name: [UInt8], _ digest: String, in directory: DirectoryHandle, _ buffer: inout [UInt8]
    ) throws(Failure) -> Bool {
        guard let file = try directory.read(name) else { return false }
        guard try file.digest(&buffer).digest == digest else { return false }
        try file.synchronize()
        return try directory.status(name)?.owner == owner
    }

    private func copy(
        _ name: [UInt8], _ digest: String, from source: DirectoryHandle,
        to directory: DirectoryHandle, _ buffer: inout [UInt8]
    ) throws(Failure) -> OpenFile {
        guard let file = try source.read(name) else {
            throw Failure(
                .badData, "\(source.path)/\(String(decoding: name, as: UTF8.self)) is missing")
        }
        let copy = try directory.create(name)
        guard try file.digest(copyingTo: copy, &buffer).digest == digest else {
            throw Failure(
                .badData, "\(source.path)/\(String(decoding: name, as: UTF8.self)) is damaged",
                hints: ["see what else is:  mailctl backup verify DEST"])
        }
        if geteuid() != owner { try copy.setOwner(owner, group) }
        try copy.setModified(try file.status().modified)
        copy.startWriting()
        return copy
    }

    private func give(_ directory: DirectoryHandle) throws(Failure) {
        guard geteuid() != owner else { return }
        guard fchown(directory.descriptor, owner, group) == 0 else {
            throw .system("cannot give \(directory.path) away", errno)
        }
    }
}

/// Which accounts an interrupted restore of everything had finished.
struct RestoreRun {
    private let place: RestorePlace
    private let file: [UInt8]
    private let isWhole: Bool

    init(_ place: RestorePlace, _ name: String, isWhole: Bool) {
        self.place = place
        self.isWhole = isWhole
        file = Array(".restored-\(name)".utf8)
    }

    func isDone(_ row: BackedUpAccount) throws(Failure) -> Bool {
        guard isWhole, let octets = try place.root.contents(file) else { return false }
        return octets.split(separator: 0x0A).contains { $0.elementsEqual(row.address.utf8) }
    }

    func note(_ row: BackedUpAccount) throws(Failure) {
        guard isWhole else { return }
        let note = try place.root.append(file)
        guard Files.writeAll(note.descriptor, Array((row.address + "\n").utf8)) else {
            throw Failure(.inputOutput, "cannot write in \(place.root.path)")
        }
        try note.synchronize()
    }

    func finish() throws(Failure) {
        if isWhole { try place.root.unlink(file) }
    }
}
