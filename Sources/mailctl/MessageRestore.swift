// SPDX-License-Identifier: Apache-2.0
//
// `mailctl backup restore --mailbox` and `--message`: messages of a generation are appended to
// what is there. What is there already, by name or by Message-ID, size and date, is left out, so
// it can be run again after an interruption. docs/backup.md.

import Bytes
import MIME
import Mail
import Wire

enum MessageRestore {
    /// Which messages.
    enum Selection {
        case all
        case messageID(String)
        case uid(UInt32)
        case sender(String)
        case subject(String)

        init(_ text: String?) throws(Failure) {
            guard let text else {
                self = .all
                return
            }
            let parts = text.split(separator: "=", maxSplits: 1).map { String($0) }
            guard parts.count == 2, !parts[1].isEmpty else { throw Self.failure(text) }
            switch parts[0] {
            case "id": self = .messageID(parts[1])
            case "uid":
                guard let uid = UInt32(parts[1]), uid > 0 else { throw Self.failure(text) }
                self = .uid(uid)
            case "from": self = .sender(parts[1].lowercased())
            case "subject": self = .subject(parts[1].lowercased())
            default: throw Self.failure(text)
            }
        }

        private static func failure(_ text: String) -> Failure {
            Failure(
                .usage, "`\(text)` selects no message",
                hints: ["write id=MESSAGE-ID, uid=N, from=TEXT or subject=TEXT"])
        }

        func matches(_ name: MessageName, _ summary: HeaderSummary) -> Bool {
            func text(_ octets: [UInt8]) -> String {
                String(decoding: octets, as: UTF8.self).lowercased()
            }
            switch self {
            case .all: return true
            case .uid(let uid): return name.uid == uid
            case .messageID(let id):
                let bare = id.filter { $0 != "<" && $0 != ">" }
                return String(decoding: summary.messageID, as: UTF8.self) == "<\(bare)>"
            case .sender(let wanted): return text(summary.from).contains(wanted)
            case .subject(let wanted): return text(summary.subject).contains(wanted)
            }
        }
    }

    /// By which a message is recognised.
    private struct Identity: Hashable {
        var messageID: [UInt8]
        var size: UInt32
        var date: Int64
    }

    /// What the account has now.
    private struct Present {
        var mailboxes: Set<MailboxName> = []
        var uniques: [MailboxName: Set<[UInt8]>] = [:]
        var identities: [MailboxName: Set<Identity>] = [:]
    }

    static func run(
        _ row: BackedUpAccount, _ generation: DirectoryHandle, _ name: String,
        _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        let selection = try Selection(invocation.value("message"))
        let mailbox = try invocation.value("mailbox").map { text throws(Failure) in
            guard let name = MailboxName(Array(text.utf8)) else {
                throw Failure(.badData, "`\(text)` cannot be a mailbox")
            }
            return name
        }
        let given = try invocation.value("to").map { text throws(Failure) in
            try BackupCommands.address(text)
        }
        guard let target = given ?? row.emailAddress,
            let home = try generation.open(path: row.path),
            let lines = try home.contents(BackupName.sums, limit: 1 << 30),
            try SHA256.digest(lines) == row.sums
        else {
            throw Failure(.badData, "the backup of \(row.address) in \(name) is damaged")
        }
        let reply = try client.call(.assume(target))
        guard case .authenticated(let session, _) = reply else { throw Store.unexpected(reply) }
        let present = try present(target, &client)
        let restore = MessageAppender(session: session, home: home, sums: Sums(lines))
        let folders = try self.folders(Sums(lines), home, mailbox)
        if let mailbox, folders.isEmpty {
            throw Failure(.noInput, "\(name) has no mailbox \(mailbox.text) of \(row.address)")
        }
        let total = folders.reduce(0) { $0 + $1.names.count }
        var progress = Progress("restoring", "messages", of: total, invocation)
        var (restored, there) = (0, 0)
        for folder in folders {
            progress.subject = folder.mailbox.text
            var known = present.identities[folder.mailbox] ?? []
            let uniques = present.uniques[folder.mailbox] ?? []
            var isMade = present.mailboxes.contains(folder.mailbox)
            for file in folder.names {
                let parsed = MessageName(file)
                let message = try restore.read(folder.path + [0x2F] + file)
                let summary = HeaderSummary(header: message.octets.span)
                guard selection.matches(parsed, summary) else {
                    progress.skip()
                    continue
                }
                let identity = Identity(
                    messageID: MessageRestore.rawMessageID(message.octets),
                    size: UInt32(clamping: message.octets.count), date: message.date)
                guard !uniques.contains(parsed.unique), !known.contains(identity) else {
                    there += 1
                    progress.skip()
                    continue
                }
                if !isMade {
                    try make(folder, session, &client)
                    isMade = true
                }
                try restore.append(
                    message, to: folder.mailbox, parsed.flags(folder.keywords), &client)
                known.insert(identity)
                restored += 1
                progress.advance()
            }
        }
        progress.finish()
        report(name, restored, there, target, invocation)
        return .ok
    }

