// SPDX-License-Identifier: Apache-2.0
//
// What Dovecot and Courier know of a Maildir folder beside its files: `dovecot-uidlist`,
// `courierimapuiddb`, `courierimapkeywords`, `courierpop3dsizelist`, `courierimapsubscribed`.
// Read once, when the folder is taken over; docs/store.md, "Other programs". RFC 9051 §2.3.1.1.

import Bytes
import Mail

/// UIDVALIDITY and UIDs that another server gave to the messages of a folder.
struct ForeignUIDs {
    enum Server: CaseIterable {
        case dovecot, courier

        var fileName: String {
            switch self {
            case .dovecot: "dovecot-uidlist"
            case .courier: "courierimapuiddb"
            }
        }

        /// Above every MODSEQ that the server may have shown. Dovecot counts changes; what it
        /// counted is in its own index only.
        var modSeqMark: UInt64 {
            switch self {
            case .dovecot: 1 << 40
            case .courier: FolderState.modSeqStep
            }
        }
    }

    /// A message of the list. Compact: a list may have a million of them.
    struct Entry {
        var uid: UInt32
        /// 0: unknown.
        var fileSize: UInt32 = 0
        var wireSize: UInt32 = 0
    }

    /// What stays of a list that was taken over, so that it is never read again.
    static let retiredSuffix = ".adopted"
    private static let octetLimit: Int64 = 1 << 30

    let server: Server
    let uidValidity: UInt32
    private(set) var uidNext: UInt32
    private var entries: [Int: Entry] = [:]
    private(set) var keywords: [[UInt8]] = []
    private var keywordNumbers: [Int: [Int]] = [:]

    /// Names are kept as 64-bit hashes with a key of this process.
    private static func key(_ unique: PathOctets) -> Int { unique.hash }

    func entry(_ unique: PathOctets) -> Entry? { entries[Self.key(unique)] }

    /// Courier's keywords of a message.
    func keywords(_ unique: PathOctets) -> [[UInt8]] {
        (keywordNumbers[Self.key(unique)] ?? []).map { keywords[$0] }
    }

    // MARK: - Reading

    /// Only the first line; nil without a list that can be read. Dovecot's comes first: it may
    /// have taken over from Courier itself.
    static func header(in folder: Int32) throws(StoreError) -> ForeignUIDs? {
        for server in Server.allCases {
            guard let file = try System.openFile(PathOctets(server.fileName), in: folder)
            else { continue }
            let head = try System.read(file.descriptor, from: 0, count: 4_096)
            guard let end = head.firstIndex(of: .lf) else { continue }
            if let found = ForeignUIDs(server, header: head[..<end]) { return found }
        }
        return nil
    }

    /// The whole list with what else the server kept; nil without one of this UIDVALIDITY.
    static func read(in folder: Int32, uidValidity: UInt32) throws(StoreError) -> ForeignUIDs? {
        guard var found = try header(in: folder), found.uidValidity == uidValidity else {
            return nil
        }
        var isFirst = true
        try lines(of: PathOctets(found.server.fileName), in: folder) { line in
            if isFirst {
                isFirst = false
            } else {
                found.add(line)
            }
        }
        if found.server == .courier { try found.readCourier(in: folder) }
        return found
    }

    /// Dovecot: `3 V<validity> N<next> G<guid>`, before version 3 `1 <validity> <next>`;
    /// Courier: `1 <validity> <next>`.
    private init?(_ server: Server, header: ArraySlice<UInt8>) {
        let words = header.split(separator: .space)
        guard let version = words.first.flatMap({ Self.number($0) }) else { return nil }
        var validity: Int64?
        var next: Int64?
        switch (server, version) {
        case (.dovecot, 3):
            for word in words.dropFirst() {
                switch word.first {
                case 0x56: validity = Self.number(word.dropFirst())
                case 0x4E: next = Self.number(word.dropFirst())
                default: break
                }
            }
        case (.dovecot, 1), (.courier, 1):
            guard words.count >= 3 else { return nil }
            validity = Self.number(words[1])
            next = Self.number(words[2])
        default: return nil
        }
        guard let validity = validity.flatMap({ UInt32(exactly: $0) }), validity > 0,
            let next = next.flatMap({ UInt32(exactly: $0) }), next < .max
        else { return nil }
        self.server = server
        uidValidity = validity
        uidNext = max(next, 1)
    }

    /// `<uid> [<key><value> ...] :<name>`, in older lists and Courier's `<uid> <name>`.
    private mutating func add(_ line: ArraySlice<UInt8>) {
        guard let space = line.firstIndex(of: .space),
            let uid = Self.number(line[..<space]).flatMap({ UInt32(exactly: $0) }),
            uid > 0, uid < .max
        else { return }
        var entry = Entry(uid: uid)
        var rest = line[(space + 1)...]
        if server == .dovecot {
            while let key = rest.first, key != 0x3A, let end = rest.firstIndex(of: .space) {
                let size = Self.number(rest[rest.startIndex + 1..<end])
                    .flatMap { UInt32(exactly: $0) }
                if key == 0x53 { entry.fileSize = size ?? 0 }
                if key == 0x57 { entry.wireSize = size ?? 0 }
                rest = rest[(end + 1)...]
            }
            if rest.first == 0x3A { rest = rest.dropFirst() }
        }
        let unique = FileName.unique(of: Array(rest))
        guard !unique.isEmpty else { return }
        let key = Self.key(unique)
        if uid >= uidNext { uidNext = uid + 1 }
        // The same name twice: whose UID it is cannot be known.
        entries[key] = entries[key] == nil ? entry : Entry(uid: 0)
    }

