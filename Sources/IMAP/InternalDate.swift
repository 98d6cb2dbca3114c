// SPDX-License-Identifier: Apache-2.0
//
// INTERNALDATE and the dates of SEARCH as text. RFC 9051 §9: date-time and date.

import Bytes
import MIME
import Mail

package enum InternalDate {
    /// Reads `17-Jul-1996 02:44:25 -0700` without its quotes; the day may have a leading space.
    package static func parse(_ text: Span<UInt8>) -> SecondsSince1970? {
        var cursor = Cursor(text)
        _ = cursor.take(UInt8.space)
        guard let day = cursor.calendarDay(), cursor.take(UInt8.space),
            let hour = cursor.twoDigits(limit: 23), cursor.take(0x3A),
            let minute = cursor.twoDigits(limit: 59), cursor.take(0x3A),
            let second = cursor.twoDigits(limit: 60), cursor.take(UInt8.space),
            let sign = cursor.takeOctet(), sign == 0x2B || sign == 0x2D,
            let zoneHour = cursor.twoDigits(limit: 99),
            let zoneMinute = cursor.twoDigits(limit: 59), cursor.isAtEnd
        else { return nil }
        let zone = (zoneHour * 60 + zoneMinute) * (sign == 0x2D ? -60 : 60)
        return Int64(day * 86_400 + hour * 3_600 + minute * 60 + min(second, 59) - zone)
    }

    /// Reads `1-Feb-1994` without its quotes: days since 1970.
    package static func parseDay(_ text: Span<UInt8>) -> Int? {
        var cursor = Cursor(text)
        _ = cursor.take(UInt8.space)
        guard let day = cursor.calendarDay(), cursor.isAtEnd else { return nil }
        return day
    }

    /// The day of `seconds` in UTC: days since 1970, for BEFORE, ON and SINCE.
    package static func day(of seconds: SecondsSince1970) -> Int {
        Int(seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400)
    }

    /// Appends `"17-Jul-1996 09:44:25 +0000"` with its quotes; the day has two places.
    package static func append(_ seconds: SecondsSince1970, to output: inout [UInt8]) {
        // Years outside 0 to 9999 have no form; a clock gone wrong must not break the session.
        let bounded = min(max(seconds, -62_135_596_800), 253_402_300_799)
        let days = day(of: bounded)
        let (year, month, day) = Calendar.date(days: days)
        let rest = Int(bounded) - days * 86_400
        output.append(0x22)
        output.append(day < 10 ? .space : 0x30 + UInt8(day / 10))
        output.append(0x30 + UInt8(day % 10))
        output.append(0x2D)
        output.append(Calendar.name(month: month).description)
        output.append(0x2D)
        output.appendTwoDigits(year / 100)
        output.appendTwoDigits(year % 100)
        output.append(.space)
        output.appendTwoDigits(rest / 3_600)
        output.append(0x3A)
        output.appendTwoDigits(rest / 60 % 60)
        output.append(0x3A)
        output.appendTwoDigits(rest % 60)
        output.append(" +0000\"")
    }
}

extension [UInt8] {
    fileprivate mutating func appendTwoDigits(_ number: Int) {
        append(0x30 + UInt8(number / 10))
        append(0x30 + UInt8(number % 10))
    }
}

extension Cursor {
    /// `date-day "-" date-month "-" date-year`: days since 1970, nothing for the 31st of June.
    fileprivate mutating func calendarDay() -> Int? {
        guard let day = number(limit: 31), day >= 1, take(0x2D),
            let first = takeOctet(), let second = takeOctet(), let third = takeOctet(),
            let month = Calendar.month(first, second, third), take(0x2D),
            let century = twoDigits(limit: 99), let yearOfCentury = twoDigits(limit: 99)
        else { return nil }
        let year = century * 100 + yearOfCentury
        guard Int(day) <= Calendar.daysIn(month: month, year: year) else { return nil }
        return Calendar.days(year: year, month: month, day: Int(day))
    }

    /// Exactly two digits.
    fileprivate mutating func twoDigits(limit: Int) -> Int? {
        guard let tens = takeOctet(), tens.isASCIIDigit, let ones = takeOctet(), ones.isASCIIDigit
        else { return nil }
        let value = Int(tens - 0x30) * 10 + Int(ones - 0x30)
        return value <= limit ? value : nil
    }
}
