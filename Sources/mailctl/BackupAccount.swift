// SPDX-License-Identifier: Apache-2.0
//
// One account into a generation: a snapshot by msgstored, hard links to what an earlier generation
// has, copies of the rest. What is copied is synced and noted as it goes, so that an interrupted
// backup goes on where it was. docs/backup.md.

import Bytes
import Mail
import Wire

/// What a backup did, for its report.
struct BackupCounts {
    var messages = 0
    var octets = 0
    var copied = 0
    var copiedOctets = 0
    var linked = 0
    var kept = 0
    var vanished = 0
}

/// A file that is known to be good: synced, and its digest known.
private struct KnownFile {
    var directory: DirectoryHandle
    var name: [UInt8]
    var digest: String
}

final class AccountBackup {
    /// Files of one request, and of one sync.
    private static let batch = 128

    private struct Snapshot {
        var folders: [MailboxID: SnapshotFolder] = [:]
        var messages: [MailboxID: [UInt32: SnapshotMessage]] = [:]
        var end: AccountSnapshot?

        mutating func add(_ reply: Reply) {
            switch reply {
            case .backup(.folder(let folder)): folders[folder.id] = folder
            case .backup(.messages(let id, let isAnew, let found, let gone)):
                if isAnew { messages[id] = [:] }
                for message in found { messages[id, default: [:]][message.uid] = message }
                for uid in gone { messages[id]?[uid] = nil }
            case .backup(.snapshot(let snapshot)): end = snapshot
            default: break
            }
        }
    }

    private let address: EmailAddress
    /// `mail/<domain>/<user>` of the generation being made.
    private let home: DirectoryHandle
    private let components: [[UInt8]]
    private var known: [[UInt8]: KnownFile] = [:]
    /// Paths in `home` that are good as they are.
    private var ready: [[UInt8]: String] = [:]
    private var sums = Sums()
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private(set) var counts = BackupCounts()

    init(_ address: EmailAddress, in work: DirectoryHandle) throws(Failure) {
        self.address = address
        components = try BackupName.components(address)
        home = try work.make(path: [BackupName.mail] + components)
    }