    /// Keywords, and sizes with CRLF that spare reading the files.
    private mutating func readCourier(in folder: Int32) throws(StoreError) {
        var sizes: [Int: UInt32] = [:]
        try Self.lines(of: PathOctets("courierpop3dsizelist"), in: folder) { line in
            let words = line.split(separator: .space)
            guard words.count >= 2, words[0].first != 0x2F,
                let size = Self.number(words[1]).flatMap({ UInt32(exactly: $0) })
            else { return }
            sizes[Self.key(FileName.unique(of: Array(words[0])))] = size
        }
        for (key, size) in sizes { entries[key]?.wireSize = size }
        guard
            let directory = try System.openDirectoryIfPresent(
                PathOctets("courierimapkeywords"), in: folder)
        else { return }
        var isTable = true
        try Self.lines(of: PathOctets(":list"), in: directory.descriptor) { line in
            if line.isEmpty {
                isTable = false
            } else if isTable {
                keywords.append(Array(line))
            } else if let colon = line.lastIndex(of: 0x3A) {
                let numbers = line[(colon + 1)...].split(separator: .space)
                    .compactMap { Self.number($0).flatMap { Int(exactly: $0) } }
                keywordNumbers[Self.key(FileName.unique(of: Array(line[..<colon])))] =
                    numbers.filter { keywords.indices.contains($0) }
            }
        }
        try readCourierUpdates(in: directory.descriptor)
    }

    /// Changes that Courier has not merged yet: files `<name>` and, later ones, `.<n>.<name>`, with
    /// a keyword per line that replace what the list has.
    private mutating func readCourierUpdates(in directory: Int32) throws(StoreError) {
        var updates: [(number: Int64, name: PathOctets, unique: PathOctets)] = []
        for name in try System.names(in: directory).prefix(100_000) where name.first != 0x3A {
            var number: Int64 = -1
            var rest = name[...]
            if name.first == 0x2E {
                guard let end = name.dropFirst().firstIndex(of: 0x2E),
                    let counted = Self.number(name[1..<end])
                else { continue }
                number = counted
                rest = name[(end + 1)...]
            }
            updates.append((number, name, FileName.unique(of: Array(rest))))
        }
        for update in updates.sorted(by: { $0.number < $1.number }) {
            var numbers: [Int] = []
            try Self.lines(of: update.name, in: directory) { line in
                guard !line.isEmpty, keywords.count < 1_000 else { return }
                if let known = keywords.firstIndex(of: Array(line)) {
                    numbers.append(known)
                } else {
                    keywords.append(Array(line))
                    numbers.append(keywords.count - 1)
                }
            }
            keywordNumbers[Self.key(update.unique)] = numbers
        }
    }

    /// Calls `body` with every line; nothing if there is no such file.
    private static func lines(
        of name: PathOctets, in directory: Int32, _ body: (ArraySlice<UInt8>) -> Void
    ) throws(StoreError) {
        guard let status = try System.status(name, in: directory), status.isRegular,
            status.size <= octetLimit, let file = try System.openFile(name, in: directory)
        else { return }
        var offset: Int64 = 0
        var rest: [UInt8] = []
        while true {
            let chunk = try System.read(
                file.descriptor, from: offset, count: MessageText.chunkOctets)
            if chunk.isEmpty { break }
            offset += Int64(chunk.count)
            rest += chunk
            var start = 0
            while let end = rest[start...].firstIndex(of: .lf) {
                body(rest[start..<end])
                start = end + 1
            }
            rest.removeFirst(start)
            guard rest.count < 1 << 20 else { return }  // not lines
        }
        if !rest.isEmpty { body(rest[...]) }
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard !digits.isEmpty, digits.count <= 18 else { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard digit.isASCIIDigit else { return nil }
            value = value * 10 + Int64(digit - 0x30)
        }
        return value
    }

    // MARK: - Afterwards

    /// Puts the lists of a folder out of the way that has been taken over: its UIDs are in the
    /// file names now, and numbers given out since are not in the lists.
    static func retire(_ server: Server, in folder: Int32) throws(StoreError) {
        var names = [server.fileName]
        if server == .courier { names.append("courierimapkeywords") }
        for name in names where try System.status(PathOctets(name), in: folder) != nil {
            let old = PathOctets(name + retiredSuffix)
            if try System.status(old, in: folder) != nil { continue }
            _ = try System.rename(PathOctets(name), in: folder, to: old, in: folder)
        }
        try System.synchronize(folder, "folder")
    }

    /// The UIDVALIDITY that Dovecot gave out last, from `dovecot-uidvalidity`; nil if it is not
    /// known, or lies in the future.
    static func lastUIDValidity(in maildir: Int32) throws(StoreError) -> UInt32? {
        guard let octets = try DurableFile.read("dovecot-uidvalidity", in: maildir) else {
            return nil
        }
        let text = String(decoding: octets.prefix { $0 != .lf }, as: UTF8.self)
        guard let value = UInt32(text, radix: 16),
            Int64(value) < System.now().seconds + 31_536_000
        else { return nil }
        return value
    }
}
