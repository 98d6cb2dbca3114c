// SPDX-License-Identifier: Apache-2.0
//
// How far long work is: a bar on a terminal, one JSON object a second with --json, nothing without
// a terminal. Always on standard error, so that results can be piped.

import CLinux
import Glibc

/// Counts items of long work and shows it.
struct Progress: ~Copyable {
    private enum Look {
        case none
        case bar
        case lines
    }

    private static let barWidth = 16
    /// Seconds between two pictures.
    private static let barInterval = 0.2
    private static let lineInterval = 1.0

    private let look: Look
    private let verb: String
    private let unit: String
    /// Nil: not known.
    var total: Int?
    private(set) var done = 0
    /// What is being worked on, for example a mailbox; only with --json.
    var subject = ""
    private let start: Double
    private var shownAt = -Double.infinity
    private var isShown = false

    /// - Parameters:
    ///   - verb: `importing`.
    ///   - unit: `messages`.
    ///   - total: nil if nobody knows.
    init(_ verb: String, _ unit: String, of total: Int? = nil, _ invocation: Invocation) {
        self.verb = verb
        self.unit = unit
        self.total = total
        if invocation.isQuiet {
            look = .none
        } else if invocation.json {
            look = .lines
        } else {
            look = isatty(2) == 1 && Environment.value("TERM") != "dumb" ? .bar : .none
        }
        start = Self.now()
    }

    deinit { if isShown { Self.erase() } }

    /// Octets, files, messages: whatever `unit` says.
    mutating func advance(by count: Int = 1) {
        done += count
        show(isLast: false)
    }

    /// Work that was found done already counts for the bar, not for the speed.
    private var skipped = 0

    mutating func skip(_ count: Int = 1) {
        skipped += count
        advance(by: count)
    }

    /// Takes the bar away, so that a line of text can be written; the next step brings it back.
    mutating func clear() {
        guard isShown else { return }
        Self.erase()
        isShown = false
        shownAt = -.infinity
    }

    /// The last picture; on a terminal the bar goes away.
    mutating func finish() {
        show(isLast: true)
        clear()
    }

    /// Seconds since it was made.
    var elapsed: Double { Self.now() - start }

    // MARK: - Pictures

    private mutating func show(isLast: Bool) {
        guard look != .none else { return }
        let now = Self.now()
        let interval = look == .bar ? Self.barInterval : Self.lineInterval
        guard isLast || now - shownAt >= interval else { return }
        // Work that is over at once needs no bar.
        if look == .bar, !isShown, isLast || now - start < Self.barInterval { return }
        shownAt = now
        switch look {
        case .none: break
        case .lines: Terminal.error(json(now - start).text)
        case .bar:
            isShown = true
            Terminal.errorPart(
                "\r"
                    + Self.picture(
                        verb, unit, done: done, total: total, skipped: skipped, seconds: now - start
                    )
                    + "\u{1B}[K")
        }
    }

    private func json(_ seconds: Double) -> JSON {
        var members: [(name: String, value: JSON)] = [
            ("progress", .string(verb)), ("unit", .string(unit)), ("done", .integer(done)),
        ]
        if let total { members.append(("total", .integer(total))) }
        if !subject.isEmpty { members.append(("subject", .string(subject))) }
        members.append(("seconds", .number((seconds * 10).rounded() / 10)))
        return .object(members)
    }

    /// `importing  [####----]  45 %  9 120 / 20 311 messages  612/s  18 s left`
    static func picture(
        _ verb: String, _ unit: String, done: Int, total: Int?, skipped: Int = 0, seconds: Double
    ) -> String {
        let worked = Double(done - skipped)
        let rate = seconds > 0.5 ? worked / seconds : 0
        var text = verb
        if let total, total > 0 {
            let part = min(1, Double(done) / Double(total))
            let filled = Int(part * Double(barWidth))
            text += "  [" + String(repeating: "#", count: filled)
            text += String(repeating: "-", count: barWidth - filled) + "]"
            let percent = String(Int(part * 100))
            text += "  " + String(repeating: " ", count: 3 - percent.utf8.count) + percent + " %"
            text += "  \(grouped(done)) / \(grouped(total)) \(unit)"
        } else {
            text += "  \(grouped(done)) \(unit)"
        }
        if rate >= 1 { text += "  \(grouped(Int(rate)))/s" }
        if let total, rate > 0, done < total {
            text += "  \(duration(Double(total - done) / rate)) left"
        }
        return text
    }

    /// `20 311`
    static func grouped(_ number: Int) -> String {
        var digits = Array(String(number.magnitude))
        var place = digits.count - 3
        while place > 0 {
            digits.insert(" ", at: place)
            place -= 3
        }
        return (number < 0 ? "-" : "") + String(digits)
    }

    /// `18 s`, `4 min`, `2 h 10 min`
    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(seconds.rounded(.up), 1e9))
        if whole < 120 { return "\(whole) s" }
        if whole < 7200 { return "\((whole + 30) / 60) min" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    private static func erase() { Terminal.errorPart("\r\u{1B}[K") }

    private static func now() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
