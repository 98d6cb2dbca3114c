// SPDX-License-Identifier: Apache-2.0
//
// What SORT and THREAD compare, read out of a header once. RFC 5256 §2, §3; RFC 5957 (DISPLAYFROM
// and DISPLAYTO). Texts are folded as `CaseFolding` does it, so that equal means equal octets.

import Bytes
import Mail

/// The keys of one message, except those the index has anyway (arrival, size).
package struct ListKeys: Equatable, Sendable {
    /// Octets of one text, and of one message id.
    package static let textLimit = 256
    package static let idLimit = 512
    /// Ids of References: the first, and the last ones.
    package static let referenceLimit = 100

    /// The Date field in UTC; nil: INTERNALDATE counts (RFC 5256 §2.2).
    package var sent: SecondsSince1970?
    /// Local-part of the first address.
    package var from: [UInt8] = []
    package var to: [UInt8] = []
    package var cc: [UInt8] = []
    /// Name of the first address, or the address.
    package var displayFrom: [UInt8] = []
    package var displayTo: [UInt8] = []
    package var baseSubject: [UInt8] = []
    package var isReplyOrForward = false
    /// Without angle brackets and quotes; empty if there is none.
    package var messageID: [UInt8] = []
    /// References, or else the first id of In-Reply-To. Oldest first.
    package var references: [[UInt8]] = []

    package init() {}

    /// - Parameter range: a header; anything behind its empty line is not looked at.
    package init(_ message: Span<UInt8>, _ range: Range<Int>) {
        var reader = HeaderReader(range)
        var date: Range<Int>?
        var subject: Range<Int>?
        var id: Range<Int>?
        var inReplyTo: Range<Int>?
        var referenceFields: [Range<Int>] = []
        var addresses: [KnownField: Range<Int>] = [:]
        while let field = reader.next(message) {
            if field.name.count == 10, FieldBody.isWord(message, field.name, "references") {
                referenceFields.append(field.body)
                continue
            }
            guard let known = KnownField(message, field.name) else { continue }
            switch known {
            case .date: date = date ?? field.body
            case .subject: subject = subject ?? field.body
            case .messageID: id = id ?? field.body
            case .inReplyTo: inReplyTo = inReplyTo ?? field.body
            case .from, .to, .cc: addresses[known] = addresses[known] ?? field.body
            default: break
            }
        }
        sent = date.flatMap { MessageDate(message, $0)?.seconds }
        if let moment = sent, moment.magnitude >= 1 << 40 { sent = nil }  // no date of this world
        if let body = addresses[.from] { (from, displayFrom) = Self.first(message, body) }
        if let body = addresses[.to] { (to, displayTo) = Self.first(message, body) }
        if let body = addresses[.cc] { (cc, _) = Self.first(message, body) }
        if let subject {
            let end = min(subject.upperBound, subject.lowerBound + 8 * Self.textLimit)
            var text: [UInt8] = []
            HeaderText.append(message, subject.lowerBound..<end, to: &text)
            let base = BaseSubject(decoded: text)
            baseSubject = Self.folded(base.text)
            isReplyOrForward = base.isReplyOrForward
        }
        messageID = id.flatMap { Self.ids(message, $0, limit: 1).first } ?? []
        for body in referenceFields.prefix(8) {
            references += Self.ids(message, body, limit: 2_000)
        }
        if references.isEmpty, let inReplyTo {
            references = Self.ids(message, inReplyTo, limit: 1)
        }
        if references.count > Self.referenceLimit {
            references = [references[0]] + references.suffix(Self.referenceLimit - 1)
        }
    }

    /// Sort key and display text of the first mailbox of a field.
    private static func first(
        _ message: Span<UInt8>, _ body: Range<Int>
    ) -> (key: [UInt8], display: [UInt8]) {
        let end = min(body.upperBound, body.lowerBound + 16 * textLimit)
        let list = AddressList(message, body.lowerBound..<end)
        guard let address = list.addresses.first else { return ([], []) }
        let storage = list.storage.span
        var display: [UInt8] = []
        if let name = address.name { HeaderText.append(storage, name, to: &display) }
        // RFC 5256 §2.2.3: of a group its name
        guard address.kind == .mailbox, let local = address.local else {
            let key = folded(display)
            return (key, key)
        }
        let key = [UInt8](copying: storage.extracting(local))
        if display.isEmpty {
            display = key
            if let domain = address.domain, !domain.isEmpty {
                display.append(0x40)
                display.append(copying: storage.extracting(domain))
            }
        }
        return (folded(Charset.utf8.utf8(from: key)), folded(Charset.utf8.utf8(from: display)))
    }

    private static func folded(_ text: [UInt8]) -> [UInt8] {
        var cut = text
        HeaderText.truncate(&cut, to: textLimit)
        var result: [UInt8] = []
        CaseFolding.append(cut, to: &result)
        return result
    }

    /// Message ids in a field body: what stands between angle brackets, without quotes and blanks
    /// (RFC 5256 §3: quoting makes no difference).
    static func ids(_ message: Span<UInt8>, _ body: Range<Int>, limit: Int) -> [[UInt8]] {
        var ids: [[UInt8]] = []
        var position = body.lowerBound
        while position < body.upperBound, ids.count < limit {
            position = message.first(0x3C, in: position..<body.upperBound)
            let end = message.first(0x3E, in: position..<body.upperBound)
            guard end < body.upperBound else { break }
            var id: [UInt8] = []
            for index in (position + 1)..<end where id.count < idLimit {
                let octet = message[index]
                if StructuredText.isBlank(octet) || octet == 0x22 || octet == 0x5C { continue }
                id.append(octet)
            }
            if !id.isEmpty { ids.append(id) }
            position = end + 1
        }
        return ids
    }
}

extension ListKeys {
    /// What an index keeps.
    package var packed: [UInt8] {
        var packed: [UInt8] = []
        packed.pack((sent == nil ? 0 : 1) | (isReplyOrForward ? 2 : 0))
        if let sent {
            // Zigzag: dates before 1970 exist
            packed.pack(Int(truncatingIfNeeded: (sent << 1) ^ (sent >> 63)))
        }
        for text in [from, to, cc, displayFrom, displayTo, baseSubject, messageID] {
            packed.pack(text)
        }
        packed.pack(references.count)
        for id in references { packed.pack(id) }
        return packed
    }

    /// - Returns: nil if it was not made by `packed`.
    package init?(packed: Span<UInt8>) {
        var reader = PackedReader(0..<packed.count)
        let marks = reader.number(packed)
        if marks & 1 == 1 {
            let number = UInt64(reader.number(packed))
            sent = Int64(number >> 1) ^ -Int64(number & 1)
        }
        isReplyOrForward = marks & 2 == 2
        from = reader.octets(packed)
        to = reader.octets(packed)
        cc = reader.octets(packed)
        displayFrom = reader.octets(packed)
        displayTo = reader.octets(packed)
        baseSubject = reader.octets(packed)
        messageID = reader.octets(packed)
        let count = reader.number(packed)
        guard marks < 4, count <= Self.referenceLimit else { return nil }
        for _ in 0..<count { references.append(reader.octets(packed)) }
        guard !reader.isBroken, reader.isAtEnd else { return nil }
    }
}
