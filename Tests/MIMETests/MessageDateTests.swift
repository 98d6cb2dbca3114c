// SPDX-License-Identifier: Apache-2.0

import MIME
import Testing

@Suite("dates, RFC 5322 section 3.3")
struct MessageDateTests {
    private func date(_ body: String) -> MessageDate? {
        let octets = crlf(body)
        return MessageDate(octets.span, 0..<octets.count)
    }

    @Test(arguments: [
        ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706, -360),
        ("Tue, 1 Jul 2003 10:52:37 +0200", 1_057_049_557, 120),
        ("Thu, 13 Feb 1969 23:32:54 -0330", -27_723_426, -210),
        ("21 Nov 97 09:55:06 GMT", 880_106_106, 0),
        ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880_127_706, -360),
        (
            "Thu,\n      13\n        Feb\n          1969\n      23:32\n     -0330 (NST)",
            -27_723_480, -210
        ),
        ("Mon, 1 Jan 2024 00:00:00 +0000", 1_704_067_200, 0),
        ("1 Jan 2024 00:00 EST", 1_704_085_200, -300),
        ("1 Jan 2024 00:00:00 PDT", 1_704_092_400, -420),
        ("1 Jan 2024 00:00:00 A", 1_704_067_200, 0),
        ("1 Jan 2024 00:00:00 CET", 1_704_067_200, 0),
        ("1 Jan 2024 00:00:00", 1_704_067_200, 0),
        ("1 Jan 124 00:00:00 +0000", 1_704_067_200, 0),
        ("1-Jan-2024 00:00:00 +0000", 1_704_067_200, 0),
        ("Mon 1 January 2024 00:00:00 +0000", 1_704_067_200, 0),
        ("29 Feb 2000 12:00:00 +1400", 951_775_200, 840),
    ])
    func `dates are read`(_ body: String, _ seconds: Int64, _ zone: Int) {
        let read = date(body)
        #expect(read?.seconds == seconds)
        #expect(read?.zone == zone)
    }

    @Test(arguments: [
        "", "yesterday", "0 Jan 2024 00:00:00 +0000", "30 Feb 2024 00:00:00 +0000",
        "1 Foo 2024 00:00:00 +0000", "1 Jan 2024", "1 Jan 2024 25:00:00 +0000",
        "1 Jan 2024 00:60:00 +0000", "1 Jan 20244 00:00:00 +0000", "1 Jan 2024 00:00:99 +0000",
        "29 Feb 2023 00:00:00 +0000", "(1 Jan 2024 00:00:00 +0000", "1 Jan",
    ])
    func `what is no date is nil`(_ body: String) {
        #expect(date(body) == nil)
    }

    @Test(arguments: [
        ("Mon, 1 Jan 2024 00:30:00 +0200", 19_723), ("Sun, 31 Dec 2023 23:30:00 -0500", 19_722),
        ("Wed, 31 Dec 1969 12:00:00 +0000", -1),
    ])
    func `the day is the one that was written`(_ body: String, _ day: Int) {
        #expect(date(body)?.day == day)
    }

    @Test func `days and dates are each other's inverse over 900 years`() {
        var expected = Calendar.days(year: 1_600, month: 1, day: 1)
        for year in 1_600..<2_500 {
            for month in 1...12 {
                for day in [1, 15, Calendar.daysIn(month: month, year: year)] {
                    let days = Calendar.days(year: year, month: month, day: day)
                    let back = Calendar.date(days: days)
                    #expect(back.year == year && back.month == month && back.day == day)
                }
                #expect(Calendar.days(year: year, month: month, day: 1) == expected)
                expected += Calendar.daysIn(month: month, year: year)
            }
        }
        #expect(Calendar.days(year: 1_970, month: 1, day: 1) == 0)
    }
}
