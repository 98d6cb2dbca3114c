// SPDX-License-Identifier: Apache-2.0
//
// `mailctl message`: show, save, flags, move, remove. `find` is in MessageFind.swift.

import Bytes
import Glibc
import IMAP
import Interchange
import Mail
import Wire

enum MessageCommands {
    static let all: [Command] = [
        MessageFind.command,
        Command(
            path: ["message", "show"], arguments: "ADDRESS MAILBOX UID", count: 3...3,
            options: [
                Option(name: "header", value: nil, doc: "Only the header."),
                Option(name: "raw", value: nil, doc: "The octets as they are, also on a terminal."),
            ],
            summary: "Print a message",
            detail: [
                """
                To a file or pipe as it is stored, with CRLF line ends. On a terminal control \
                characters are shown as \\xNN.
                """
            ],
            examples: ["mailctl message show alice@example.org INBOX 17 --header"], run: show),
        Command(
            path: ["message", "save"], arguments: "ADDRESS MAILBOX", count: 2...2,
            options: [
                Option(name: "flags", value: "FLAGS", doc: "For example '\\Seen $Forwarded'."),
                Option(name: "date", value: "SECONDS", doc: "INTERNALDATE, seconds since 1970."),
            ],
            summary: "Put the message on standard input into a mailbox",
            examples: ["mailctl message save alice@example.org INBOX < message.eml"], run: save),
        Command(
            path: ["message", "flags"], arguments: "ADDRESS MAILBOX UID +FLAG | -FLAG ...",
            count: 4...64, summary: "Set and remove flags of a message",
            examples: ["mailctl message flags alice@example.org INBOX 17 +\\\\Seen -- -work"],
            run: flags),
        Command(
            path: ["message", "move"], arguments: "ADDRESS MAILBOX UID MAILBOX", count: 4...4,
            options: [
                Option(name: "copy", value: nil, doc: "Leave it where it is as well."),
                Option(name: "to", value: "ADDRESS", doc: "The mailbox is this account's."),
            ],
            summary: "Move a message to another mailbox, also of another account",
            detail: ["With its flags and its date. It goes from here when it is stored there."],
            examples: [
                "mailctl message move alice@example.org INBOX 17 Archive",
                "mailctl message move alice@example.org INBOX 17 INBOX --to bob@example.org",
            ],
            run: move),
        Command(
            path: ["message", "remove"], arguments: "ADDRESS MAILBOX UID", count: 3...3,
            summary: "Remove a message",
            detail: ["Asks before; without a terminal --yes is needed."], run: remove),
    ]

    /// A mailbox, opened, and a message in it.
    struct Place {
        var session: MailSession
        var name: MailboxName
        var mailbox: MailboxID
        var keywords: [[UInt8]]
        var entry: MessageEntry
    }

    private static func place(
        _ invocation: Invocation, _ mode: OpenMode
    ) throws(Failure) -> Place {
        let name = try MailSession.mailboxName(invocation.arguments[1])
        guard let uid = UInt32(invocation.arguments[2]), uid > 0 else {
            throw Failure(
                .usage, "`\(Shown.text(invocation.arguments[2]))` is no UID",
                hints: ["mailctl message find \(invocation.arguments[0]) lists them"])
        }
        var session = try MailSession(invocation.arguments[0], invocation)
        var found: MessageEntry?
        let snapshot = try session.open(name, mode) { entries throws(Failure) in
            if let entry = entries.first(where: { $0.uid == uid }) { found = entry }
        }
        guard let found else {
            throw Failure(
                .noInput, "there is no message \(uid) in \(Shown.text(name.octets))",
                hints: ["mailctl message find \(invocation.arguments[0]) lists them"])
        }
        return Place(
            session: session, name: name, mailbox: snapshot.id, keywords: snapshot.keywords,
            entry: found)
    }

    private static func show(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var place = try place(invocation, .readOnly)
        let part: ReadPart = invocation.has("header") ? .header : .whole
        let isRaw = invocation.has("raw") || isatty(1) != 1
        if invocation.json {
            try showJSON(&place, part)
            return .ok
        }
        try place.session.read(place.mailbox, [place.entry.uid], part) {
            _, octets throws(Failure) in
            try octets.forEachPiece { piece throws(Failure) in
                if isRaw {
                    guard Files.writeAll(1, piece) else { throw .system("write", errno) }
                } else {
                    let lines = piece.filter { $0 != .cr }.split(
                        separator: UInt8.lf, omittingEmptySubsequences: false)
                    let text = lines.map { Shown.text(Array($0)) }.joined(separator: "\n")
                    Terminal.outPart(text)
                }
            }
        }
        return .ok
    }

