// SPDX-License-Identifier: Apache-2.0
//
// One line per event, to the journal with native fields or to stderr with one write(2).
// Nothing a peer says can forge a line or a field: every octet outside 0x20...0x7E is escaped.

import Glibc
import Synchronization

/// How much to say. The default is `info`.
package enum LogLevel: Int, Sendable, Comparable {
    case error, warn, info, debug

    package static func < (left: LogLevel, right: LogLevel) -> Bool {
        left.rawValue < right.rawValue
    }

    /// `[server] log_level`.
    package init?(name: String) {
        switch name {
        case "error": self = .error
        case "warn": self = .warn
        case "info": self = .info
        case "debug": self = .debug
        default: return nil
        }
    }

    var name: String {
        switch self {
        case .error: "error"
        case .warn: "warn"
        case .info: "info"
        case .debug: "debug"
        }
    }

    /// syslog(3)'s numbers, which the journal's PRIORITY uses.
    var priority: Int {
        switch self {
        case .error: 3
        case .warn: 4
        case .info: 6
        case .debug: 7
        }
    }
}

/// Where lines go and how they look.
package enum LogFormat: String, Sendable {
    /// The journal if stderr is connected to it, else text.
    case auto
    case journal, text, json
}

/// One `key=value` of a line. Keys are lower case letters, digits and `_`.
package struct LogField: Sendable {
    let key: StaticString
    let octets: [UInt8]
    let isNumber: Bool

    package init(_ key: StaticString, _ value: String) {
        self.init(key, [UInt8](value.utf8))
    }

    package init(_ key: StaticString, _ octets: [UInt8]) {
        self.key = key
        self.octets = octets
        isNumber = false
    }

    package init(_ key: StaticString, _ number: some BinaryInteger) {
        self.key = key
        octets = [UInt8](String(number).utf8)
        isNumber = true
    }
}

/// The log of this process.
package enum Log {
    private struct Settings: Sendable {
        var program: [UInt8] = [UInt8]("martlet".utf8)
        var format = LogFormat.text
        var journal: Writer?
        var lines: Writer = { emit($0) }
        var file: LogFile?
    }

    /// Takes the fields of one entry of the journal, or one line with its end.
    package typealias Writer = @Sendable ([[UInt8]]) -> Void

    private static let settings = Mutex(Settings())
    /// Raw value of the least important level that is still written.
    private static let threshold = Atomic(LogLevel.info.rawValue)

    /// Says who writes, where to and how much. May be called again, on a reload.
    ///
    /// - Parameters:
    ///   - journal: takes the fields of an entry; without it there is no journal.
    ///   - lines: takes a line, in one piece; nil: stderr.
    ///   - file: takes every line as well, as JSON.
    package static func start(
        program: String, format: LogFormat, level: LogLevel, journal: Writer? = nil,
        lines: Writer? = nil, file: LogFile? = nil
    ) {
        var chosen = format
        if format == .auto {
            chosen = isJournal(2) ? .journal : .text
        }
        if journal == nil, chosen == .journal { chosen = .text }
        var result = Settings(program: [UInt8](program.utf8), format: chosen, journal: journal)
        if let lines { result.lines = lines }
        result.file = file
        let made = result
        settings.withLock { $0 = made }
        threshold.store(level.rawValue, ordering: .relaxed)
    }

    /// Whether lines of `level` are written at all.
    package static func isEnabled(_ level: LogLevel) -> Bool {
        level.rawValue <= threshold.load(ordering: .relaxed)
    }

    package static func error(
        _ event: StaticString, _ fields: @autoclosure () -> [LogField] = []
    ) {
        if isEnabled(.error) { write(.error, event, fields()) }
    }

    package static func warn(
        _ event: StaticString, _ fields: @autoclosure () -> [LogField] = []
    ) {
        if isEnabled(.warn) { write(.warn, event, fields()) }
    }

    package static func info(
        _ event: StaticString, _ fields: @autoclosure () -> [LogField] = []
    ) {
        if isEnabled(.info) { write(.info, event, fields()) }
    }

    package static func debug(
        _ event: StaticString, _ fields: @autoclosure () -> [LogField] = []
    ) {
        if isEnabled(.debug) { write(.debug, event, fields()) }
    }

    private static func write(_ level: LogLevel, _ event: StaticString, _ fields: [LogField]) {
        let now = settings.withLock { $0 }
        switch now.format {
        case .journal:
            now.journal?(LogLine.journalFields(now.program, level, event, fields))
        case .json: now.lines([json(now.program, level, event, fields)])
        case .auto, .text:
            now.lines([LogLine.text(now.program, event, fields) + [0x0A]])
        }
        now.file?.write(json(now.program, level, event, fields))
    }

    private static func json(
        _ program: [UInt8], _ level: LogLevel, _ event: StaticString, _ fields: [LogField]
    ) -> [UInt8] {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        let milliseconds = UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
        return LogLine.json(program, level, event, fields, milliseconds: milliseconds)
    }

    /// Whether `descriptor` is what systemd connected to the journal: JOURNAL_STREAM is its device
    /// and inode (systemd.exec(5)), and stays set when somebody redirects stderr.
    private static func isJournal(_ descriptor: Int32) -> Bool {
        guard let stream = unsafe getenv("JOURNAL_STREAM") else { return false }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return false }
        return unsafe String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
    }

    /// One write(2), so that lines of several processes do not mix.
    private static func emit(_ lines: [[UInt8]]) {
        let line = [UInt8](lines.joined())
        unsafe line.withUnsafeBytes { octets in
            // A log that cannot be written must not stop the mail: the result is ignored.
            _ = unsafe Glibc.write(2, octets.baseAddress, octets.count)
        }
    }
}
