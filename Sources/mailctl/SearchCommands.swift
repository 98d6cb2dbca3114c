// SPDX-License-Identifier: Apache-2.0
//
// `mailctl search`: how far the search indexes are, and making them anew.

import Bytes
import Glibc
import Mail
import Wire

enum SearchCommands {
    private static let target = Option(name: "all", value: nil, doc: "Every account.")

    static let all: [Command] = [
        Command(
            path: ["search", "stats"], arguments: "[ADDRESS]", count: 0...1, options: [target],
            summary: "Show how much of the mail is in the search index",
            detail: [
                """
                What is not indexed yet is read when somebody searches, so every answer is complete \
                at any time.
                """
            ],
            examples: [
                "mailctl search stats alice@example.org", "mailctl search stats --all --json",
            ],
            run: stats),
        Command(
            path: ["search", "rebuild"], arguments: "[ADDRESS]", count: 0...1,
            options: [
                target,
                Option(name: "no-wait", value: nil, doc: "Do not wait until it is made."),
            ],
            summary: "Throw the search index of an account away and make it anew",
            detail: [
                """
                msgstored makes it in the background and goes on if mailctl is stopped. Mail can be \
                searched and delivered meanwhile.
                """
            ],
            examples: [
                "mailctl search rebuild alice@example.org", "mailctl search rebuild --all",
            ],
            run: rebuild),
    ]

    private static func accounts(
        _ invocation: Invocation, _ client: inout ControlClient
    ) throws(Failure) -> [EmailAddress] {
        guard let text = invocation.arguments.first else {
            guard invocation.has("all") else {
                throw Failure(
                    .usage, "which account?", hints: ["name an ADDRESS, or say --all"])
            }
            let reply = try client.call(.listAccounts(domain: []))
            guard case .accounts(let accounts) = reply else { throw Store.unexpected(reply) }
            return accounts.map(\.address)
        }
        guard !invocation.has("all") else {
            throw Failure(.usage, "an ADDRESS or --all, not both")
        }
        guard let address = EmailAddress(splitting: Array(text.utf8)) else {
            throw Failure(
                .badData, "`\(text)` is not an address", hints: ["write it as NAME@DOMAIN"])
        }
        return [address]
    }

    private static func stats(
        of address: EmailAddress, _ client: inout ControlClient
    ) throws(Failure) -> SearchStats {
        let reply = try client.call(.searchStats(address))
        switch reply {
        case .searchStats(let stats): return stats
        case .failure(.noSuchAccount):
            throw Failure(
                .noSuchAccount, "there is no account \(address.text).",
                hints: ["see: mailctl account list"])
        default: throw Store.unexpected(reply)
        }
    }

    // MARK: - stats

    private static func stats(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let accounts = try accounts(invocation, &client)
        var rows = [["ACCOUNT", "MESSAGES", "INDEXED", "MAIL", "INDEX", "SEGMENTS"]]
        for address in accounts {
            let stats = try stats(of: address, &client)
            if invocation.json {
                Terminal.out(json(address, stats).text)
                continue
            }
            rows.append([
                address.text, String(stats.messages),
                stats.isEnabled ? String(stats.indexed) : "off", Store.size(stats.sourceOctets),
                Store.size(stats.octets), String(stats.segments),
            ])
        }
        guard !invocation.json else { return .ok }
        guard rows.count > 1 else {
            invocation.say("No accounts.  mailctl account add ADDRESS")
            return .ok
        }
        Terminal.out(Terminal.table(rows, right: [1, 2, 3, 4, 5]))
        return .ok
    }

    private static func json(_ address: EmailAddress, _ stats: SearchStats) -> JSON {
        .object([
            ("address", .string(address.text)), ("enabled", .boolean(stats.isEnabled)),
            ("messages", .integer(Int(clamping: stats.messages))),
            ("indexed", .integer(Int(clamping: stats.indexed))),
            ("always_read", .integer(Int(clamping: stats.opaque))),
            ("mail_bytes", .integer(Int(clamping: stats.sourceOctets))),
            ("index_bytes", .integer(Int(clamping: stats.octets))),
            ("segments", .integer(Int(stats.segments))),
        ])
    }

    // MARK: - rebuild

    private static func rebuild(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let accounts = try accounts(invocation, &client)
        for address in accounts {
            let before = try stats(of: address, &client)
            guard before.isEnabled else {
                throw Failure(
                    .unavailable, "searching without an index is configured",
                    hints: [
                        "set search = \"sqlite\" in [msgstored], then:  mailctl reload"
                    ])
            }
            let reply = try client.call(.rebuildSearch(address))
            guard reply == .done else { throw Store.unexpected(reply) }
            if !invocation.has("no-wait") { try wait(for: address, invocation, &client) }
            let after = try stats(of: address, &client)
            if invocation.json {
                Terminal.out(json(address, after).text)
            } else {
                invocation.say(
                    "\(address.text): \(after.indexed) of \(after.messages) messages indexed.")
            }
        }
        return .ok
    }

    /// Until everything is indexed, or nothing happens any more for a minute.
    private static func wait(
        for address: EmailAddress, _ invocation: Invocation, _ client: inout ControlClient
    ) throws(Failure) {
        var progress = Progress("indexing", "messages", invocation)
        progress.subject = address.text
        var indexed = 0
        var silent = 0
        while true {
            let stats = try stats(of: address, &client)
            progress.total = Int(clamping: stats.messages)
            let now = Int(clamping: stats.indexed)
            silent = now > indexed ? 0 : silent + 1
            progress.advance(by: max(0, now - indexed))
            indexed = max(indexed, now)
            guard stats.indexed < stats.messages else { break }
            guard silent < 600 else {
                progress.clear()
                throw Failure(
                    .tryAgain, "msgstored does not go on with \(address.text)",
                    hints: ["see its log, and:  mailctl search stats \(address.text)"])
            }
            usleep(100_000)
        }
        progress.finish()
    }
}