    private static func report(
        _ name: String, _ restored: Int, _ there: Int, _ target: EmailAddress,
        _ invocation: Invocation
    ) {
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("generation", .string(name)), ("restored", .integer(restored)),
                    ("present", .integer(there)),
                ]).text)
        } else {
            invocation.say(
                "\(name): \(restored) messages are back in \(target.text), "
                    + "\(there) were there already.")
        }
    }

    /// As the store's index has it: the first 512 octets of the field.
    static func rawMessageID(_ message: [UInt8]) -> [UInt8] {
        var reader = HeaderReader(0..<message.count)
        let span = message.span
        while let field = reader.next(span) {
            guard KnownField(span, field.name) == .messageID else { continue }
            var value: [UInt8] = []
            for octet in message[field.body] where octet != 0x0D && octet != 0x0A {
                if value.isEmpty, octet == 0x20 || octet == 0x09 { continue }
                value.append(octet)
                if value.count == 512 { break }
            }
            return value
        }
        return []
    }

    private static func present(
        _ address: EmailAddress, _ client: inout ControlClient
    ) throws(Failure) -> Present {
        var names: [MailboxID: MailboxName] = [:]
        var messages: [MailboxID: [UInt32: SnapshotMessage]] = [:]
        let answer = try client.call(.backup(.snapshot(address, withMessageIDs: true))) {
            answer throws(Failure) in
            switch answer.reply {
            case .backup(.folder(let folder)): names[folder.id] = folder.name
            case .backup(.messages(let id, let isAnew, let found, let gone)):
                if isAnew { messages[id] = [:] }
                for message in found { messages[id, default: [:]][message.uid] = message }
                for uid in gone { messages[id]?[uid] = nil }
            default: throw Store.unexpected(answer.reply)
            }
        }
        guard case .backup(.snapshot) = answer.reply else { throw Store.unexpected(answer.reply) }
        guard case .done = try client.call(.backup(.release(address))) else {
            throw Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
        var present = Present()
        for (id, name) in names {
            present.mailboxes.insert(name)
            for message in (messages[id] ?? [:]).values {
                present.uniques[name, default: []].insert(MessageName(message.name).unique)
                present.identities[name, default: []].insert(
                    Identity(messageID: message.messageID, size: message.size, date: message.date))
            }
        }
        return present
    }

    // MARK: - What the generation has

    struct BackedUpFolder {
        var mailbox: MailboxName
        var path: [UInt8]
        var names: [[UInt8]]
        var keywords: [[UInt8]]
        var specialUse: SpecialUse
    }

    private static func folders(
        _ sums: Sums, _ home: DirectoryHandle, _ only: MailboxName?
    ) throws(Failure) -> [BackedUpFolder] {
        var names: [[UInt8]: [[UInt8]]] = [:]
        var states: Set<[UInt8]> = []
        for path in sums.entries.keys {
            guard let slash = path.lastIndex(of: 0x2F) else { continue }
            let parent = Array(path[..<slash])
            if parent.suffix(4).elementsEqual("/cur".utf8) {
                names[Array(parent.dropLast(4)), default: []].append(Array(path[(slash + 1)...]))
            } else {
                states.insert(parent)
            }
        }
        var folders: [BackedUpFolder] = []
        for folder in states.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let parts = folder.split(separator: 0x2F).map { Array($0) }
            guard let mailbox = FolderDirectory.mailbox(parts.count > 1 ? parts[1] : []),
                only == nil || only == mailbox, let directory = try home.open(path: parts)
            else { continue }
            let keywords = try directory.contents(BackupName.keywords) ?? []
            let marks = try directory.contents(BackupName.folderState).flatMap { FolderMarks($0) }
            folders.append(
                BackedUpFolder(
                    mailbox: mailbox, path: folder + Array("/cur".utf8),
                    names: (names[folder] ?? []).sorted {
                        (MessageName($0).uid ?? 0) < (MessageName($1).uid ?? 0)
                    }, keywords: BackupName.keywordTable(keywords),
                    specialUse: marks?.specialUse ?? .none))
        }
        return folders
    }

    private static func make(
        _ folder: BackedUpFolder, _ session: SessionHandle, _ client: inout ControlClient
    ) throws(Failure) {
        let reply = try client.call(.create(session, folder.mailbox, folder.specialUse))
        switch reply {
        case .done, .failure(.mailboxExists): return
        default: throw Store.unexpected(reply)
        }
    }
}

