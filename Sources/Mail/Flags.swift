// SPDX-License-Identifier: Apache-2.0
//
// Message flags as one word. RFC 9051 §2.3.2; keyword letters as in Dovecot's Maildir.

/// System flags in the low bits, keywords of the folder's table above them.
package struct Flags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let seen = Flags(rawValue: 1 << 0)  // S
    package static let answered = Flags(rawValue: 1 << 1)  // R
    package static let flagged = Flags(rawValue: 1 << 2)  // F
    package static let deleted = Flags(rawValue: 1 << 3)  // T
    package static let draft = Flags(rawValue: 1 << 4)  // D
    /// All flags that a file name can carry without a table.
    package static let system: Flags = [.seen, .answered, .flagged, .deleted, .draft]

    /// Bit of keyword number 0.
    package static let firstKeywordBit = 8
    /// Keywords a folder can have: the letters a to z of a Maildir file name.
    package static let keywordLimit = 26

    /// Keyword `number` of the folder's table (0 is letter a).
    package static func keyword(_ number: Int) -> Flags {
        Flags(rawValue: 1 << UInt64(firstKeywordBit + number))
    }

    package var keywords: Flags { subtracting(.system) }
}
