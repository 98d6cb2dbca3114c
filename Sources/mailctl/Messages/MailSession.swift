// SPDX-License-Identifier: Apache-2.0
//
// One account's mail through the control door: msgstored takes mailctl at its word (`assume`), then
// answers the requests that imapd makes. docs/wire.md.

import Bytes
import Config
import Glibc
import Mail
import Wire

/// The octets of a message as the store gave them.
enum MessageOctets {
    case octets([UInt8])
    /// The first `size` octets of the file.
    case file(OpenFile, size: Int)

    var size: Int {
        switch self {
        case .octets(let octets): octets.count
        case .file(_, let size): size
        }
    }

    /// All of it in pieces of at most 64 KiB.
    func forEachPiece(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        switch self {
        case .octets(let octets): try body(octets)
        case .file(let file, let size):
            var offset = 0
            while offset < size {
                let piece = try FileReading.read(
                    file.descriptor, at: Int64(offset), count: min(65_536, size - offset))
                guard !piece.isEmpty else {
                    throw Failure(.inputOutput, "a message file is shorter than it was")
                }
                offset += piece.count
                try body(piece)
            }
        }
    }
}

/// Reads at offsets.
enum FileReading {
    /// Fewer octets than asked for only at the end.
    static func read(_ file: Int32, at offset: Int64, count: Int) throws(Failure) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = unsafe octets.withUnsafeMutableBytes { space in
                unsafe pread(
                    file, space.baseAddress?.advanced(by: done), count - done,
                    off_t(offset) + off_t(done))
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .system("read", errno) }
            if got == 0 { break }
            done += got
        }
        if done < count { octets.removeLast(count - done) }
        return octets
    }
}

/// A login to one account.
struct MailSession {
    var client: ControlClient
    let handle: SessionHandle
    let address: EmailAddress
    let suite: SuiteLocation

    /// Where the suite keeps its files.
    struct SuiteLocation {
        var stateDirectory: String
    }

    /// - Parameter text: of the address of an account.
    init(_ text: String, _ invocation: Invocation) throws(Failure) {
        let suite = try ConfigFiles.suite(invocation)
        guard let wanted = EmailAddress(splitting: Array(text.utf8)) else {
            throw Failure(
                .badData, "`\(text)` is not an address", hints: ["write it as NAME@DOMAIN"])
        }
        client = try ControlClient(path: suite.server.socketPath(Door.control.socketName))
        let reply = try client.call(.assume(wanted))
        switch reply {
        case .authenticated(let session, let account):
            handle = session
            address = account
        case .failure(.noSuchAccount), .failure(.noSuchDomain):
            throw Failure(
                .noSuchAccount, "there is no account \(text)",
                hints: ["see: mailctl account list", "or add it: mailctl account add \(text)"])
        default: throw Store.unexpected(reply)
        }
        self.suite = SuiteLocation(stateDirectory: suite.server.stateDirectory)
    }

    /// One of many accounts over one connection; nil if there is no such account (any more).
    init?(_ client: ControlClient, _ address: EmailAddress, _ state: String) throws(Failure) {
        self.client = client
        let reply = try self.client.call(.assume(address))
        switch reply {
        case .authenticated(let session, let account):
            handle = session
            self.address = account
        case .failure(.noSuchAccount), .failure(.noSuchDomain): return nil
        default: throw Store.unexpected(reply)
        }
        suite = SuiteLocation(stateDirectory: state)
    }

    /// `INBOX`, `Archive/2024`.
    static func mailboxName(_ text: String) throws(Failure) -> MailboxName {
        guard let name = MailboxName(Array(text.utf8)) else {
            throw Failure(
                .badData, "`\(Shown.text(text))` is not a mailbox name",
                hints: ["levels are separated by `/`, for example Archive/2024"])
        }
        return name
    }

    static func noMailbox(_ name: MailboxName, _ address: EmailAddress) -> Failure {
        Failure(
            .noInput, "there is no mailbox \(Shown.text(name.octets))",
            hints: ["see: mailctl mailbox list \(address.text)"])
    }

    // MARK: - Mailboxes

    mutating func mailboxes() throws(Failure) -> [MailboxInfo] {
        let reply = try client.call(.list(handle))
        guard case .mailboxes(let infos) = reply else { throw Store.unexpected(reply) }
        return infos
    }

    mutating func status(_ name: MailboxName) throws(Failure) -> MailboxStatus {
        let reply = try client.call(.status(handle, name))
        switch reply {
        case .status(let status): return status
        case .failure(.noSuchMailbox): throw Self.noMailbox(name, address)
        default: throw Store.unexpected(reply)
        }
    }

    /// Opens a mailbox; its messages come by rising UID, at most 16,384 at a time.
    mutating func open(
        _ name: MailboxName, _ mode: OpenMode = .readOnly,
        onEntries: ([MessageEntry]) throws(Failure) -> Void
    ) throws(Failure) -> MailboxSnapshot {
        let answer = try client.call(.open(handle, name, mode)) { part throws(Failure) in
            if case .entries(let entries) = part.reply { try onEntries(entries) }
        }
        switch answer.reply {
        case .opened(let snapshot): return snapshot
        case .failure(.noSuchMailbox): throw Self.noMailbox(name, address)
        default: throw Store.unexpected(answer.reply)
        }
    }

    /// As above with all messages in the snapshot.
    mutating func open(
        _ name: MailboxName, _ mode: OpenMode = .readOnly
    ) throws(Failure) -> MailboxSnapshot {
        var entries: [MessageEntry] = []
        var snapshot = try open(name, mode) { some throws(Failure) in entries += some }
        snapshot.entries = entries
        return snapshot
    }

    mutating func close(_ mailbox: MailboxID) throws(Failure) {
        try expectDone(.close(handle, mailbox))
    }

    /// - Returns: false if it was there already.
    mutating func create(_ name: MailboxName, _ use: SpecialUse) throws(Failure) -> Bool {
        let reply = try client.call(.create(handle, name, use))
        switch reply {
        case .done: return true
        case .failure(.mailboxExists), .failure(.alreadyExists): return false
        case .failure(.notPermitted):
            throw Failure(
                .badData, "msgstored cannot keep a mailbox called \(Shown.text(name.octets))")
        default: throw Store.unexpected(reply)
        }
    }

    mutating func expectDone(_ request: Request) throws(Failure) {
        let reply = try client.call(request)
        guard reply == .done else { throw Store.unexpected(reply) }
    }

    // MARK: - Messages

    /// Messages in the order asked; those that are gone are left out.
    mutating func read(
        _ mailbox: MailboxID, _ uids: [UInt32], _ part: ReadPart,
        _ each: (UInt32, MessageOctets) throws(Failure) -> Void
    ) throws(Failure) {
        let answer = try client.call(.read(handle, mailbox, uids: uids, part)) {
            part throws(Failure) in
            guard case .message(let uid, let size, let inline) = part.reply else { return }
            if let inline {
                try each(uid, .octets(inline))
            } else if let file = part.file {
                try each(uid, .file(file, size: Int(size)))
            }
        }
        guard answer.reply == .done else { throw Store.unexpected(answer.reply) }
    }
}
