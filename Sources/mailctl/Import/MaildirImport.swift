// SPDX-License-Identifier: Apache-2.0
//
// `mailctl import maildir`: a Maildir++ (folders `.A.B`) or a tree of Maildirs, with flags, keywords
// and dates. maildir(5); Dovecot's `dovecot-keywords` and `subscriptions`.

import Bytes
import CLinux
import Glibc
import IMAP
import Interchange
import Mail

/// One folder of a Maildir.
struct MaildirFolder {
    var path: String
    var name: MailboxName
}

/// A message file, before it is opened.
struct MaildirFile {
    /// Within its folder: `cur/...` or `new/...`.
    var directory: String
    var name: [UInt8]
    /// The seconds in front of the name: the order of arrival.
    var order: UInt64
}

enum MaildirImport {
    private static let depthLimit = 16
    /// Names that are in memory at once.
    private static let nameLimit = 50_000

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = Files.absolute(invocation.arguments[0])
        guard Files.exists("\(path)/cur") || Files.exists("\(path)/new") else {
            throw Failure(
                .noInput, "\(path) is no Maildir: it has no directory `cur`",
                hints: ["say the directory that holds cur, new and tmp"])
        }
        let base = try invocation.value("mailbox").map { text throws(Failure) in
            try MailSession.mailboxName(text)
        }
        let folders = try folders(path, base)
        let importer = try Importer(invocation, source: "maildir \(path)")
        var total = 0
        for folder in folders {
            for part in ["cur", "new"] {
                try forEachName("\(folder.path)/\(part)") { _ throws(Failure) in total += 1 }
            }
        }
        importer.progress.total = total
        let subscribed = subscriptions(path, base)
        for folder in folders {
            var mailbox = ImportedMailbox(name: folder.name)
            mailbox.isSubscribed = subscribed.map { $0.contains(folder.name) } ?? true
            try importer.begin(mailbox)
            try bring(folder, importer)
            try importer.end()
        }
        importer.report(invocation)
        return .ok
    }

    // MARK: - Folders

    private static func folders(
        _ path: String, _ base: MailboxName?
    ) throws(Failure) -> [MaildirFolder] {
        var found = [MaildirFolder(path: path, name: base ?? .inbox)]
        for entry in Files.names(in: path) ?? [] where entry.hasPrefix(".") {
            guard Files.exists("\(path)/\(entry)/cur") else { continue }
            let levels = entry.utf8.dropFirst().split(separator: 0x2E).map { Array($0) }
            guard let name = name(levels, below: base) else {
                Terminal.error("left out, no mailbox name: \(Shown.text(entry))")
                continue
            }
            found.append(MaildirFolder(path: "\(path)/\(entry)", name: name))
        }
        findTree(path, [], base, &found)
        return found
    }

    /// Dovecot's LAYOUT=fs: a folder is a directory in a directory.
    private static func findTree(
        _ path: String, _ levels: [[UInt8]], _ base: MailboxName?, _ found: inout [MaildirFolder]
    ) {
        guard levels.count < depthLimit else { return }
        for entry in Files.names(in: path) ?? [] {
            let isOwn = ["cur", "new", "tmp"].contains(entry)
            guard !entry.hasPrefix("."), !isOwn, isDirectory("\(path)/\(entry)") else { continue }
            let inner = levels + [Array(entry.utf8)]
            if Files.exists("\(path)/\(entry)/cur"), let name = name(inner, below: base) {
                found.append(MaildirFolder(path: "\(path)/\(entry)", name: name))
            }
            findTree("\(path)/\(entry)", inner, base, &found)
        }
    }

    private static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Levels in modified UTF-7, or in plain UTF-8 as some write them.
    private static func name(_ levels: [[UInt8]], below base: MailboxName?) -> MailboxName? {
        let decoded = levels.map { level in
            (ModifiedUTF7.decode(level) ?? level).map { $0 == MailboxName.separator ? 0x5F : $0 }
        }
        let inner = Array(decoded.joined(separator: [MailboxName.separator]))
        guard let base else { return MailboxName(inner) }
        return MailboxName(base.octets + [MailboxName.separator] + inner)
    }

    /// Nil if the Maildir does not say.
    private static func subscriptions(_ path: String, _ base: MailboxName?) -> Set<MailboxName>? {
        guard Files.exists("\(path)/subscriptions"),
            let octets = try? Files.read("\(path)/subscriptions", limit: 1 << 20)
        else { return nil }
        let isTabbed = octets.starts(with: Array("V\t2\n"))
        let names = octets.split(separator: 0x0A).dropFirst(isTabbed ? 1 : 0).compactMap { line in
            name(line.split(separator: isTabbed ? 0x09 : 0x2E).map { Array($0) }, below: base)
        }
        return Set(names + [base ?? .inbox])
    }

    // MARK: - Messages

    private static func bring(_ folder: MaildirFolder, _ importer: Importer) throws(Failure) {
        let table = keywords(folder.path)
        for range in try ranges(folder) {
            var files: [MaildirFile] = []
            for part in ["cur", "new"] {
                try forEachName("\(folder.path)/\(part)") { name throws(Failure) in
                    let order = order(name)
                    guard range.contains(order) else { return }
                    files.append(MaildirFile(directory: part, name: name, order: order))
                }
            }
            files.sort { left, right in
                left.order != right.order
                    ? left.order < right.order : left.name.lexicographicallyPrecedes(right.name)
            }
            for file in files { try bring(file, folder, table, importer) }
        }
    }

    private static func keywords(_ path: String) -> [[UInt8]] {
        let file = "\(path)/dovecot-keywords"
        guard Files.exists(file),
            let octets = try? Files.read(file, limit: MaildirKeywords.octetLimit)
        else { return [] }
        return MaildirKeywords.parse(octets)
    }

    /// The times of arrival cut into ranges of bounded size, so that a folder of a million messages
    /// needs no list of a million names.
    private static func ranges(
        _ folder: MaildirFolder
    ) throws(Failure) -> [ClosedRange<UInt64>] {
        var orders: [UInt64] = []
        for part in ["cur", "new"] {
            try forEachName("\(folder.path)/\(part)") { name throws(Failure) in
                orders.append(order(name))
            }
        }
        orders.sort()
        var ranges: [ClosedRange<UInt64>] = []
        var start = 0
        while start < orders.count {
            var end = min(start + nameLimit, orders.count)
            while end < orders.count, orders[end] == orders[end - 1] { end += 1 }
            ranges.append(orders[start]...orders[end - 1])
            start = end
        }
        return ranges
    }

    private static func order(_ name: [UInt8]) -> UInt64 {
        var seconds: UInt64 = 0
        for digit in name.prefix(12) {
            guard digit.isASCIIDigit else { break }
            seconds = seconds * 10 + UInt64(digit - 0x30)
        }
        return seconds
    }

    /// Names that can be messages, in the order of the directory.
    private static func forEachName(
        _ path: String, _ body: ([UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        guard let stream = unsafe opendir(path) else {
            if errno == ENOENT { return }
            throw .system("cannot read \(path)", errno, .noInput)
        }
        defer { unsafe closedir(stream) }
        while let entry = unsafe readdir(stream) {
            var length = 0
            let start = unsafe martlet_entry_name(entry, &length)
            let name = unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: length))
            if MaildirName(name) != nil { try body(name) }
        }
    }

    private static func bring(
        _ file: MaildirFile, _ folder: MaildirFolder, _ table: [[UInt8]], _ importer: Importer
    ) throws(Failure) {
        guard let name = MaildirName(file.name) else { return }
        let isPlain = name.base.allSatisfy(\.isASCIIVisible)
        let key =
            isPlain
            ? String(decoding: name.base, as: UTF8.self)
            : "digest-" + Digest.hex(try Digest.of(name.base).prefix(16))
        let flags = name.flags(table)
        if try importer.isKnown(key, flags: flags) { return }
        var path = Array("\(folder.path)/\(file.directory)/".utf8).map { CChar(bitPattern: $0) }
        path += file.name.map { CChar(bitPattern: $0) } + [0]
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            // Its owner moved or flagged it meanwhile: the next run finds it under its new name.
            if errno == ENOENT || errno == ELOOP { return }
            throw .system(
                "cannot open \(Shown.text(file.name)) in \(folder.path)", errno, .noInput)
        }
        let input = OpenFile(owning: descriptor)
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("stat", errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { return }
        try importer.add(
            .known(key), flags: flags, date: SecondsSince1970(status.st_mtim.tv_sec)
        ) { sink throws(Failure) in
            var ends = LineEndings()
            var offset: Int64 = 0
            while true {
                let piece = try FileReading.read(input.descriptor, at: offset, count: 64 << 10)
                if piece.isEmpty { break }
                offset += Int64(piece.count)
                var converted: [UInt8] = []
                ends.append(piece.span, to: &converted)
                try sink(converted)
            }
        }
    }
}
