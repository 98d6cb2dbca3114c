// SPDX-License-Identifier: Apache-2.0
//
// `mailctl quota`: show, set, recount.

import Mail
import Wire

enum QuotaCommands {
    static func show(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let rows: [AccountDetails]
        let text = invocation.arguments.first ?? ""
        if text.contains("@"), !text.hasPrefix("@") {
            rows = try Addresses.accounts(.showAccount(try Addresses.parse(text)), &client)
        } else {
            let domain = Array(text.lowercased().utf8.drop { $0 == 0x40 })
            rows = try Addresses.accounts(.listAccounts(domain: domain, exact: false), &client)
        }
        print(rows, invocation)
        return .ok
    }

    static func print(_ rows: [AccountDetails], _ invocation: Invocation) {
        if invocation.json {
            for row in rows { Terminal.out(json(row).text) }
            return
        }
        let table = rows.map { row in
            [
                row.address.text, row.usage.map { Store.size($0.octets) } ?? "?",
                Addresses.limitText(row.limits.octets),
                row.usage.map { String($0.messages) } ?? "?",
                row.limits.messages == 0 ? "-" : String(row.limits.messages), percent(row),
            ]
        }
        Terminal.out(
            Terminal.table(
                [["ADDRESS", "USED", "LIMIT", "MESSAGES", "LIMIT", "FULL"]] + table,
                right: [1, 2, 3, 4, 5]))
        if rows.contains(where: { $0.usage == nil }) {
            invocation.say("?: not counted yet.  mailctl quota recount")
        }
    }

    /// Of the limit that is nearer.
    private static func percent(_ row: AccountDetails) -> String {
        guard let usage = row.usage, !row.limits.isUnlimited else { return "-" }
        var part = 0.0
        if row.limits.octets > 0 { part = Double(usage.octets) / Double(row.limits.octets) }
        if row.limits.messages > 0 {
            part = max(part, Double(usage.messages) / Double(row.limits.messages))
        }
        return "\(Int(part * 100)) %"
    }

    private static func json(_ row: AccountDetails) -> JSON {
        var members: [(name: String, value: JSON)] = [("address", .string(row.address.text))]
        if let usage = row.usage {
            members.append(("size", .integer(Int(clamping: usage.octets))))
            members.append(("messages", .integer(Int(clamping: usage.messages))))
        }
        return .object(members + limits(row))
    }

    /// 0: no limit.
    static func limits(_ row: AccountDetails) -> [(name: String, value: JSON)] {
        [
            ("quota", .integer(Int(clamping: row.limits.octets))),
            ("quota_messages", .integer(Int(clamping: row.limits.messages))),
            (
                "quota_own",
                .boolean(row.quota.octets != nil || row.quota.messages != nil)
            ),
        ]
    }

    static func set(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let text = invocation.arguments[0]
        let octets = invocation.arguments.count > 1 ? invocation.arguments[1] : nil
        let messages = invocation.value("messages")
        guard octets != nil || messages != nil else {
            throw Failure(
                .usage, "what limit?", hints: ["mailctl quota set \(text) 2G [--messages 100000]"])
        }
        var client = try Store.connect(invocation)
        if text.contains("@"), !text.hasPrefix("@") {
            let address = try Addresses.parse(text)
            if let octets {
                try Addresses.change(
                    .setAccount(address, .octets(try Addresses.limit(octets))), &client)
            }
            if let messages {
                try Addresses.change(
                    .setAccount(address, .messages(try Addresses.count(messages))), &client)
            }
            print(try Addresses.accounts(.showAccount(address), &client), invocation)
            return .ok
        }
        let domain = Array(text.lowercased().utf8.drop { $0 == 0x40 })
        if let octets {
            try Addresses.change(
                .setDomain(domain, .octets(try Addresses.limit(octets))), &client)
        }
        if let messages {
            try Addresses.change(
                .setDomain(domain, .messages(try Addresses.count(messages))), &client)
        }
        invocation.say("Quota of the accounts in \(Store.text(domain)) set.")
        return .ok
    }

    static func recount(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        if let text = invocation.arguments.first {
            let address = try Addresses.parse(text)
            print(try Addresses.accounts(.recount(address), &client), invocation)
            return .ok
        }
        let rows = try Addresses.accounts(.listAccounts(domain: [], exact: false), &client)
        var progress = Progress("counting", "accounts", of: rows.count, invocation)
        var wrong = 0
        for row in rows {
            let reply = try client.call(.directory(.recount(row.address)))
            switch reply {
            case .directory(.accounts(let counted)):
                if counted.first?.usage != row.usage, row.usage != nil { wrong += 1 }
            case .failure(.noSuchAccount): break  // removed meanwhile
            default: throw Store.unexpected(reply)
            }
            progress.advance()
        }
        progress.finish()
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("accounts", .integer(rows.count)), ("corrected", .integer(wrong)),
                ]).text)
        } else {
            invocation.say("\(rows.count) accounts counted, \(wrong) totals corrected.")
        }
        return .ok
    }
}
