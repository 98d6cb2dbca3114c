// SPDX-License-Identifier: Apache-2.0
//
// `mailctl index`: the databases that can be made again from the Maildirs. docs/store.md, "When
// something is broken".

import Bytes
import Config
import Mail
import Wire

enum IndexCommands {
    /// The accounts that are meant: one address, or `--all`.
    private static func accounts(
        _ invocation: Invocation, _ client: inout ControlClient
    ) throws(Failure) -> [EmailAddress] {
        let isAll = invocation.has("all")
        guard isAll != (invocation.arguments.count == 1) else {
            throw Failure(
                .usage, isAll ? "an address or --all, not both" : "which account?",
                hints: ["ADDRESS, or --all"])
        }
        if isAll {
            let reply = try client.call(.listAccounts(domain: []))
            guard case .accounts(let accounts) = reply else { throw Store.unexpected(reply) }
            return accounts.map(\.address).sorted { $0.text < $1.text }
        }
        return [try AccountCommands.address(invocation)]
    }

    /// Asks for every account in turn; what fails is said and the others still get their turn.
    private static func each(
        _ invocation: Invocation, _ verb: String,
        _ body: (EmailAddress, inout ControlClient, inout Progress) throws(Failure) -> Bool
    ) throws(Failure) -> ExitCode {
        let suite = try ConfigFiles.suite(invocation)
        // A large account takes its time, and nothing is said meanwhile.
        var client = try ControlClient(
            path: suite.server.socketPath(Door.control.socketName), seconds: 3_600)
        let accounts = try accounts(invocation, &client)
        var progress = Progress(verb, "accounts", of: accounts.count, invocation)
        var isGood = true
        var failure: Failure?
        for account in accounts {
            progress.subject = account.text
            do throws(Failure) {
                if try !body(account, &client, &progress) { isGood = false }
            } catch {
                guard accounts.count > 1, error.code == .tryAgain else { throw error }
                progress.clear()
                Terminal.error("\(account.text): \(error.message)")
                failure = error
            }
            progress.advance()
        }
        progress.finish()
        if let failure { throw failure }
        return isGood ? .ok : .problems
    }

    static func rebuild(_ invocation: Invocation) throws(Failure) -> ExitCode {
        try each(invocation, "rebuilding") { account, client, progress throws(Failure) in
            let reply = try client.call(.rebuildIndex(account))
            guard reply == .done else { throw Store.unexpected(reply) }
            progress.clear()
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("address", .string(account.text)), ("rebuilt", .boolean(true)),
                    ]).text)
            } else {
                invocation.say("\(account.text): index made again.")
            }
            return true
        }
    }

    static func check(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let repair = invocation.has("repair")
        return try each(invocation, "checking") { account, client, progress throws(Failure) in
            let reply = try client.call(.checkIndex(account, repair: repair))
            guard case .indexReport(let report) = reply else { throw Store.unexpected(reply) }
            progress.clear()
            if invocation.json {
                Terminal.out(json(account, report).text)
            } else {
                show(invocation, account, report, repair)
            }
            return report.findings.allSatisfy { $0.isRepaired || $0.kind.isHarmless }
                && (report.omitted == 0)
        }
    }

    static func optimize(_ invocation: Invocation) throws(Failure) -> ExitCode {
        try each(invocation, "optimizing") { account, client, progress throws(Failure) in
            let reply = try client.call(.optimizeIndex(account))
            guard case .indexOptimized(let before, let after) = reply else {
                throw Store.unexpected(reply)
            }
            progress.clear()
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("address", .string(account.text)),
                        ("before", .integer(Int(clamping: before))),
                        ("after", .integer(Int(clamping: after))),
                    ]).text)
            } else {
                invocation.say(
                    "\(account.text): \(Store.size(before)) before, \(Store.size(after)) now.")
            }
            return true
        }
    }

    // MARK: - What was found

    private static func json(_ account: EmailAddress, _ report: IndexReport) -> JSON {
        .object([
            ("address", .string(account.text)),
            ("mailboxes", .integer(Int(report.mailboxes))),
            ("messages", .integer(Int(clamping: report.messages))),
            (
                "findings",
                .array(
                    report.findings.map { finding in
                        .object([
                            ("kind", .string(finding.kind.name)),
                            ("mailbox", .string(Store.text(finding.mailbox))),
                            ("uid", finding.uid == 0 ? .null : .integer(Int(finding.uid))),
                            ("detail", .string(Store.text(finding.detail))),
                            ("repaired", .boolean(finding.isRepaired)),
                        ])
                    })
            ),
            ("omitted", .integer(Int(clamping: report.omitted))),
        ])
    }

    /// Names of files may hold anything; a terminal gets no control characters.
    private static func printable(_ octets: [UInt8]) -> String {
        let scalars = Store.text(octets).unicodeScalars.map { scalar -> Unicode.Scalar in
            scalar.properties.generalCategory == .control ? "?" : scalar
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }

    private static func show(
        _ invocation: Invocation, _ account: EmailAddress, _ report: IndexReport, _ repair: Bool
    ) {
        let looked = "\(report.messages) messages in \(report.mailboxes) mailboxes"
        guard !report.findings.isEmpty else {
            invocation.say("\(account.text): \(looked), index and Maildir agree.")
            return
        }
        Terminal.out("\(account.text): \(looked)")
        for finding in report.findings {
            var parts = [finding.kind.name]
            if !finding.mailbox.isEmpty { parts.append(printable(finding.mailbox)) }
            if finding.uid != 0 { parts.append("UID \(finding.uid)") }
            if !finding.detail.isEmpty { parts.append(printable(finding.detail)) }
            Terminal.out(
                "  \(parts.joined(separator: "  "))\(finding.isRepaired ? "  repaired" : "")")
        }
        if report.omitted > 0 { Terminal.out("  and \(report.omitted) more") }
        if !repair, report.findings.contains(where: { !$0.isRepaired && !$0.kind.isHarmless }) {
            invocation.say("  next:  mailctl index check \(account.text) --repair")
        }
    }
}

