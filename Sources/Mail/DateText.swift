// SPDX-License-Identifier: Apache-2.0
//
// Points in time as messages that we write spell them. RFC 5322 §3.3.

import Bytes

/// Points in time as messages spell them.
package enum DateText {
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Fri, 21 Nov 2025 10:20:30 +0000`, RFC 5322 §3.3, always UTC.
    package static func octets(_ secondsSince1970: Int64) -> [UInt8] {
        let seconds = max(0, secondsSince1970)
        let day = seconds / 86_400
        let clock = seconds % 86_400
        // Days to a date: eras of 400 years that begin in March, so that the leap day comes last.
        let shifted = day + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)

        var text = Array("\(days[Int(day % 7)]), \(dayOfMonth) \(months[Int(month - 1)]) \(year) ")
        for (place, part) in [clock / 3_600, clock / 60 % 60, clock % 60].enumerated() {
            if place > 0 { text.append(0x3A) }
            if part < 10 { text.append(0x30) }
            text.appendDecimal(UInt64(part))
        }
        text.append(" +0000")
        return text
    }
}
