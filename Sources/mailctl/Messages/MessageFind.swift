// SPDX-License-Identifier: Apache-2.0
//
// `mailctl message find`: what IMAP's SEARCH finds, in one account or all. msgstored answers by its
// search index; of what is found the headers are read, to be shown.

import Bytes
import Config
import IMAP
import MIME
import Mail
import Wire

enum MessageFind {
    private static let shownLimit = 1_000
    private static let headersAtOnce = 256
    /// More pieces of a set are asked for as one.
    private static let rangeLimit = 10_000

    static let command = Command(
        path: ["message", "find"], arguments: "[ADDRESS]", count: 0...1,
        options: FindCriteria.options,
        summary: "Find messages of an account, or of all",
        detail: [
            """
            All conditions must hold; words are found anywhere in a text, in any case, as IMAP's \
            SEARCH finds them. One line for each: mailbox, UID, date, flags, sender, subject; with \
            --all the account in front. Exit code 1 if nothing is found.
            """
        ],
        examples: [
            "mailctl message find alice@example.org --from bob --since 2026-01-01",
            "mailctl message find alice@example.org --mailbox INBOX --unseen --json",
            "mailctl message find --all --id 20261121.4711@example.net",
        ],
        run: run)

    /// One search, over one account or many.
    private struct Run: ~Copyable {
        let criteria: FindCriteria
        let limit: Int
        let mailbox: MailboxName?
        let isAll: Bool
        let invocation: Invocation
        var progress: Progress
        var found = 0
    }

