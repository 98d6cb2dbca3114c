// SPDX-License-Identifier: Apache-2.0
//
// A directory with backups: one directory for each generation, complete when its manifest is there.
// docs/backup.md.

import Bytes
import Config
import Glibc
import Mail

/// An account in a manifest.
struct BackedUpAccount {
    var address: String
    /// Names of `<domain>` and `<user>` below `mail`.
    var domain: String
    var user: String
    /// When its snapshot was taken; seconds since 1970.
    var time: Int64
    var mailboxes: Int
    var messages: Int
    var octets: Int
    /// Digest of its SHA256SUMS.
    var sums: String

    var json: JSON {
        .object([
            ("address", .string(address)), ("domain", .string(domain)), ("user", .string(user)),
            ("time", .integer(Int(time))), ("mailboxes", .integer(mailboxes)),
            ("messages", .integer(messages)), ("octets", .integer(octets)),
            ("sha256sums", .string(sums)),
        ])
    }

    init?(_ json: JSON) {
        guard let address = json["address"]?.stringValue,
            let domain = json["domain"]?.stringValue, let user = json["user"]?.stringValue,
            let time = json["time"]?.integerValue,
            let mailboxes = json["mailboxes"]?.integerValue,
            let messages = json["messages"]?.integerValue,
            let octets = json["octets"]?.integerValue,
            let sums = json["sha256sums"]?.stringValue,
            ![domain, user].contains(where: { $0.isEmpty || $0 == ".." || $0.contains("/") })
        else { return nil }
        self.init(
            address: address, domain: domain, user: user, time: Int64(time), mailboxes: mailboxes,
            messages: messages, octets: octets, sums: sums)
    }

    init(
        address: String, domain: String, user: String, time: Int64, mailboxes: Int, messages: Int,
        octets: Int, sums: String
    ) {
        self.address = address
        self.domain = domain
        self.user = user
        self.time = time
        self.mailboxes = mailboxes
        self.messages = messages
        self.octets = octets
        self.sums = sums
    }

    var path: [[UInt8]] { [BackupName.mail, Array(domain.utf8), Array(user.utf8)] }
    var emailAddress: EmailAddress? { EmailAddress(splitting: Array(address.utf8)) }
}

/// What `MANIFEST.json` says.
struct Manifest {
    static let format = 1

    var created: Int64
    var completed: Int64
    /// The only account in it; nil: all of them.
    var scope: String?
    var accounts: [BackedUpAccount]
    /// Digests of the copies of the directory; empty when there are none.
    var directory: String
    var directoryText: String

    var octets: [UInt8] {
        let json = JSON.object([
            ("format", .integer(Self.format)), ("program", .string("mailctl backup")),
            ("created", .integer(Int(created))), ("completed", .integer(Int(completed))),
            ("scope", scope.map { .string($0) } ?? .null),
            ("directory.sqlite", .string(directory)), ("directory.sql", .string(directoryText)),
            ("accounts", .array(accounts.map(\.json))),
        ])
        return Array((json.text + "\n").utf8)
    }

    init(
        created: Int64, completed: Int64, scope: String?, accounts: [BackedUpAccount],
        directory: String, directoryText: String
    ) {
        self.created = created
        self.completed = completed
        self.scope = scope
        self.accounts = accounts
        self.directory = directory
        self.directoryText = directoryText
    }

    init?(_ octets: [UInt8]) {
        guard let json = JSON(octets), json["format"]?.integerValue == Self.format,
            let created = json["created"]?.integerValue,
            let completed = json["completed"]?.integerValue,
            let directory = json["directory.sqlite"]?.stringValue,
            let text = json["directory.sql"]?.stringValue,
            case .array(let rows)? = json["accounts"]
        else { return nil }
        let accounts = rows.compactMap { BackedUpAccount($0) }
        guard accounts.count == rows.count else { return nil }
        self.init(
            created: Int64(created), completed: Int64(completed),
            scope: json["scope"]?.stringValue, accounts: accounts, directory: directory,
            directoryText: text)
    }
}

/// One generation.
struct Generation {
    var name: String
    /// Nil: incomplete, or damaged.
    var manifest: Manifest?
    var isDamaged = false
}

/// DEST.
struct BackupRepository {
    let root: DirectoryHandle

    init(opening path: String) throws(Failure) {
        root = try DirectoryHandle(path: Files.absolute(path))
    }

    init(making path: String) throws(Failure) {
        try Files.makeDirectory(Files.absolute(path), mode: 0o700)
        try self.init(opening: path)
    }

    /// One mailctl at a time changes it.
    func lock() throws(Failure) {
        guard root.lock() else {
            throw Failure(
                .tryAgain, "another mailctl works in \(root.path)",
                hints: ["wait until it has finished"])
        }
    }