    private static func showJSON(_ place: inout Place, _ part: ReadPart) throws(Failure) {
        var text: [UInt8] = []
        try place.session.read(place.mailbox, [place.entry.uid], part) {
            _, octets throws(Failure) in
            guard octets.size <= 16 << 20 else {
                throw Failure(.badData, "more than 16 MiB do not go into one line of JSON")
            }
            try octets.forEachPiece { piece throws(Failure) in text += piece }
        }
        var names: [UInt8] = []
        place.entry.flags.appendNames(keywords: place.keywords, to: &names)
        Terminal.out(
            JSON.object([
                ("mailbox", .string(place.name.text)), ("uid", .integer(Int(place.entry.uid))),
                ("size", .integer(Int(place.entry.size))),
                ("date", .string(AccountCommands.timestamp(place.entry.internalDate))),
                ("flags", .string(Store.text(names))), ("octets", .string(Store.text(text))),
            ]).text)
    }

    /// `\Seen`, `work`.
    static func namedFlags(_ words: [String]) throws(Failure) -> NamedFlags {
        var flags = NamedFlags()
        for word in words {
            switch word.lowercased() {
            case "\\seen": flags.system.insert(.seen)
            case "\\answered": flags.system.insert(.answered)
            case "\\flagged": flags.system.insert(.flagged)
            case "\\deleted": flags.system.insert(.deleted)
            case "\\draft": flags.system.insert(.draft)
            default:
                let before = flags.keywords.count
                if !word.hasPrefix("\\") { KeywordName.add(Array(word.utf8), to: &flags) }
                guard flags.keywords.count > before else {
                    throw Failure(
                        .usage, "`\(Shown.text(word))` is no flag",
                        hints: ["\\Seen \\Answered \\Flagged \\Deleted \\Draft, or a keyword"])
                }
            }
        }
        return flags
    }

