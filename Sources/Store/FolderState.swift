// SPDX-License-Identifier: Apache-2.0
//
// The small durable files of a folder, from which the index can be made again without changing a
// UID: `martlet-folder` (this file), `dovecot-keywords`, `subscriptions`. RFC 9051 §2.3.1.1.

import Bytes
import Mail

/// Makes a small file hold new octets, durably: the old ones or the new ones are there after a
/// crash, never half of them.
enum DurableFile {
    /// What is synced.
    enum Scope {
        case nothing, content, contentAndName
    }

    static let octetLimit = 1 << 20

    static func replace(
        _ name: String, with octets: [UInt8], in directory: Int32,
        syncing scope: Scope = .contentAndName
    ) throws(StoreError) {
        let temporary = [UInt8]("martlet-new-\(name)")
        try System.unlink(temporary, in: directory)
        let file = try System.createFile(temporary, in: directory)
        try System.write(octets, to: file.descriptor)
        if scope != .nothing { try System.synchronize(file.descriptor, name) }
        guard
            try System.rename(temporary, in: directory, to: [UInt8](name), in: directory)
        else { throw .file("rename \(name)", errno: 2) }
        if scope == .contentAndName {
            try System.synchronize(directory, "directory of \(name)")
        }
    }

    /// At most 1 MiB; nil when there is no such file.
    static func read(_ name: String, in directory: Int32) throws(StoreError) -> [UInt8]? {
        guard let file = try System.openFile([UInt8](name), in: directory) else { return nil }
        return try System.read(file.descriptor, from: 0, count: octetLimit)
    }
}

/// `martlet-folder`: what must outlive the index.
///
/// The marks are promises: every UID and MODSEQ below them may have been given out. A mark is
/// raised, durably, before a number at or beyond it is used.
struct FolderState: Equatable {
    static let fileName = "martlet-folder"
    static let uidStep: UInt32 = 1_000
    static let modSeqStep: UInt64 = 10_000

    var uidValidity: UInt32
    /// Not 0 if another mailbox of the account has the same UIDVALIDITY: folders of other servers
    /// may.
    var twin: UInt32 = 0
    var uidMark: UInt32
    var modSeqMark: UInt64
    var specialUse: SpecialUse

    init(uidValidity: UInt32, specialUse: SpecialUse) {
        self.uidValidity = uidValidity
        self.uidMark = Self.uidStep
        self.modSeqMark = Self.modSeqStep
        self.specialUse = specialUse
    }

    /// What another server left: every UID below its UIDNEXT was given out, no other.
    init(_ foreign: ForeignUIDs, specialUse: SpecialUse) {
        uidValidity = foreign.uidValidity
        uidMark = foreign.uidNext
        modSeqMark = foreign.server.modSeqMark
        self.specialUse = specialUse
    }

    /// UIDVALIDITY, and what tells twins apart above it.
    var id: MailboxID {
        get { MailboxID(rawValue: Int64(twin) << 32 | Int64(uidValidity)) }
        set {
            uidValidity = UInt32(truncatingIfNeeded: newValue.rawValue)
            twin = UInt32(truncatingIfNeeded: newValue.rawValue >> 32)
        }
    }

    /// Nil for anything but a complete file of version 1.
    init?(_ octets: [UInt8]) {
        let lines = octets.split(separator: 0x0A, omittingEmptySubsequences: false)
        guard lines.first?.elementsEqual("martlet-folder 1".utf8) == true else { return nil }
        var numbers: [String: UInt64] = [:]
        var isComplete = false
        for line in lines.dropFirst().prefix(16) {
            if line.elementsEqual("end".utf8) { isComplete = true }
            let words = line.split(separator: 0x20)
            guard words.count == 2,
                let number = UInt64(String(decoding: words[1], as: UTF8.self))
            else { continue }
            numbers[String(decoding: words[0], as: UTF8.self)] = number
        }
        guard isComplete,
            let validity = numbers["uidvalidity"].flatMap({ UInt32(exactly: $0) }), validity > 0,
            let uidMark = numbers["uid-mark"].flatMap({ UInt32(exactly: $0) }),
            let modSeqMark = numbers["modseq-mark"], modSeqMark < 1 << 62,
            let use = numbers["special-use"].flatMap({ UInt8(exactly: $0) })
                .flatMap({ SpecialUse(rawValue: $0) })
        else { return nil }
        uidValidity = validity
        twin = numbers["twin"].flatMap { UInt32(exactly: $0) } ?? 0
        self.uidMark = uidMark
        self.modSeqMark = modSeqMark
        specialUse = use
    }

    var octets: [UInt8] {
        [UInt8](
            """
            martlet-folder 1
            uidvalidity \(uidValidity)
            uid-mark \(uidMark)
            modseq-mark \(modSeqMark)
            special-use \(specialUse.rawValue)
            \(twin == 0 ? "" : "twin \(twin)\n")end

            """)
    }

    static func read(in folder: Int32) throws(StoreError) -> FolderState? {
        try DurableFile.read(fileName, in: folder).flatMap { FolderState($0) }
    }

    func write(in folder: Int32, isSynced: Bool = true) throws(StoreError) {
        try DurableFile.replace(
            Self.fileName, with: octets, in: folder,
            syncing: isSynced ? .contentAndName : .nothing)
    }
}

/// `martlet-account`: what must outlive the index for the whole account.
struct AccountState: Equatable {
    static let fileName = "martlet-account"
    static let uidValidityStep: UInt32 = 64

    /// Every UIDVALIDITY below it may have been given out.
    var uidValidityMark: UInt32
    /// The usual folders were made once; deleted ones stay deleted.
    var hasDefaults: Bool