extension IndexFinding.Kind {
    /// Nothing that a repair would change.
    var isHarmless: Bool { self == .subscriptionWithoutMailbox }

    /// In words with hyphens: `row-without-file`.
    var name: String {
        switch self {
        case .damagedIndex: "damaged-index"
        case .rowWithoutFile: "row-without-file"
        case .fileWithoutRow: "file-without-row"
        case .sizeDiffers: "size-differs"
        case .wireSizeDiffers: "wire-size-differs"
        case .flagsDiffer: "flags-differ"
        case .dateDiffers: "date-differs"
        case .duplicateUID: "duplicate-uid"
        case .badName: "bad-name"
        case .foreignObject: "foreign-object"
        case .uidBeyondNext: "uid-beyond-next"
        case .numberBeyondMark: "number-beyond-mark"
        case .missingStateFile: "missing-state-file"
        case .orphanFile: "orphan-file"
        case .orphanRow: "orphan-row"
        case .subscriptionWithoutMailbox: "subscription-without-mailbox"
        case .mailboxWithoutDirectory: "mailbox-without-directory"
        case .directoryWithoutMailbox: "directory-without-mailbox"
        }
    }
}

extension Commands {
    private static let allOption = Option(name: "all", value: nil, doc: "Every account.")

    static let indexCommands: [Command] = [
        Command(
            path: ["index", "check"], arguments: "[ADDRESS]", count: 0...1,
            options: [
                allOption,
                Option(name: "repair", value: nil, doc: "Put right what can be."),
            ],
            summary: "Compare an account's index with its Maildir",
            detail: [
                """
                Names every difference: rows and files without each other, sizes, flags, dates, \
                UIDs, leftovers. A repair never deletes mail: what belongs to no mailbox goes \
                into the mailbox lost+found. Exit code 1 if differences are left.
                """
            ],
            examples: [
                "mailctl index check alice@example.org",
                "mailctl index check --all --repair --json",
            ],
            run: IndexCommands.check),
        Command(
            path: ["index", "rebuild"], arguments: "[ADDRESS]", count: 0...1,
            options: [allOption],
            summary: "Throw an account's index away and make it again",
            detail: [
                """
                UIDs, UIDVALIDITY, flags, keywords, dates and subscriptions stay; mail programs \
                download nothing again. Removing index.sqlite has the same effect.
                """
            ],
            examples: ["mailctl index rebuild alice@example.org"], run: IndexCommands.rebuild),
        Command(
            path: ["index", "optimize"], arguments: "[ADDRESS]", count: 0...1,
            options: [allOption],
            summary: "Make an account's index as small as it can be",
            run: IndexCommands.optimize),
    ]
}
