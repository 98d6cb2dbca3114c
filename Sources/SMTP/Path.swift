// SPDX-License-Identifier: Apache-2.0
//
// Reverse and forward paths. RFC 5321 §4.1.2, §4.1.3, §4.5.3.1.1 to .3; RFC 6531 §3.3. Source
// routes are read and ignored (RFC 5321 §4.1.1.3, Appendix C): only the mailbox counts.

import Bytes
import IDNA
import Mail

/// What stands between `<` and `>`.
package enum Path: Equatable, Sendable {
    /// `<>`
    case null
    /// `<Postmaster>`, any case, no domain.
    case postmaster
    case address(EmailAddress)

    package static let localLimit = 64
    package static let domainLimit = 255
    /// With brackets and punctuation.
    package static let octetLimit = 256

    /// True if it may only be used under SMTPUTF8; a domain that was not ASCII is now.
    package var isInternational: Bool {
        guard case .address(let address) = self else { return false }
        return address.local.contains { $0 >= 0x80 }
    }
}

extension Cursor {
    /// Consumes a path with its brackets; nil if it is not one. UTF-8 must have been validated.
    mutating func path() -> Path? {
        let start = offset
        guard take(0x3C) else { return nil }
        if take(0x3E) { return .null }
        if next == 0x40 { guard skipSourceRoute() else { return nil } }
        guard let local = localPart() else { return nil }
        if take(0x3E) {
            // Quoted or not, only this one name stands without a domain.
            guard local.equalsIgnoringASCIICase(Array("postmaster")) else { return nil }
            return .postmaster
        }
        guard take(0x40), let domain = next == 0x5B ? addressLiteral() : domain(), take(0x3E),
            offset - start <= Path.octetLimit
        else { return nil }
        return .address(EmailAddress(local: local, domain: domain))
    }

    /// `"@" Domain *( "," "@" Domain ) ":"`
    private mutating func skipSourceRoute() -> Bool {
        repeat {
            guard take(0x40), domain() != nil else { return false }
        } while take(0x2C)
        return take(0x3A)
    }

    /// Dot-string or Quoted-string, without its quoting.
    private mutating func localPart() -> [UInt8]? {
        if next == 0x22 { return quotedString() }
        let local = take { $0.isAtomText || $0 == 0x2E }
        guard (1...Path.localLimit).contains(local.count), local.first != 0x2E,
            local.last != 0x2E, !local.hasTwoDots
        else { return nil }
        return local
    }

    private mutating func quotedString() -> [UInt8]? {
        guard take(0x22) else { return nil }
        var local: [UInt8] = []
        while let octet = takeOctet() {
            switch octet {
            case 0x22:
                return local.isEmpty ? nil : local
            case 0x5C:
                guard let escaped = takeOctet(), (0x20...0x7E).contains(escaped) else { return nil }
                local.append(escaped)
            default:
                guard octet >= 0x20, octet != 0x7F else { return nil }
                local.append(octet)
            }
            guard local.count <= Path.localLimit else { return nil }
        }
        return nil
    }

    /// Labels of letters, digits, hyphens, underscores (not RFC, but in use) and UTF-8 (U-labels:
    /// they become A-labels).
    private mutating func domain() -> [UInt8]? {
        let domain = take {
            $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
                || $0 >= 0x80
        }
        guard (1...Path.domainLimit).contains(domain.count) else { return nil }
        for label in domain.split(separator: 0x2E, omittingEmptySubsequences: false) {
            guard (1...63).contains(label.count), label.first != 0x2D, label.last != 0x2D else {
                return nil
            }
        }
        return DomainName.ascii(domain)
    }

    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`, §4.1.3.
    private mutating func addressLiteral() -> [UInt8]? {
        let start = offset
        guard take(0x5B) else { return nil }
        if take("IPv6:") {
            let text = take { $0.isHexDigit || $0 == 0x3A || $0 == 0x2E }
            guard isIPv6(text) else { return nil }
        } else {
            guard isIPv4(take { $0.isASCIIDigit || $0 == 0x2E }[...]) else { return nil }
        }
        guard take(0x5D) else { return nil }
        return copy(start..<offset)
    }
}

/// Four numbers from 0 to 255 with dots between them.
func isIPv4(_ text: ArraySlice<UInt8>) -> Bool {
    let parts = text.split(separator: 0x2E, maxSplits: 4, omittingEmptySubsequences: false)
    return parts.count == 4
        && parts.allSatisfy { part in
            (1...3).contains(part.count) && part.allSatisfy(\.isASCIIDigit)
                && part.reduce(0) { $0 * 10 + Int($1 - 0x30) } <= 255
        }
}

/// Eight groups of hexadecimal digits, or fewer with one `::`; the last two may be an IPv4 address.
func isIPv6(_ text: [UInt8]) -> Bool {
    guard (2...45).contains(text.count) else { return false }
    var groups = 0
    var gaps = 0
    var parts = text.split(separator: 0x3A, maxSplits: 9, omittingEmptySubsequences: false)
    guard (3...9).contains(parts.count) else { return false }
    // `::` at an end makes two empty parts there: drop the outer one.
    if parts[0].isEmpty {
        guard parts[1].isEmpty else { return false }
        parts.removeFirst()
    }
    if parts.count > 1, parts[parts.count - 1].isEmpty {
        guard parts[parts.count - 2].isEmpty else { return false }
        parts.removeLast()
    }
    for (number, part) in parts.enumerated() {
        if part.isEmpty {
            gaps += 1
        } else if part.contains(0x2E) {
            guard number == parts.count - 1, isIPv4(part) else { return false }
            groups += 2
        } else {
            guard part.count <= 4 else { return false }
            groups += 1
        }
    }
    return gaps == 0 ? groups == 8 : gaps == 1 && groups <= 7
}

extension UInt8 {
    var isHexDigit: Bool { isASCIIDigit || (self | 0x20) &- 0x61 < 6 }
}
