// SPDX-License-Identifier: Apache-2.0
//
// `mailctl backup create`, `list` and `prune`. docs/backup.md.

import Bytes
import Glibc
import Mail
import Wire

enum BackupCommands {
    static func now() -> Int64 { Int64(time(nil)) }

    // MARK: - create

    static func create(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let only = try invocation.value("account").map { text throws(Failure) in
            try address(text)
        }
        var client = try Store.connect(invocation)
        let reply = try client.call(.listAccounts(domain: only?.domain ?? []))
        guard case .accounts(let rows) = reply else { throw Store.unexpected(reply) }
        let accounts = rows.map(\.address).filter { account in
            only.map { isSame($0, account) } ?? true
        }
        if let only, accounts.isEmpty {
            throw Failure(.noSuchAccount, "there is no account \(only.text)")
        }
        let repository = try BackupRepository(making: invocation.arguments[0])
        try repository.lock()
        let created = now()
        let work = try repository.root.make(BackupName.incomplete)
        try work.unlink(BackupName.manifest)
        let generations = try repository.complete()
        var progress = Progress("backing up", "messages", invocation)
        var done: [BackedUpAccount] = []
        var counts = BackupCounts()
        for account in accounts {
            let backup = try AccountBackup(account, in: work)
            let earlier =
                invocation.has("full") ? [] : try links(generations, account.text, repository)
            guard let row = try backup.run(&client, earlier: earlier, &progress) else {
                continue  // removed meanwhile
            }
            done.append(row)
            counts.add(backup.counts)
        }
        progress.finish()
        try removeOthers(work, done)
        let (directory, text) = try copyDirectory(&client, work)
        try synchronizeParents(work, done)
        let manifest = Manifest(
            created: created, completed: now(), scope: only == nil ? nil : accounts[0].text,
            accounts: done, directory: directory, directoryText: text)
        let name = try complete(work, manifest, repository)
        if only == nil { try note(manifest.completed, &client) }
        try report(name, manifest, counts, progress.elapsed, repository, invocation)
        return counts.vanished == 0 ? .ok : .problems
    }

    /// For msgstored's metrics.
    private static func note(_ time: Int64, _ client: inout ControlClient) throws(Failure) {
        let reply = try client.call(.backup(.noteBackup(time)))
        guard reply == .done else {
            Terminal.error("warning: msgstored did not take note of the backup: \(reply)")
            return
        }
    }

    static func address(_ text: String) throws(Failure) -> EmailAddress {
        guard let address = EmailAddress(splitting: Array(text.utf8)) else {
            throw Failure(
                .badData, "`\(text)` is not an address", hints: ["write it as NAME@DOMAIN"])
        }
        return address
    }

    static func isSame(_ left: EmailAddress, _ right: EmailAddress) -> Bool {
        left.domain.asciiLowercased == right.domain.asciiLowercased
            && left.local.asciiLowercased == right.local.asciiLowercased
    }

    /// The newest generation that has the account.
    private static func links(
        _ generations: [Generation], _ account: String, _ repository: BackupRepository
    ) throws(Failure) -> [DirectoryHandle] {
        let found = generations.last { generation in
            generation.manifest?.accounts.contains { $0.address == account } == true
        }
        return try found.map { generation throws(Failure) in
            [try repository.open(generation)]
        } ?? []
    }

    /// Accounts of an interrupted run that are gone, or not asked for.
    private static func removeOthers(
        _ work: DirectoryHandle, _ done: [BackedUpAccount]
    ) throws(Failure) {
        let mail = try work.make(BackupName.mail)
        for domain in try mail.names() {
            guard let directory = try mail.open(domain) else { continue }
            for user in try directory.names()
            where !done.contains(where: {
                Array($0.domain.utf8) == domain && Array($0.user.utf8) == user
            }) {
                try directory.removeTree(user)
            }
            if try directory.names().isEmpty { try mail.removeTree(domain) }
        }
    }

    private static func copyDirectory(
        _ client: inout ControlClient, _ work: DirectoryHandle
    ) throws(Failure) -> (String, String) {
        var digests: [String] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        for (asText, name) in [(false, BackupName.directory), (true, BackupName.directoryText)] {
            let answer = try client.call(.backup(.copyDirectory(asText: asText))) {
                _ throws(Failure) in
            }
            guard case .backup(.file(_, let size, _)) = answer.reply, let source = answer.file
            else {
                throw Store.unexpected(answer.reply)
            }
            let file = try work.create(name)
            let (digest, copied) = try source.digest(copyingTo: file, &buffer)
            guard copied == Int64(size) else {
                throw Failure(.inputOutput, "the copy of the directory is cut off")
            }
            try file.synchronize()
            digests.append(digest)
        }
        return (digests[0], digests[1])
    }

