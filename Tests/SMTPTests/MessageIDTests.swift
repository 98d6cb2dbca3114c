// SPDX-License-Identifier: Apache-2.0
//
// The Message-ID that the log names, whatever the pieces in which the header came.

import Testing

@testable import SMTP

struct MessageIDTests {
    @Test(
        arguments: [
            ("Message-ID: <a@b>\r\nSubject: x\r\n\r\n", "<a@b>"),
            ("Subject: <no@no>\r\nmessage-id:<a@b>\r\n\r\n<text@text>", "<a@b>"),
            ("Message-ID:\r\n <folded@b>\r\nTo: <c@d>\r\n\r\n", "<folded@b>"),
            ("Message-ID: <first@b>\r\nMessage-ID: <second@b>\r\n\r\n", "<first@b>"),
            ("Message-ID: bare@b\r\nTo: <c@d>\r\n\r\n", ""),
            ("Subject: none\r\n\r\nMessage-ID: <a@b>\r\n", ""),
            ("Message-ID: <a@b", ""),
        ]) func `the first Message-ID is kept, with its angle brackets`(
            text: String, expected: String
        )
    {
        for size in [1, 2, 3, 7, 1_000] {
            var scanner = HeaderScanner()
            let octets = Array(text.utf8)
            for start in stride(from: 0, to: octets.count, by: size) {
                scanner.scan(
                    Array(octets[start..<min(start + size, octets.count)]).span)
            }
            scanner.finish()
            #expect(String(decoding: scanner.messageID ?? [], as: UTF8.self) == expected)
        }
    }

    @Test func `a Message-ID without end costs no memory`() {
        var scanner = HeaderScanner()
        scanner.scan(Array("Message-ID: <".utf8).span)
        for _ in 0..<1_000 { scanner.scan([UInt8](repeating: 0x61, count: 4_096).span) }
        scanner.scan(Array(">\r\n\r\n".utf8).span)
        scanner.finish()
        #expect(scanner.messageID == nil)
    }
}