    init(uidValidityMark: UInt32, hasDefaults: Bool) {
        self.uidValidityMark = uidValidityMark
        self.hasDefaults = hasDefaults
    }

    init?(_ octets: [UInt8]) {
        let lines = octets.split(separator: 0x0A)
        guard lines.count == 4, lines[0].elementsEqual("martlet-account 1".utf8),
            lines[1].starts(with: "uidvalidity-mark ".utf8), lines[3].elementsEqual("end".utf8),
            let mark = UInt32(String(decoding: lines[1].dropFirst(17), as: UTF8.self)), mark > 0
        else { return nil }
        uidValidityMark = mark
        hasDefaults = lines[2].elementsEqual("has-defaults 1".utf8)
    }

    var octets: [UInt8] {
        [UInt8](
            """
            martlet-account 1
            uidvalidity-mark \(uidValidityMark)
            has-defaults \(hasDefaults ? 1 : 0)
            end

            """)
    }

    func write(
        in maildir: Int32, syncing scope: DurableFile.Scope = .contentAndName
    ) throws(StoreError) {
        try DurableFile.replace(Self.fileName, with: octets, in: maildir, syncing: scope)
    }
}

/// The keywords of a folder by letter: `dovecot-keywords`, lines of `<number> <keyword>`.
struct KeywordTable: Equatable {
    static let fileName = "dovecot-keywords"
    private static let nameLimit = 255

    /// Index 0 is letter a.
    private(set) var names: [[UInt8]] = []

    init() {}

    init(_ octets: [UInt8]) {
        for line in octets.split(separator: 0x0A).prefix(Flags.keywordLimit * 2) {
            guard let space = line.firstIndex(of: 0x20),
                let number = Int(String(decoding: line[..<space], as: UTF8.self)),
                (0..<Flags.keywordLimit).contains(number)
            else { continue }
            let name = Array(line[(space + 1)...])
            guard Self.isKeyword(name) else { continue }
            fill(upTo: number)
            names[number] = name
        }
    }

    /// Letters without a name get one, so that no flag in a file name is lost.
    mutating func fill(upTo number: Int) {
        while names.count <= number {
            let letter = Unicode.Scalar(UInt8(0x61 + names.count))
            names.append([UInt8]("keyword-\(letter)"))
        }
    }

    var octets: [UInt8] {
        var octets: [UInt8] = []
        for (number, name) in names.enumerated() {
            octets.append("\(number) ")
            octets += name
            octets.append(0x0A)
        }
        return octets
    }

    /// An atom, as far as this file and the protocols need it. RFC 9051 §9 (flag-keyword).
    static func isKeyword(_ name: [UInt8]) -> Bool {
        (1...nameLimit).contains(name.count) && name.first != 0x5C
            && name.allSatisfy {
                $0 > 0x20 && $0 < 0x7F && !Array("(){%*\"]\\".utf8).contains($0)
            }
    }

    /// The flag of a keyword in any ASCII case; nil if the folder does not have it.
    func flag(_ keyword: [UInt8]) -> Flags? {
        names.firstIndex { $0.equalsIgnoringASCIICase(keyword) }.map { Flags.keyword($0) }
    }

    /// The flag of a keyword, which gets the next letter if it is new; nil if none is left.
    mutating func makeFlag(_ keyword: [UInt8]) -> Flags? {
        if let flag = flag(keyword) { return flag }
        guard names.count < Flags.keywordLimit else { return nil }
        names.append(keyword)
        return .keyword(names.count - 1)
    }

    /// Names of the keywords in `flags`.
    func names(in flags: Flags) -> [[UInt8]] {
        names.indices.filter { flags.contains(.keyword($0)) }.map { names[$0] }
    }

    static func read(in folder: Int32) throws(StoreError) -> KeywordTable {
        KeywordTable(try DurableFile.read(fileName, in: folder) ?? [])
    }

    func write(in folder: Int32) throws(StoreError) {
        try DurableFile.replace(Self.fileName, with: octets, in: folder)
    }
}

/// `Maildir/subscriptions` in Dovecot's format 2: a line per mailbox, levels separated by TAB.
enum Subscriptions {
    static let fileName = "subscriptions"
    static let courierFileName = "courierimapsubscribed"
    static let countLimit = 10_000
    private static let header = [UInt8]("V\t2\n\n")

    static func parse(_ octets: [UInt8]) -> [MailboxName] {
        let isTabbed = octets.starts(with: header)
        var names: [MailboxName] = []
        let lines = (isTabbed ? octets.dropFirst(header.count) : octets[...]).split(separator: 0x0A)
        for line in lines.prefix(countLimit) {
            let levels = line.split(
                separator: isTabbed ? 0x09 : 0x2E, omittingEmptySubsequences: false)
            let decoded = levels.map { FolderName.decode(Array($0)) ?? Array($0) }
            guard let name = MailboxName(Array(decoded.joined(separator: [MailboxName.separator])))
            else { continue }
            names.append(name)
        }
        return names
    }

    /// Courier's `courierimapsubscribed`: `INBOX.A.B`, used as long as there is no other file.
    static func parseCourier(_ octets: [UInt8]) -> [MailboxName] {
        let prefix = [UInt8]("INBOX.")
        let plain = octets.split(separator: 0x0A).prefix(countLimit).map { line in
            line.starts(with: prefix) ? Array(line.dropFirst(prefix.count)) : Array(line)
        }
        return parse(Array(plain.joined(separator: [0x0A])))
    }

    static func octets(_ names: [MailboxName]) -> [UInt8] {
        var octets = header
        for name in names {
            let levels = name.octets.split(separator: MailboxName.separator)
            octets += levels.map { FolderName.encode(Array($0)) }.joined(separator: [0x09])
            octets.append(0x0A)
        }
        return octets
    }
}
