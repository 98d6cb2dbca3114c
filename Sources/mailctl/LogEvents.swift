// SPDX-License-Identifier: Apache-2.0
//
// What the daemons have logged, from the journal (journalctl -o json) or from the JSON lines in
// [server] log_dir. systemd.journal-fields(7); docs/logs.md.

import CLinux
import Config
import Glibc

/// One line of a daemon.
struct LogEvent {
    var milliseconds: UInt64
    var daemon: String
    var level: String
    var name: String
    /// `id`, `rip`, `account`, ... as the daemon named them.
    var fields: [(name: String, value: String)]

    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

    static let daemons = ["smtpd", "imapd", "pop3d", "msgstored"]

    /// `2026-11-21T10:00:00.123Z`.
    var time: String {
        let seconds = Int64(milliseconds / 1000)
        let text = AccountCommands.timestamp(seconds)
        let fraction = String(1000 + milliseconds % 1000).dropFirst()
        return text.hasSuffix("Z") ? "\(text.dropLast()).\(fraction)Z" : text
    }

    var json: JSON {
        .object(
            [
                ("time", .string(time)), ("daemon", .string(daemon)), ("level", .string(level)),
                ("event", .string(name)),
            ] + fields.map { ($0.name, .string($0.value)) })
    }

    /// A line of a file of log_dir; nil if it is none (the last one may be half written).
    init?(fileLine line: [UInt8]) {
        guard let json = JSON(line), case .object(let members) = json,
            let time = json["time"]?.stringValue, let milliseconds = Self.milliseconds(time),
            let daemon = json["program"]?.stringValue, let name = json["event"]?.stringValue
        else { return nil }
        self.milliseconds = milliseconds
        self.daemon = daemon
        self.name = name
        level = json["level"]?.stringValue ?? "info"
        fields = []
        for member in members where !["time", "level", "program", "event"].contains(member.name) {
            fields.append((member.name, Self.text(member.value)))
        }
    }

    /// An entry of the journal; nil if it is not one of ours: other programs are called smtpd too.
    init?(journalEntry line: [UInt8]) {
        guard let json = JSON(line), case .object(let members) = json,
            let daemon = json["SYSLOG_IDENTIFIER"]?.stringValue,
            let name = json["MAIL_EVENT"]?.stringValue,
            let time = json["__REALTIME_TIMESTAMP"]?.stringValue.flatMap({ UInt64($0) })
        else { return nil }
        milliseconds = time / 1000
        self.daemon = daemon
        self.name = name
        switch json["PRIORITY"]?.stringValue {
        case "0", "1", "2", "3": level = "error"
        case "4": level = "warn"
        case "7": level = "debug"
        default: level = "info"
        }
        fields = []
        for member in members where member.name.hasPrefix("MAIL_") && member.name != "MAIL_EVENT" {
            fields.append((member.name.dropFirst(5).lowercased(), Self.text(member.value)))
        }
        // journalctl keeps no order: who and where first, what a client chose last.
        let order = ["id", "rip", "reason"]
        let last = ["to", "from", "rcpt", "msgid", "helo", "user"]
        func rank(_ name: String) -> Int {
            if let place = order.firstIndex(of: name) { return place }
            return (last.firstIndex(of: name) ?? -50) + 100
        }
        fields.sort { (rank($0.name), $0.name) < (rank($1.name), $1.name) }
    }

    /// A value that is not UTF-8 comes from the journal as a list of octets.
    private static func text(_ value: JSON) -> String {
        switch value {
        case .string(let text):
            return text.unicodeScalars.allSatisfy { $0.value < 0x100 }
                ? fromOctets(text.unicodeScalars.map { UInt8($0.value) }) ?? text : text
        case .integer(let number): return String(number)
        case .array(let values):
            return String(
                decoding: values.map { UInt8(truncatingIfNeeded: $0.integerValue ?? 63) },
                as: UTF8.self)
        default: return value.text
        }
    }

    /// log_dir escapes octets, not characters: `\u00c3\u00a4` is an a umlaut.
    private static func fromOctets(_ octets: [UInt8]) -> String? {
        String(validating: octets, as: UTF8.self)
    }

    /// Of `2026-11-21T10:00:00.123Z`.
    private static func milliseconds(_ text: String) -> UInt64? {
        guard let dot = text.lastIndex(of: "."), text.hasSuffix("Z"),
            let fraction = UInt64(text[text.index(after: dot)...].dropLast())
        else { return nil }
        do throws(Failure) {
            return UInt64(clamping: try BackupRepository.time(text[..<dot] + "Z")) * 1000 + fraction
        } catch {
            return nil
        }
    }
}

/// A field and the value it must have.
struct LogMatch {
    var field: String
    var value: String

    func holds(_ event: LogEvent) -> Bool {
        if field == "event" { return event.name == value }
        guard let found = event[field] else { return false }
        // A sender stands in angle brackets.
        return found == value || found == "<\(value)>"
    }
}

