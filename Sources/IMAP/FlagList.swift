// SPDX-License-Identifier: Apache-2.0
//
// Flags by name: as clients write them (RFC 3501 §2.3.2) and as they are shown to clients.

import Bytes
import Mail

/// Flags of a STORE or APPEND while they are read.
package struct FlagList: Equatable, Sendable {
    /// Octets of one keyword.
    package static let keywordLength = 128

    package private(set) var flags = NamedFlags()

    package init() {}

    mutating func insert(system name: [UInt8]) throws(CommandError) {
        switch String(decoding: name, as: UTF8.self) {
        case "seen": flags.system.insert(.seen)
        case "answered": flags.system.insert(.answered)
        case "flagged": flags.system.insert(.flagged)
        case "deleted": flags.system.insert(.deleted)
        case "draft": flags.system.insert(.draft)
        case "recent": break  // §2.3.2: clients cannot alter it; mbsync and others copy it along
        default: throw .badFlag
        }
    }

    mutating func insert(keyword: [UInt8]) throws(CommandError) {
        guard keyword.count <= Self.keywordLength, keyword.allSatisfy({ $0 < 0x80 }) else {
            throw .badFlag
        }
        guard !flags.keywords.contains(where: { $0.equalsIgnoringASCIICase(keyword) }) else {
            return
        }
        guard flags.keywords.count < Flags.keywordLimit else { throw .tooComplex }
        flags.keywords.append(keyword)
    }
}

extension Flags {
    /// `\Recent`: lives in views only, never in the store. RFC 3501 §2.3.2.
    package static let recent = Flags(rawValue: 1 << 63)

    /// The bit of the keyword called `name`, whatever its case; nil if the folder has none.
    package static func keyword(named name: [UInt8], in table: [[UInt8]]) -> Flags? {
        for (number, known) in table.enumerated() where known.equalsIgnoringASCIICase(name) {
            return .keyword(number)
        }
        return nil
    }

    /// Appends the names, separated by spaces, without parentheses.
    package func appendNames(keywords table: [[UInt8]], to octets: inout [UInt8]) {
        var isFirst = true
        func next() {
            if !isFirst { octets.append(.space) }
            isFirst = false
        }
        for (flag, name) in Self.systemNames where contains(flag) {
            next()
            octets.append(name)
        }
        guard rawValue >> UInt64(Self.firstKeywordBit) != 0 else { return }
        for (number, name) in table.enumerated() where contains(.keyword(number)) {
            next()
            octets.append(contentsOf: name)
        }
    }

    /// In the order in which they are shown.
    private static let systemNames: [(Flags, String)] = [
        (.answered, "\\Answered"), (.flagged, "\\Flagged"), (.deleted, "\\Deleted"),
        (.seen, "\\Seen"), (.draft, "\\Draft"), (.recent, "\\Recent"),
    ]
}
