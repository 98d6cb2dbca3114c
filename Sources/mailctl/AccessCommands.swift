// SPDX-License-Identifier: Apache-2.0
//
// `mailctl app-password` and `mailctl ban`: passwords for one program each, and who may not try any
// more. docs/security.md.

import Config
import Glibc
import Mail
import Wire

enum AccessCommands {
    static let all: [Command] = [
        Command(
            path: ["app-password", "add"], arguments: "ADDRESS NAME", count: 2...2,
            options: [
                Option(
                    name: "scope", value: "LIST",
                    doc: "What it is good for: imap, pop3, smtp, separated by commas; default: all."
                ),
                Option(
                    name: "expires", value: "TIME", doc: "After how long it ends: 90d, 12h, 2w."),
            ],
            summary: "Make a password for one program or device",
            detail: [
                """
                Made at random and shown once. It is good beside the account's own password, and \
                stays when that one is changed; what it opens is only mail, never a new password.
                """
            ],
            examples: [
                "mailctl app-password add alice@example.org phone",
                "mailctl app-password add alice@example.org printer --scope smtp --expires 365d",
            ],
            run: addAppPassword),
        Command(
            path: ["app-password", "list"], arguments: "ADDRESS", count: 1...1,
            summary: "List the app passwords of an account", run: listAppPasswords),
        Command(
            path: ["app-password", "remove"], arguments: "ADDRESS ID", count: 2...2,
            summary: "End an app password", run: removeAppPassword),
        Command(
            path: ["ban", "list"], summary: "List addresses that may not log in for now",
            detail: [
                """
                Addresses are banned by too many failed logins ([server.limits] in mail.toml) until \
                a time, or by ban add. Those by failures are forgotten when msgstored restarts.
                """
            ],
            run: listBans),
        Command(
            path: ["ban", "add"], arguments: "IP", count: 1...1,
            options: [
                Option(name: "for", value: "TIME", doc: "How long: 1h, 7d; default: for good.")
            ],
            summary: "Let nobody log in from an address",
            detail: [
                """
                An IPv6 address stands for its /64. Refused for an address from which somebody has \
                logged in within a week.
                """
            ],
            examples: ["mailctl ban add 203.0.113.9 --for 1d"], run: addBan),
        Command(
            path: ["ban", "remove"], arguments: "IP", count: 1...1,
            summary: "Let an address log in again", examples: ["mailctl ban remove 203.0.113.9"],
            run: removeBan),
    ]

    private static let scopeNames: [(name: String, scope: LoginScopes)] = [
        ("imap", .imap), ("pop3", .pop3), ("smtp", .smtp),
    ]

    private static func scopes(_ text: String?) throws(Failure) -> LoginScopes {
        guard let text else { return .all }
        var scopes: LoginScopes = []
        for word in text.split(separator: ",") {
            guard let known = scopeNames.first(where: { $0.name == word.lowercased() }) else {
                throw Failure(
                    .usage, "`\(word)` is not a scope", hints: ["use imap, pop3, smtp"])
            }
            scopes.insert(known.scope)
        }
        guard !scopes.isEmpty else { throw Failure(.usage, "--scope names nothing") }
        return scopes
    }

    private static func words(_ scopes: LoginScopes) -> [String] {
        scopeNames.filter { scopes.contains($0.scope) }.map(\.name)
    }

    private static func seconds(_ invocation: Invocation, _ option: String) throws(Failure) -> Int {
        guard let text = invocation.value(option) else { return 0 }
        guard let seconds = DurationNotation.parse(text), seconds > 0 else {
            throw Failure(
                .usage, "--\(option): `\(text)` is not a time", hints: ["write 90d, 12h or 30m"])
        }
        return seconds
    }

    // MARK: - App passwords

    private static func addAppPassword(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try AccountCommands.address(invocation)
        let name = Array(invocation.arguments[1].utf8)
        guard (1...WireLimit.appPasswordName).contains(name.count),
            name.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { throw Failure(.badData, "the name is empty, too long or has control characters") }
        let scopes = try scopes(invocation.value("scope"))
        let length = try seconds(invocation, "expires")
        let expires = length == 0 ? 0 : SecondsSince1970(time(nil) + length)
        let password = Password.generate()
        var client = try Store.connect(invocation)
        let reply = try client.call(
            .access(
                .addAppPassword(
                    address, name: name, scopes: scopes, expires: expires,
                    password: Array(password.utf8))))
        switch reply {
        case .access(.appPasswords(let rows)):
            guard let row = rows.first else { throw Store.unexpected(reply) }
            if invocation.json {
                Terminal.out(JSON.object(members(row) + [("password", .string(password))]).text)
            } else {
                invocation.say("App password \(row.id) of \(address.text) made.")
                Terminal.out("  password: \(password)   (shown once)")
            }
            return .ok
        case .failure(.noSuchAccount), .failure(.noSuchDomain):
            throw try AccountCommands.missing(address, &client)
        case .failure(.limit):
            throw Failure(
                .cannotCreate, "\(address.text) has as many app passwords as there may be",
                hints: ["mailctl app-password list \(address.text)"])
        default: throw Store.unexpected(reply)
        }
    }

