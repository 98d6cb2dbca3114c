// SPDX-License-Identifier: Apache-2.0
//
// Log lines: what a peer says can forge neither a line nor a field.

import Testing

@testable import Telemetry

struct LogTests {
    private func text(_ fields: [LogField]) -> String {
        String(decoding: LogLine.text([UInt8]("smtpd".utf8), "accepted", fields), as: UTF8.self)
    }

    @Test func `a text line is program, event and fields`() {
        #expect(
            text([LogField("rip", "203.0.113.5"), LogField("size", 48211)])
                == "smtpd: accepted: rip=203.0.113.5 size=48211")
        #expect(text([]) == "smtpd: accepted")
    }

    @Test(arguments: [
        ("", "\"\""),
        ("plain", "plain"),
        ("<bob@example.org>", "<bob@example.org>"),
        ("two words", "\"two words\""),
        ("a=b", "\"a=b\""),
        ("say \"hi\"", "\"say \\\"hi\\\"\""),
        ("back\\slash", "\"back\\\\slash\""),
        ("x\r\nsmtpd: accepted: rip=8.8.8.8", "\"x\\x0d\\x0asmtpd: accepted: rip=8.8.8.8\""),
        ("\u{1B}[31m", "\\x1b[31m"),
        ("é", "\\xc3\\xa9"),
        ("\u{7F}", "\\x7f"),
    ])
    func `values are quoted and escaped`(value: String, expected: String) {
        #expect(text([LogField("user", value)]) == "smtpd: accepted: user=\(expected)")
    }

    @Test func `no octet outside 0x20 to 0x7E gets through, in no format`() {
        let all = [LogField("user", Array(0...255))]
        let lines = [
            LogLine.text([0x78], "event", all),
            LogLine.json([0x78], .info, "event", all, milliseconds: 0).dropLast(),
        ]
        for line in lines { #expect(line.allSatisfy { (0x20...0x7E).contains($0) }) }
    }

    @Test func `a JSON line keeps numbers and escapes strings`() {
        let line = LogLine.json(
            [UInt8]("imapd".utf8), .warn, "auth failed",
            [LogField("user", "a\"\\\n"), LogField("uid", 7)], milliseconds: 1_769_903_999_123)
        #expect(
            String(decoding: line, as: UTF8.self)
                == #"{"time":"2026-01-31T23:59:59.123Z","level":"warn","program":"imapd","#
                + #""event":"auth failed","user":"a\"\\\u000a","uid":7}"# + "\n")
    }

    @Test(arguments: [
        (UInt64(0), "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
    ])
    func `timestamps are RFC 3339`(milliseconds: UInt64, expected: String) {
        #expect(String(decoding: LogLine.timestamp(milliseconds), as: UTF8.self) == expected)
    }

    @Test func `journal fields are upper case and values stay raw`() {
        let fields = LogLine.journalFields(
            [UInt8]("smtpd".utf8), .error, "refused",
            [LogField("rip", "::1"), LogField("reply", [0x35, 0x0A, 0xFF])])
        #expect(
            fields == [
                [UInt8]("MESSAGE=refused: rip=::1 reply=5\\x0a\\xff".utf8),
                [UInt8]("PRIORITY=3".utf8),
                [UInt8]("SYSLOG_IDENTIFIER=smtpd".utf8),
                [UInt8]("MAIL_EVENT=refused".utf8),
                [UInt8]("MAIL_RIP=::1".utf8),
                [UInt8]("MAIL_REPLY=5".utf8) + [0x0A, 0xFF],
            ])
    }

    @Test func `fields of a level that is off are not even made`() {
        Log.start(program: "test", format: .text, level: .warn)
        var made = 0
        func fields() -> [LogField] {
            made += 1
            return []
        }
        Log.info("event", fields())
        Log.debug("event", fields())
        #expect(made == 0)
        #expect(Log.isEnabled(.error))
        #expect(!Log.isEnabled(.info))
    }
}
