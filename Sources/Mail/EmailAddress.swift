// SPDX-License-Identifier: Apache-2.0
//
// Addresses as the protocols carry them. RFC 5321 §4.1.2, RFC 6531 §3.3. Octets, never String:
// two different UTF-8 spellings of a local-part are two different addresses.

import Bytes
import IDNA

/// A mailbox address: local-part and domain, without quoting.
package struct EmailAddress: Hashable, Sendable {
    /// The local-part with quotes and backslashes already removed; case is kept.
    package let local: [UInt8]
    /// The domain in its one spelling, lower case and A-labels (RFC 5890 §2.3.2.1), or an address
    /// literal with its brackets.
    package let domain: [UInt8]

    package init(local: [UInt8], domain: [UInt8]) {
        self.local = local
        self.domain = DomainName.canonical(domain)
    }

    /// `local@domain` without quoting: the key under which accounts are kept, and what logs show.
    package var octets: [UInt8] { local + [0x40] + domain }

    /// `local@domain` for logs and lists. Invalid UTF-8 is repaired, so never compare it.
    package var text: String { String(decoding: octets, as: UTF8.self) }

    /// Splits at the last `@`. Nil without one, or with an empty side.
    package init?(splitting address: [UInt8]) {
        guard let at = address.lastIndex(of: 0x40), at > 0, at < address.count - 1
        else { return nil }
        self.init(local: Array(address[..<at]), domain: Array(address[(at + 1)...]))
    }
}

/// The `MAIL FROM` path: nobody (reports), or an address. RFC 5321 §4.5.5.
package enum ReversePath: Hashable, Sendable {
    case null
    case address(EmailAddress)

    /// Without angle brackets; empty for the null path.
    package var octets: [UInt8] {
        switch self {
        case .null: []
        case .address(let address): address.octets
        }
    }
}

extension UInt8 {
    /// `atext` of RFC 5321 §4.1.2 and RFC 6531 §3.3.
    package var isAtomText: Bool {
        if isASCIILetter || isASCIIDigit || self >= 0x80 { return true }
        switch self {
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2F, 0x3D, 0x3F, 0x5E...0x60, 0x7B...0x7E:
            return true
        default: return false
        }
    }
}

extension [UInt8] {
    package var hasTwoDots: Bool {
        for index in indices.dropFirst() where self[index] == 0x2E && self[index - 1] == 0x2E {
            return true
        }
        return false
    }
}

extension EmailAddress {
    /// `local@domain` with the local-part quoted where it must be: for header fields and paths.
    package var quoted: [UInt8] {
        let isDotString =
            !local.isEmpty && local.first != 0x2E && local.last != 0x2E
            && !local.hasTwoDots && local.allSatisfy { $0.isAtomText || $0 == 0x2E }
        if isDotString { return octets }
        var text: [UInt8] = [0x22]
        for octet in local {
            if octet == 0x22 || octet == 0x5C { text.append(0x5C) }
            text.append(octet)
        }
        return text + [0x22, 0x40] + domain
    }
}

extension ReversePath {
    /// With angle brackets.
    package var bracketed: [UInt8] {
        switch self {
        case .null: [0x3C, 0x3E]
        case .address(let address): [0x3C] + address.quoted + [0x3E]
        }
    }
}
