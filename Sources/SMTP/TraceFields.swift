// SPDX-License-Identifier: Apache-2.0
//
// The fields that go in front of a message: Return-Path and Received (RFC 5321 §4.4; the word
// behind "with" is RFC 3848's and RFC 6531 §4.3's), what the envelope asked for, and for submissions
// Date and Message-ID (RFC 6409 §8.2, §8.3).

import Bytes
import Mail

/// What Received says about one message.
package struct TraceFields: Equatable, Sendable {
    /// The EHLO name; nil hides where the message came from.
    package var clientName: [UInt8]?
    /// The address as text: `203.0.113.5`, `2001:db8::1`, `unix`.
    package var clientAddress: [UInt8]
    package var hostname: [UInt8]
    package var isExtended: Bool
    package var isInternational: Bool
    package var isAuthenticated: Bool
    /// `TLSv1.3`, nil in clear.
    package var tlsVersion: [UInt8]?
    package var id: TraceID
    /// Named only when the message has a single recipient, so that nobody learns of the others.
    package var recipient: EmailAddress?
    /// MT-PRIORITY (RFC 6710 §3): nil if none was given.
    package var priority: Int8?
    package var secondsSince1970: Int64

    package init(
        clientName: [UInt8]?, clientAddress: [UInt8], hostname: [UInt8], isExtended: Bool,
        isInternational: Bool, isAuthenticated: Bool, tlsVersion: [UInt8]?, id: TraceID,
        recipient: EmailAddress?, secondsSince1970: Int64
    ) {
        self.clientName = clientName
        self.clientAddress = clientAddress
        self.hostname = hostname
        self.isExtended = isExtended
        self.isInternational = isInternational
        self.isAuthenticated = isAuthenticated
        self.tlsVersion = tlsVersion
        self.id = id
        self.recipient = recipient
        self.secondsSince1970 = secondsSince1970
    }

    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPSA`, `UTF8SMTPSA`, ...
    package var transmission: String {
        guard isExtended else { return "SMTP" }
        return (isInternational ? "UTF8SMTP" : "ESMTP") + (tlsVersion == nil ? "" : "S")
            + (isAuthenticated ? "A" : "")
    }

    /// `Return-Path: <...>` CRLF.
    package static func returnPath(_ path: ReversePath) -> [UInt8] {
        Array("Return-Path: ") + path.bracketed + [.cr, .lf]
    }

    /// What the envelope asked for, kept with the message for whoever has it later: the parameters
    /// as SMTP spells them, one on each line. Empty if there is nothing to keep. What was asked for
    /// a recipient is only there when the message has a single one, as in `for`.
    package static func envelope(
        _ terms: EnvelopeTerms, _ recipients: [RecipientTerms]
    ) -> [UInt8] {
        let recipient = recipients.count == 1 ? recipients[0] : RecipientTerms()
        guard !terms.isPlain || !recipient.isPlain else { return [] }
        var field = Array("X-Martlet-Envelope:")
        for (number, parameter) in (terms.parameters + recipient.parameters).enumerated() {
            field += number == 0 ? [.space] : [.cr, .lf, .tab]
            field += parameter
        }
        field += [.cr, .lf]
        if let original = recipient.original {
            // RFC 8098 §2.3: for the reader's program, when it reports that it was read.
            field += Array("Original-Recipient: ") + original.type + [0x3B] + original.address
            field += [.cr, .lf]
        }
        return field
    }

    /// The Received field, folded, with its CRLF.
    package var received: [UInt8] {
        var text = Array("Received: from ")
        if let clientName {
            text += Self.harmless(clientName)
            text.append(" (")
            text += clientAddress.contains(0x3A) ? Array("[IPv6:") : Array("[")
            text += Self.harmless(clientAddress)
            text.append("])")
        } else {
            text.append("submission (address withheld)")
        }
        text.append("\r\n\tby ")
        text += hostname
        text.append(" (Martlet) with \(transmission)")
        if let tlsVersion { text.append(" (\(String(decoding: tlsVersion, as: UTF8.self)))") }
        text.append("\r\n\tid \(id)")
        if let recipient {
            text.append("\r\n\tfor <")
            text += recipient.quoted
            text.append(">")
        }
        if let priority { text.append("\r\n\tPRIORITY \(priority)") }
        text.append(";\r\n\t")
        text += DateText.octets(secondsSince1970)
        return text + [.cr, .lf]
    }

    /// The client's claim with everything replaced that could close a comment or start another.
    private static func harmless(_ claim: [UInt8]) -> [UInt8] {
        claim.map { octet in
            let isPlain =
                octet.isASCIILetter || octet.isASCIIDigit || octet == 0x2D
                || octet == 0x2E || octet == 0x3A || octet == 0x5B || octet == 0x5D || octet == 0x5F
            return isPlain ? octet : 0x3F
        }
    }
}
