// SPDX-License-Identifier: Apache-2.0
//
// IMAP URLs as CATENATE takes them: a message of this server, or a part of one. RFC 5092 §5 and §7,
// RFC 4469 §3, RFC 5550 §3.1 (URL-PARTIAL).

import Bytes

/// A message or a part of it.
package struct MessageURL: Equatable, Sendable {
    /// Octets of a URL.
    package static let limit = 4_096

    /// Nil: this server.
    package var host: [UInt8]?
    package var user: [UInt8]?
    /// UTF-8; nil: the selected one.
    package var mailbox: [UInt8]?
    package var uidValidity: UInt32?
    package var uid: UInt32
    package var section: Section
    package var partial: Section.Partial?

    /// Nil if it is none, or one that needs an authorization of its own (URLAUTH).
    package init?(_ octets: [UInt8]) {
        guard octets.count <= Self.limit, octets.allSatisfy({ $0 > .space && $0 < 0x7F }) else {
            return nil
        }
        var path = octets[...]
        if Self.take("imap://", from: &path) {
            let end = path.firstIndex(of: 0x2F) ?? path.endIndex
            guard let server = Self.server(path[..<end]) else { return nil }
            (user, host) = server
            path = path[end...]
        }
        // What is before `;UID=` names the mailbox.
        guard let mark = Self.find(";uid=", in: path) else { return nil }
        guard let box = Self.mailbox(path[..<mark], isRelative: host == nil) else { return nil }
        (mailbox, uidValidity) = box
        path = path[(mark + 5)...]
        guard let uid = Self.number(&path), uid > 0, uid <= UInt64(UInt32.max) else { return nil }
        self.uid = UInt32(uid)
        section = Section()
        if Self.take("/;section=", from: &path) {
            let end = Self.find("/;", in: path) ?? path.endIndex
            guard let text = Self.decode(path[..<end]), let found = Section(specification: text)
            else { return nil }
            section = found
            path = path[end...]
        }
        if Self.take("/;partial=", from: &path) {
            guard let start = Self.number(&path) else { return nil }
            var count = UInt64(UInt32.max)
            if path.first == 0x2E {
                path.removeFirst()
                guard let wanted = Self.number(&path), wanted > 0 else { return nil }
                count = wanted
            }
            partial = Section.Partial(start: start, count: count)
        }
        guard path.isEmpty else { return nil }
    }

    /// `user;AUTH=x@host:port`.
    private static func server(
        _ text: ArraySlice<UInt8>
    ) -> (user: [UInt8]?, host: [UInt8])? {
        var host = text
        var user: [UInt8]?
        if let at = text.lastIndex(of: 0x40) {
            let named = text[..<at].prefix { $0 != 0x3B }
            guard let decoded = decode(named) else { return nil }
            user = decoded.isEmpty ? nil : decoded
            host = text[(at + 1)...]
        }
        let name = host.prefix { $0 != 0x3A }
        guard !name.isEmpty, host.dropFirst(name.count).dropFirst().allSatisfy(\.isASCIIDigit)
        else { return nil }
        return (user, Array(name).asciiLowercased)
    }

    /// `/name;UIDVALIDITY=1/`, or nothing (or `/`) for the selected one.
    private static func mailbox(
        _ text: ArraySlice<UInt8>, isRelative: Bool
    ) -> (name: [UInt8]?, uidValidity: UInt32?)? {
        var path = text
        if path.last == 0x2F { path.removeLast() }
        if path.isEmpty { return isRelative ? (nil, nil) : nil }
        if path.first == 0x2F { path.removeFirst() }
        var uidValidity: UInt32?
        if let mark = find(";uidvalidity=", in: path) {
            var digits = path[(mark + 13)...]
            guard let number = number(&digits), digits.isEmpty, number > 0,
                number <= UInt64(UInt32.max)
            else { return nil }
            uidValidity = UInt32(number)
            path = path[..<mark]
        }
        guard !path.contains(0x3B), let name = decode(path), !name.isEmpty else { return nil }
        return (name, uidValidity)
    }

    // MARK: - Pieces

    /// Consumes `word` (in lower case) if it comes next, whatever its case.
    private static func take(_ word: String, from text: inout ArraySlice<UInt8>) -> Bool {
        guard isAt(word, text) else { return false }
        text = text.dropFirst(word.utf8.count)
        return true
    }

    private static func isAt(_ word: String, _ text: ArraySlice<UInt8>) -> Bool {
        text.count >= word.utf8.count
            && zip(text, word.utf8).allSatisfy { $0.asciiLowercased == $1 }
    }

    private static func find(_ word: String, in text: ArraySlice<UInt8>) -> Int? {
        text.indices.first { isAt(word, text[$0...]) }
    }

    private static func number(_ text: inout ArraySlice<UInt8>) -> UInt64? {
        let digits = text.prefix { $0.isASCIIDigit }
        guard !digits.isEmpty, digits.count <= 10 else { return nil }
        text = text.dropFirst(digits.count)
        return digits.reduce(0) { $0 * 10 + UInt64($1 - 0x30) }
    }

    private static func digit(_ octet: UInt8) -> UInt8? {
        switch octet.asciiLowercased {
        case 0x30...0x39: octet - 0x30
        case 0x61...0x66: octet.asciiLowercased - 0x57
        default: nil
        }
    }

    /// Takes `%41` for `A`. Nil if it is broken.
    private static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var decoded: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            guard text[index] == 0x25 else {
                decoded.append(text[index])
                index += 1
                continue
            }
            guard index + 2 < text.endIndex, let high = digit(text[index + 1]),
                let low = digit(text[index + 2])
            else { return nil }
            decoded.append(high << 4 | low)
            index += 3
        }
        return decoded
    }
}

extension Section {
    /// `1.2.MIME`, `HEADER.FIELDS (To)`: what is between the brackets of `BODY[]`.
    init?(specification text: [UInt8]) {
        var cursor = Cursor(text.span)
        do throws(CommandError) {
            let part = try cursor.partNumbers()
            let text = cursor.isAtEnd ? Text.whole : try cursor.sectionText(inPart: !part.isEmpty)
            guard cursor.isAtEnd else { return nil }
            self.init(part: part, text: text)
        } catch {
            return nil
        }
    }
}
