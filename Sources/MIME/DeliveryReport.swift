// SPDX-License-Identifier: Apache-2.0
//
// Reports of delivery for the sender of a message. RFC 3461 §5.2.2 and §6, RFC 6522
// (multipart/report), RFC 3464 (delivery-status), RFC 6533 (the international forms), RFC 3834.

import Bytes
import Mail

/// Says that a message was delivered. Pure: the caller brings time and ids.
package struct DeliveryReport: Sendable {
    package struct Recipient: Sendable {
        package var address: EmailAddress
        package var original: OriginalRecipient?

        package init(_ address: EmailAddress, original: OriginalRecipient?) {
            self.address = address
            self.original = original
        }
    }

    /// Octets of the original's header that come back.
    private static let headerLimit = 64 << 10

    /// Who says so.
    package var host: [UInt8]
    package var id: TraceID
    package var sender: EmailAddress
    package var recipients: [Recipient]
    /// What the sender called the message (ENVID).
    package var envelopeID: [UInt8]?
    /// The original's header, with or without the empty line behind it; lines end in CRLF.
    package var header: [UInt8]
    package var secondsSince1970: Int64

    package init(
        host: [UInt8], id: TraceID, sender: EmailAddress, recipients: [Recipient],
        envelopeID: [UInt8]?, header: [UInt8], secondsSince1970: Int64
    ) {
        self.host = host
        self.id = id
        self.sender = sender
        self.recipients = recipients
        self.envelopeID = envelopeID
        self.header = header
        self.secondsSince1970 = secondsSince1970
    }

    /// The whole message, Return-Path in front.
    package var message: [UInt8] {
        let date = DateText.octets(secondsSince1970)
        let isInternational = recipients.contains { recipient in
            Self.isInternational(recipient.address.local)
                || Self.isInternational(recipient.original?.address ?? [])
        }
        let boundary = Array("=_report_\(id)")
        var text = Array("Return-Path: <>\r\nDate: ") + date
        text += Array("\r\nFrom: Mail Delivery System <MAILER-DAEMON@") + host
        text += Array(">\r\nTo: <") + sender.quoted
        text += Array(">\r\nSubject: Successful Mail Delivery Report\r\nMessage-ID: <\(id)@") + host
        text += Array(">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type:")
        text += Array(" multipart/report; report-type=delivery-status;\r\n\tboundary=\"")
        text += boundary + Array("\"\r\n\r\n--") + boundary
        text += Array("\r\nContent-Type: text/plain; charset=utf-8\r\n")
        text += Self.encoding(isInternational) + Array("\r\n")
        text += Array("Your message was delivered to:\r\n\r\n")
        for recipient in recipients { text += Array("  ") + recipient.address.quoted + [.cr, .lf] }
        text += Array("\r\n--") + boundary + Array("\r\nContent-Type: message/")
        text += Array(isInternational ? "global-delivery-status" : "delivery-status")
        text += Array("\r\n") + Self.encoding(isInternational) + Array("\r\n")
        text += Array("Reporting-MTA: dns; ") + host + [.cr, .lf]
        if let envelopeID { text += Array("Original-Envelope-Id: ") + envelopeID + [.cr, .lf] }
        text += Array("Arrival-Date: ") + date + [.cr, .lf]
        for recipient in recipients { text += Self.status(recipient) }
        let front = frontOfHeader
        let isInternationalHeader = Self.isInternational(front)
        text += Array("\r\n--") + boundary + Array("\r\nContent-Type: ")
        text += Array(isInternationalHeader ? "message/global-headers" : "text/rfc822-headers")
        text += Array("\r\n") + Self.encoding(isInternationalHeader) + Array("\r\n")
        text += front
        return text + Array("\r\n--") + boundary + Array("--\r\n")
    }

    private static func isInternational(_ octets: [UInt8]) -> Bool {
        octets.contains { $0 >= 0x80 }
    }

    private static func encoding(_ isEightBit: Bool) -> [UInt8] {
        isEightBit ? Array("Content-Transfer-Encoding: 8bit\r\n") : []
    }

    /// The fields of one recipient (RFC 3464 §2.3), an empty line in front.
    private static func status(_ recipient: Recipient) -> [UInt8] {
        var text: [UInt8] = [.cr, .lf]
        if let original = recipient.original {
            text += Array("Original-Recipient: ") + original.type + Array("; ") + original.address
            text += [.cr, .lf]
        }
        let type = isInternational(recipient.address.local) ? "utf-8" : "rfc822"
        text += Array("Final-Recipient: \(type); ") + recipient.address.quoted
        return text + Array("\r\nAction: delivered\r\nStatus: 2.0.0\r\n")
    }

    /// Whole lines of the header, without the empty one.
    private var frontOfHeader: [UInt8] {
        let end = HeaderReader.bodyStart(header.span, in: 0..<header.count)
        var front = Array(header[..<end])
        while front.suffix(4).elementsEqual([.cr, .lf, .cr, .lf]) { front.removeLast(2) }
        guard front.count > Self.headerLimit else { return front }
        front.removeSubrange(Self.headerLimit...)
        let last = front.lastIndex(of: .lf) ?? -1
        return Array(front[...last])
    }
}
