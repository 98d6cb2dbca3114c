// SPDX-License-Identifier: Apache-2.0
//
// Addresses as the protocols carry them. RFC 5321 §4.1.2, RFC 6531 §3.3. Octets, never String:
// two different UTF-8 spellings are two different addresses.

import Bytes

/// A mailbox address: local-part and domain, without quoting.
package struct EmailAddress: Hashable, Sendable {
    /// The local-part with quotes and backslashes already removed; case is kept.
    package let local: [UInt8]
    /// The domain in lower case (ASCII letters only), or an address literal with its brackets.
    package let domain: [UInt8]

    package init(local: [UInt8], domain: [UInt8]) {
        self.local = local
        self.domain = domain.asciiLowercased
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
