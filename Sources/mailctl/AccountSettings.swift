// SPDX-License-Identifier: Apache-2.0
//
// `mailctl account`: list, show, set, disable, enable, rename; `mailctl domain`: show, alias,
// catch-all.

import Bytes
import Config
import Mail
import Wire

enum AccountSettings {
    static func list(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let domain = Array((invocation.arguments.first ?? "").lowercased().utf8)
        let reply = try client.call(
            .directory(.listAccounts(domain: domain, exact: invocation.has("exact"))))
        guard case .directory(.accounts(let accounts)) = reply else {
            guard reply == .failure(.noSuchDomain) else { throw Store.unexpected(reply) }
            let name = Store.text(domain)
            let domains = try Store.domains(&client)
            let meant = suggestion(for: name, among: domains.map { Store.text($0.name) })
            throw Failure(
                .noSuchDomain,
                "domain \(name) is not served here." + (meant.map { " Did you mean \($0)?" } ?? ""))
        }
        if invocation.json {
            for account in accounts { Terminal.out(json(account).text) }
            return .ok
        }
        guard !accounts.isEmpty else {
            invocation.say("No accounts.  mailctl account add NAME@DOMAIN")
            return .ok
        }
        let rows = accounts.map { account in
            [
                account.address.text, account.usage.map { String($0.messages) } ?? "?",
                account.usage.map { Store.size($0.octets) } ?? "?",
                account.usage.map { String($0.mailboxes) } ?? "?",
                account.state == .active ? "" : Addresses.name(account.state),
            ]
        }
        Terminal.out(
            Terminal.table(
                [["ADDRESS", "MESSAGES", "SIZE", "MAILBOXES", ""]] + rows, right: [1, 2, 3]))
        if accounts.contains(where: { $0.usage == nil }) {
            invocation.say("?: not counted yet.  mailctl quota recount, or --exact")
        }
        return .ok
    }

    private static func json(
        _ account: AccountDetails, senders: Bool = false
    ) -> JSON {
        var members: [(name: String, value: JSON)] = [("address", .string(account.address.text))]
        if let usage = account.usage {
            members.append(("messages", .integer(Int(clamping: usage.messages))))
            members.append(("size", .integer(Int(clamping: usage.octets))))
            members.append(("mailboxes", .integer(Int(usage.mailboxes))))
        }
        members.append(("created", .string(AccountCommands.timestamp(account.created))))
        members.append(("state", .string(Addresses.name(account.state))))
        members += QuotaCommands.limits(account)
        if senders {
            members.append(("senders", .array(account.senders.map { .string($0.text) })))
        }
        return .object(members)
    }

