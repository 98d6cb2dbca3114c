// SPDX-License-Identifier: Apache-2.0
//
// `mailctl alias`: add, list, remove, check, import; `mailctl sender`.

import Bytes
import Mail
import Wire

enum AliasCommands {
    private static func domain(_ invocation: Invocation) -> [UInt8] {
        Array((invocation.arguments.first ?? "").lowercased().utf8.drop { $0 == 0x40 })
    }

    static func add(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0], rest: true)
        var targets: [EmailAddress] = []
        for text in invocation.arguments.dropFirst() {
            for part in text.split(separator: ",") {
                targets.append(try Addresses.parse(String(part)))
            }
        }
        var client = try Store.connect(invocation)
        try Addresses.change(
            .changeAliases(
                [Alias(address: address, targets: targets)],
                invocation.has("replace") ? .replace : .add, force: invocation.has("force")),
            &client)
        return try show(address, &client, invocation)
    }

    private static func show(
        _ address: EmailAddress, _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        guard
            case .aliases(let aliases) = try Addresses.ask(
                .listAliases(domain: address.domain), &client)
        else { throw Failure(.remoteProtocol, "msgstored gave a strange answer") }
        let local = address.local.asciiLowercased
        for alias in aliases where alias.address.local == local {
            if invocation.json {
                Terminal.out(json(alias).text)
            } else {
                invocation.say("\(alias.address.text) -> \(targets(alias))")
            }
        }
        return .ok
    }

    private static func targets(_ alias: Alias) -> String {
        alias.targets.map(\.text).joined(separator: ", ")
    }

    private static func json(_ alias: Alias) -> JSON {
        .object([
            ("alias", .string(alias.address.text)),
            ("targets", .array(alias.targets.map { .string($0.text) })),
            ("catch_all", .boolean(alias.isCatchAll)),
        ])
    }

    static func list(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        guard
            case .aliases(let aliases) = try Addresses.ask(
                .listAliases(domain: domain(invocation)), &client)
        else { throw Failure(.remoteProtocol, "msgstored gave a strange answer") }
        if invocation.json {
            for alias in aliases { Terminal.out(json(alias).text) }
        } else if aliases.isEmpty {
            invocation.say("No aliases.  mailctl alias add NAME@DOMAIN DEST...")
        } else {
            let rows = aliases.map { [$0.address.text, targets($0)] }
            Terminal.out(Terminal.table([["ALIAS", "LEADS TO"]] + rows))
        }
        return .ok
    }

    static func remove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0], rest: true)
        var targets: [EmailAddress] = []
        for text in invocation.arguments.dropFirst() { targets.append(try Addresses.parse(text)) }
        var client = try Store.connect(invocation)
        try Addresses.change(
            .changeAliases([Alias(address: address, targets: targets)], .remove, force: false),
            &client)
        invocation.say(
            targets.isEmpty
                ? "\(address.text) removed."
                : "\(address.text) does not lead to \(targets.map(\.text).joined(separator: ", ")) any more."
        )
        return .ok
    }

    // MARK: - check

    static func check(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try Addresses.parse(invocation.arguments[0], rest: true)
        var client = try Store.connect(invocation)
        guard case .expansion(let steps) = try Addresses.ask(.expand(address), &client) else {
            throw Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
        let ends = steps.contains { $0.outcome == .account }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("address", .string(address.text)), ("accepted", .boolean(ends)),
                    (
                        "accounts",
                        .array(
                            steps.filter { $0.outcome == .account }.map { .string($0.address.text) }
                        )
                    ),
                    (
                        "steps",
                        .array(
                            steps.map { step in
                                .object([
                                    ("depth", .integer(Int(step.depth))),
                                    ("address", .string(step.address.text)),
                                    ("is", .string(word(step.outcome))),
                                ])
                            })
                    ),
                ]).text)
        } else {
            for step in steps {
                let indent = String(repeating: "  ", count: Int(step.depth))
                Terminal.out("\(indent)\(step.address.text)  (\(word(step.outcome)))")
            }
            if !ends { Terminal.error("Mail for \(address.text) is refused.") }
        }
        return ends ? .ok : .problems
    }

    private static func word(_ outcome: ExpansionStep.Outcome) -> String {
        switch outcome {
        case .alias: "alias"
        case .aliasDomain: "alias domain"
        case .catchAll: "catch-all"
        case .postmaster: "postmaster"
        case .subaddress: "subaddress"
        case .account: "account"
        case .disabled: "disabled: takes no mail"
        case .unknown: "unknown"
        case .remote: "not on this server"
        case .repeated: "met before"
        case .tooDeep: "too deep, not followed"
        }
    }

    // MARK: - import

    /// Aliases in one request: the frame must hold them.
    private static let batch = 500

    static func importFile(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let domains = try Addresses.domains(&client)
        let fallback: [UInt8]
        if let named = invocation.value("domain") {
            fallback = Array(named.lowercased().utf8)
        } else {
            // Names without a domain belong to the only one there is, if it is.
            let own = domains.filter(\.aliasOf.isEmpty)
            fallback = own.count == 1 ? own[0].name : []
        }
        let path = invocation.arguments[0]
        let file = AliasFile(try Files.read(path), domain: fallback)
        var problems = file.problems
        let served = Set(domains.map(\.name))
        var aliases: [Alias] = []
        for entry in file.entries {
            if let foreign = entry.alias.targets.first(where: { !served.contains($0.domain) }) {
                problems.append((entry.line, "\(foreign.text) is not on this server"))
            } else {
                aliases.append(entry.alias)
            }
        }
        var imported = 0
        if !invocation.has("dry-run") {
            var progress = Progress("importing", "aliases", of: aliases.count, invocation)
            for start in stride(from: 0, to: aliases.count, by: batch) {
                let part = Array(aliases[start..<min(start + batch, aliases.count)])
                let refused = try put(part, replace: !invocation.has("add"), &client)
                imported += part.count - refused.count
                for (alias, reason) in refused {
                    let line = file.entries.first { $0.alias == alias }?.line ?? 0
                    problems.append((line, reason))
                }
                progress.advance(by: part.count)
            }
            progress.finish()
            problems += try deadEnds(file, aliases, &client)
        } else {
            imported = aliases.count
        }
        report(path, imported, problems, invocation)
        return problems.isEmpty ? .ok : .problems
    }

    /// All at once if that works, else one by one, so that one mistake does not keep the others out.
    private static func put(
        _ aliases: [Alias], replace: Bool, _ client: inout ControlClient
    ) throws(Failure) -> [(Alias, String)] {
        let edit: AliasEdit = replace ? .replace : .add
        let reply = try client.call(.directory(.changeAliases(aliases, edit, force: true)))
        if reply == .done { return [] }
        guard case .directory(.problem(let problem)) = reply else {
            throw Store.unexpected(reply)
        }
        guard aliases.count > 1 else {
            return aliases.map { ($0, Addresses.failure(problem).message) }
        }
        var refused: [(Alias, String)] = []
        for alias in aliases { refused += try put([alias], replace: replace, &client) }
        return refused
    }

    /// Aliases of the file that lead nowhere now that all are there.
    private static func deadEnds(
        _ file: AliasFile, _ aliases: [Alias], _ client: inout ControlClient
    ) throws(Failure) -> [(line: Int, text: String)] {
        var problems: [(line: Int, text: String)] = []
        let wanted = Set(aliases)
        for entry in file.entries where wanted.contains(entry.alias) {
            for target in entry.alias.targets {
                guard
                    case .expansion(let steps) = try Addresses.ask(.expand(target), &client)
                else { throw Failure(.remoteProtocol, "msgstored gave a strange answer") }
                let ends = steps.contains { $0.outcome == .account || $0.outcome == .disabled }
                if !ends {
                    problems.append((entry.line, "\(target.text) is nobody here (imported)"))
                }
            }
        }
        return problems
    }

    private static func report(
        _ path: String, _ imported: Int, _ problems: [(line: Int, text: String)],
        _ invocation: Invocation
    ) {
        let sorted = problems.sorted { $0.line < $1.line }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("imported", .integer(imported)),
                    (
                        "problems",
                        .array(
                            sorted.map {
                                .object([("line", .integer($0.line)), ("text", .string($0.text))])
                            })
                    ),
                ]).text)
            return
        }
        for problem in sorted { Terminal.error("\(path):\(problem.line): \(problem.text)") }
        invocation.say(
            (invocation.has("dry-run")
                ? "\(imported) aliases could be imported" : "\(imported) aliases imported")
                + (sorted.isEmpty ? "." : ", \(sorted.count) lines with problems."))
    }

    // MARK: - sender

    static func senderAdd(_ invocation: Invocation) throws(Failure) -> ExitCode {
        try changeSender(invocation) { .addSender($0) }
    }

    static func senderRemove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        try changeSender(invocation) { .removeSender($0) }
    }

    private static func changeSender(
        _ invocation: Invocation, _ make: (EmailAddress) -> AccountSetting
    ) throws(Failure) -> ExitCode {
        let account = try Addresses.parse(invocation.arguments[0])
        var client = try Store.connect(invocation)
        for text in invocation.arguments.dropFirst() {
            let sender = try Addresses.parse(text, rest: true)
            try Addresses.change(.setAccount(account, make(sender)), &client)
        }
        return try senders(account, &client, invocation)
    }

    static func senderList(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let account = try Addresses.parse(invocation.arguments[0])
        var client = try Store.connect(invocation)
        return try senders(account, &client, invocation)
    }

    private static func senders(
        _ account: EmailAddress, _ client: inout ControlClient, _ invocation: Invocation
    ) throws(Failure) -> ExitCode {
        guard let row = try Addresses.accounts(.showAccount(account), &client).first else {
            throw Failure(.noSuchAccount, "there is no account \(account.text)")
        }
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("address", .string(row.address.text)),
                    ("senders", .array(row.senders.map { .string($0.text) })),
                ]).text)
            return .ok
        }
        invocation.say("\(row.address.text) may send as itself and as whoever leads to it")
        for sender in row.senders {
            invocation.say(
                sender.local.isEmpty ? "  and all of \(sender.text)" : "  and \(sender.text)")
        }
        return .ok
    }
}