    private static func synchronizeParents(
        _ work: DirectoryHandle, _ done: [BackedUpAccount]
    ) throws(Failure) {
        let mail = try work.make(BackupName.mail)
        for domain in Set(done.map(\.domain)) {
            if let directory = try mail.open(Array(domain.utf8)) { try directory.synchronize() }
        }
        try mail.synchronize()
        try work.synchronize()
    }

    /// The manifest makes it a generation, the name makes it seen; both durable.
    private static func complete(
        _ work: DirectoryHandle, _ manifest: Manifest, _ repository: BackupRepository
    ) throws(Failure) -> String {
        try work.write(BackupName.manifest, manifest.octets)
        try work.synchronize()
        var name = BackupRepository.name(manifest.completed)
        var number = 1
        while try repository.root.status(Array(name.utf8)) != nil {
            number += 1
            name = BackupRepository.name(manifest.completed) + "-\(number)"
        }
        try repository.root.rename(
            BackupName.incomplete, to: Array(name.utf8), in: repository.root)
        try repository.root.synchronize()
        return name
    }

    private static func report(
        _ name: String, _ manifest: Manifest, _ counts: BackupCounts, _ seconds: Double,
        _ repository: BackupRepository, _ invocation: Invocation
    ) throws(Failure) {
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("generation", .string(name)), ("accounts", .integer(manifest.accounts.count)),
                    ("messages", .integer(counts.messages)), ("octets", .integer(counts.octets)),
                    ("copied", .integer(counts.copied)),
                    ("copied_octets", .integer(counts.copiedOctets)),
                    ("linked", .integer(counts.linked)), ("kept", .integer(counts.kept)),
                    ("vanished", .integer(counts.vanished)),
                    ("seconds", .number((seconds * 10).rounded() / 10)),
                ]).text)
        } else {
            invocation.say(
                """
                \(name): \(manifest.accounts.count) accounts, \(counts.messages) messages, \
                \(Store.size(UInt64(counts.octets))).
                  \(counts.copied) copied (\(Store.size(UInt64(counts.copiedOctets)))), \
                \(counts.linked + counts.kept) there already.
                  check:  mailctl backup verify \(repository.root.path) \(name)
                """)
        }
        if counts.vanished > 0 {
            Terminal.error(
                "warning: \(counts.vanished) messages were removed by other programs meanwhile")
        }
    }

    // MARK: - list

    static func list(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let repository = try BackupRepository(opening: invocation.arguments[0])
        let generations = try repository.generations()
        var rows: [[String]] = [["GENERATION", "ACCOUNTS", "MESSAGES", "SIZE", ""]]
        for generation in generations {
            let manifest = generation.manifest
            let messages = manifest?.accounts.reduce(0) { $0 + $1.messages } ?? 0
            let octets = manifest?.accounts.reduce(0) { $0 + $1.octets } ?? 0
            let state =
                manifest != nil ? "complete" : generation.isDamaged ? "damaged" : "incomplete"
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("generation", .string(generation.name)), ("state", .string(state)),
                        ("account", manifest?.scope.map { .string($0) } ?? .null),
                        ("accounts", .integer(manifest?.accounts.count ?? 0)),
                        ("messages", .integer(messages)), ("octets", .integer(octets)),
                        (
                            "completed",
                            manifest.map { .string(AccountCommands.timestamp($0.completed)) }
                                ?? .null
                        ),
                    ]).text)
            } else {
                rows.append([
                    generation.name, manifest.map { String($0.accounts.count) } ?? "-",
                    String(messages), Store.size(UInt64(octets)),
                    manifest?.scope.map { "only \($0)" } ?? (manifest == nil ? state : ""),
                ])
            }
        }
        guard !invocation.json else { return .ok }
        if generations.isEmpty {
            invocation.say("No backups.  mailctl backup create \(repository.root.path)")
        } else {
            Terminal.out(Terminal.table(rows, right: [1, 2, 3]))
        }
        return .ok
    }
}

extension BackupCounts {
    mutating func add(_ other: BackupCounts) {
        messages += other.messages
        octets += other.octets
        copied += other.copied
        copiedOctets += other.copiedOctets
        linked += other.linked
        kept += other.kept
        vanished += other.vanished
    }
}