    static func show(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0])
        var client = try Store.connect(invocation)
        let reply = try client.call(.directory(.showAccount(address)))
        guard case .directory(.accounts(let rows)) = reply, let account = rows.first else {
            if reply == .failure(.noSuchAccount) {
                throw try AccountCommands.missing(address, &client)
            }
            throw Store.unexpected(reply)
        }
        if invocation.json {
            Terminal.out(json(account, senders: true).text)
            return .ok
        }
        let usage = account.usage ?? MailUsage()
        func line(_ used: String, _ limit: String, _ isOwn: Bool) -> String {
            limit == "-" ? used : "\(used) of \(limit)\(isOwn ? "" : " (domain or mail.toml)")"
        }
        let messageLimit =
            account.limits.messages == 0 ? "-" : String(account.limits.messages)
        var rowsShown = [
            ["address", account.address.text],
            ["created", AccountCommands.timestamp(account.created)],
            ["state", Addresses.name(account.state)],
            [
                "messages",
                line(String(usage.messages), messageLimit, account.quota.messages != nil),
            ],
            [
                "size",
                line(
                    Store.size(usage.octets), Addresses.limitText(account.limits.octets),
                    account.quota.octets != nil),
            ],
            ["mailboxes", String(usage.mailboxes)],
        ]
        for sender in account.senders { rowsShown.append(["may send as", sender.text]) }
        Terminal.out(Terminal.table(rowsShown))
        return .ok
    }

    // MARK: - Changes

    private static func change(
        _ address: EmailAddress, _ setting: AccountSetting, _ client: inout ControlClient
    ) throws(Failure) {
        let reply = try client.call(.directory(.setAccount(address, setting)))
        switch reply {
        case .done: break
        case .failure(.noSuchAccount): throw try AccountCommands.missing(address, &client)
        case .directory(.problem(let problem)): throw Addresses.failure(problem)
        default: throw Store.unexpected(reply)
        }
    }

    static func set(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0])
        var settings: [AccountSetting] = []
        var senders: [EmailAddress]?
        for text in invocation.arguments.dropFirst() {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Failure(
                    .usage, "`\(text)` is not KEY=VALUE",
                    hints: ["keys: quota, messages, state, senders"])
            }
            let value = String(parts[1])
            switch parts[0] {
            case "quota": settings.append(.octets(try Addresses.limit(value)))
            case "messages", "quota_messages":
                settings.append(.messages(try Addresses.count(value)))
            case "state": settings.append(.state(try Addresses.state(value)))
            case "senders":
                var wanted: [EmailAddress] = []
                for part in value.split(separator: ",") {
                    wanted.append(try Addresses.parse(String(part), rest: true))
                }
                senders = wanted
            default:
                let keys = ["quota", "messages", "state", "senders"]
                let meant = suggestion(for: String(parts[0]), among: keys)
                throw Failure(
                    .usage, "unknown setting `\(parts[0])`",
                    hints: [
                        meant.map { "did you mean \($0)?" }
                            ?? "keys: \(keys.joined(separator: ", "))"
                    ])
            }
        }
        var client = try Store.connect(invocation)
        for setting in settings { try change(address, setting, &client) }
        if let senders {
            let now = try Addresses.accounts(.showAccount(address), &client).first?.senders ?? []
            for gone in now where !senders.contains(gone) {
                try change(address, .removeSender(gone), &client)
            }
            for added in senders { try change(address, .addSender(added), &client) }
        }
        return try show(invocation)
    }

    static func disable(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0])
        var client = try Store.connect(invocation)
        let loginOnly = invocation.has("login")
        try change(address, .state(loginOnly ? .loginDisabled : .disabled), &client)
        return try said(
            invocation, address, loginOnly ? .loginDisabled : .disabled,
            loginOnly
                ? "Nobody can log in to \(address.text); mail is still taken."
                : "Nobody can log in to \(address.text), and its mail is refused.")
    }

    static func enable(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0])
        var client = try Store.connect(invocation)
        try change(address, .state(.active), &client)
        return try said(invocation, address, .active, "\(address.text) enabled.")
    }

    private static func said(
        _ invocation: Invocation, _ address: EmailAddress, _ state: AccountStanding, _ text: String
    ) throws(Failure) -> ExitCode {
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("address", .string(address.text)), ("state", .string(Addresses.name(state))),
                ]).text)
        } else {
            invocation.say(text)
        }
        return .ok
    }

    static func rename(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let old = try Addresses.parse(invocation.arguments[0])
        let new = try Addresses.parse(invocation.arguments[1])
        var client = try Store.connect(invocation)
        let keep = invocation.has("keep-alias")
        let reply = try client.call(.directory(.renameAccount(old, to: new, keepAlias: keep)))
        switch reply {
        case .done: break
        case .failure(.noSuchAccount): throw try AccountCommands.missing(old, &client)
        case .failure(.noSuchDomain): throw try AccountCommands.missing(new, &client)
        case .directory(.problem(let problem)): throw Addresses.failure(problem)
        default: throw Store.unexpected(reply)
        }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("address", .string(new.text)), ("was", .string(old.text)),
                    ("alias", .boolean(keep)),
                ]).text)
        } else {
            invocation.say("\(old.text) is now \(new.text).")
            if !keep { invocation.say("  mail for the old address is refused from now on") }
        }
        return .ok
    }
}

extension DomainCommands {
    private static func details(
        _ name: String, _ client: inout ControlClient
    ) throws(Failure) -> DomainDetails {
        let domains = try Addresses.domains(&client)
        let wanted = Array(name.lowercased().utf8)
        guard let found = domains.first(where: { $0.name == wanted }) else {
            let meant = suggestion(for: name, among: domains.map { Store.text($0.name) })
            throw Failure(
                .noSuchDomain,
                "domain \(name) is not served here." + (meant.map { " Did you mean \($0)?" } ?? ""),
                hints: ["add it first:  mailctl domain add \(name)"])
        }
        return found
    }

    static func show(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        show(try details(invocation.arguments[0], &client), invocation)
        return .ok
    }

