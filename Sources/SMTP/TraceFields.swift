// SPDX-License-Identifier: Apache-2.0
//
// The fields that go in front of a message: Return-Path and Received (RFC 5321 §4.4; the word
// behind "with" is RFC 3848's and RFC 6531 §4.3's), and for submissions Date and Message-ID
// (RFC 6409 §8.2, §8.3).

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
