// SPDX-License-Identifier: Apache-2.0
//
// Aliases of other servers: aliases(5) of Sendmail and Postfix (`name: target, target`) and
// virtual(5) of Postfix (`address target, target`), told apart line by line.

import Bytes
import Mail

/// What such a file says, and what of it is not for us.
struct AliasFile {
    struct Entry {
        var line: Int
        var alias: Alias
    }

    private(set) var entries: [Entry] = []
    private(set) var problems: [(line: Int, text: String)] = []
    private let domain: [UInt8]

    /// - Parameter domain: of names without one; empty: such names are problems.
    init(_ octets: [UInt8], domain: [UInt8]) {
        self.domain = domain
        for (number, line) in Self.logicalLines(octets) { read(line, number) }
        join()
    }

    /// A line that begins with a blank goes on with the one before.
    private static func logicalLines(_ octets: [UInt8]) -> [(Int, [UInt8])] {
        var lines: [(Int, [UInt8])] = []
        for (index, raw) in octets.split(separator: 0x0A, omittingEmptySubsequences: false)
            .enumerated()
        {
            var line = Array(raw)
            while let last = line.last, last <= 0x20 { line.removeLast() }
            let text = line.drop { $0 <= 0x20 }
            guard let first = text.first, first != 0x23 else { continue }
            if line[0] <= 0x20, !lines.isEmpty {
                lines[lines.count - 1].1 += [0x20] + text
            } else {
                lines.append((index + 1, Array(text)))
            }
        }
        return lines
    }

    private mutating func read(_ line: [UInt8], _ number: Int) {
        var words = Self.words(line)
        guard !words.isEmpty else { return }
        var name = words.removeFirst()
        if words.first?.isColon == true { words.removeFirst() }
        if name.text.last == 0x3A, !name.isQuoted { name.text.removeLast() }
        // `example.org anything` only says that virtual(5) has addresses of that domain.
        if !name.isQuoted, !name.text.contains(0x40), name.text.contains(0x2E), words.count == 1,
            !words[0].text.contains(0x40)
        {
            return
        }
        guard let address = address(name.text, rest: true) else {
            problems.append((number, "`\(Self.text(name.text))` is not an address of ours"))
            return
        }
        var targets: [EmailAddress] = []
        for word in words {
            guard let target = target(word, number, of: address) else { return }
            targets.append(target)
        }
        guard !targets.isEmpty else {
            problems.append((number, "`\(Self.text(name.text))` leads nowhere"))
            return
        }
        entries.append(Entry(line: number, alias: Alias(address: address, targets: targets)))
    }

    private mutating func target(
        _ word: Word, _ number: Int, of address: EmailAddress
    ) -> EmailAddress? {
        let text = word.text
        if text.first == 0x7C || text.first == 0x2F || text.starts(with: Array(":include:".utf8)) {
            problems.append(
                (number, "`\(Self.text(text))`: programs, files and lists are no targets here"))
            return nil
        }
        if text.first == 0x40 {
            problems.append(
                (number, "`\(Self.text(text))`: use mailctl domain alias for a whole domain"))
            return nil
        }
        // A backslash keeps Sendmail from looking for more aliases.
        let plain = text.first == 0x5C ? Array(text.dropFirst()) : text
        guard let target = self.address(plain, rest: false) else {
            problems.append((number, "`\(Self.text(text))` is not an address"))
            return nil
        }
        return target
    }

    private func address(_ text: [UInt8], rest: Bool) -> EmailAddress? {
        if text.first == 0x40 {
            return rest && text.count > 1
                ? EmailAddress(local: [], domain: Array(text.dropFirst())) : nil
        }
        guard !text.isEmpty, text.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        if text.contains(0x40) { return EmailAddress(splitting: text).map(Self.lowered) }
        return domain.isEmpty
            ? nil : Self.lowered(EmailAddress(local: text, domain: domain))
    }

    private static func lowered(_ address: EmailAddress) -> EmailAddress {
        EmailAddress(local: address.local.asciiLowercased, domain: address.domain)
    }

    /// The same name twice is one alias.
    private mutating func join() {
        var places: [EmailAddress: Int] = [:]
        var joined: [Entry] = []
        for entry in entries {
            if let place = places[entry.alias.address] {
                joined[place].alias.targets += entry.alias.targets
            } else {
                places[entry.alias.address] = joined.count
                joined.append(entry)
            }
        }
        entries = joined
    }

    // MARK: - Words

    private struct Word {
        var text: [UInt8]
        var isQuoted = false
        var isColon: Bool { !isQuoted && text == [0x3A] }
    }

    /// Words between blanks and commas; quotes keep blanks together. A comment ends the line only
    /// at its beginning, as in both manuals.
    private static func words(_ line: [UInt8]) -> [Word] {
        var words: [Word] = []
        var word = Word(text: [])
        var isQuoting = false
        func isEmpty(_ word: Word) -> Bool { word.text.isEmpty && !word.isQuoted }
        var index = 0
        while index < line.count {
            let octet = line[index]
            index += 1
            if isQuoting {
                if octet == 0x22 {
                    isQuoting = false
                } else if octet == 0x5C, index < line.count {
                    word.text.append(line[index])
                    index += 1
                } else {
                    word.text.append(octet)
                }
            } else if octet == 0x22 {
                isQuoting = true
                word.isQuoted = true
            } else if octet <= 0x20 || octet == 0x2C {
                if !isEmpty(word) { words.append(word) }
                word = Word(text: [])
            } else if octet == 0x3A, words.isEmpty, !word.text.isEmpty {
                words.append(word)
                word = Word(text: [])
            } else {
                word.text.append(octet)
            }
        }
        if !isEmpty(word) { words.append(word) }
        return words
    }

    private static func text(_ octets: [UInt8]) -> String {
        String(decoding: octets, as: UTF8.self)
    }
}
