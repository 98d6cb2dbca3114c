// SPDX-License-Identifier: Apache-2.0
//
// What an import has brought already, so that it can be stopped at any moment and run again:
// docs/migrating.md, "Running it again".
//
//     martlet-import 1
//     source imap alice@mail.example.org
//     mailbox 1 1700000000 1690000000 INBOX      number, UIDVALIDITY here and there, name here
//     mark 1 120                                 below this UID here nothing is missing in the journal
//     done 1 77 119                              key there, UID here

import CLinux
import Glibc
import Mail

/// The key of a message where it comes from, as two hashes that differ in every run.
private struct KeyHash: Hashable {
    var first: Int
    var second: Int

    init(_ key: String) {
        var hasher = Hasher()
        hasher.combine(key)
        first = hasher.finalize()
        hasher = Hasher()
        hasher.combine(0x6D61_7274_6C65_7401)
        hasher.combine(key)
        second = hasher.finalize()
    }
}

/// Appended to while messages are acknowledged; read once at the start.
final class ImportJournal {
    /// What is known of a mailbox when an import comes to it.
    struct Mailbox {
        var number: Int
        /// Here, in the store.
        var uidValidity: UInt32
        /// Below it every UID here that came from this import is in `done`.
        var mark: UInt32
    }

    private static let syncInterval = 2_000

    private let path: String
    private let descriptor: Int32
    private var mailboxes: [MailboxName: (Mailbox, sourceValidity: UInt32)] = [:]
    private var lastNumber = 0
    private var done: [KeyHash: UInt32] = [:]
    private var doneNumber = 0
    private var buffer: [UInt8] = []
    private var sinceSync = 0
    private(set) var isNew = true

    deinit { close(descriptor) }

    /// Opens or begins the journal of an import.
    ///
    /// - Parameters:
    ///   - source: says where the mail comes from.
    ///   - again: forget what was.
    init(
        directory: String, account: EmailAddress, source: String, again: Bool
    ) throws(Failure) {
        do throws(Failure) {
            try Files.makeDirectory(directory, mode: 0o700)
        } catch {
            throw Failure(
                error.code, error.message,
                hints: ["run as root, or say where the journal shall be: --journal DIR"])
        }
        let digest = try Digest.of(Array("\(account.text)\n\(source)".utf8))
        path = "\(directory)/\(Digest.hex(digest.prefix(16))).journal"
        descriptor = unsafe open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("cannot open \(path)", errno, .cannotCreate) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw Failure(.tryAgain, "this import is running already", hints: ["see \(path)"])
        }
        if again, ftruncate(descriptor, 0) != 0 { throw .system("cannot empty \(path)", errno) }
        let isEmpty = try load(nil)
        if isEmpty {
            put("martlet-import 1\nsource \(Shown.text(source))\n")
            try flush()
        }
        isNew = isEmpty
    }

    // MARK: - Reading

    /// Goes through the file: mailboxes with their marks, and the keys of one of them.
    ///
    /// - Returns: true if there was nothing in it.
    private func load(_ wanted: Int?) throws(Failure) -> Bool {
        var offset: Int64 = 0
        var rest: [UInt8] = []
        var isFirst = true
        while true {
            let piece = try FileReading.read(descriptor, at: offset, count: 1 << 16)
            if piece.isEmpty { break }
            offset += Int64(piece.count)
            rest += piece
            guard let end = rest.lastIndex(of: 0x0A) else {
                guard rest.count < 1 << 20 else { throw notAJournal }
                continue
            }
            for line in rest[..<end].split(separator: 0x0A) {
                if isFirst, !line.elementsEqual("martlet-import 1".utf8) { throw notAJournal }
                isFirst = false
                take(line, wanted)
            }
            rest = Array(rest[(end + 1)...])
        }
        if !rest.isEmpty, wanted == nil {
            // A line that was cut off says nothing; the next must not be glued to it.
            put("\n")
        }
        return offset == 0
    }

    private var notAJournal: Failure {
        Failure(
            .badData, "\(path) is no journal of an import",
            hints: ["move it away; what is in the store already is recognised by its content"])
    }

    private func take(_ line: ArraySlice<UInt8>, _ wanted: Int?) {
        let words = line.split(separator: 0x20, maxSplits: 4)
        func number(_ index: Int) -> UInt32? {
            index < words.count ? UInt32(String(decoding: words[index], as: UTF8.self)) : nil
        }
        guard let kind = words.first, let mailbox = number(1).map({ Int($0) }) else { return }
        switch String(decoding: kind, as: UTF8.self) {
        case "mailbox":
            guard wanted == nil, words.count == 5, let here = number(2), let there = number(3),
                let name = MailboxName(Array(words[4]))
            else { return }
            lastNumber = max(lastNumber, mailbox)
            mailboxes[name] = (Mailbox(number: mailbox, uidValidity: here, mark: 1), there)
        case "mark":
            guard wanted == nil, let mark = number(2) else { return }
            for (name, known) in mailboxes where known.0.number == mailbox {
                mailboxes[name]?.0.mark = mark
            }
        case "done":
            guard mailbox == wanted, words.count >= 4, let uid = number(3) else { return }
            done[KeyHash(String(decoding: words[2], as: UTF8.self))] = uid
        default: break
        }
    }

    // MARK: - Mailboxes

    /// What is known of a mailbox; nil if this import never came to it, or it is another one now.
    func known(
        _ name: MailboxName, uidValidity: UInt32, sourceValidity: UInt32
    ) throws(Failure) -> Mailbox? {
        done = [:]
        doneNumber = 0
        guard let (mailbox, validity) = mailboxes[name], mailbox.uidValidity == uidValidity,
            validity == sourceValidity
        else { return nil }
        try flush()
        _ = try load(mailbox.number)
        doneNumber = mailbox.number
        return mailbox
    }

    /// A mailbox that this import comes to for the first time.
    func begin(
        _ name: MailboxName, uidValidity: UInt32, sourceValidity: UInt32, mark: UInt32
    ) throws(Failure) {
        lastNumber += 1
        let mailbox = Mailbox(number: lastNumber, uidValidity: uidValidity, mark: mark)
        mailboxes[name] = (mailbox, sourceValidity)
        done = [:]
        doneNumber = lastNumber
        put("mailbox \(lastNumber) \(uidValidity) \(sourceValidity) \(name.text)\n")
        put("mark \(lastNumber) \(mark)\n")
        try sync()
    }

    // MARK: - Messages

    /// The UID here of a message that was brought already.
    func uid(of key: String) -> UInt32? { done[KeyHash(key)] }

    /// The message is durable in the store.
    ///
    /// - Parameter isLast: of all that this import sent so far, none before is unanswered.
    func add(_ key: String, uid: UInt32, raisesMark: Bool) throws(Failure) {
        done[KeyHash(key)] = uid
        put("done \(doneNumber) \(key) \(uid)\n")
        sinceSync += 1
        if raisesMark, sinceSync >= Self.syncInterval {
            put("mark \(doneNumber) \(uid &+ 1)\n")
            try sync()
        }
        if buffer.count > 16 << 10 { try flush() }
    }

    private func put(_ text: String) { buffer += Array(text.utf8) }

    func flush() throws(Failure) {
        guard !buffer.isEmpty else { return }
        guard Files.writeAll(descriptor, buffer) else {
            throw .system("cannot write \(path)", errno)
        }
        buffer = []
    }

    /// To disk.
    func sync() throws(Failure) {
        try flush()
        guard fdatasync(descriptor) == 0 else { throw .system("cannot sync \(path)", errno) }
        sinceSync = 0
    }
}