    private static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let isAll = invocation.has("all")
        guard isAll != (invocation.arguments.count == 1) else {
            throw Failure(
                .usage, isAll ? "either ADDRESS or --all" : "in which account?",
                hints: ["mailctl message find ADDRESS ...", "mailctl message find --all ..."])
        }
        var limit = shownLimit
        if let text = invocation.value("limit") {
            guard let count = Int(text), count > 0 else {
                throw Failure(.usage, "--limit needs a number greater than 0")
            }
            limit = count
        }
        let mailbox = try invocation.value("mailbox").map { text throws(Failure) in
            try MailSession.mailboxName(text)
        }
        var run = Run(
            criteria: try FindCriteria(invocation), limit: limit, mailbox: mailbox, isAll: isAll,
            invocation: invocation, progress: Progress("searching", "messages", invocation))
        if isAll {
            try searchAll(&run)
        } else {
            var session = try MailSession(invocation.arguments[0], invocation)
            try search(&session, &run)
        }
        run.progress.finish()
        if run.found >= limit {
            Terminal.error("the first \(limit); --limit shows more")
        }
        return run.found > 0 ? .ok : .problems
    }

    private static func searchAll(_ run: inout Run) throws(Failure) {
        var client = try Store.connect(run.invocation)
        let state = try ConfigFiles.suite(run.invocation).server.stateDirectory
        let accounts = try Addresses.accounts(.listAccounts(domain: [], exact: false), &client)
        for account in accounts where run.found < run.limit {
            // Nothing to look through: not opened.
            if let usage = account.usage, usage.messages == 0 { continue }
            guard var session = try MailSession(client, account.address, state) else {
                continue  // removed meanwhile
            }
            try search(&session, &run)
            try session.expectDone(.logout(session.handle))
            client = session.client
        }
    }

    private static func search(_ session: inout MailSession, _ run: inout Run) throws(Failure) {
        var names: [MailboxName] = []
        if let mailbox = run.mailbox, !run.isAll {
            names = [mailbox]
        } else {
            names = try session.mailboxes().filter(\.isSelectable).map(\.name)
            if let mailbox = run.mailbox { names = names.filter { $0 == mailbox } }
        }
        for name in names where run.found < run.limit { try search(name, &session, &run) }
    }

    private static func search(
        _ name: MailboxName, _ session: inout MailSession, _ run: inout Run
    ) throws(Failure) {
        run.progress.subject =
            run.isAll ? "\(session.address.text) \(name.text)" : name.text
        let snapshot = try session.open(name)
        run.progress.total = (run.progress.total ?? 0) + snapshot.entries.count
        let all = snapshot.entries.filter { run.criteria.matches($0, snapshot.keywords) }
        var entries = all
        if let query = run.criteria.query, !all.isEmpty {
            let found = try ask(query, all, snapshot.id, &session)
            entries = all.filter { found.contains($0.uid) }
        }
        var place = 0
        while place < entries.count, run.found < run.limit {
            let some = Array(
                entries[place..<min(place + headersAtOnce, entries.count)]
                    .prefix(run.limit - run.found))
            place += some.count
            try show(some, name, snapshot, &session, &run)
        }
        run.progress.advance(by: snapshot.entries.count)
        try session.close(snapshot.id)
    }

    private static func ask(
        _ query: TextQuery, _ entries: [MessageEntry], _ mailbox: MailboxID,
        _ session: inout MailSession
    ) throws(Failure) -> Set<UInt32> {
        var ranges = UIDRange.ranges(of: entries.map(\.uid))
        if ranges.count > rangeLimit { ranges = [UIDRange(entries[0].uid, .max)] }
        var found: Set<UInt32> = []
        let answer = try session.client.call(
            .search(session.handle, mailbox, uids: ranges, query)
        ) { part throws(Failure) in
            if case .found(let uids) = part.reply { found.formUnion(uids) }
        }
        guard answer.reply == .done else { throw Store.unexpected(answer.reply) }
        return found
    }

    private static func show(
        _ entries: [MessageEntry], _ name: MailboxName, _ snapshot: MailboxSnapshot,
        _ session: inout MailSession, _ run: inout Run
    ) throws(Failure) {
        var headers: [UInt32: HeaderFacts] = [:]
        try session.read(snapshot.id, entries.map(\.uid), .header) { uid, octets throws(Failure) in
            var head: [UInt8] = []
            try octets.forEachPiece { piece throws(Failure) in
                if head.count < HeaderReader.octetLimit { head += piece }
            }
            headers[uid] = HeaderFacts(head)
        }
        run.progress.clear()
        for entry in entries {
            // Removed meanwhile.
            guard let header = headers[entry.uid] else { continue }
            run.found += 1
            show(name, session.address, entry, header, snapshot.keywords, run)
        }
    }

    private static func show(
        _ name: MailboxName, _ account: EmailAddress, _ entry: MessageEntry,
        _ header: HeaderFacts, _ keywords: [[UInt8]], _ run: borrowing Run
    ) {
        var flags: [UInt8] = []
        entry.flags.appendNames(keywords: keywords, to: &flags)
        let date = AccountCommands.timestamp(entry.internalDate)
        if run.invocation.json {
            Terminal.out(
                JSON.object([
                    ("account", .string(account.text)),
                    ("mailbox", .string(name.text)), ("uid", .integer(Int(entry.uid))),
                    ("date", .string(date)), ("size", .integer(Int(entry.size))),
                    ("flags", .string(Store.text(flags))),
                    ("from", .string(Store.text(header.from))),
                    ("to", .string(Store.text(header.to))),
                    ("subject", .string(Store.text(header.subject))),
                    ("message_id", .string(Store.text(header.id))),
                ]).text)
            return
        }
        let words =
            (run.isAll ? [Shown.text(account.text)] : []) + [
                Shown.text(name.octets), "\(entry.uid)", date,
                flags.isEmpty ? "-" : Shown.text(flags),
                Shown.text(header.from, width: 30), Shown.text(header.subject, width: 60),
            ]
        Terminal.out(words.joined(separator: "  "))
    }
}

/// The decoded fields of a header that are shown.
private struct HeaderFacts {
    private(set) var from: [UInt8] = []
    private(set) var to: [UInt8] = []
    private(set) var subject: [UInt8] = []
    private(set) var id: [UInt8] = []

    init(_ header: [UInt8]) {
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header.span) {
            switch KnownField(header.span, field.name) {
            case .from: Self.add(header, field.body, &from)
            case .to, .cc: Self.add(header, field.body, &to)
            case .subject: Self.add(header, field.body, &subject)
            case .messageID: Self.add(header, field.body, &id)
            default: break
            }
        }
    }

    private static func add(_ header: [UInt8], _ body: Range<Int>, _ text: inout [UInt8]) {
        guard text.count < 64 << 10 else { return }
        if !text.isEmpty { text += Array(", ") }
        HeaderText.append(header.span, FieldBody.trimmed(header.span, body), to: &text)
    }
}
