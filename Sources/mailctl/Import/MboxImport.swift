// SPDX-License-Identifier: Apache-2.0
//
// `mailctl import mbox`: one file into one mailbox. The formats are in Interchange.

import Bytes
import CLinux
import Glibc
import Interchange
import MIME
import Mail

enum MboxImport {
    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = Files.absolute(invocation.arguments[0])
        let name = try invocation.value("mailbox").map { text throws(Failure) in
            try MailSession.mailboxName(text)
        }
        let quoting = try quoting(invocation.value("format") ?? "auto")
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("cannot open \(path)", errno, .noInput) }
        let file = OpenFile(owning: descriptor)
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("stat", errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(.noInput, "\(path) is no regular file")
        }
        let size = Int64(status.st_size)
        func reader() -> MboxReader<Failure> {
            MboxReader(size: size, quoting: quoting) { offset, count throws(Failure) in
                try FileReading.read(file.descriptor, at: offset, count: count)
            }
        }
        var counter = reader()
        var total = 0
        while let message = try counter.next() { if !message.isInternal { total += 1 } }
        guard size == 0 || counter.offset >= size else {
            throw Failure(
                .badData, "\(path) is no mbox file: it does not begin with `From `",
                hints: ["a Maildir is a directory:  mailctl import maildir DIR"])
        }
        let importer = try Importer(
            invocation, source: "mbox \(path) \((name ?? .inbox).text)")
        importer.progress.total = total
        try importer.begin(ImportedMailbox(name: name ?? .inbox))
        var messages = reader()
        while let message = try messages.next() {
            if message.isInternal { continue }
            try importer.add(
                .content, flags: message.flags, date: date(message)
            ) { sink throws(Failure) in
                try messages.content(of: message, sink)
            }
        }
        try importer.end()
        importer.report(invocation)
        return .ok
    }

    /// The From line's, else that of the header.
    private static func date(_ message: MboxMessage) -> SecondsSince1970 {
        if let date = message.date { return date }
        let header = message.header
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header.span) {
            guard KnownField(header.span, field.name) == .date else { continue }
            return MessageDate(header.span, field.body)?.seconds ?? 0
        }
        return 0
    }

    private static func quoting(_ format: String) throws(Failure) -> MboxQuoting {
        switch format {
        case "auto": return .automatic
        case "mboxo": return .original
        case "mboxrd": return .reversible
        case "mboxcl2": return .none
        default:
            throw Failure(
                .usage, "there is no format \(Shown.text(format))",
                hints: ["one of: auto mboxo mboxrd mboxcl2"])
        }
    }
}
