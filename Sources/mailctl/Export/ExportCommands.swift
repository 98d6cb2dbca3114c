// SPDX-License-Identifier: Apache-2.0
//
// `mailctl export`: all mail of an account, or one mailbox, into files that other programs read.

import Bytes
import Glibc
import Mail
import Wire

enum ExportCommands {
    private static let shared: [Option] = [
        Option(name: "account", value: "ADDRESS", doc: "Whose mail."),
        Option(name: "mailbox", value: "NAME", doc: "Only this mailbox."),
    ]

    static let all: [Command] = [
        Command(
            path: ["export", "maildir"], arguments: "DIR", count: 1...1,
            options: shared + [
                Option(name: "crlf", value: nil, doc: "Keep CRLF line ends; default: LF.")
            ],
            summary: "Write mail into a Maildir++",
            detail: [
                """
                With flags, keywords (dovecot-keywords), dates, subscriptions and UIDs \
                (dovecot-uidlist). Run again it writes what is new and changes flags; nothing is \
                removed.
                """
            ],
            examples: ["mailctl export maildir --account alice@example.org ./alice"],
            run: MaildirExport.run),
        Command(
            path: ["export", "mbox"], arguments: "DIR", count: 1...1, options: shared,
            summary: "Write each mailbox into an mbox file",
            detail: [
                """
                Format mboxrd, flags in Status, X-Status and X-Keywords. A mailbox that is as it \
                was at the last run is left alone; a file is replaced only when the new one is \
                complete.
                """
            ],
            examples: [
                "mailctl export mbox --account alice@example.org --mailbox Archive ./alice"
            ],
            run: MboxExport.run),
    ]

    /// An account and the mailboxes that are to be written.
    struct Source {
        var session: MailSession
        var mailboxes: [MailboxInfo]
        var messages = 0
    }

    static func source(_ invocation: Invocation) throws(Failure) -> Source {
        guard let account = invocation.value("account") else {
            throw Failure(.usage, "whose mail?", hints: ["say --account NAME@DOMAIN"])
        }
        var source = Source(session: try MailSession(account, invocation), mailboxes: [])
        source.mailboxes = try source.session.mailboxes().filter(\.isSelectable)
        if let text = invocation.value("mailbox") {
            let name = try MailSession.mailboxName(text)
            source.mailboxes.removeAll { $0.name != name }
            guard !source.mailboxes.isEmpty else {
                throw MailSession.noMailbox(name, source.session.address)
            }
        }
        for mailbox in source.mailboxes {
            source.messages += Int(try source.session.status(mailbox.name).messages)
        }
        return source
    }

    static func report(
        _ written: Int, _ present: Int, _ mailboxes: Int, _ path: String,
        _ progress: inout Progress, _ invocation: Invocation
    ) {
        progress.finish()
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("exported", .integer(written)), ("already", .integer(present)),
                    ("mailboxes", .integer(mailboxes)), ("directory", .string(path)),
                ]).text)
            return
        }
        var text = "\(Progress.grouped(written)) messages of \(mailboxes) mailboxes written"
        if present > 0 { text += ", \(Progress.grouped(present)) were there already" }
        invocation.say(text + ": \(Shown.text(path))")
    }

    /// Makes the names in a directory durable.
    static func synchronize(_ path: String) throws(Failure) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("cannot open \(path)", errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("cannot sync \(path)", errno) }
    }

    /// A new file, for `body` to fill; durable when this returns.
    static func write(
        _ path: String, _ body: (Int32) throws(Failure) -> Void
    ) throws(Failure) {
        unsafe unlink(path)
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("cannot create \(path)", errno, .cannotCreate) }
        let file = OpenFile(owning: descriptor)
        do throws(Failure) {
            try body(file.descriptor)
            guard fsync(file.descriptor) == 0 else { throw .system("cannot sync \(path)", errno) }
        } catch {
            unsafe unlink(path)
            throw error
        }
    }
}
