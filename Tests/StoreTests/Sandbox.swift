// SPDX-License-Identifier: Apache-2.0
//
// A mail root in a temporary directory, and what tests ask of the disk behind the store's back.

import Bytes
import CLinux
import Glibc
import Mail
import Synchronization

@testable import Store

/// A directory that goes away with the test.
final class Sandbox {
    let path: String
    let notices = NoticeLog()
    private(set) var root: MailRoot
    static let alice = EmailAddress(local: Array("alice"), domain: Array("example.net"))
    static let bob = EmailAddress(local: Array("bob"), domain: Array("example.net"))

    init(path given: String? = nil, log: DeliveryLogSettings = .init(size: 16 << 20)) throws {
        path = given ?? Self.temporary()
        let notices = notices
        root = try MailRoot.open(path: path + "/mail", host: "mx.test", log: log) {
            notices.add($0)
        }
    }

    deinit { run("/bin/rm", "-rf", path) }

    static func temporary() -> String {
        let base = getenv("STORE_TEST_DIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/martlet-store-XXXXXX".utf8CString)
        guard
            let made = template.withUnsafeMutableBufferPointer({
                $0.baseAddress.flatMap { mkdtemp($0) }
            })
        else {
            preconditionFailure("mkdtemp: \(errno)")
        }
        return String(cString: made)
    }

    func account(_ address: EmailAddress = alice) throws -> AccountStore {
        try root.openAccount(address)
    }

    /// The account's directory.
    func home(_ address: EmailAddress = alice) -> String {
        "\(path)/mail/\(String(decoding: address.domain, as: UTF8.self))"
            + "/\(String(decoding: address.local, as: UTF8.self))"
    }

    /// Names of message files in a folder's cur/; "" is INBOX.
    func files(_ folder: String = "", _ address: EmailAddress = alice) -> [String] {
        names("\(home(address))/Maildir/\(folder.isEmpty ? "" : folder + "/")cur")
    }

    func removeIndex(_ address: EmailAddress = alice) {
        for name in names(home(address)) where name.hasPrefix("index.sqlite") {
            unlink("\(home(address))/\(name)")
        }
    }
}

final class NoticeLog: Sendable {
    private let kept = Mutex<[StoreNotice]>([])
    func add(_ notice: StoreNotice) { kept.withLock { $0.append(notice) } }
    var all: [StoreNotice] { kept.withLock { $0 } }
    func has(_ kind: StoreNotice.Kind) -> Bool { all.contains { $0.kind == kind } }
}

/// Names in a directory, sorted, without `.` and `..`.
func names(_ path: String) -> [String] {
    guard let stream = opendir(path) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        var length = 0
        let name = String(cString: martlet_entry_name(entry, &length))
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

@discardableResult
func run(_ arguments: String...) -> Int32 {
    var child: pid_t = 0
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    defer { pointers.forEach { free($0) } }
    guard posix_spawn(&child, arguments[0], nil, nil, pointers, nil) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status
}

func writeFile(_ path: String, _ octets: [UInt8]) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0, "cannot write \(path)")
    _ = octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    close(descriptor)
}

func readFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return readAll(descriptor)
}

func readAll(_ descriptor: Int32) -> [UInt8] {
    var octets: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return octets }
        octets += buffer[..<count]
    }
}

func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

func message(_ text: String, octets: Int = 0) -> [UInt8] {
    var body = "Subject: \(text)\r\nFrom: a@example.net\r\nTo: b@example.net\r\n"
    body += "Message-ID: <\(text)@example.net>\r\n\r\nbody of \(text)\r\n"
    while body.utf8.count < octets { body += String(repeating: "x", count: 76) + "\r\n" }
    return Array(body.utf8)
}

func name(_ text: String) -> MailboxName {
    guard let name = MailboxName(Array(text.utf8)) else { preconditionFailure("name \(text)") }
    return name
}

let inbox = MailboxName.inbox

extension AccountStore {
    @discardableResult
    func add(
        _ text: String, to mailbox: MailboxName = inbox, _ system: Flags = [],
        keywords: [String] = [], date: Int64? = nil
    ) throws -> AppendedMessage {
        try append(
            PendingAppend(
                mailbox: mailbox,
                flags: NamedFlags(system: system, keywords: keywords.map { Array($0.utf8) }),
                date: date, source: .octets(message(text))))
    }

    /// The subjects of all messages by UID: what a person would miss.
    func subjects(_ mailbox: MailboxName = inbox) throws -> [UInt32: String] {
        let snapshot = try snapshot(mailbox)
        var subjects: [UInt32: String] = [:]
        for entry in snapshot.entries {
            let octets = try octets(snapshot.id, entry.uid)
            subjects[entry.uid] = String(
                String(decoding: octets ?? [], as: UTF8.self).dropFirst(9).prefix { $0 != "\r\n" })
        }
        return subjects
    }

    func octets(_ id: MailboxID, _ uid: UInt32, inlineLimit: Int = 1 << 20) throws -> [UInt8]? {
        switch try read(id, uid: uid, .whole, inlineLimit: inlineLimit) {
        case nil: return nil
        case .octets(let octets): return octets
        case .file(let shared, _):
            guard let descriptor = shared.take() else { return nil }
            defer { Glibc.close(descriptor) }
            return readAll(descriptor)
        }
    }

    func store(
        _ id: MailboxID, _ uid: UInt32, _ operation: FlagOperation, _ system: Flags,
        _ keywords: [String] = []
    ) throws -> StoredFlags {
        try store(
            id, uids: [UIDRange(uid, uid)], operation,
            NamedFlags(system: system, keywords: keywords.map { Array($0.utf8) }),
            unchangedSince: nil)
    }
}

func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