    private static func show(_ domain: DomainDetails, _ invocation: Invocation) {
        let catchAll = domain.catchAll.map(\.text)
        func number(_ limit: UInt64?) -> JSON { limit.map { .integer(Int(clamping: $0)) } ?? .null }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("domain", .string(Store.text(domain.name))),
                    ("accounts", .integer(Int(domain.accounts))),
                    ("aliases", .integer(Int(domain.aliases))),
                    ("configured", .boolean(domain.isConfigured)),
                    (
                        "alias_of",
                        domain.aliasOf.isEmpty ? .null : .string(Store.text(domain.aliasOf))
                    ),
                    ("catch_all", .array(catchAll.map { .string($0) })),
                    ("quota", number(domain.quota.octets)),
                    ("quota_messages", number(domain.quota.messages)),
                ]).text)
            return
        }
        var rows = [
            ["domain", Store.text(domain.name)],
            ["from", domain.isConfigured ? "mail.toml" : "mailctl"],
        ]
        if domain.aliasOf.isEmpty {
            rows.append(["accounts", String(domain.accounts)])
            rows.append(["aliases", String(domain.aliases)])
            rows.append(["catch-all", catchAll.isEmpty ? "-" : catchAll.joined(separator: ", ")])
            func limit(_ limit: UInt64?, _ shown: (UInt64) -> String) -> String {
                guard let limit else { return "as in mail.toml" }
                return limit == 0 ? "none" : shown(limit)
            }
            rows.append(["quota of accounts", limit(domain.quota.octets, Store.size)])
            rows.append(["messages", limit(domain.quota.messages) { String($0) }])
        } else {
            rows.append(["stands for", Store.text(domain.aliasOf)])
        }
        Terminal.out(Terminal.table(rows))
    }

    static func alias(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let name = Array(invocation.arguments[0].lowercased().utf8)
        let isRemoval = invocation.has("remove")
        guard isRemoval == (invocation.arguments.count == 1) else {
            throw Failure(
                .usage, "which domain shall it stand for?",
                hints: ["usage: mailctl domain alias DOMAIN OTHER", "or: ... DOMAIN --remove"])
        }
        let target = isRemoval ? [] : Array(invocation.arguments[1].lowercased().utf8)
        let reply = try client.call(.directory(.setDomain(name, .aliasOf(target))))
        switch reply {
        case .done: break
        case .failure(.noSuchDomain):
            _ = try details(Store.text(isRemoval ? name : target), &client)
            throw Store.unexpected(reply)
        case .directory(.problem(let problem)): throw Addresses.failure(problem)
        default: throw Store.unexpected(reply)
        }
        show(try details(invocation.arguments[0], &client), invocation)
        return .ok
    }

    static func catchAll(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let domain = try details(invocation.arguments[0], &client)
        let rest = EmailAddress(local: [], domain: domain.name)
        var targets: [EmailAddress] = []
        for text in invocation.arguments.dropFirst() { targets.append(try Addresses.parse(text)) }
        if invocation.has("remove") {
            try Addresses.change(
                .changeAliases([Alias(address: rest, targets: targets)], .remove, force: false),
                &client)
        } else if !targets.isEmpty {
            try Addresses.change(
                .changeAliases([Alias(address: rest, targets: targets)], .replace, force: false),
                &client)
        }
        show(try details(invocation.arguments[0], &client), invocation)
        return .ok
    }

    static func rename(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let old = try details(invocation.arguments[0], &client)
        let new = invocation.arguments[1].lowercased()
        let keep = invocation.has("keep-alias")
        let reply = try client.call(
            .directory(.renameDomain(old.name, to: Array(new.utf8), keepAlias: keep)))
        switch reply {
        case .done: break
        case .directory(.problem(let problem)) where problem.kind == .exists:
            throw Failure(
                .cannotCreate, "\(new) has accounts, aliases or mail already",
                hints: ["see: mailctl domain show \(new)"])
        case .directory(.problem(let problem)): throw Addresses.failure(problem)
        default: throw Store.unexpected(reply)
        }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("domain", .string(new)), ("was", .string(Store.text(old.name))),
                    ("accounts", .integer(Int(old.accounts))), ("alias", .boolean(keep)),
                ]).text)
            return .ok
        }
        invocation.say("\(Store.text(old.name)) is now \(new), with \(old.accounts) accounts.")
        if !keep { invocation.say("  mail for the old addresses is refused from now on") }
        if old.isConfigured {
            invocation.say(
                "  mail.toml names \(Store.text(old.name)) still: change its [[domains]], then:  "
                    + "mailctl reload")
        }
        return .ok
    }
}
