// SPDX-License-Identifier: Apache-2.0
//
// `mailctl log`: what happened, over all daemons; the way of one message. docs/logs.md.

import Bytes
import CLinux
import Glibc

enum LogCommands {
    private static let since = Option(
        name: "since", value: "TIME",
        doc: "Not older than: 90s, 10m, 2h, 7d, or 2026-11-21 or 2026-11-21T10:00:00Z.")
    private static let directory = Option(
        name: "dir", value: "DIR",
        doc: "Read DAEMON.log here; default: log_dir in [server], else the journal.")
    private static let filters = [
        Option(name: "account", value: "ADDRESS", doc: "Only what happened to this account."),
        Option(name: "ip", value: "ADDRESS", doc: "Only of this client."),
        Option(name: "daemon", value: "NAME", doc: "smtpd, imapd, pop3d or msgstored."),
        Option(name: "session", value: "ID", doc: "Only of this connection."),
    ]

    static let all: [Command] = [
        Command(
            path: ["log", "message"], arguments: "ID | '<MESSAGE-ID>' | ADDRESS", count: 1...1,
            options: [since, directory],
            summary: "Show the way of a message over all daemons",
            detail: [
                """
                ID is what smtpd answered (250 2.0.0 OK id=...), which is also in the message's \
                Received field. With a Message-ID, or the address of a sender or recipient, every \
                message that fits is shown, and what was refused. Exit code 1 if there is none.
                """
            ],
            examples: [
                "mailctl log message 01KAJ5P3W8Z4T",
                "mailctl log message '<20261121.1@elsewhere.example>'",
                "mailctl log message alice@example.org --since 2h --json",
            ],
            run: message),
        Command(
            path: ["log", "tail"],
            options: filters + [
                since, directory,
                Option(name: "lines", value: "COUNT", doc: "How many at most; default 50."),
                Option(name: "follow", value: nil, doc: "Wait for more, until interrupted."),
            ],
            summary: "Show the last lines of all daemons",
            examples: [
                "mailctl log tail --follow", "mailctl log tail --account alice@example.org",
                "mailctl log tail --daemon smtpd --since 10m --json",
            ],
            run: tail),
        Command(
            path: ["log", "errors"], options: filters + [since, directory],
            summary: "Show warnings and errors",
            detail: ["Of the last 24 hours, unless --since says otherwise."],
            run: errors),
    ]

    // MARK: - Options

    /// `2h` or a date, as milliseconds since 1970.
    static func time(_ text: String, now: UInt64) throws(Failure) -> UInt64 {
        let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        if let unit = text.last.flatMap({ units[$0] }), let count = UInt64(text.dropLast()) {
            let (span, isTooLong) = count.multipliedReportingOverflow(by: unit * 1000)
            return isTooLong || span > now ? 0 : now - span
        }
        let time = try BackupRepository.time(text)
        // A day means its beginning here.
        let isDay = text.utf8.filter { $0.isASCIIDigit }.count == 8
        return UInt64(clamping: isDay ? time - 86_399 : time) * 1000
    }

