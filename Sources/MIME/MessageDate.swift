// SPDX-License-Identifier: Apache-2.0
//
// The date-time of the Date field, with its obsolete forms. RFC 5322 §3.3 and §4.3.

import Bytes
import Mail

/// A moment and the zone in which it was written.
package struct MessageDate: Equatable, Sendable {
    /// UTC.
    package var seconds: SecondsSince1970
    /// Minutes east of UTC.
    package var zone: Int

    /// Days since 1970 of the date as written, whatever the zone.
    package var day: Int {
        let local = seconds + Int64(zone) * 60
        return Int(local >= 0 ? local / 86_400 : (local - 86_399) / 86_400)
    }

    /// - Parameter body: body of a Date field. Nil if it is no date.
    package init?(_ message: Span<UInt8>, _ body: Range<Int>) {
        var reader = DateReader(position: body.lowerBound, end: body.upperBound)
        // [day-name ","]; the name may be wrong or in another language, so it is not looked at
        if reader.word(message) != nil { reader.skip(message, 0x2C) }
        guard let day = reader.number(message)?.value, day >= 1, reader.dash(message),
            let month = reader.month(message), reader.dash(message),
            let year = reader.number(message).map(Self.fullYear),
            day <= Calendar.daysIn(month: month, year: year),
            let hour = reader.number(message)?.value, hour <= 24, reader.skip(message, 0x3A),
            let minute = reader.number(message)?.value, minute <= 59
        else { return nil }
        var second = 0
        if reader.skip(message, 0x3A) {
            guard let value = reader.number(message)?.value, value <= 60 else { return nil }
            second = value
        }
        zone = reader.zone(message)
        let days = Calendar.days(year: year, month: month, day: day)
        seconds = Int64(days * 86_400 + hour * 3_600 + minute * 60 + second - zone * 60)
    }

    /// Years of two and three digits (§4.3).
    private static func fullYear(_ number: (value: Int, digits: Int)) -> Int {
        switch number.digits {
        case 1, 2: number.value < 50 ? number.value + 2_000 : number.value + 1_900
        case 3: number.value + 1_900
        default: number.value
        }
    }
}

private struct DateReader {
    var position: Int
    let end: Int

    private mutating func skipBlanks(_ text: Span<UInt8>) {
        _ = StructuredText.skipBlanksAndComments(text, &position, end)
    }

    @discardableResult
    mutating func skip(_ text: Span<UInt8>, _ octet: UInt8) -> Bool {
        skipBlanks(text)
        guard position < end, text[position] == octet else { return false }
        position += 1
        return true
    }

    /// A dash between day, month and year is no RFC's, but some programs'. Always true.
    mutating func dash(_ text: Span<UInt8>) -> Bool {
        skip(text, 0x2D)
        return true
    }

    /// Letters; nil if none come next.
    mutating func word(_ text: Span<UInt8>) -> Range<Int>? {
        skipBlanks(text)
        let start = position
        while position < end, text[position].isASCIILetter || text[position] >= 0x80 {
            position += 1
        }
        return position == start ? nil : start..<position
    }

    /// One to four digits.
    mutating func number(_ text: Span<UInt8>) -> (value: Int, digits: Int)? {
        skipBlanks(text)
        var value = 0
        let start = position
        while position < end, text[position].isASCIIDigit {
            guard position - start < 4 else { return nil }
            value = value * 10 + Int(text[position] - 0x30)
            position += 1
        }
        return position == start ? nil : (value, position - start)
    }

    /// A month by its first three letters.
    mutating func month(_ text: Span<UInt8>) -> Int? {
        guard let word = word(text), word.count >= 3 else { return nil }
        let start = word.lowerBound
        return Calendar.month(text[start], text[start + 1], text[start + 2])
    }

    /// Minutes east of UTC. Letters of the military and unknown names are 0, as §4.3 wants.
    mutating func zone(_ text: Span<UInt8>) -> Int {
        skipBlanks(text)
        guard position < end else { return 0 }
        let sign = text[position]
        if sign == 0x2B || sign == 0x2D {
            position += 1
            guard let number = number(text), number.digits == 4, number.value % 100 < 60 else {
                return 0
            }
            let minutes = number.value / 100 * 60 + number.value % 100
            return sign == 0x2D ? -minutes : minutes
        }
        guard let word = word(text), word.count == 3 else { return 0 }
        var hours: Int
        switch text[word.lowerBound].asciiLowercased {
        case 0x65: hours = -5  // EST, EDT
        case 0x63: hours = -6
        case 0x6D: hours = -7
        case 0x70: hours = -8
        default: return 0
        }
        switch text[word.lowerBound + 1].asciiLowercased {
        case 0x73: break
        case 0x64: hours += 1
        default: return 0
        }
        return text[word.lowerBound + 2].asciiLowercased == 0x74 ? hours * 60 : 0
    }
}
