// SPDX-License-Identifier: Apache-2.0

import IMAP
import Testing

@Suite("dates of IMAP, RFC 3501 section 9")
struct InternalDateTests {
    private func parsed(_ text: some Sequence<UInt8>) -> Int64? {
        let octets = Array(text)
        return InternalDate.parse(octets.span)
    }

    private func parsedDay(_ text: String) -> Int? {
        let octets = Array(text.utf8)
        return InternalDate.parseDay(octets.span)
    }

    private func formatted(_ seconds: Int64) -> String {
        var output: [UInt8] = []
        InternalDate.append(seconds, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test(arguments: [
        ("17-Jul-1996 02:44:25 -0700", 837_596_665), (" 1-Jan-1970 00:00:00 +0000", 0),
        ("01-Jan-1970 00:00:00 +0000", 0), ("1-jan-1970 01:00:00 +0100", 0),
        ("29-FEB-2000 23:59:60 +0000", 951_868_799), ("31-Dec-1969 23:59:59 +0000", -1),
        ("31-Dec-9999 23:59:59 +0000", 253_402_300_799),
    ])
    func `date-time is read`(_ text: String, _ seconds: Int64) {
        #expect(parsed(text.utf8) == seconds)
    }

    @Test(arguments: [
        "", "17-Jul-1996", "17-Jul-1996 02:44:25", "17-Jul-1996 02:44:25 0700",
        "17-Jul-1996 02:44:25 -070", "17-Jul-1996 02:44:25 -07000", "32-Jul-1996 02:44:25 -0700",
        "0-Jul-1996 02:44:25 -0700", "31-Jun-1996 02:44:25 -0700", "29-Feb-1900 02:44:25 -0700",
        "17-Jux-1996 02:44:25 -0700", "17-Jul-96 02:44:25 -0700", "17-Jul-1996 24:44:25 -0700",
        "17-Jul-1996 02:60:25 -0700", "17-Jul-1996 02:44:61 -0700", "17-Jul-1996 2:44:25 -0700",
        "17-Jul-1996 02:44:25 -0760", "17 Jul 1996 02:44:25 -0700", "17-Jul-1996 02:44:25 *0700",
    ])
    func `what is no date-time is nil`(_ text: String) {
        #expect(parsed(text.utf8) == nil)
    }

    @Test(arguments: [
        (0, "\" 1-Jan-1970 00:00:00 +0000\""), (837_596_665, "\"17-Jul-1996 09:44:25 +0000\""),
        (-1, "\"31-Dec-1969 23:59:59 +0000\""), (Int64.max, "\"31-Dec-9999 23:59:59 +0000\""),
        (Int64.min, "\" 1-Jan-0001 00:00:00 +0000\""),
    ])
    func `date-time is written in UTC`(_ seconds: Int64, _ expected: String) {
        #expect(formatted(seconds) == expected)
    }

    @Test func `what is written is read again`() {
        for step in 0..<5_000 {
            let seconds = Int64(step) * 1_234_567 - 1_000_000_000
            let text = Array(formatted(seconds).utf8.dropFirst().dropLast())
            #expect(parsed(text) == seconds)
            #expect(InternalDate.day(of: seconds) * 86_400 <= seconds)
            #expect(InternalDate.day(of: seconds) * 86_400 > seconds - 86_400)
        }
    }

    @Test(arguments: [
        ("1-Feb-1994", 8_797), ("01-Feb-1994", 8_797), ("1-Jan-1970", 0), ("29-Feb-2024", 19_782),
    ])
    func `a date is a day`(_ text: String, _ day: Int) {
        #expect(parsedDay(text) == day)
    }

    @Test(arguments: ["", "1-Feb", "1-Feb-94", "30-Feb-1994", "1-Feb-1994 ", "1/2/1994"])
    func `what is no date is nil`(_ text: String) {
        #expect(parsedDay(text) == nil)
    }
}
