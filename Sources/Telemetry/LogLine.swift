// SPDX-License-Identifier: Apache-2.0
//
// How a log event becomes octets: logfmt text, JSON (RFC 8259) or journal fields
// (systemd.journal-fields(7)). No I/O, so that tests can look at it.

enum LogLine {
    /// `program: event: key=value key="two words"`, without a line end.
    static func text(_ program: [UInt8], _ event: StaticString, _ fields: [LogField]) -> [UInt8] {
        var line = program
        line.append(contentsOf: [0x3A, 0x20])
        line.append(contentsOf: message(event, fields))
        return line
    }

    /// What stands behind the program's name.
    static func message(_ event: StaticString, _ fields: [LogField]) -> [UInt8] {
        var line = octets(event)
        var separator: [UInt8] = [0x3A, 0x20]
        for field in fields {
            line.append(contentsOf: separator)
            separator = [0x20]
            line.append(contentsOf: octets(field.key))
            line.append(0x3D)
            appendValue(field.octets, to: &line)
        }
        return line
    }

    /// A value that needs it is quoted; control and non-ASCII octets become `\xHH` either way.
    static func appendValue(_ value: [UInt8], to line: inout [UInt8]) {
        let needsQuotes =
            value.isEmpty || value.contains { $0 == 0x20 || $0 == 0x22 || $0 == 0x3D || $0 == 0x5C }
        if needsQuotes { line.append(0x22) }
        for octet in value {
            switch octet {
            case 0x22, 0x5C: line.append(contentsOf: [0x5C, octet])
            case 0x20...0x7E: line.append(octet)
            default:
                line.append(contentsOf: [0x5C, 0x78, hexDigit(octet >> 4), hexDigit(octet & 15)])
            }
        }
        if needsQuotes { line.append(0x22) }
    }

    /// One object and a line end. Octets that are not ASCII become `\u00HH`.
    static func json(
        _ program: [UInt8], _ level: LogLevel, _ event: StaticString, _ fields: [LogField],
        milliseconds: UInt64
    ) -> [UInt8] {
        var line = [UInt8]("{\"time\":\"".utf8)
        line.append(contentsOf: timestamp(milliseconds))
        line.append(contentsOf: [UInt8]("\",\"level\":\"\(level.name)\",\"program\":".utf8))
        appendString(program, to: &line)
        line.append(contentsOf: [UInt8](",\"event\":".utf8))
        appendString(octets(event), to: &line)
        for field in fields {
            line.append(0x2C)
            appendString(octets(field.key), to: &line)
            line.append(0x3A)
            if field.isNumber {
                line.append(contentsOf: field.octets)
            } else {
                appendString(field.octets, to: &line)
            }
        }
        line.append(contentsOf: [0x7D, 0x0A])
        return line
    }

    private static func appendString(_ value: [UInt8], to line: inout [UInt8]) {
        line.append(0x22)
        for octet in value {
            switch octet {
            case 0x22, 0x5C: line.append(contentsOf: [0x5C, octet])
            case 0x20...0x7E: line.append(octet)
            default:
                line.append(contentsOf: [0x5C, 0x75, 0x30, 0x30])
                line.append(contentsOf: [hexDigit(octet >> 4), hexDigit(octet & 15)])
            }
        }
        line.append(0x22)
    }

    /// `NAME=value` each. Values are raw: the journal's own protocol counts their octets.
    static func journalFields(
        _ program: [UInt8], _ level: LogLevel, _ event: StaticString, _ fields: [LogField]
    ) -> [[UInt8]] {
        var result: [[UInt8]] = [
            [UInt8]("MESSAGE=".utf8) + message(event, fields),
            [UInt8]("PRIORITY=\(level.priority)".utf8),
            [UInt8]("SYSLOG_IDENTIFIER=".utf8) + program,
            [UInt8]("MAIL_EVENT=".utf8) + octets(event),
        ]
        for field in fields {
            var line = [UInt8]("MAIL_".utf8)
            for octet in octets(field.key) {
                switch octet {
                case 0x61...0x7A: line.append(octet & 0xDF)
                case 0x30...0x39, 0x41...0x5A: line.append(octet)
                default: line.append(0x5F)
                }
            }
            line.append(0x3D)
            line.append(contentsOf: field.octets)
            result.append(line)
        }
        return result
    }

    /// `2026-01-31T23:59:59.123Z` (RFC 3339 §5.6).
    static func timestamp(_ milliseconds: UInt64) -> [UInt8] {
        let seconds = milliseconds / 1000
        let days = Int(seconds / 86_400)
        // Civil date from a day count: Howard Hinnant's days_from_civil, turned around.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let time = Int(seconds % 86_400)
        var text: [UInt8] = []
        for (number, width, end) in [
            (year, 4, UInt8(0x2D)), (month, 2, 0x2D), (day, 2, 0x54), (time / 3600, 2, 0x3A),
            (time / 60 % 60, 2, 0x3A), (time % 60, 2, 0x2E), (Int(milliseconds % 1000), 3, 0x5A),
        ] {
            let digits = [UInt8](String(number).utf8)
            text.append(contentsOf: [UInt8](repeating: 0x30, count: max(0, width - digits.count)))
            text.append(contentsOf: digits)
            text.append(end)
        }
        return text
    }

    private static func octets(_ text: StaticString) -> [UInt8] {
        text.withUTF8Buffer { unsafe [UInt8]($0) }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x57 + value
    }
}
