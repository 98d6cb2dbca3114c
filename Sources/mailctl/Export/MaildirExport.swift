// SPDX-License-Identifier: Apache-2.0
//
// `mailctl export maildir`. maildir(5), Maildir++, Dovecot's `dovecot-keywords`, `dovecot-uidlist`
// and `subscriptions`. A file's name says which message it is, so a second run knows what is there.

import Bytes
import CLinux
import CSSL
import Glibc
import IMAP
import Interchange
import Mail
import Wire

enum MaildirExport {
    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = Files.absolute(invocation.arguments[0])
        var source = try ExportCommands.source(invocation)
        var progress = Progress("exporting", "messages", of: source.messages, invocation)
        try makeFolder(path)
        var written = 0
        var present = 0
        for mailbox in source.mailboxes {
            let folder = try folder(mailbox.name, path)
            if folder != path {
                try makeFolder(folder)
                try ExportCommands.write("\(folder)/maildirfolder") { _ throws(Failure) in }
            }
            progress.subject = mailbox.name.text
            var writer = try FolderWriter(folder, keepsCRLF: invocation.has("crlf"))
            try writer.write(mailbox.name, &source.session, &progress)
            written += writer.written
            present += writer.present
        }
        if !invocation.has("mailbox") {
            var text = Array("V\t2\n\n")
            for mailbox in source.mailboxes where mailbox.isSubscribed {
                let levels = mailbox.name.octets.split(separator: MailboxName.separator)
                text += Array(
                    levels.map { ModifiedUTF7.encode(Array($0)) }.joined(separator: [0x09]))
                text.append(.lf)
            }
            try Files.write("\(path)/subscriptions", text, mode: 0o600)
        }
        try ExportCommands.synchronize(path)
        ExportCommands.report(
            written, present, source.mailboxes.count, path, &progress, invocation)
        return .ok
    }

    private static func makeFolder(_ path: String) throws(Failure) {
        for part in ["cur", "new", "tmp"] {
            try Files.makeDirectory("\(path)/\(part)", mode: 0o700)
        }
    }

    /// A dot inside a level is `&AC4-`, as the store has it.
    private static func folder(_ name: MailboxName, _ path: String) throws(Failure) -> String {
        if name.isInbox { return path }
        var directory = ""
        for level in name.octets.split(separator: MailboxName.separator) {
            var text = ""
            for octet in ModifiedUTF7.encode(Array(level)) {
                text += octet == 0x2E ? "&AC4-" : String(UnicodeScalar(octet))
            }
            directory += "." + text
        }
        guard directory.utf8.count <= 255 else {
            throw Failure(
                .cannotCreate,
                "the name of mailbox \(Shown.text(name.octets)) is too long for a file")
        }
        return "\(path)/\(directory)"
    }
}

/// Writes the messages of one mailbox.
private struct FolderWriter {
    /// Messages between two syncs of the directory.
    private static let group = 64

    private let path: String
    private let keepsCRLF: Bool
    /// Names without flags, with flags, of what is there.
    private var names: [String: String] = [:]
    private(set) var written = 0
    private(set) var present = 0

    init(_ path: String, keepsCRLF: Bool) throws(Failure) {
        self.path = path
        self.keepsCRLF = keepsCRLF
        for name in Files.names(in: "\(path)/cur") ?? [] {
            names[Self.base(name)] = name
        }
    }

    private static func base(_ name: String) -> String {
        String(name.prefix { $0 != ":" && $0 != "," })
    }

