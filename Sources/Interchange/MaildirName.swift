// SPDX-License-Identifier: Apache-2.0
//
// Names of message files in the Maildirs of other programs, and their keyword tables. maildir(5),
// Maildir++; Dovecot's `dovecot-keywords`.

import Bytes
import Mail

/// `1700000000.M1P2Q3.host,S=123:2,FSa` taken apart.
package struct MaildirName: Equatable, Sendable {
    private static let letters: [(letter: UInt8, flag: Flags)] = [
        (0x44, .draft), (0x46, .flagged), (0x52, .answered), (0x53, .seen), (0x54, .deleted),
    ]

    /// Up to the colon: what stays when flags change.
    package var base: [UInt8]
    package var system: Flags = []
    /// `a` is 0.
    package var keywordNumbers: [Int] = []

    /// Nil for a name that is no message: a dot in front, or nothing.
    package init?(_ name: [UInt8]) {
        guard let first = name.first, first != 0x2E else { return nil }
        // Some systems write `;` or `!` where `:` cannot be.
        let cut = name.indices.reversed().first { index in
            (name[index] == 0x3A || name[index] == 0x3B || name[index] == 0x21)
                && name[(index + 1)...].starts(with: Array("2,"))
        }
        base = Array(name[..<(cut ?? name.endIndex)])
        guard !base.isEmpty else { return nil }
        guard let cut else { return }
        for letter in name[(cut + 3)...] {
            if let known = Self.letters.first(where: { $0.letter == letter }) {
                system.insert(known.flag)
            } else if (0x61...0x7A).contains(letter) {
                keywordNumbers.append(Int(letter - 0x61))
            }
        }
    }

    /// - Parameter table: names by number.
    package func flags(_ table: [[UInt8]]) -> NamedFlags {
        var flags = NamedFlags(system: system)
        for number in keywordNumbers where table.indices.contains(number) {
            KeywordName.add(table[number], to: &flags)
        }
        return flags
    }

    /// Letters in ASCII order, as they stand behind `:2,`.
    package static func letters(_ flags: Flags) -> [UInt8] {
        var result = letters.filter { flags.contains($0.flag) }.map(\.letter)
        for number in 0..<Flags.keywordLimit where flags.contains(.keyword(number)) {
            result.append(0x61 + UInt8(number))
        }
        return result
    }
}

/// `dovecot-keywords`: lines of a number and a name.
package enum MaildirKeywords {
    package static let octetLimit = 64 << 10

    /// Names by number; empty where there is none.
    package static func parse(_ octets: [UInt8]) -> [[UInt8]] {
        var names: [[UInt8]] = []
        for line in octets.prefix(octetLimit).split(separator: .lf).prefix(256) {
            let words = line.split(separator: .space, maxSplits: 1)
            guard words.count == 2, let number = Int(String(decoding: words[0], as: UTF8.self)),
                (0..<Flags.keywordLimit).contains(number)
            else { continue }
            while names.count <= number { names.append([]) }
            names[number] = words[1].filter { $0 != .cr }
        }
        return names
    }

    package static func octets(_ names: [[UInt8]]) -> [UInt8] {
        var octets: [UInt8] = []
        for (number, name) in names.enumerated() where !name.isEmpty {
            octets.append("\(number) ")
            octets += name
            octets.append(.lf)
        }
        return octets
    }
}
