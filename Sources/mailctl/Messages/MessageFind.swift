// SPDX-License-Identifier: Apache-2.0
//
// `mailctl message find`: messages by what is in their headers and flags. Headers are read through
// the store and decoded; words are found as IMAP's SEARCH finds them: anywhere, in any case.

import Bytes
import IMAP
import Interchange
import MIME
import Mail
import Wire

enum MessageFind {
    private static let shownLimit = 1_000

    static let command = Command(
        path: ["message", "find"], arguments: "ADDRESS", count: 1...1,
        options: [
            Option(name: "mailbox", value: "NAME", doc: "Only there; default: everywhere."),
            Option(name: "from", value: "TEXT", doc: "In From."),
            Option(name: "to", value: "TEXT", doc: "In To or Cc."),
            Option(name: "subject", value: "TEXT", doc: "In Subject."),
            Option(name: "id", value: "TEXT", doc: "In Message-ID."),
            Option(name: "text", value: "TEXT", doc: "Anywhere in the message, undecoded."),
            Option(name: "since", value: "DAY", doc: "Came on 2026-11-21 or later."),
            Option(name: "before", value: "DAY", doc: "Came before 2026-11-21."),
            Option(name: "larger", value: "OCTETS", doc: "More than so many octets."),
            Option(name: "seen", value: nil, doc: "Only read ones."),
            Option(name: "unseen", value: nil, doc: "Only unread ones."),
            Option(name: "flagged", value: nil, doc: "Only flagged ones."),
            Option(name: "deleted", value: nil, doc: "Only those marked as deleted."),
            Option(name: "keyword", value: "NAME", doc: "Only those with this keyword."),
            Option(name: "limit", value: "COUNT", doc: "At most so many; default 1000."),
        ],
        summary: "Find messages of an account",
        detail: [
            "All conditions must hold. One line for each: mailbox, UID, date, flags, subject."
        ],
        examples: [
            "mailctl message find alice@example.org --from bob --since 2026-01-01",
            "mailctl message find alice@example.org --mailbox INBOX --unseen --json",
        ],
        run: run)

    /// What is looked for.
    private struct Wanted {
        var from: Needle?
        var to: Needle?
        var subject: Needle?
        var id: Needle?
        var text: Needle?
        var since: Int?
        var before: Int?
        var larger: UInt32 = 0
        var with: Flags = []
        var without: Flags = []
        var keyword: [UInt8]?

        func matches(_ entry: MessageEntry, _ keywords: [[UInt8]]) -> Bool {
            let day = InternalDate.day(of: entry.internalDate)
            if let since, day < since { return false }
            if let before, day >= before { return false }
            if larger > 0, entry.size <= larger { return false }
            guard entry.flags.isSuperset(of: with), entry.flags.isDisjoint(with: without) else {
                return false
            }
            guard let keyword else { return true }
            return Flags.keyword(named: keyword, in: keywords).map(entry.flags.contains) ?? false
        }
    }

