// SPDX-License-Identifier: Apache-2.0
//
// `mailctl undelete`: expunged messages, deleted mailboxes and removed accounts come back within
// the retention time. docs/backup.md.

import Bytes
import Mail
import Wire

enum UndeleteCommand {
    private static let atOnce = 256

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try BackupCommands.address(invocation.arguments[0])
        var client = try Store.connect(invocation)
        if invocation.has("account") { return try account(address, &client, invocation) }
        let messages = try matching(address, &client, invocation)
        if invocation.has("list") { return list(messages, address, invocation) }
        guard !messages.isEmpty else {
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("restored", .integer(0)), ("present", .integer(0)),
                        ("missing", .integer(0)),
                    ]).text)
            } else {
                invocation.say("Nothing to bring back.  mailctl undelete \(address.text) --list")
            }
            return .ok
        }
        if !invocation.has("yes"), Terminal.isInputTerminal {
            guard Terminal.confirm("Bring \(messages.count) messages back?") else {
                Terminal.error("Nothing was changed.")
                return .problems
            }
        }
        return try bringBack(messages, address, &client, invocation)
    }

    private static func matching(
        _ address: EmailAddress, _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> [RetainedMessage] {
        let mailbox = try invocation.value("mailbox").map { text throws(Failure) in
            guard let name = MailboxName(Array(text.utf8)) else {
                throw Failure(.badData, "`\(text)` cannot be a mailbox")
            }
            return name
        }
        let since = try invocation.value("since").map { text throws(Failure) in
            let time = try BackupRepository.time(text)
            // A day means its beginning here.
            return text.utf8.filter { $0.isASCIIDigit }.count == 8 ? time - 86_399 : time
        }
        let sender = invocation.value("from")?.lowercased()
        let subject = invocation.value("subject")?.lowercased()
        func contains(_ field: [UInt8], _ wanted: String?) -> Bool {
            wanted.map { String(decoding: field, as: UTF8.self).lowercased().contains($0) } ?? true
        }
        var found: [RetainedMessage] = []
        let answer = try client.call(.backup(.listRetained(address))) { answer throws(Failure) in
            guard case .backup(.retained(let messages)) = answer.reply else {
                throw Store.unexpected(answer.reply)
            }
            for message in messages {
                if let mailbox, message.mailbox != mailbox { continue }
                if let since, message.expungedAt < since { continue }
                guard contains(message.sender, sender), contains(message.subject, subject) else {
                    continue
                }
                found.append(message)
            }
        }
        guard answer.reply == .done else { throw Store.unexpected(answer.reply) }
        return found
    }

    private static func list(
        _ messages: [RetainedMessage], _ address: EmailAddress, _ invocation: Invocation
    ) -> ExitCode {
        if invocation.json {
            for message in messages {
                Terminal.out(
                    JSON.object([
                        ("mailbox", .string(message.mailbox.text)),
                        ("expunged", .string(AccountCommands.timestamp(message.expungedAt))),
                        ("date", .string(AccountCommands.timestamp(message.date))),
                        ("size", .integer(Int(message.size))),
                        ("from", .string(Store.text(message.sender))),
                        ("subject", .string(Store.text(message.subject))),
                        ("path", .string(Store.text(message.path))),
                    ]).text)
            }
            return .ok
        }
        guard !messages.isEmpty else {
            invocation.say("Nothing was expunged within the retention time, or nothing matches.")
            return .ok
        }
        let rows = messages.map { message in
            [
                AccountCommands.timestamp(message.expungedAt), message.mailbox.text,
                Store.size(UInt64(message.size)), shown(message.sender, 30),
                shown(message.subject, 50),
            ]
        }
        Terminal.out(
            Terminal.table([["EXPUNGED", "MAILBOX", "SIZE", "FROM", "SUBJECT"]] + rows, right: [2]))
        invocation.say(
            "\(messages.count) messages.  bring them back:  mailctl undelete \(address.text)")
        return .ok
    }

    /// Cut off, and without control characters.
    private static func shown(_ field: [UInt8], _ limit: Int) -> String {
        let text = Store.text(field).unicodeScalars.map { $0.value < 0x20 ? " " : $0 }
        var short = String.UnicodeScalarView()
        short.append(contentsOf: text.prefix(limit))
        return String(short)
    }

    private static func bringBack(
        _ messages: [RetainedMessage], _ address: EmailAddress, _ client: inout ControlClient,
        _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        var progress = Progress("undeleting", "messages", of: messages.count, invocation)
        var (restored, present, missing) = (0, 0, 0)
        var next = 0
        while next < messages.count {
            let some = messages[next..<min(next + atOnce, messages.count)]
            next = some.endIndex
            let reply = try client.call(.backup(.undelete(address, paths: some.map(\.path))))
            guard case .backup(.undeleted(let back, let there, let gone)) = reply else {
                throw Store.unexpected(reply)
            }
            restored += Int(back)
            present += Int(there)
            missing += Int(gone)
            progress.advance(by: some.count)
        }
        progress.finish()
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("restored", .integer(restored)), ("present", .integer(present)),
                    ("missing", .integer(missing)),
                ]).text)
        } else {
            var text = "\(restored) messages are back."
            if present > 0 { text += " \(present) were there already." }
            if missing > 0 { text += " \(missing) are gone for good." }
            invocation.say(text)
        }
        return missing == 0 ? .ok : .problems
    }

    // MARK: - A removed account

    private static func account(
        _ address: EmailAddress, _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        let reply = try client.call(.backup(.listRemoved))
        guard case .backup(.removedAccounts(let all)) = reply else {
            throw Store.unexpected(reply)
        }
        let found = all.filter { removed in
            EmailAddress(splitting: removed.address).map { BackupCommands.isSame($0, address) }
                ?? false
        }
        if invocation.has("list") {
            for removed in found {
                if invocation.json {
                    Terminal.out(
                        JSON.object([
                            ("address", .string(Store.text(removed.address))),
                            ("removed", .string(AccountCommands.timestamp(removed.removedAt))),
                            ("directory", .string(Store.text(removed.directory))),
                        ]).text)
                } else {
                    Terminal.out(
                        "\(Store.text(removed.address)) removed "
                            + AccountCommands.timestamp(removed.removedAt))
                }
            }
            return .ok
        }
        guard let newest = found.first else {
            throw Failure(
                .noInput, "no mail of \(address.text) was removed within the retention time")
        }
        if !invocation.has("yes") {
            guard Terminal.isInputTerminal else {
                throw Failure(
                    .usage, "this replaces the mail of \(address.text) and there is no terminal",
                    hints: ["say --yes"])
            }
            guard Terminal.confirm("Replace what \(address.text) has now?") else {
                Terminal.error("Nothing was changed.")
                return .problems
            }
        }
        let placed = try client.call(.backup(.placeAccount(address, directory: newest.directory)))
        switch placed {
        case .done: break
        case .failure(.noSuchAccount):
            throw Failure(
                .noSuchAccount, "the account must be there first",
                hints: ["mailctl account add \(address.text)"])
        default: throw Store.unexpected(placed)
        }
        if invocation.json {
            Terminal.out(JSON.object([("address", .string(address.text))]).text)
        } else {
            invocation.say("The mail of \(address.text) is back as it was when it was removed.")
        }
        return .ok
    }
}