    static func isGeneration(_ name: String) -> Bool {
        let octets = Array(name.utf8)
        return octets.count >= 18 && octets[4] == 0x2D && octets[10] == 0x54
            && octets[17] == 0x5A && octets.prefix(4).allSatisfy { $0.isASCIIDigit }
    }

    /// `2026-02-28T031500Z`: sorts by time, and can be a file name anywhere.
    static func name(_ seconds: Int64) -> String {
        String(AccountCommands.timestamp(seconds).filter { $0 != ":" })
    }

    /// Oldest first.
    func generations() throws(Failure) -> [Generation] {
        var found: [Generation] = []
        let names = try root.names().map { String(decoding: $0, as: UTF8.self) }
        for name in names.sorted() where Self.isGeneration(name) || name == "incomplete" {
            guard let directory = try root.open(Array(name.utf8)) else { continue }
            guard name != "incomplete", let octets = try directory.contents(BackupName.manifest)
            else {
                found.append(Generation(name: name))
                continue
            }
            let manifest = Manifest(octets)
            found.append(
                Generation(name: name, manifest: manifest, isDamaged: manifest == nil))
        }
        return found
    }

    func complete() throws(Failure) -> [Generation] {
        try generations().filter { $0.manifest != nil }
    }

    func open(_ generation: Generation) throws(Failure) -> DirectoryHandle {
        guard let directory = try root.open(Array(generation.name.utf8)) else {
            throw Failure(.noInput, "\(root.path)/\(generation.name) is gone")
        }
        return directory
    }

    /// The generation called `name`, or the newest that is complete.
    func find(_ name: String?) throws(Failure) -> Generation {
        let all = try generations()
        if let name {
            guard let found = all.first(where: { $0.name == name }) else {
                let meant = suggestion(for: name, among: all.map(\.name))
                throw Failure(
                    .noInput,
                    "there is no generation \(name)."
                        + (meant.map { " Did you mean \($0)?" } ?? ""),
                    hints: ["see: mailctl backup list \(root.path)"])
            }
            return found
        }
        guard let newest = all.last(where: { $0.manifest != nil }) else {
            throw Failure(
                .noInput, "there is no complete generation in \(root.path)",
                hints: ["make one:  mailctl backup create \(root.path)"])
        }
        return newest
    }

    /// The newest complete generation not younger than `time` that has the account (nil: all).
    func find(at time: Int64?, account: String?) throws(Failure) -> Generation {
        let fitting = try complete().filter { generation in
            guard let manifest = generation.manifest else { return false }
            guard let account else {
                return manifest.scope == nil && (time.map { manifest.completed <= $0 } ?? true)
            }
            guard let row = manifest.accounts.first(where: { $0.address == account }) else {
                return false
            }
            return time.map { row.time <= $0 } ?? true
        }
        guard let found = fitting.last else {
            let what = account.map { "a backup of \($0)" } ?? "a backup of everything"
            let when = time.map { " from \(AccountCommands.timestamp($0)) or before" } ?? ""
            throw Failure(
                .noInput, "there is no \(what.dropFirst(2))\(when) in \(root.path)",
                hints: ["see: mailctl backup list \(root.path)"])
        }
        return found
    }

    /// `2026-02-28`, `2026-02-28 03:15`, `2026-02-28T03:15:00Z` or the name of a generation; UTC.
    static func time(_ text: String) throws(Failure) -> Int64 {
        let digits = text.utf8.filter { $0.isASCIIDigit }
        let numbers = digits.map { Int($0 - 0x30) }
        func number(_ range: Range<Int>) -> Int {
            range.reduce(0) { $0 * 10 + (numbers.count > $1 ? numbers[$1] : 0) }
        }
        let isPlain = text.utf8.allSatisfy {
            $0.isASCIIDigit || Array("-: TZ".utf8).contains($0)
        }
        guard isPlain, [8, 12, 14].contains(numbers.count), (1...12).contains(number(4..<6)),
            (1...31).contains(number(6..<8)), number(8..<10) < 24, number(10..<12) < 60,
            number(12..<14) < 61
        else {
            throw Failure(
                .usage, "`\(text)` is not a time",
                hints: ["write 2026-02-28, \"2026-02-28 03:15\" or 2026-02-28T03:15:00Z (UTC)"])
        }
        var parts = unsafe tm()
        unsafe parts.tm_year = Int32(number(0..<4) - 1900)
        unsafe parts.tm_mon = Int32(number(4..<6) - 1)
        unsafe parts.tm_mday = Int32(number(6..<8))
        unsafe parts.tm_hour = Int32(number(8..<10))
        unsafe parts.tm_min = Int32(number(10..<12))
        unsafe parts.tm_sec = Int32(number(12..<14))
        let seconds = Int64(unsafe timegm(&parts))
        // A day means its end.
        return numbers.count == 8 ? seconds + 86_399 : seconds
    }
}