    private static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let wanted = try wanted(invocation)
        var limit = shownLimit
        if let text = invocation.value("limit") {
            guard let count = Int(text), count > 0 else {
                throw Failure(.usage, "--limit needs a number greater than 0")
            }
            limit = count
        }
        var session = try MailSession(invocation.arguments[0], invocation)
        var names: [MailboxName] = []
        if let text = invocation.value("mailbox") {
            names = [try MailSession.mailboxName(text)]
        } else {
            names = try session.mailboxes().filter(\.isSelectable).map(\.name)
        }
        var progress = Progress("searching", "messages", invocation)
        var found = 0
        for name in names where found < limit {
            try search(
                name, wanted, &session, &progress, limit: limit, found: &found, invocation)
        }
        progress.finish()
        if found >= limit {
            Terminal.error("the first \(limit); --limit shows more")
        }
        return found > 0 ? .ok : .problems
    }

    private static func search(
        _ name: MailboxName, _ wanted: Wanted, _ session: inout MailSession,
        _ progress: inout Progress, limit: Int, found: inout Int, _ invocation: Invocation
    ) throws(Failure) {
        progress.subject = name.text
        let snapshot = try session.open(name)
        progress.total = (progress.total ?? 0) + snapshot.entries.count
        var place = 0
        while place < snapshot.entries.count, found < limit {
            let some = snapshot.entries[place..<min(place + 256, snapshot.entries.count)]
            place += some.count
            let entries = some.filter { wanted.matches($0, snapshot.keywords) }
            if !entries.isEmpty {
                try read(entries, wanted, snapshot, &session) { entry, header throws(Failure) in
                    guard found < limit else { return }
                    found += 1
                    progress.clear()
                    show(name, entry, header, snapshot.keywords, invocation)
                }
            }
            progress.advance(by: some.count)
        }
        try session.close(snapshot.id)
    }

    /// Reads headers, or whole messages where their text is asked for, and tells which match.
    private static func read(
        _ entries: [MessageEntry], _ wanted: Wanted, _ snapshot: MailboxSnapshot,
        _ session: inout MailSession, _ found: (MessageEntry, HeaderFacts) throws(Failure) -> Void
    ) throws(Failure) {
        var byUID: [UInt32: MessageEntry] = [:]
        for entry in entries { byUID[entry.uid] = entry }
        try session.read(
            snapshot.id, entries.map(\.uid), wanted.text == nil ? .header : .whole
        ) { uid, octets throws(Failure) in
            guard let entry = byUID[uid] else { return }
            var head: [UInt8] = []
            var isInText = wanted.text == nil
            var matched = 0
            try octets.forEachPiece { piece throws(Failure) in
                if head.count < HeaderReader.octetLimit { head += piece }
                guard let needle = wanted.text, !isInText else { return }
                var folded: [UInt8] = []
                CaseFolding.append(piece, to: &folded)
                isInText = needle.isFound(in: folded.span, matched: &matched)
            }
            guard isInText else { return }
            let header = HeaderFacts(head)
            func has(_ needle: Needle?, _ text: [UInt8]) -> Bool {
                guard let needle else { return true }
                var folded: [UInt8] = []
                CaseFolding.append(text, to: &folded)
                var matched = 0
                return needle.isFound(in: folded.span, matched: &matched)
            }
            guard has(wanted.from, header.from), has(wanted.to, header.to),
                has(wanted.subject, header.subject), has(wanted.id, header.id)
            else { return }
            try found(entry, header)
        }
    }

    private static func show(
        _ name: MailboxName, _ entry: MessageEntry, _ header: HeaderFacts, _ keywords: [[UInt8]],
        _ invocation: Invocation
    ) {
        var flags: [UInt8] = []
        entry.flags.appendNames(keywords: keywords, to: &flags)
        let date = AccountCommands.timestamp(entry.internalDate)
        if invocation.json {
            Terminal.out(
                JSON.object([
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
        let words = [
            Shown.text(name.octets), "\(entry.uid)", date, flags.isEmpty ? "-" : Shown.text(flags),
            Shown.text(header.from, width: 30), Shown.text(header.subject, width: 60),
        ]
        Terminal.out(words.joined(separator: "  "))
    }

    // MARK: - Options

    private static func wanted(_ invocation: Invocation) throws(Failure) -> Wanted {
        var wanted = Wanted()
        func needle(_ name: String) -> Needle? {
            guard let text = invocation.value(name), !text.isEmpty else { return nil }
            return Needle(Array(text.utf8))
        }
        wanted.from = needle("from")
        wanted.to = needle("to")
        wanted.subject = needle("subject")
        wanted.id = needle("id")
        wanted.text = needle("text")
        wanted.since = try day(invocation.value("since"))
        wanted.before = try day(invocation.value("before"))
        if let text = invocation.value("larger") {
            guard let octets = UInt32(text) else {
                throw Failure(.usage, "--larger needs a number of octets")
            }
            wanted.larger = octets
        }
        for (name, flag) in [("seen", Flags.seen), ("flagged", .flagged), ("deleted", .deleted)]
        where invocation.has(name) {
            wanted.with.insert(flag)
        }
        if invocation.has("unseen") { wanted.without.insert(.seen) }
        wanted.keyword = invocation.value("keyword").map { Array($0.utf8) }
        return wanted
    }

    /// `2026-11-21`: days since 1970.
    private static func day(_ text: String?) throws(Failure) -> Int? {
        guard let text else { return nil }
        let parts = text.split(separator: "-").compactMap { Int($0) }
        guard parts.count == 3, (0...9_999).contains(parts[0]), (1...12).contains(parts[1]),
            (1...Calendar.daysIn(month: parts[1], year: parts[0])).contains(parts[2])
        else {
            throw Failure(
                .usage, "`\(Shown.text(text))` is no day", hints: ["write it as 2026-11-21"])
        }
        return Calendar.days(year: parts[0], month: parts[1], day: parts[2])
    }
}

/// The decoded fields of a header that are looked at and shown.
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
