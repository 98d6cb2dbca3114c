// SPDX-License-Identifier: Apache-2.0
//
// `mailctl mailbox`: list, create, remove, rename, stats.

import Glibc
import Mail
import Wire

enum MailboxCommands {
    static let all: [Command] = [
        Command(
            path: ["mailbox", "list"], arguments: "ADDRESS", count: 1...1,
            summary: "List the mailboxes of an account",
            examples: ["mailctl mailbox list alice@example.org"], run: list),
        Command(
            path: ["mailbox", "stats"], arguments: "ADDRESS [MAILBOX]", count: 1...2,
            summary: "Show messages, size and numbers of mailboxes", run: stats),
        Command(
            path: ["mailbox", "create"], arguments: "ADDRESS MAILBOX", count: 2...2,
            options: [
                Option(
                    name: "use", value: "USE",
                    doc: "What it is for: drafts, sent, junk, trash or archive.")
            ],
            summary: "Make a mailbox and subscribe to it",
            examples: ["mailctl mailbox create alice@example.org Archive/2024"], run: create),
        Command(
            path: ["mailbox", "remove"], arguments: "ADDRESS MAILBOX", count: 2...2,
            summary: "Remove a mailbox and its messages",
            detail: ["Mailboxes below it stay. Asks before; without a terminal --yes is needed."],
            run: remove),
        Command(
            path: ["mailbox", "rename"], arguments: "ADDRESS MAILBOX NEW", count: 3...3,
            summary: "Rename a mailbox and those below it", run: rename),
    ]

    static func useName(_ use: SpecialUse) -> String { use == .none ? "" : "\(use)" }

    private static func list(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var session = try MailSession(invocation.arguments[0], invocation)
        let infos = try session.mailboxes()
        if invocation.json {
            for info in infos {
                Terminal.out(
                    JSON.object([
                        ("mailbox", .string(info.name.text)),
                        ("use", .string(useName(info.specialUse))),
                        ("selectable", .boolean(info.isSelectable)),
                        ("subscribed", .boolean(info.isSubscribed)),
                    ]).text)
            }
            return .ok
        }
        let rows = infos.map { info in
            [
                Shown.text(info.name.octets), useName(info.specialUse),
                info.isSelectable ? "" : "no mailbox", info.isSubscribed ? "subscribed" : "",
            ]
        }
        Terminal.out(Terminal.table([["MAILBOX", "USE", "", ""]] + rows))
        return .ok
    }

    private static func stats(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var session = try MailSession(invocation.arguments[0], invocation)
        var names: [MailboxName] = []
        if invocation.arguments.count > 1 {
            names = [try MailSession.mailboxName(invocation.arguments[1])]
        } else {
            names = try session.mailboxes().filter(\.isSelectable).map(\.name)
        }
        var rows: [[String]] = []
        for name in names {
            let status = try session.status(name)
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("mailbox", .string(name.text)),
                        ("messages", .integer(Int(status.messages))),
                        ("unseen", .integer(Int(status.unseen))),
                        ("deleted", .integer(Int(status.deleted))),
                        ("size", .integer(Int(clamping: status.size))),
                        ("uidvalidity", .integer(Int(status.uidValidity))),
                        ("uidnext", .integer(Int(status.uidNext))),
                        ("highestmodseq", .integer(Int(clamping: status.highestModSeq))),
                    ]).text)
            }
            rows.append([
                Shown.text(name.octets), "\(status.messages)", "\(status.unseen)",
                Store.size(status.size), "\(status.uidValidity)", "\(status.uidNext)",
            ])
        }
        if !invocation.json {
            Terminal.out(
                Terminal.table(
                    [["MAILBOX", "MESSAGES", "UNSEEN", "SIZE", "UIDVALIDITY", "UIDNEXT"]] + rows,
                    right: [1, 2, 3, 4, 5]))
        }
        return .ok
    }

    private static func create(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let name = try MailSession.mailboxName(invocation.arguments[1])
        var use = SpecialUse.none
        if let wanted = invocation.value("use") {
            guard let found = SpecialUse.allCases.first(where: { useName($0) == wanted }) else {
                throw Failure(
                    .usage, "there is no use `\(Shown.text(wanted))`",
                    hints: ["one of: drafts sent junk trash archive"])
            }
            use = found
        }
        var session = try MailSession(invocation.arguments[0], invocation)
        guard try session.create(name, use) else {
            throw Failure(.cannotCreate, "mailbox \(Shown.text(name.octets)) exists already")
        }
        try session.expectDone(.subscribe(session.handle, name, true))
        invocation.say("\(Shown.text(name.octets)) made.")
        return .ok
    }

    private static func remove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let name = try MailSession.mailboxName(invocation.arguments[1])
        var session = try MailSession(invocation.arguments[0], invocation)
        let status = try session.status(name)
        let shown = Shown.text(name.octets)
        guard !name.isInbox else { throw Failure(.badData, "INBOX cannot be removed") }
        if !invocation.has("yes") {
            guard Terminal.isInputTerminal else {
                throw Failure(
                    .usage, "this destroys mail and there is no terminal to ask on",
                    hints: ["say --yes"])
            }
            guard Terminal.confirm("Remove \(shown) and its \(status.messages) messages?") else {
                Terminal.error("Nothing was changed.")
                return .problems
            }
        }
        try session.expectDone(.delete(session.handle, name))
        try session.expectDone(.subscribe(session.handle, name, false))
        invocation.say("\(shown) removed.")
        return .ok
    }

    private static func rename(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let from = try MailSession.mailboxName(invocation.arguments[1])
        let to = try MailSession.mailboxName(invocation.arguments[2])
        var session = try MailSession(invocation.arguments[0], invocation)
        let reply = try session.client.call(.rename(session.handle, from: from, to: to))
        switch reply {
        case .done: break
        case .failure(.noSuchMailbox): throw MailSession.noMailbox(from, session.address)
        case .failure(.mailboxExists), .failure(.alreadyExists):
            throw Failure(.cannotCreate, "mailbox \(Shown.text(to.octets)) exists already")
        default: throw Store.unexpected(reply)
        }
        invocation.say("\(Shown.text(from.octets)) is \(Shown.text(to.octets)) now.")
        return .ok
    }
}