    mutating func write(
        _ name: MailboxName, _ session: inout MailSession, _ progress: inout Progress
    ) throws(Failure) {
        let snapshot = try session.open(name)
        try Files.write(
            "\(path)/dovecot-keywords", MaildirKeywords.octets(snapshot.keywords), mode: 0o600)
        var list = Array(
            "3 V\(snapshot.uidValidity) N\(snapshot.uidNext) G\(guid(snapshot))\n")
        var place = 0
        while place < snapshot.entries.count {
            let some = snapshot.entries[place..<min(place + Self.group, snapshot.entries.count)]
            place += some.count
            var missing: [UInt32: (base: String, entry: MessageEntry)] = [:]
            for entry in some {
                let base =
                    "\(max(0, entry.internalDate)).U\(entry.uid)V\(snapshot.uidValidity).martlet"
                if let known = names[base] {
                    try rename(known, flags: entry.flags)
                    present += 1
                    progress.skip()
                } else {
                    missing[entry.uid] = (base, entry)
                }
            }
            if !missing.isEmpty {
                let path = path
                let keepsCRLF = keepsCRLF
                var made: [String: String] = [:]
                try session.read(snapshot.id, missing.keys.sorted(), .whole) {
                    uid, octets throws(Failure) in
                    guard let (base, entry) = missing[uid] else { return }
                    made[base] = try Self.write(
                        octets, base, entry, path: path, keepsCRLF: keepsCRLF)
                }
                names.merge(made) { $1 }
                written += made.count
                progress.advance(by: made.count)
                try ExportCommands.synchronize("\(path)/cur")
            }
            for entry in some {
                let base =
                    "\(max(0, entry.internalDate)).U\(entry.uid)V\(snapshot.uidValidity).martlet"
                if let known = names[base] {
                    list += Array("\(entry.uid) :\(known.prefix { $0 != ":" })\n")
                }
            }
        }
        try Files.write("\(path)/dovecot-uidlist", list, mode: 0o600)
        try ExportCommands.synchronize(path)
        try session.close(snapshot.id)
    }

    /// 32 hexadecimal digits that are the same in every run.
    private func guid(_ snapshot: MailboxSnapshot) -> String {
        let digits = String(snapshot.uidValidity, radix: 16)
        return String(repeating: "0", count: 32 - digits.utf8.count) + digits
    }

    private mutating func rename(_ name: String, flags: Flags) throws(Failure) {
        let letters = Store.text(MaildirName.letters(flags))
        let wanted = "\(name.prefix { $0 != ":" }):2,\(letters)"
        guard wanted != name else { return }
        guard unsafe Glibc.rename("\(path)/cur/\(name)", "\(path)/cur/\(wanted)") == 0 else {
            throw .system("cannot rename \(name)", errno)
        }
        names[Self.base(name)] = wanted
    }

    /// - Returns: the name of the file.
    private static func write(
        _ octets: MessageOctets, _ base: String, _ entry: MessageEntry, path: String,
        keepsCRLF: Bool
    ) throws(Failure) -> String {
        let temporary = "\(path)/tmp/\(base)"
        var size = 0
        try ExportCommands.write(temporary) { file throws(Failure) in
            var lastWasCR = false
            func put(_ piece: [UInt8]) throws(Failure) {
                size += piece.count
                guard Files.writeAll(file, piece) else {
                    throw .system("cannot write \(temporary)", errno, .cannotCreate)
                }
            }
            try octets.forEachPiece { piece throws(Failure) in
                if keepsCRLF {
                    try put(piece)
                    return
                }
                var text: [UInt8] = []
                text.reserveCapacity(piece.count + 1)
                for octet in piece {
                    if lastWasCR, octet != .lf { text.append(.cr) }
                    lastWasCR = octet == .cr
                    if octet != .cr { text.append(octet) }
                }
                try put(text)
            }
            if lastWasCR { try put([.cr]) }
            var times = [
                timespec(tv_sec: time_t(entry.internalDate), tv_nsec: 0),
                timespec(tv_sec: time_t(entry.internalDate), tv_nsec: 0),
            ]
            guard unsafe futimens(file, &times) == 0 else {
                throw .system("cannot set the time of \(temporary)", errno)
            }
        }
        let name = "\(base),S=\(size):2,\(Store.text(MaildirName.letters(entry.flags)))"
        guard unsafe Glibc.rename(temporary, "\(path)/cur/\(name)") == 0 else {
            throw .system("cannot rename \(temporary)", errno)
        }
        return name
    }
}
