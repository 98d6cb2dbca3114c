// SPDX-License-Identifier: Apache-2.0
//
// `mailctl export mbox`: one file for each mailbox, `Archive/2024.mbox`. What was written of which
// state is noted in `.martlet-export`, so that a second run goes on where the first stopped.

import Bytes
import Glibc
import Interchange
import Mail
import Wire

enum MboxExport {
    private static let noteName = ".martlet-export"
    private static let group = 64

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = Files.absolute(invocation.arguments[0])
        var source = try ExportCommands.source(invocation)
        var progress = Progress("exporting", "messages", of: source.messages, invocation)
        try Files.makeDirectory(path, mode: 0o700)
        var notes = try readNotes(path)
        var written = 0
        var present = 0
        for mailbox in source.mailboxes {
            let status = try source.session.status(mailbox.name)
            let state = "\(status.uidValidity) \(status.highestModSeq)"
            let file = "\(path)/\(mailbox.name.text).mbox"
            progress.subject = mailbox.name.text
            if notes[mailbox.name.text] == state, Files.exists(file) {
                present += Int(status.messages)
                progress.skip(Int(status.messages))
                continue
            }
            try Files.makeDirectory(Files.directory(of: file), mode: 0o700)
            let done = try write(mailbox.name, file, &source.session, &progress)
            written += done.messages
            notes[mailbox.name.text] = done.state
            let text = notes.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)\n" }
            try Files.write("\(path)/\(noteName)", Array(text.joined().utf8), mode: 0o600)
        }
        try ExportCommands.synchronize(path)
        ExportCommands.report(
            written, present, source.mailboxes.count, path, &progress, invocation)
        return .ok
    }

    private static func readNotes(_ path: String) throws(Failure) -> [String: String] {
        let file = "\(path)/\(noteName)"
        guard Files.exists(file) else { return [:] }
        var notes: [String: String] = [:]
        for line in try Files.read(file, limit: 16 << 20).split(separator: .lf) {
            let words = line.split(separator: .space, maxSplits: 2)
            guard words.count == 3 else { continue }
            notes[Store.text(Array(words[2]))] =
                "\(Store.text(Array(words[0]))) \(Store.text(Array(words[1])))"
        }
        return notes
    }

    private static func write(
        _ name: MailboxName, _ file: String, _ session: inout MailSession,
        _ progress: inout Progress
    ) throws(Failure) -> (messages: Int, state: String) {
        let snapshot = try session.open(name)
        let temporary = "\(file).part"
        var messages = 0
        var buffer: [UInt8] = []
        unsafe unlink(temporary)
        let descriptor = unsafe open(
            temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .system("cannot create \(temporary)", errno, .cannotCreate)
        }
        let output = OpenFile(owning: descriptor)
        func flush(_ limit: Int) throws(Failure) {
            guard buffer.count > limit else { return }
            guard Files.writeAll(output.descriptor, buffer) else {
                throw .system("cannot write \(temporary)", errno, .cannotCreate)
            }
            buffer.removeAll(keepingCapacity: true)
        }
        var place = 0
        while place < snapshot.entries.count {
            let some = snapshot.entries[place..<min(place + group, snapshot.entries.count)]
            place += some.count
            var entries: [UInt32: MessageEntry] = [:]
            for entry in some { entries[entry.uid] = entry }
            try session.read(snapshot.id, some.map(\.uid), .whole) { uid, octets throws(Failure) in
                guard let entry = entries[uid] else { return }
                var writer = MboxWriter(flags: named(entry.flags, snapshot.keywords))
                buffer += MboxLine.octets(sender: [], date: entry.internalDate)
                try octets.forEachPiece { piece throws(Failure) in
                    writer.append(piece, to: &buffer)
                    try flush(256 << 10)
                }
                writer.finish(&buffer)
                messages += 1
            }
            progress.advance(by: some.count)
        }
        try flush(0)
        guard fsync(output.descriptor) == 0 else { throw .system("cannot sync", errno) }
        guard unsafe rename(temporary, file) == 0 else {
            throw .system("cannot rename \(temporary)", errno)
        }
        try ExportCommands.synchronize(Files.directory(of: file))
        try session.close(snapshot.id)
        return (messages, "\(snapshot.uidValidity) \(snapshot.highestModSeq)")
    }

    private static func named(_ flags: Flags, _ keywords: [[UInt8]]) -> NamedFlags {
        NamedFlags(
            system: flags.intersection(.system),
            keywords: keywords.indices.filter { flags.contains(.keyword($0)) }
                .map { keywords[$0] })
    }
}
