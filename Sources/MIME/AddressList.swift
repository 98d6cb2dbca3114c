// SPDX-License-Identifier: Apache-2.0
//
// Address lists of header fields: mailboxes and groups, obsolete forms, and whatever else people
// send. RFC 5322 §3.4 and §4.4. Linear time; nothing is refused, only misread in the worst case.

import Bytes

/// The addresses of one or more fields. Can be emptied and used again without new memory.
package struct AddressList: Sendable {
    /// Addresses behind this many are dropped.
    package static let limit = 10_000

    package struct Address: Equatable, Sendable {
        package enum Kind: UInt8, Sendable { case mailbox, groupStart, groupEnd }

        package var kind: Kind
        /// Display name as written, encoded words untouched; nil if there is none.
        package var name: Range<Int>?
        /// Obsolete source route (`@a,@b`); nil if there is none.
        package var route: Range<Int>?
        /// Empty for `<>`. Nil for groups.
        package var local: Range<Int>?
        /// Empty if it is missing. Nil for groups.
        package var domain: Range<Int>?
    }

    /// What the ranges of the addresses are ranges of.
    package private(set) var storage: [UInt8] = []
    package private(set) var addresses: [Address] = []
    private var isInGroup = false

    package init() {}

    package init(_ message: Span<UInt8>, _ body: Range<Int>) {
        append(message, body)
    }

    package mutating func removeAll() {
        storage.removeAll(keepingCapacity: true)
        addresses.removeAll(keepingCapacity: true)
    }

    /// Adds the addresses of a field body.
    package mutating func append(_ message: Span<UInt8>, _ body: Range<Int>) {
        var position = body.lowerBound
        let end = body.upperBound
        isInGroup = false
        while position < end, addresses.count < Self.limit {
            _ = StructuredText.skipBlanksAndComments(message, &position, end)
            guard position < end else { break }
            switch message[position] {
            case 0x3B where isInGroup:  // ";"
                position += 1
                endGroup()
            case 0x2C, 0x3B, 0x3A, 0x3E, 0x29: position += 1  // stray , ; : > )
            default: element(message, &position, end)
            }
        }
        if isInGroup { endGroup() }
    }

    private mutating func endGroup() {
        isInGroup = false
        addresses.append(Address(kind: .groupEnd))
    }

    /// Reads one mailbox or the beginning of a group. Always moves on.
    private mutating func element(_ text: Span<UInt8>, _ position: inout Int, _ end: Int) {
        let start = position
        let mark = storage.count
        var comment: Range<Int>?
        let hasGap = words(text, &position, end, keepsGaps: true, comment: &comment)
        let phrase = mark..<storage.count
        let name = phrase.isEmpty ? nil : phrase
        switch position < end ? text[position] : 0x2C {
        case 0x3C:  // "<"
            position += 1
            var address = angleAddress(text, &position, end)
            address.name = name
            finish(&address, text, &position, end, comment: comment)
        case 0x40:  // "@": the words were a local-part, whose blanks mean nothing
            if hasGap {
                storage.removeSubrange(mark...)
                position = start
                _ = words(text, &position, end, keepsGaps: false, comment: &comment)
            }
            let local = mark..<storage.count
            position += 1
            var address = Address(
                kind: .mailbox, local: local, domain: domain(text, &position, end))
            finish(&address, text, &position, end, comment: comment)
        case 0x3A where !isInGroup:  // ":"
            position += 1
            isInGroup = true
            addresses.append(Address(kind: .groupStart, local: phrase))
        default:
            guard let name else { return }
            let empty = storage.count..<storage.count
            var address = Address(kind: .mailbox, local: name, domain: empty)
            finish(&address, text, &position, end, comment: comment)
        }
    }

    /// Adds a mailbox; a comment around a nameless one is its name, as before RFC 822 had phrases.
    private mutating func finish(
        _ address: inout Address, _ text: Span<UInt8>, _ position: inout Int, _ end: Int,
        comment: Range<Int>?
    ) {
        let after = StructuredText.skipBlanksAndComments(text, &position, end)
        if address.name == nil, let comment = after ?? comment {
            let mark = storage.count
            var index = comment.lowerBound
            while index < comment.upperBound {
                if text[index] == 0x5C, index + 1 < comment.upperBound { index += 1 }
                let octet = text[index]
                if octet != .cr, octet != .lf, octet != 0 { storage.append(octet) }
                index += 1
            }
            if storage.count > mark { address.name = mark..<storage.count }
        }
        addresses.append(address)
    }

    /// Appends atoms, quoted strings and dots to the storage until another special.
    ///
    /// - Returns: true if blanks or comments were between them; each such gap is one blank if
    ///   `keepsGaps`.
    private mutating func words(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int, keepsGaps: Bool,
        comment: inout Range<Int>?
    ) -> Bool {
        var hasGap = false
        var isFirst = true
        while position < end {
            let before = position
            if let inside = StructuredText.skipBlanksAndComments(text, &position, end) {
                comment = inside
            }
            guard position < end else { break }
            let octet = text[position]
            if octet == 0x3C || octet == 0x40 || octet == 0x3A || octet == 0x2C || octet == 0x3B
                || octet == 0x3E || octet == 0x29
            {
                break
            }
            if position > before, !isFirst {
                hasGap = true
                if keepsGaps { storage.append(.space) }
            }
            isFirst = false
            if octet == 0x22 {
                StructuredText.takeQuotedString(text, &position, end, into: &storage)
            } else {
                word(text, &position, end)
            }
        }
        return hasGap
    }

    /// Appends octets up to a blank or a special. Brackets and backslashes are let through: people
    /// write `[list] Name <a@b>`.
    private mutating func word(_ text: Span<UInt8>, _ position: inout Int, _ end: Int) {
        let start = position
        scan: while position < end {
            let octet = text[position]
            if StructuredText.isBlank(octet) { break }
            switch octet {
            case 0x22, 0x28, 0x29, 0x2C, 0x3A, 0x3B, 0x3C, 0x3E, 0x40: break scan
            default: position += 1
            }
        }
        storage.append(copying: text.extracting(start..<position))
    }

    /// Reads `[route ":"] local-part "@" domain ">"` behind the `<`.
    private mutating func angleAddress(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Address {
        var address = Address(kind: .mailbox)
        var comment: Range<Int>?
        _ = StructuredText.skipBlanksAndComments(text, &position, end)
        if position < end, text[position] == 0x40 {
            address.route = route(text, &position, end)
        }
        let mark = storage.count
        _ = words(text, &position, end, keepsGaps: false, comment: &comment)
        address.local = mark..<storage.count
        if position < end, text[position] == 0x40 {
            position += 1
            address.domain = domain(text, &position, end)
        } else {
            address.domain = storage.count..<storage.count
        }
        // To the closing bracket, but never over the next address. Comments are skipped whole: what
        // was looked at once must not be looked at again.
        while position < end {
            _ = StructuredText.skipBlanksAndComments(text, &position, end)
            guard position < end, text[position] != 0x2C, text[position] != 0x3B else { break }
            position += 1
            if text[position - 1] == 0x3E { break }
        }
        return address
    }

    /// Reads `"@" domain *("," "@" domain) ":"` (§4.4). Nil without the colon; what was read is lost
    /// then, because reading it again would be quadratic.
    private mutating func route(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Range<Int>? {
        let mark = storage.count
        while position < end {
            _ = StructuredText.skipBlanksAndComments(text, &position, end)
            guard position < end else { break }
            let octet = text[position]
            if octet == 0x3A {
                position += 1
                return mark..<storage.count
            }
            if octet == 0x3E || octet == 0x3C || octet == 0x22 || octet == 0x3B { break }
            storage.append(octet)
            position += 1
        }
        storage.removeSubrange(mark...)
        return nil
    }

    /// Reads a domain or an address literal behind the `@`.
    private mutating func domain(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Range<Int> {
        let mark = storage.count
        var expectsAtom = true
        while position < end {
            let before = position
            var ahead = position
            _ = StructuredText.skipBlanksAndComments(text, &ahead, end)
            guard ahead < end else {
                if expectsAtom { position = end }
                break
            }
            let octet = text[ahead]
            if octet == 0x5B, storage.count == mark {
                position = ahead
                while position < end {
                    let octet = text[position]
                    if !StructuredText.isBlank(octet) { storage.append(octet) }
                    position += 1
                    if octet == 0x5D { break }
                }
                break
            }
            let isDot = octet == 0x2E
            // A second word without a dot is not the domain's: `a@b (c)` and `a@b c@d`.
            if !isDot, !expectsAtom, ahead > before { break }
            position = ahead
            if isDot {
                storage.append(octet)
                position += 1
                expectsAtom = true
                continue
            }
            let length = storage.count
            domainAtom(text, &position, end)
            if storage.count == length { break }
            expectsAtom = false
        }
        return mark..<storage.count
    }

    private mutating func domainAtom(_ text: Span<UInt8>, _ position: inout Int, _ end: Int) {
        let start = position
        scan: while position < end {
            let octet = text[position]
            if StructuredText.isBlank(octet) { break }
            switch octet {
            case 0x22, 0x28, 0x29, 0x2C, 0x2E, 0x3A, 0x3B, 0x3C, 0x3E, 0x40, 0x5B, 0x5C, 0x5D:
                break scan
            default: position += 1
            }
        }
        storage.append(copying: text.extracting(start..<position))
    }
}
