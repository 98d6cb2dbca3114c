// SPDX-License-Identifier: Apache-2.0
//
// What `mailctl message find` looks for, from its options: the conditions of IMAP's SEARCH. RFC 9051
// §6.4.4. Flags, dates and sizes are looked at here; the rest is a question to msgstored.

import Bytes
import IMAP
import MIME
import Mail

struct FindCriteria {
    static let options: [Option] = [
        Option(name: "mailbox", value: "NAME", doc: "Only there; default: everywhere."),
        Option(name: "all", value: nil, doc: "In all accounts."),
        Option(name: "from", value: "TEXT", doc: "In From."),
        Option(name: "to", value: "TEXT", doc: "In To or Cc."),
        Option(name: "cc", value: "TEXT", doc: "In Cc."),
        Option(name: "bcc", value: "TEXT", doc: "In Bcc."),
        Option(name: "subject", value: "TEXT", doc: "In Subject."),
        Option(name: "id", value: "TEXT", doc: "In Message-ID."),
        Option(name: "header", value: "NAME:TEXT", doc: "In this field; without TEXT: has it."),
        Option(name: "body", value: "TEXT", doc: "In the text of the message, decoded."),
        Option(name: "text", value: "TEXT", doc: "In its header or its text, decoded."),
        Option(name: "since", value: "DAY", doc: "Came on 2026-11-21 or later."),
        Option(name: "before", value: "DAY", doc: "Came before 2026-11-21."),
        Option(name: "on", value: "DAY", doc: "Came on 2026-11-21."),
        Option(name: "sent-since", value: "DAY", doc: "Its Date is that day or later."),
        Option(name: "sent-before", value: "DAY", doc: "Its Date is before that day."),
        Option(name: "larger", value: "SIZE", doc: "More than so many octets; also 500K, 2M."),
        Option(name: "smaller", value: "SIZE", doc: "Fewer than so many octets."),
        Option(name: "seen", value: nil, doc: "Only read ones."),
        Option(name: "unseen", value: nil, doc: "Only unread ones."),
        Option(name: "flagged", value: nil, doc: "Only flagged ones."),
        Option(name: "unflagged", value: nil, doc: "Only those that are not flagged."),
        Option(name: "answered", value: nil, doc: "Only answered ones."),
        Option(name: "unanswered", value: nil, doc: "Only those that were not answered."),
        Option(name: "deleted", value: nil, doc: "Only those marked as deleted."),
        Option(name: "undeleted", value: nil, doc: "Only those not marked as deleted."),
        Option(name: "draft", value: nil, doc: "Only drafts."),
        Option(name: "keyword", value: "NAME", doc: "Only those with this keyword."),
        Option(name: "unkeyword", value: "NAME", doc: "Only those without this keyword."),
        Option(name: "limit", value: "COUNT", doc: "At most so many; default 1000."),
    ]

    private var since: Int?
    private var before: Int?
    private var larger: UInt64?
    private var smaller: UInt64?
    private var with: Flags = []
    private var without: Flags = []
    private var keyword: [UInt8]?
    private var unkeyword: [UInt8]?
    /// What msgstored is asked; nil: nothing.
    private(set) var query: TextQuery?

    init(_ invocation: Invocation) throws(Failure) {
        since = try Self.day("since", invocation)
        before = try Self.day("before", invocation)
        if let day = try Self.day("on", invocation) {
            since = max(since ?? day, day)
            before = min(before ?? day + 1, day + 1)
        }
        larger = try Self.size("larger", invocation)
        smaller = try Self.size("smaller", invocation)
        let flags: [(String, Flags)] = [
            ("seen", .seen), ("flagged", .flagged), ("answered", .answered),
            ("deleted", .deleted), ("draft", .draft),
        ]
        for (name, flag) in flags {
            if invocation.has(name) { with.insert(flag) }
            if invocation.has("un" + name) { without.insert(flag) }
        }
        keyword = invocation.value("keyword").map { Array($0.utf8) }
        unkeyword = invocation.value("unkeyword").map { Array($0.utf8) }
        query = try Self.query(invocation)
    }

    private static func query(_ invocation: Invocation) throws(Failure) -> TextQuery? {
        var keys: [TextQuery] = []
        func text(_ name: String) throws(Failure) -> [UInt8]? {
            guard let text = invocation.value(name), !text.isEmpty else { return nil }
            guard text.utf8.count <= TextQuery.textLimit else {
                throw Failure(.usage, "--\(name) is too long")
            }
            return Array(text.utf8)
        }
        func header(_ name: String, _ text: [UInt8]) -> TextQuery {
            .header(name: Array(name.utf8), text)
        }
        for (option, field) in [
            ("from", "From"), ("cc", "Cc"), ("bcc", "Bcc"), ("subject", "Subject"),
            ("id", "Message-ID"),
        ] {
            if let text = try text(option) { keys.append(header(field, text)) }
        }
        if let text = try text("to") {
            keys.append(.any([header("To", text), header("Cc", text)]))
        }
        if let field = invocation.value("header") {
            let parts = field.split(separator: ":", maxSplits: 1)
            guard let name = parts.first, !name.isEmpty, name.utf8.allSatisfy({ $0.isGraphic })
            else {
                throw Failure(.usage, "--header needs NAME:TEXT", hints: ["--header List-Id:swift"])
            }
            let text = parts.count > 1 ? parts[1].drop { $0 == " " } : ""
            keys.append(header(String(name), Array(text.utf8)))
        }
        if let text = try text("body") { keys.append(.body(text)) }
        if let text = try text("text") { keys.append(.text(text)) }
        if let day = try day("sent-since", invocation) { keys.append(.sent(.since(day))) }
        if let day = try day("sent-before", invocation) { keys.append(.sent(.before(day))) }
        return keys.isEmpty ? nil : keys.count == 1 ? keys[0] : .all(keys)
    }

    /// What can be said without the message itself.
    func matches(_ entry: MessageEntry, _ keywords: [[UInt8]]) -> Bool {
        let day = InternalDate.day(of: entry.internalDate)
        if let since, day < since { return false }
        if let before, day >= before { return false }
        if let larger, UInt64(entry.size) <= larger { return false }
        if let smaller, UInt64(entry.size) >= smaller { return false }
        guard entry.flags.isSuperset(of: with), entry.flags.isDisjoint(with: without) else {
            return false
        }
        func has(_ keyword: [UInt8]) -> Bool {
            Flags.keyword(named: keyword, in: keywords).map(entry.flags.contains) ?? false
        }
        if let keyword, !has(keyword) { return false }
        if let unkeyword, has(unkeyword) { return false }
        return true
    }

    private static func size(
        _ name: String, _ invocation: Invocation
    ) throws(Failure) -> UInt64? {
        guard let text = invocation.value(name) else { return nil }
        guard let octets = try Addresses.limit(text) else {
            throw Failure(.usage, "--\(name) needs a number of octets")
        }
        return octets
    }

    /// `2026-11-21`: days since 1970.
    private static func day(
        _ name: String, _ invocation: Invocation
    ) throws(Failure) -> Int? {
        guard let text = invocation.value(name) else { return nil }
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

extension UInt8 {
    /// What a field name may have. RFC 5322 §2.2.
    fileprivate var isGraphic: Bool { self > 0x20 && self < 0x7F && self != 0x3A }
}