/// What shall be read.
struct LogQuery {
    /// One of these must hold; none: everything.
    var anyOf: [LogMatch] = []
    var daemons = LogEvent.daemons
    /// Milliseconds since 1970.
    var since: UInt64?
    var follows = false
    /// `warn`: and what is worse.
    var isTrouble = false

    func takes(_ event: LogEvent) -> Bool {
        guard daemons.contains(event.daemon) else { return false }
        if let since, event.milliseconds < since { return false }
        if isTrouble, event.level != "error", event.level != "warn" { return false }
        return anyOf.isEmpty || anyOf.contains { $0.holds(event) }
    }
}

/// Where the lines are.
enum LogSource {
    case journal
    case directory(String)

    static func of(_ invocation: Invocation) throws(Failure) -> LogSource {
        if let directory = invocation.value("dir") { return .directory(directory) }
        let suite = try ConfigFiles.suite(invocation)
        return suite.server.logDirectory.isEmpty ? .journal : .directory(suite.server.logDirectory)
    }

    /// Calls `body` with what `query` wants, oldest first; false from it ends the reading.
    func read(_ query: LogQuery, _ body: (LogEvent) -> Bool) throws(Failure) {
        switch self {
        case .journal: try Self.readJournal(query, body)
        case .directory(let path): try LogDirectory(path, query).read(body)
        }
    }

    func all(_ query: LogQuery) throws(Failure) -> [LogEvent] {
        var events: [LogEvent] = []
        try read(query) { event in
            events.append(event)
            return true
        }
        return events
    }

    private static func readJournal(
        _ query: LogQuery, _ body: (LogEvent) -> Bool
    ) throws(Failure) {
        var arguments = ["journalctl", "--output=json", "--all", "--no-pager"]
        if query.follows { arguments.append("--follow") }
        if query.isTrouble { arguments.append("--priority=warning") }
        if let since = query.since { arguments.append("--since=@\(since / 1000)") }
        if query.anyOf.isEmpty {
            arguments += query.daemons.map { "--identifier=\($0)" }
        } else {
            // The journal has an index of every field: no need to read all of it.
            var terms: [String] = []
            for match in query.anyOf {
                let values =
                    match.field == "from" ? [match.value, "<\(match.value)>"] : [match.value]
                for value in values {
                    if !terms.isEmpty { terms.append("+") }
                    terms.append("MAIL_\(match.field.uppercased())=\(value)")
                }
            }
            arguments += terms
        }
        let child = try ChildOutput(arguments)
        while let line = child.line() {
            guard let event = LogEvent(journalEntry: line), query.takes(event) else { continue }
            guard body(event) else { break }
        }
        try child.finish()
    }
}

/// A program whose standard output is read line by line.
final class ChildOutput {
    private let name: String
    private var pid: pid_t = 0
    private var lines: LineReader
    private var isFinished = false

    init(_ arguments: [String]) throws(Failure) {
        name = arguments[0]
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe2(&ends, O_CLOEXEC) == 0 else { throw .system("pipe", errno) }
        lines = LineReader(ends[0])
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        let program = name
        let result = unsafe withTerminated(arguments) { argv in
            unsafe posix_spawnp(&pid, program, &actions, nil, argv, Glibc.environ)
        }
        _ = close(ends[1])
        guard result == 0 else {
            throw Failure(
                .unavailable, "cannot run \(name): \(errorText(result))",
                hints: [
                    "without a journal, set log_dir in [server]: mailctl config describe log_dir"
                ])
        }
    }

    func line() -> [UInt8]? { lines.next() }

    func finish() throws(Failure) {
        let wasRead = lines.isAtEnd
        if !wasRead { kill(pid, SIGTERM) }
        var status: Int32 = 0
        while unsafe waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        // journalctl says itself what is wrong; 1 is also "no entries".
        guard wasRead, (status >> 8) & 0xFF > 1 || status & 0x7F != 0 else { return }
        throw Failure(.unavailable, "\(name) failed")
    }
}

/// Lines of a descriptor, which it closes.
struct LineReader: ~Copyable {
    /// Nothing that we log is longer.
    private static let limit = 1 << 20

    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var start = 0
    private(set) var isAtEnd = false

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { _ = close(descriptor) }

    /// The next whole line without its end. Nil: there is none yet, or never will be.
    mutating func next() -> [UInt8]? {
        var looked = start
        while true {
            if let end = buffer[looked...].firstIndex(of: 0x0A) {
                defer { start = end + 1 }
                return Array(buffer[start..<end])
            }
            looked = buffer.count - start
            buffer.removeFirst(start)
            start = 0
            if buffer.count > Self.limit { buffer.removeAll() }
            looked = min(looked, buffer.count)
            guard fill() else { return nil }
        }
    }

    private mutating func fill() -> Bool {
        isAtEnd = false
        var room = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe Glibc.read(descriptor, &room, room.count)
            if count < 0, errno == EINTR { continue }
            isAtEnd = count <= 0
            buffer += room.prefix(max(0, count))
            return count > 0
        }
    }
}
