// SPDX-License-Identifier: Apache-2.0
//
// Reports of success, RFC 3464.

import Bytes
import MIME
import Mail
import Testing

private func address(_ local: String) -> EmailAddress {
    EmailAddress(local: Array(local), domain: Array("example.test"))
}

private func report(_ recipients: [DeliveryReport.Recipient], header: String) -> DeliveryReport {
    DeliveryReport(
        host: Array("mx.example.test"), id: TraceID(rawValue: 1), sender: address("alice"),
        recipients: recipients, envelopeID: Array("QQ 314"), header: crlf(header),
        secondsSince1970: 1_763_720_430)
}

@Suite("Delivery reports, RFC 3464")
struct DeliveryReportTests {
    @Test func `a report has its three parts and says what RFC 3464 wants`() throws {
        let original = OriginalRecipient(type: Array("rfc822"), address: Array("Bob@old.test"))
        let message = report(
            [
                DeliveryReport.Recipient(address("bob"), original: original),
                DeliveryReport.Recipient(address("carol d"), original: nil),
            ], header: "Subject: x\nTo: bob\n\n"
        ).message
        let octets = message.span
        let structure = MessageStructure(octets)
        #expect(structure.parts.count == 4)
        let types = structure.parts.map { part in
            part.contentType.map { text(message[$0]).prefix { $0 != ";" } } ?? ""
        }
        #expect(
            types.map { $0.trimming() } == [
                "multipart/report", "text/plain", "message/delivery-status", "text/rfc822-headers",
            ])
        #expect(
            text(message[structure.parts[2].body]) == """
                Reporting-MTA: dns; mx.example.test\r
                Original-Envelope-Id: QQ 314\r
                Arrival-Date: Fri, 21 Nov 2025 10:20:30 +0000\r
                \r
                Original-Recipient: rfc822; Bob@old.test\r
                Final-Recipient: rfc822; bob@example.test\r
                Action: delivered\r
                Status: 2.0.0\r
                \r
                Final-Recipient: rfc822; "carol d"@example.test\r
                Action: delivered\r
                Status: 2.0.0\r\n
                """)
        #expect(text(message[structure.parts[3].body]) == "Subject: x\r\nTo: bob\r\n")
        let names = fields(message).map { $0[0] }
        for name in ["Return-Path", "Date", "From", "To", "Message-ID", "Auto-Submitted"] {
            #expect(names.filter { $0 == name }.count == 1, "\(name)")
        }
    }

    @Test func `a recipient in UTF-8 makes it an international report`() {
        let message = text(
            report(
                [DeliveryReport.Recipient(address("jos\u{e9}"), original: nil)],
                header: "Subject: caf\u{e9}\n\n"
            ).message)
        #expect(message.contains("Content-Type: message/global-delivery-status\r\n"))
        #expect(message.contains("Final-Recipient: utf-8; jos\u{e9}@example.test\r\n"))
        #expect(message.contains("Content-Type: message/global-headers\r\n"))
    }

    @Test func `a very long header comes back in part, in whole lines`() {
        let line = "X-Long: " + String(repeating: "y", count: 90) + "\n"
        let message = report([], header: String(repeating: line, count: 2_000) + "\n").message
        #expect(message.count < 70_000)
        #expect(text(message).contains("yyy\r\n\r\n--=_report_"))
    }
}

extension Substring {
    fileprivate func trimming() -> String {
        String(self.drop { $0 == " " })
    }
}