/// Appends messages of a backup to a mailbox.
struct MessageAppender {
    struct Message {
        /// With CRLF line ends.
        var octets: [UInt8]
        var date: Int64
    }

    let session: SessionHandle
    let home: DirectoryHandle
    let sums: Sums

    /// - Throws: `.badData` if its digest is another.
    func read(_ path: [UInt8]) throws(Failure) -> Message {
        var parts = path.split(separator: 0x2F).map { Array($0) }
        guard let name = parts.popLast(), let directory = try home.open(path: parts),
            let file = try directory.read(name)
        else {
            throw Failure(.badData, "\(String(decoding: path, as: UTF8.self)) is missing")
        }
        let octets = try Files.readAll(
            file.descriptor, String(decoding: path, as: UTF8.self), limit: 1 << 31)
        guard try SHA256.digest(octets) == sums.entries[path] else {
            throw Failure(.badData, "\(String(decoding: path, as: UTF8.self)) is damaged")
        }
        return Message(octets: Self.withCRLF(octets), date: try file.status().modified)
    }

    private static func withCRLF(_ octets: [UInt8]) -> [UInt8] {
        var last: UInt8 = 0
        var bare = 0
        for octet in octets {
            if octet == 0x0A, last != 0x0D { bare += 1 }
            last = octet
        }
        guard bare > 0 else { return octets }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count + bare)
        last = 0
        for octet in octets {
            if octet == 0x0A, last != 0x0D { result.append(0x0D) }
            result.append(octet)
            last = octet
        }
        return result
    }

    func append(
        _ message: Message, to mailbox: MailboxName, _ flags: NamedFlags,
        _ client: inout ControlClient
    ) throws(Failure) {
        let body: MessageBody
        if message.octets.count <= MessageBody.inlineLimit {
            body = .inline(message.octets)
        } else {
            body = .staged(try stage(message.octets, &client))
        }
        let reply = try client.call(
            .append(session, mailbox, flags: flags, date: message.date, body: body))
        guard case .appended = reply else {
            if case .failure(.overQuota) = reply {
                throw Failure(.tryAgain, "the account is over its quota")
            }
            throw Store.unexpected(reply)
        }
    }

    private func stage(
        _ octets: [UInt8], _ client: inout ControlClient
    ) throws(Failure) -> StageToken {
        let answer = try client.call(.stage) { _ throws(Failure) in }
        guard case .staged(let token) = answer.reply, let file = answer.file else {
            throw Store.unexpected(answer.reply)
        }
        guard Files.writeAll(file.descriptor, octets) else {
            throw Failure(.inputOutput, "cannot hand a message over")
        }
        return token
    }
}

/// Folder directories as mailbox names: Maildir++ in modified UTF-7 (RFC 3501 §5.1.3).
enum FolderDirectory {
    /// Empty: INBOX. Nil if no mailbox can have it.
    static func mailbox(_ directory: [UInt8]) -> MailboxName? {
        if directory.isEmpty { return .inbox }
        guard directory.count > 1, directory.first == 0x2E else { return nil }
        var name: [UInt8] = []
        for level in directory.dropFirst().split(separator: 0x2E, omittingEmptySubsequences: false)
        {
            if !name.isEmpty { name.append(MailboxName.separator) }
            name += decoded(Array(level)) ?? Array(level)
        }
        return MailboxName(name)
    }

    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,".utf8)

    private static func decoded(_ text: [UInt8]) -> [UInt8]? {
        var units: [UInt16] = []
        var index = 0
        while index < text.count {
            let octet = text[index]
            index += 1
            guard octet == 0x26 else {
                guard octet >= 0x20, octet < 0x7F else { return nil }
                units.append(UInt16(octet))
                continue
            }
            guard let end = text[index...].firstIndex(of: 0x2D) else { return nil }
            if end == index { units.append(0x26) }
            var bits: UInt32 = 0
            var count: UInt32 = 0
            for digit in text[index..<end] {
                guard let value = alphabet.firstIndex(of: digit) else { return nil }
                bits = bits << 6 | UInt32(value)
                count += 6
                if count >= 16 {
                    count -= 16
                    units.append(UInt16(truncatingIfNeeded: bits >> count))
                    bits &= (1 << count) - 1
                }
            }
            index = end + 1
        }
        return String(validating: units, as: UTF16.self).map { Array($0.utf8) }
    }
}