    /// - Parameter earlier: generations whose files may be linked to, best first.
    func run(
        _ client: inout ControlClient, earlier: [DirectoryHandle],
        _ progress: inout Progress
    ) throws(Failure) -> BackedUpAccount? {
        for generation in earlier { try learn(from: generation) }
        try learnOwn()
        var snapshot = Snapshot()
        let answer = try client.call(.backup(.snapshot(address, withMessageIDs: false))) {
            answer throws(Failure) in snapshot.add(answer.reply)
        }
        if answer.reply == .failure(.noSuchAccount) { return nil }
        snapshot.add(answer.reply)
        guard let end = snapshot.end else { throw Store.unexpected(answer.reply) }
        let total = end.folders.reduce(0) { $0 + (snapshot.messages[$1]?.count ?? 0) }
        progress.total = (progress.total ?? progress.done) + total
        progress.subject = address.text

        let maildir = try home.make(BackupName.maildir)
        var wantedFolders: Set<[UInt8]> = []
        for id in end.folders {
            guard let folder = snapshot.folders[id] else {
                throw Failure(.remoteProtocol, "msgstored left out a mailbox")
            }
            wantedFolders.insert(folder.directory)
            try place(
                folder, snapshot.messages[id] ?? [:], in: maildir, &client, &progress)
            snapshot.messages[id] = nil
        }
        try put(end.state, BackupName.accountState, in: maildir, path: "Maildir/martlet-account")
        if !end.subscriptions.isEmpty {
            try put(
                end.subscriptions, BackupName.subscriptions, in: maildir,
                path: "Maildir/subscriptions")
        }
        try removeOthers(maildir, wantedFolders)
        guard case .done = try client.call(.backup(.release(address))) else {
            throw Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
        try finish(maildir)
        let octets = sums.octets
        try home.write(BackupName.sums, octets)
        try home.unlink(BackupName.partialSums)
        try home.synchronize()
        return BackedUpAccount(
            address: address.text, domain: String(decoding: components[0], as: UTF8.self),
            user: String(decoding: components[1], as: UTF8.self), time: end.time,
            mailboxes: end.folders.count, messages: counts.messages, octets: counts.octets,
            sums: try SHA256.digest(octets))
    }

    // MARK: - What is there already

    private func learn(from generation: DirectoryHandle) throws(Failure) {
        guard let account = try generation.open(path: [BackupName.mail] + components),
            let octets = try account.contents(BackupName.sums, limit: 1 << 30)
        else { return }
        try learn(Sums(octets), in: account)
    }

    private func learn(_ sums: Sums, in account: DirectoryHandle) throws(Failure) {
        var directories: [[UInt8]: DirectoryHandle] = [:]
        for (path, digest) in sums.entries {
            guard let (parent, name) = Self.split(path), parent.hasSuffix("/cur") else { continue }
            let unique = MessageName(name).unique
            guard known[unique] == nil else { continue }
            if directories[parent] == nil {
                directories[parent] = try account.open(path: Self.names(parent))
            }
            guard let directory = directories[parent] else { continue }
            known[unique] = KnownFile(directory: directory, name: name, digest: digest)
        }
    }

    /// What an interrupted run left: whatever it noted is synced; the rest is copied again.
    private func learnOwn() throws(Failure) {
        var own = Sums()
        if let octets = try home.contents(BackupName.sums, limit: 1 << 30) { own = Sums(octets) }
        if let octets = try home.contents(BackupName.partialSums, limit: 1 << 30) {
            own.entries.merge(Sums(octets).entries) { $1 }
        }
        for (path, digest) in own.entries {
            guard let (parent, name) = Self.split(path),
                let directory = try home.open(path: Self.names(parent)),
                try directory.status(name)?.isRegular == true
            else { continue }
            ready[path] = digest
            let unique = MessageName(name).unique
            if known[unique] == nil {
                known[unique] = KnownFile(directory: directory, name: name, digest: digest)
            }
        }
        // Kept under the name that says it is not whole, until it is.
        if try home.status(BackupName.sums) != nil {
            try home.write(BackupName.partialSums, own.octets)
            try home.unlink(BackupName.sums)
            try home.synchronize()
        }
    }

    private static func split(_ path: [UInt8]) -> (parent: [UInt8], name: [UInt8])? {
        guard let slash = path.lastIndex(of: 0x2F) else { return nil }
        return (Array(path[..<slash]), Array(path[(slash + 1)...]))
    }

    private static func names(_ path: [UInt8]) -> [[UInt8]] {
        path.split(separator: 0x2F).map { Array($0) }
    }

    // MARK: - A folder

    private func place(
        _ folder: SnapshotFolder, _ messages: [UInt32: SnapshotMessage],
        in maildir: DirectoryHandle, _ client: inout ControlClient, _ progress: inout Progress
    ) throws(Failure) {
        let directory = folder.directory.isEmpty ? maildir : try maildir.make(folder.directory)
        let prefix =
            Array("Maildir/".utf8)
            + (folder.directory.isEmpty ? [] : folder.directory + [0x2F])
        for name in [BackupName.new, BackupName.tmp] { _ = try directory.make(name) }
        let cur = try directory.make(BackupName.cur)
        let curPath = prefix + BackupName.cur + [0x2F]
        var missing: [SnapshotMessage] = []
        for uid in messages.keys.sorted() {
            guard let message = messages[uid] else { continue }
            if try reuse(message, in: cur, curPath) {
                count(message)
                progress.skip()
            } else {
                missing.append(message)
            }
        }
        var next = 0
        while next < missing.count {
            let some = Array(missing[next..<min(next + Self.batch, missing.count)])
            next += some.count
            try fetch(some, folder.id, in: cur, curPath, &client)
            progress.advance(by: some.count)
        }
        try removeOthers(cur, curPath)
        let text = String(decoding: prefix, as: UTF8.self)
        try put(folder.state, BackupName.folderState, in: directory, path: text + "martlet-folder")
        if !folder.keywords.isEmpty {
            try put(
                folder.keywords, BackupName.keywords, in: directory,
                path: text + "dovecot-keywords")
        }
        if !folder.directory.isEmpty {
            try put([], BackupName.folderMark, in: directory, path: text + "maildirfolder")
        }
        try cur.synchronize()
        try directory.synchronize()
    }

    private func count(_ message: SnapshotMessage) {
        counts.messages += 1
        counts.octets += Int(MessageName(message.name).fileSize ?? Int64(message.size))
    }

    /// False if the message must be copied.
    private func reuse(
        _ message: SnapshotMessage, in cur: DirectoryHandle, _ path: [UInt8]
    ) throws(Failure) -> Bool {
        let target = path + message.name
        let name = MessageName(message.name)
        if let digest = ready[target] {
            sums.entries[target] = digest
            counts.kept += 1
            return true
        }
        guard let source = known[name.unique],
            let status = try source.directory.status(source.name), status.isRegular,
            name.fileSize == nil || name.fileSize == status.size
        else { return false }
        if try cur.status(message.name) != nil { try cur.unlink(message.name) }
        guard try source.directory.link(source.name, to: message.name, in: cur) == .done else {
            return false
        }
        sums.entries[target] = source.digest
        counts.linked += 1
        return true
    }

    private func fetch(
        _ messages: [SnapshotMessage], _ mailbox: MailboxID, in cur: DirectoryHandle,
        _ path: [UInt8], _ client: inout ControlClient
    ) throws(Failure) {
        var wanted: [UInt32: SnapshotMessage] = [:]
        for message in messages { wanted[message.uid] = message }
        var written: [OpenFile] = []
        var lines: [UInt8] = []
        let files = messages.map {
            SnapshotFile(uid: $0.uid, unique: MessageName($0.name).unique)
        }
        let answer = try client.call(.backup(.files(address, mailbox, files))) {
            answer throws(Failure) in
            guard case .backup(.file(let uid, let size, let date)) = answer.reply,
                let source = answer.file, let message = wanted.removeValue(forKey: uid)
            else { throw Store.unexpected(answer.reply) }
            let file = try cur.create(message.name)
            let (digest, copied) = try source.digest(copyingTo: file, &buffer)
            guard copied == Int64(size) else {
                throw Failure(.tryAgain, "a message of \(address.text) changed while it was read")
            }
            try file.setModified(date)
            file.startWriting()
            written.append(file)
            lines += Sums.line(path + message.name, digest)
            sums.entries[path + message.name] = digest
            counts.copied += 1
            counts.copiedOctets += Int(copied)
            count(message)
        }
        guard answer.reply == .done else { throw Store.unexpected(answer.reply) }
        counts.vanished += wanted.count
        for file in written { try file.synchronize() }
        try cur.synchronize()
        let note = try home.append(BackupName.partialSums)
        guard Files.writeAll(note.descriptor, lines) else {
            throw Failure(.inputOutput, "cannot write in \(home.path)")
        }
        try note.synchronize()
    }

    /// A small file, and its line in the sums.
    private func put(
        _ octets: [UInt8], _ name: [UInt8], in directory: DirectoryHandle, path: String
    ) throws(Failure) {
        try directory.write(name, octets)
        sums.entries[Array(path.utf8)] = try SHA256.digest(octets)
    }

    // MARK: - What does not belong

    private func removeOthers(_ cur: DirectoryHandle, _ path: [UInt8]) throws(Failure) {
        for name in try cur.names() where sums.entries[path + name] == nil {
            try cur.removeTree(name)
        }
    }

    private func removeOthers(
        _ maildir: DirectoryHandle, _ folders: Set<[UInt8]>
    ) throws(Failure) {
        for name in try maildir.names() where name.first == 0x2E && !folders.contains(name) {
            try maildir.removeTree(name)
        }
        for name in try home.names()
        where ![BackupName.maildir, BackupName.partialSums].contains(name) {
            try home.removeTree(name)
        }
    }

    private func finish(_ maildir: DirectoryHandle) throws(Failure) {
        try maildir.synchronize()
        try home.synchronize()
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ text: String) -> Bool {
        suffix(text.utf8.count).elementsEqual(text.utf8)
    }
}
