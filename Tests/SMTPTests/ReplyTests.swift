// SPDX-License-Identifier: Apache-2.0
//
// Replies, trace fields, dates and the header scanner.

import Bytes
import Mail
import SMTP
import Testing

@Suite("Replies, RFC 5321 §4.2")
struct ReplyTests {
    @Test func `one line has a space behind the code`() {
        #expect(Reply.senderOK.octets == Array("250 2.1.0 OK\r\n"))
        #expect(
            Reply.startMail.octets
                == Array("354 Start mail input; end with <CRLF>.<CRLF>\r\n"))
        #expect(Reply.bye.octets == Array("221 2.0.0 Bye\r\n"))
    }

    @Test func `several lines have hyphens and the status in each`() {
        let reply = Reply(214, EnhancedStatus(2, 0, 0), lines: [Array("a"), Array("b")])
        #expect(reply.octets == Array("214-2.0.0 a\r\n214 2.0.0 b\r\n"))
        #expect(reply.summary == Array("214-2.0.0 a"))
    }

    @Test func `no text can end a line`() {
        let reply = Reply(550, nil, lines: [Array("a\r\n250 b\0")])
        #expect(reply.octets == Array("550 a??250 b?\r\n"))
    }

    @Test func `classes are told apart`() {
        #expect(Reply.ok.isPositive && !Reply.ok.isTemporary)
        #expect(Reply.tooManyRecipients.isTemporary && !Reply.tooManyRecipients.isPositive)
        #expect(!Reply.tooLarge.isTemporary && !Reply.tooLarge.isPositive)
    }
}

@Suite("Trace fields, RFC 5321 §4.4")
struct TraceFieldsTests {
    private let fields = TraceFields(
        clientName: Array("mx.test"), clientAddress: Array("203.0.113.5"),
        hostname: Array("mail.example.test"), isExtended: true, isInternational: false,
        isAuthenticated: false, tlsVersion: nil, id: TraceID(rawValue: 1), recipient: alice,
        secondsSince1970: 1_763_719_230)

    @Test func `Received names client, server, protocol, id, recipient and time`() {
        #expect(
            String(decoding: fields.received, as: UTF8.self) == """
                Received: from mx.test ([203.0.113.5])\r
                \tby mail.example.test (Martlet) with ESMTP\r
                \tid 0000000000001\r
                \tfor <alice@example.test>;\r
                \tFri, 21 Nov 2025 10:00:30 +0000\r\n
                """)
    }

    @Test func `the protocol word follows RFC 3848 and RFC 6531`() {
        var fields = fields
        #expect(fields.transmission == "ESMTP")
        fields.tlsVersion = Array("TLSv1.3")
        #expect(fields.transmission == "ESMTPS")
        fields.isAuthenticated = true
        #expect(fields.transmission == "ESMTPSA")
        fields.isInternational = true
        #expect(fields.transmission == "UTF8SMTPSA")
        fields.isExtended = false
        #expect(fields.transmission == "SMTP")
    }

    @Test func `a claimed name cannot leave its place`() {
        var fields = fields
        fields.clientName = Array("x)\r\nEvil: (y;")
        fields.clientAddress = Array("2001:db8::1")
        let text = String(decoding: fields.received, as: UTF8.self)
        #expect(text.hasPrefix("Received: from x???Evil:??y? ([IPv6:2001:db8::1])\r\n\tby "))
    }

    @Test func `a withheld address appears nowhere`() {
        var fields = fields
        fields.clientName = nil
        let text = String(decoding: fields.received, as: UTF8.self)
        #expect(!text.contains("203.0.113.5") && !text.contains("mx.test"))
    }

    @Test func `Return-Path has the path in brackets`() {
        #expect(TraceFields.returnPath(.null) == Array("Return-Path: <>\r\n"))
        #expect(
            TraceFields.returnPath(.address(alice))
                == Array("Return-Path: <alice@example.test>\r\n"))
    }

    @Test(arguments: [
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 +0000"),
        (951_868_800, "Wed, 1 Mar 2000 00:00:00 +0000"),
        (1_704_067_199, "Sun, 31 Dec 2023 23:59:59 +0000"),
        (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 +0000"),
        (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
    ])
    func `dates are right around leap days and centuries`(seconds: Int64, text: String) {
        #expect(DateText.octets(seconds) == Array(text))
    }
}

@Suite("Header scanner")
struct HeaderScannerTests {
    private struct Facts: Equatable {
        var hops = 0
        var hasDate = false
        var hasMessageID = false
        var hasHeader = true
    }

    private func scan(_ pieces: [[UInt8]]) -> Facts {
        var scanner = HeaderScanner()
        for piece in pieces { scanner.scan(piece.span) }
        scanner.finish()
        return Facts(
            hops: scanner.hops, hasDate: scanner.hasDate, hasMessageID: scanner.hasMessageID,
            hasHeader: scanner.hasHeader)
    }

    private static let table: [(String, Int, Bool, Bool, Bool)] = [
        ("", 0, false, false, true), ("\r\nReceived: x\r\n", 0, false, false, true),
        ("Received: a\r\nreceived:b\r\n\r\nReceived: c\r\n", 2, false, false, true),
        ("DATE: a\r\nMessage-Id: <b>\r\n\r\n", 0, true, true, true),
        ("Subject: a\r\n Date: b\r\n\tReceived: c\r\n\r\n", 0, false, false, true),
        ("Subject: Date: b\r\nX-Date: c\r\nDates: d\r\n\r\n", 0, false, false, true),
        ("A-Very-Long-Field-Name-Indeed: x\r\nDate: y\r\n", 0, true, false, true),
        ("hello\r\n\r\nDate: x\r\n", 0, false, false, false),
        ("hello world: x\r\nDate: x\r\n", 0, false, false, false),
        (" Date: x\r\n", 0, false, false, false), (": x\r\n", 0, false, false, false),
        ("no line end", 0, false, false, false), ("Date: no line end", 0, true, false, true),
        ("Subject: x\r\nno field\r\nDate: y\r\n\r\n", 0, true, false, true),
        ("Received\r\n", 0, false, false, false), ("\u{e9}: x\r\n", 0, false, false, false),
    ]

    @Test(arguments: table.indices)
    func `fields are found in the header only, in any cut`(row: Int) {
        let (text, hops, hasDate, hasMessageID, hasHeader) = Self.table[row]
        let expected = Facts(
            hops: hops, hasDate: hasDate, hasMessageID: hasMessageID, hasHeader: hasHeader)
        let octets = Array(text)
        #expect(scan([octets]) == expected)
        for cut in 0...octets.count {
            #expect(scan([Array(octets[..<cut]), Array(octets[cut...])]) == expected)
        }
        #expect(scan(octets.map { [$0] }) == expected)
    }
}
