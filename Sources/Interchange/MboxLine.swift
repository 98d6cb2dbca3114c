// SPDX-License-Identifier: Apache-2.0
//
// The line that starts a message in an mbox file, and the header fields that only such files have.
// RFC 4155, appendix A; mbox(5).

import Bytes
import MIME
import Mail

/// `From sender Sat Nov 21 02:52:39 2026`.
package enum MboxLine {
    /// Octets of a line that can be one.
    package static let octetLimit = 1_024
    package static let mark = Array("From ")
    private static let weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    private static let weekdayNames = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]

    /// The date of a line without its end, in UTC where it names no zone; nil if it has none that
    /// can be read. What stands before the weekday does not matter: senders may contain blanks.
    package static func date(_ line: [UInt8]) -> SecondsSince1970? {
        guard line.starts(with: mark), line.count <= octetLimit else { return nil }
        let words = line.dropFirst(mark.count).split { $0 == .space || $0 == .tab || $0 == .cr }
        guard words.count >= 5 else { return nil }
        for index in words.indices.dropLast(3) {
            let word = words[index].map(\.asciiLowercased).filter { $0 != 0x2C }
            guard weekdays.contains(String(decoding: word, as: UTF8.self)) else { continue }
            if let date = date(after: words[(index + 1)...]) { return date }
        }
        return nil
    }

    /// Month, day, time, and zone and year in either order.
    private static func date(after words: ArraySlice<ArraySlice<UInt8>>) -> SecondsSince1970? {
        let words = Array(words.prefix(6))
        guard words.count >= 4, words[0].count == 3 else { return nil }
        let name = Array(words[0])
        guard let month = Calendar.month(name[0], name[1], name[2]),
            let day = number(words[1], digits: 1...2), let time = time(words[2])
        else { return nil }
        var year: Int?
        var zone = 0
        for word in words.dropFirst(3) {
            if let sign = word.first, sign == 0x2B || sign == 0x2D,
                let offset = number(word.dropFirst(), digits: 4...4)
            {
                zone = (offset / 100 * 60 + offset % 100) * (sign == 0x2D ? -60 : 60)
            } else if year == nil, let found = number(word, digits: 4...4) {
                year = found
            }
        }
        guard let year, (1...Calendar.daysIn(month: month, year: year)).contains(day) else {
            return nil
        }
        let days = Calendar.days(year: year, month: month, day: day)
        return Int64(days * 86_400 + time - zone)
    }

    private static func time(_ word: ArraySlice<UInt8>) -> Int? {
        let parts = word.split(separator: 0x3A, omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let hour = number(parts[0], digits: 1...2),
            let minute = number(parts[1], digits: 2...2), hour < 24, minute < 60
        else { return nil }
        guard parts.count == 3 else { return hour * 3_600 + minute * 60 }
        guard let second = number(parts[2], digits: 2...2), second <= 60 else { return nil }
        return hour * 3_600 + minute * 60 + min(second, 59)
    }

    private static func number(_ word: ArraySlice<UInt8>, digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(word.count), word.allSatisfy(\.isASCIIDigit) else { return nil }
        return word.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// With its line end.
    ///
    /// - Parameter sender: what is no visible ASCII in it is left out; empty: `MAILER-DAEMON`.
    package static func octets(sender: [UInt8], date: SecondsSince1970) -> [UInt8] {
        let bounded = min(max(date, 0), 253_402_300_799)
        let days = Int(bounded / 86_400)
        let (year, month, day) = Calendar.date(days: days)
        let rest = Int(bounded % 86_400)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let plain = sender.filter(\.isASCIIVisible).prefix(320)
        var line = mark
        line += plain.isEmpty ? Array("MAILER-DAEMON") : Array(plain)
        line.append(" \(weekdayNames[days % 7]) \(Calendar.name(month: month)) ")
        line.append(day < 10 ? " \(day)" : "\(day)")
        line.append(" \(two(rest / 3_600)):\(two(rest / 60 % 60)):\(two(rest % 60)) ")
        let digits = "\(year)"
        line.append(String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits + "\n")
        return line
    }
}

/// What the fields Status, X-Status, X-Keywords and those of Mozilla say.
package enum MboxFlags {
    /// Fields that an mbox file has for itself: they are no part of the message.
    static let ownFields: Set<String> = [
        "status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase", "x-mozilla-status",
        "x-mozilla-status2", "x-mozilla-keys",
    ]

    static func read(_ name: String, _ body: [UInt8], into flags: inout NamedFlags) {
        switch name {
        case "status": if body.contains(0x52) { flags.system.insert(.seen) }
        case "x-status":
            for letter in body {
                switch letter {
                case 0x41: flags.system.insert(.answered)
                case 0x46: flags.system.insert(.flagged)
                case 0x44: flags.system.insert(.deleted)
                case 0x54: flags.system.insert(.draft)
                default: break
                }
            }
        case "x-keywords", "x-mozilla-keys":
            for word in body.split(whereSeparator: { $0 == .space || $0 == .tab || $0 == 0x2C }) {
                KeywordName.add(Array(word), to: &flags)
            }
        case "x-mozilla-status": readMozilla(body, into: &flags)
        default: break
        }
    }

    /// Bits of nsMsgMessageFlags.h.
    private static func readMozilla(_ body: [UInt8], into flags: inout NamedFlags) {
        let text = String(decoding: body.filter { $0.isASCIIVisible }, as: UTF8.self)
        guard text.utf8.count <= 8, let bits = UInt32(text, radix: 16) else { return }
        if bits & 0x0001 != 0 { flags.system.insert(.seen) }
        if bits & 0x0002 != 0 { flags.system.insert(.answered) }
        if bits & 0x0004 != 0 { flags.system.insert(.flagged) }
        if bits & 0x0008 != 0 { flags.system.insert(.deleted) }
        if bits & 0x1000 != 0 { KeywordName.add(Array("$Forwarded"), to: &flags) }
    }

    /// The fields that say the same, with LF line ends.
    static func fields(_ flags: NamedFlags) -> [UInt8] {
        var octets = Array(flags.system.contains(.seen) ? "Status: RO\n" : "Status: O\n")
        var letters: [UInt8] = []
        if flags.system.contains(.answered) { letters.append(0x41) }
        if flags.system.contains(.flagged) { letters.append(0x46) }
        if flags.system.contains(.draft) { letters.append(0x54) }
        if flags.system.contains(.deleted) { letters.append(0x44) }
        if !letters.isEmpty {
            octets.append("X-Status: ")
            octets += letters
            octets.append(0x0A)
        }
        if !flags.keywords.isEmpty {
            octets.append("X-Keywords:")
            for keyword in flags.keywords {
                octets.append(.space)
                octets += keyword
            }
            octets.append(0x0A)
        }
        return octets
    }
}

/// Names of keywords as other programs write them.
package enum KeywordName {
    /// Adds a keyword that the store can keep; what is none, or too many, is left out.
    package static func add(_ name: [UInt8], to flags: inout NamedFlags) {
        guard isKeyword(name), flags.keywords.count < Flags.keywordLimit,
            !flags.keywords.contains(where: { $0.equalsIgnoringASCIICase(name) })
        else { return }
        flags.keywords.append(name)
    }

    /// RFC 9051 §9, flag-keyword: an atom.
    static func isKeyword(_ name: [UInt8]) -> Bool {
        (1...128).contains(name.count)
            && name.allSatisfy { $0.isASCIIVisible && !Array("(){%*\"]\\").contains($0) }
    }
}