    private static func members(_ row: AppPassword) -> [(name: String, value: JSON)] {
        [
            ("id", .integer(Int(row.id))),
            ("name", .string(String(decoding: row.name, as: UTF8.self))),
            ("scopes", .array(words(row.scopes).map { .string($0) })),
            ("created", .string(AccountCommands.timestamp(row.created))),
            ("expires", row.expires == 0 ? .null : .string(AccountCommands.timestamp(row.expires))),
            ("used", row.used == 0 ? .null : .string(AccountCommands.timestamp(row.used))),
        ]
    }

    private static func listAppPasswords(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try AccountCommands.address(invocation)
        var client = try Store.connect(invocation)
        let reply = try client.call(.access(.listAppPasswords(address)))
        switch reply {
        case .access(.appPasswords(let rows)):
            if invocation.json {
                for row in rows { Terminal.out(JSON.object(members(row)).text) }
                return .ok
            }
            let now = SecondsSince1970(time(nil))
            let table = rows.map { row in
                [
                    String(row.id), String(decoding: row.name, as: UTF8.self),
                    words(row.scopes).joined(separator: ","),
                    AccountCommands.timestamp(row.created),
                    row.expires == 0
                        ? "never"
                        : row.expires <= now ? "over" : AccountCommands.timestamp(row.expires),
                    row.used == 0 ? "never" : AccountCommands.timestamp(row.used),
                ]
            }
            Terminal.out(
                Terminal.table(
                    [["ID", "NAME", "SCOPE", "MADE", "EXPIRES", "USED"]] + table, right: [0]))
            return .ok
        case .failure(.noSuchAccount), .failure(.noSuchDomain):
            throw try AccountCommands.missing(address, &client)
        default: throw Store.unexpected(reply)
        }
    }

    private static func removeAppPassword(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try AccountCommands.address(invocation)
        guard let id = UInt32(invocation.arguments[1]) else {
            throw Failure(.usage, "`\(invocation.arguments[1])` is not a number")
        }
        var client = try Store.connect(invocation)
        let reply = try client.call(.access(.removeAppPassword(address, id: id)))
        switch reply {
        case .done:
            invocation.say("App password \(id) of \(address.text) ended.")
            return .ok
        case .failure(.noSuchAccount), .failure(.noSuchDomain):
            throw try AccountCommands.missing(address, &client)
        case .failure(.notPermitted):
            throw Failure(
                .badData, "\(address.text) has no app password \(id)",
                hints: ["mailctl app-password list \(address.text)"])
        default: throw Store.unexpected(reply)
        }
    }

    // MARK: - Bans

    private static func listBans(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let reply = try client.call(.access(.listBans))
        guard case .access(.bans(let rows)) = reply else { throw Store.unexpected(reply) }
        if invocation.json {
            for row in rows {
                Terminal.out(
                    JSON.object([
                        ("network", .string(Store.text(row.network))),
                        ("by", .string(row.isManual ? "owner" : "failures")),
                        ("failures", .integer(Int(row.failures))),
                        ("since", .string(AccountCommands.timestamp(row.since))),
                        (
                            "until",
                            row.until == 0 ? .null : .string(AccountCommands.timestamp(row.until))
                        ),
                    ]).text)
            }
            return .ok
        }
        let table = rows.map { row in
            [
                Store.text(row.network), row.isManual ? "owner" : "\(row.failures) failures",
                AccountCommands.timestamp(row.since),
                row.until == 0 ? "for good" : AccountCommands.timestamp(row.until),
            ]
        }
        Terminal.out(Terminal.table([["NETWORK", "BY", "SINCE", "UNTIL"]] + table))
        return .ok
    }

    private static func bad(_ text: String) -> Failure {
        Failure(
            .badData, "`\(text)` is not an address",
            hints: ["give an IPv4 or IPv6 address, like 203.0.113.9"])
    }

    private static func addBan(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let text = invocation.arguments[0]
        let length = try seconds(invocation, "for")
        guard text.utf8.count <= WireLimit.network else { throw bad(text) }
        var client = try Store.connect(invocation)
        let reply = try client.call(
            .access(.addBan(Array(text.utf8), seconds: UInt64(length))))
        switch reply {
        case .done: break
        case .failure(.notPermitted): throw bad(text)
        case .failure(.alreadyExists):
            throw Failure(
                .cannotCreate, "somebody has logged in from \(text) within a week",
                hints: [
                    "that user can be shut out:  mailctl account disable ADDRESS"
                ])
        default: throw Store.unexpected(reply)
        }
        invocation.say("\(text) is banned.")
        return .ok
    }

    private static func removeBan(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let text = invocation.arguments[0]
        guard text.utf8.count <= WireLimit.network else { throw bad(text) }
        var client = try Store.connect(invocation)
        let reply = try client.call(.access(.removeBan(Array(text.utf8))))
        switch reply {
        case .done: break
        case .failure(.notPermitted): throw bad(text)
        case .failure(.noSuchAccount):
            throw Failure(.badData, "\(text) is not banned", hints: ["see: mailctl ban list"])
        default: throw Store.unexpected(reply)
        }
        invocation.say("\(text) may log in again.")
        return .ok
    }
}