    private static func now() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1000
    }

    private static func query(
        _ invocation: Invocation, defaultSince: String? = nil
    ) throws(Failure) -> LogQuery {
        var query = LogQuery()
        if let text = invocation.value("since") ?? defaultSince {
            query.since = try time(text, now: now())
        }
        if let name = invocation.value("daemon") {
            guard LogEvent.daemons.contains(name) else {
                throw Failure(
                    .usage, "there is no daemon \(name)",
                    hints: ["one of: \(LogEvent.daemons.joined(separator: " "))"])
            }
            query.daemons = [name]
        }
        return query
    }

    /// Filters that must all hold.
    private static func filter(_ invocation: Invocation) -> [LogMatch] {
        [("account", "account"), ("ip", "rip"), ("session", "session")].compactMap {
            option, field in
            invocation.value(option).map { LogMatch(field: field, value: $0) }
        }
    }

    // MARK: - tail, errors

    private static func tail(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var query = try query(invocation)
        let source = try LogSource.of(invocation)
        let filter = filter(invocation)
        let count = Int(invocation.value("lines") ?? "50")
        guard let count, count >= 0 else {
            throw Failure(.usage, "--lines takes a number", hints: ["mailctl log tail --lines 200"])
        }
        query.anyOf = filter.first.map { [$0] } ?? []
        var last: [LogEvent] = []
        let asked = query
        try source.read(asked) { event in
            guard filter.allSatisfy({ $0.holds(event) }) else { return true }
            last.append(event)
            if last.count > 2 * count + 64 { last.removeFirst(last.count - count) }
            return true
        }
        for event in last.suffix(count) { show(event, invocation) }
        guard invocation.has("follow") else { return .ok }
        // What came between the two readings has a later time than the last line shown.
        let shown = last.last?.milliseconds ?? now()
        var seen = last.filter { $0.milliseconds == shown }.map { $0.json.text }
        query.since = shown
        query.follows = true
        try source.read(query) { event in
            guard filter.allSatisfy({ $0.holds(event) }) else { return true }
            if event.milliseconds < shown { return true }
            if event.milliseconds == shown, let index = seen.firstIndex(of: event.json.text) {
                seen.remove(at: index)
                return true
            }
            show(event, invocation)
            return true
        }
        return .ok
    }

    private static func errors(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var query = try query(invocation, defaultSince: "24h")
        query.isTrouble = true
        let filter = filter(invocation)
        query.anyOf = filter.first.map { [$0] } ?? []
        try LogSource.of(invocation).read(query) { event in
            if filter.allSatisfy({ $0.holds(event) }) { show(event, invocation) }
            return true
        }
        return .ok
    }

    // MARK: - message

    private static func message(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let what = invocation.arguments[0]
        let source = try LogSource.of(invocation)
        var query = try query(invocation)
        query.anyOf = matches(what)
        var events = try source.all(query)
        let ids = Set(events.compactMap { $0["id"] })
        let sessions = Set(events.filter { $0["id"] != nil }.compactMap { $0["session"] })
        // What has no id (a refusal) stays; of messages and their connections everything is wanted.
        events.removeAll { $0["id"] != nil }
        let loose = Set(events.map { $0.json.text })
        let wanted =
            ids.sorted().map { LogMatch(field: "id", value: $0) }
            + sessions.sorted().map { LogMatch(field: "session", value: $0) }
        // An argument list has its limits.
        for start in stride(from: 0, to: wanted.count, by: 500) {
            query.anyOf = Array(wanted[start..<min(start + 500, wanted.count)])
            for event in try source.all(query) {
                if let id = event["id"] {
                    if ids.contains(id) { events.append(event) }
                } else if ["login", "xclient", "session end", "tls failed"].contains(event.name),
                    !loose.contains(event.json.text)
                {
                    events.append(event)
                }
            }
        }
        guard !events.isEmpty else {
            throw Failure(
                .problems, "nothing in the log about \(what)",
                hints: ["mailctl log tail --since 1h shows what there is"])
        }
        var printed: Set<String> = []
        for event in events.sorted(by: { $0.milliseconds < $1.milliseconds })
        where printed.insert(event.json.text).inserted {
            show(event, invocation)
        }
        return .ok
    }

    /// What `what` may be: an id, a Message-ID or an address.
    private static func matches(_ what: String) -> [LogMatch] {
        if what.hasPrefix("<"), what.hasSuffix(">") {
            return [LogMatch(field: "msgid", value: what)]
        }
        guard what.contains("@") else {
            return [LogMatch(field: "id", value: what.uppercased())]
        }
        var matches: [LogMatch] = []
        for field in ["to", "rcpt", "from", "account"] {
            // As it was written, and in small letters, as accounts are kept.
            for value in Set([what, what.lowercased()]).sorted() {
                matches.append(LogMatch(field: field, value: value))
            }
        }
        return matches
    }

    // MARK: - Output

    private static func show(_ event: LogEvent, _ invocation: Invocation) {
        if invocation.json {
            Terminal.out(event.json.text)
            return
        }
        let daemon = event.daemon + String(repeating: " ", count: max(0, 9 - event.daemon.count))
        Terminal.out("\(event.time)  \(daemon)  \(sentence(event))")
    }

    /// What happened, in words; details behind it.
    private static func sentence(_ event: LogEvent) -> String {
        var rest = event.fields
        func take(_ name: String) -> String {
            guard let index = rest.firstIndex(where: { $0.name == name }) else { return "?" }
            return printable(rest.remove(at: index).value)
        }
        let text: String
        switch event.name {
        case "accepted":
            text =
                "\(take("id")) accepted from \(take("from")), client \(take("rip")), "
                + "\(take("size")) octets, \(take("rcpts")) recipients"
        case "delivered":
            text =
                "\(take("id")) for \(take("to")) delivered to \(take("account")), "
                + "\(take("took")) ms"
        case "not delivered":
            text = "\(take("id")) for \(take("to")) not delivered: \(take("reason"))"
        case "rejected": text = "refused (\(take("reason"))) for \(take("rip")): \(take("reply"))"
        case "login": text = "\(take("account")) logged in from \(take("rip")), \(take("mech"))"
        case "session end":
            text = "connection of \(take("rip")) ended (\(take("reason"))) after \(take("took")) ms"
        default: text = event.name
        }
        return rest.isEmpty
            ? text
            : text + "  "
                + rest.map { "\($0.name)=\(printable($0.value))" }.joined(separator: " ")
    }

    /// What a client chose must not steer a terminal.
    private static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse,
                .unassigned:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