    private static func save(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let name = try MailSession.mailboxName(invocation.arguments[1])
        let words = (invocation.value("flags") ?? "").split(separator: " ").map { String($0) }
        let flags = try namedFlags(words)
        var date: SecondsSince1970?
        if let text = invocation.value("date") {
            guard let seconds = Int64(text) else {
                throw Failure(.usage, "`\(Shown.text(text))` is no number of seconds")
            }
            date = seconds
        }
        let appender = Appender(try MailSession(invocation.arguments[0], invocation))
        var body = try CollectedBody(isDigested: false)
        var ends = LineEndings()
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                unsafe Glibc.read(0, space.baseAddress, space.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("cannot read standard input", errno) }
            if count == 0 { break }
            var piece: [UInt8] = []
            let octets = Array(buffer[..<count])
            ends.append(octets.span, to: &piece)
            try body.add(piece) { () throws(Failure) in try appender.stage() }
        }
        body.close()
        guard body.size > 0 else {
            throw Failure(.badData, "there is no message on standard input")
        }
        var uid: UInt32 = 0
        let message = IncomingMessage(mailbox: name, flags: flags, date: date, key: "")
        try appender.append(message, body) { stored throws(Failure) in uid = stored.uid }
        try appender.drain { stored throws(Failure) in uid = stored.uid }
        if invocation.json {
            Terminal.out(JSON.object([("uid", .integer(Int(uid)))]).text)
        } else {
            invocation.say("saved in \(Shown.text(name.octets)) with UID \(uid).")
        }
        return .ok
    }

    private static func flags(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var changes: [(FlagOperation, NamedFlags)] = []
        for word in invocation.arguments.dropFirst(3) {
            guard let sign = word.first, sign == "+" || sign == "-" else {
                throw Failure(
                    .usage, "`\(Shown.text(word))`: a + or - must stand in front of a flag")
            }
            changes.append(
                (sign == "+" ? .add : .remove, try namedFlags([String(word.dropFirst())])))
        }
        var place = try place(invocation, .readWrite)
        var flags = place.entry.flags
        var keywords = place.keywords
        let uid = place.entry.uid
        for (operation, named) in changes {
            let reply = try place.session.client.call(
                .store(
                    place.session.handle, place.mailbox, uids: [UIDRange(uid, uid)], operation,
                    named, unchangedSince: nil))
            guard case .stored(let entries, _, let table) = reply else {
                throw Store.unexpected(reply)
            }
            if let entry = entries.first { flags = entry.flags }
            keywords = table
        }
        var names: [UInt8] = []
        flags.appendNames(keywords: keywords, to: &names)
        if invocation.json {
            Terminal.out(
                JSON.object([("uid", .integer(Int(uid))), ("flags", .string(Store.text(names)))])
                    .text)
        } else {
            invocation.say("flags of \(uid): \(Shown.text(names))")
        }
        return .ok
    }

    private static func move(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let target = try MailSession.mailboxName(invocation.arguments[3])
        let isMove = !invocation.has("copy")
        var place = try place(invocation, .readWrite)
        if let other = invocation.value("to") {
            return try move(&place, to: other, target, isMove: isMove, invocation)
        }
        let uid = place.entry.uid
        let reply = try place.session.client.call(
            .copy(
                place.session.handle, place.mailbox, uids: [UIDRange(uid, uid)], to: target,
                move: isMove))
        switch reply {
        case .copied(let result):
            guard let new = result.destination.first else {
                throw Failure(.tryAgain, "message \(uid) was removed meanwhile")
            }
            if invocation.json {
                Terminal.out(JSON.object([("uid", .integer(Int(new)))]).text)
            } else {
                let verb = isMove ? "moved" : "copied"
                invocation.say("\(verb) to \(Shown.text(target.octets)), UID \(new) there.")
            }
        case .failure(.noSuchMailbox):
            throw Failure(
                .noInput, "there is no mailbox \(Shown.text(target.octets))",
                hints: [
                    "make it:  mailctl mailbox create \(place.session.address.text) '\(target.text)'"
                ])
        default: throw Store.unexpected(reply)
        }
        return .ok
    }

    /// Into another account: stored there, durably, before it is removed here.
    private static func move(
        _ place: inout Place, to other: String, _ target: MailboxName, isMove: Bool,
        _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        let appender = Appender(try MailSession(other, invocation))
        _ = try appender.session.status(target)
        var flags = NamedFlags()
        var names: [UInt8] = []
        place.entry.flags.appendNames(keywords: place.keywords, to: &names)
        flags = try namedFlags(
            Store.text(names).split(separator: " ").map { String($0) })
        var body = try CollectedBody(isDigested: false)
        try place.session.read(place.mailbox, [place.entry.uid], .whole) {
            _, octets throws(Failure) in
            try octets.forEachPiece { piece throws(Failure) in
                try body.add(piece) { () throws(Failure) in try appender.stage() }
            }
        }
        body.close()
        guard body.size == Int(place.entry.size) else {
            throw Failure(.tryAgain, "message \(place.entry.uid) was removed meanwhile")
        }
        var uid: UInt32 = 0
        try appender.append(
            IncomingMessage(
                mailbox: target, flags: flags, date: place.entry.internalDate, key: ""), body
        ) { stored throws(Failure) in uid = stored.uid }
        try appender.drain { stored throws(Failure) in uid = stored.uid }
        if isMove {
            let here = place.entry.uid
            let reply = try place.session.client.call(
                .expunge(
                    place.session.handle, place.mailbox, uids: [UIDRange(here, here)], force: true))
            guard case .expunged = reply else { throw Store.unexpected(reply) }
        }
        let account = appender.session.address.text
        if invocation.json {
            Terminal.out(
                JSON.object([("account", .string(account)), ("uid", .integer(Int(uid)))]).text)
        } else {
            invocation.say(
                "\(isMove ? "moved" : "copied") to \(Shown.text(target.octets)) of \(account), "
                    + "UID \(uid) there.")
        }
        return .ok
    }

    private static func remove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var place = try place(invocation, .readWrite)
        let uid = place.entry.uid
        if !invocation.has("yes") {
            guard Terminal.isInputTerminal else {
                throw Failure(
                    .usage, "this destroys mail and there is no terminal to ask on",
                    hints: ["say --yes"])
            }
            guard Terminal.confirm("Remove message \(uid) of \(Shown.text(place.name.octets))?")
            else {
                Terminal.error("Nothing was changed.")
                return .problems
            }
        }
        let reply = try place.session.client.call(
            .expunge(
                place.session.handle, place.mailbox, uids: [UIDRange(uid, uid)], force: true))
        guard case .expunged = reply else { throw Store.unexpected(reply) }
        invocation.say("message \(uid) removed.")
        return .ok
    }
}
