// SPDX-License-Identifier: Apache-2.0
//
// The text keys of SEARCH, exactly: is a string in this header, field or body? RFC 9051 §6.4.4.
// Memory does not grow with the message, time grows with it linearly.

import Bytes
import Mail

/// A string to look for, prepared once for many messages. Case does not matter.
package struct SearchText: Sendable {
    package let needle: Needle

    /// - Parameter octets: UTF-8; other charsets are converted before (`Charset.utf8(from:)`).
    package init(_ octets: [UInt8]) { needle = Needle(octets) }

    /// HEADER, SUBJECT, FROM, TO, CC, BCC. An empty string is in every field that exists.
    package func isIn(field name: [UInt8], ofHeader header: Span<UInt8>) -> Bool {
        var reader = HeaderReader(0..<header.count)
        var text: [UInt8] = []
        while let field = reader.next(header) {
            guard field.name.count == name.count, Self.isEqual(name, header, field.name) else {
                continue
            }
            text.removeAll(keepingCapacity: true)
            HeaderText.append(header, field.body, to: &text)
            var sink = NeedleSink(needle)
            sink.begin()
            if !sink.take(text.span) { return true }
        }
        return false
    }

    private static func isEqual(
        _ name: [UInt8], _ header: Span<UInt8>, _ range: Range<Int>
    ) -> Bool {
        for index in name.indices
        where name[index].asciiLowercased != header[range.lowerBound + index].asciiLowercased {
            return false
        }
        return true
    }

    /// BODY: in a text part or in the header of a message inside, decoded.
    package func isInBody(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        if needle.isEmpty { return true }
        var reader = SearchableText(needsUnicode: !needle.isASCII)
        var sink = NeedleSink(needle)
        return !reader.body(message, structure, into: &sink)
    }

    /// TEXT: in the header or in a text part, decoded.
    package func isInText(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        if needle.isEmpty { return true }
        var reader = SearchableText(needsUnicode: !needle.isASCII)
        var sink = NeedleSink(needle)
        return !reader.header(message, structure.parts[0].header, into: &sink)
            || !reader.body(message, structure, into: &sink)
    }

    /// Days since 1970 of the Date field as written, zone disregarded: SENTON and its siblings.
    package static func sentDay(ofHeader header: Span<UInt8>) -> Int? {
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header) {
            if KnownField(header, field.name) == .date {
                return MessageDate(header, field.body)?.day
            }
        }
        return nil
    }
}

/// Looks for one needle; wants no more once it was found.
private struct NeedleSink: TextSink {
    private let needle: Needle
    private var matched = 0
    private var folded: [UInt8] = []

    init(_ needle: Needle) { self.needle = needle }

    mutating func begin() { matched = 0 }

    mutating func take(_ text: Span<UInt8>) -> Bool {
        var length = matched
        let isFound: Bool
        if needle.isASCII {
            isFound = needle.isFound(in: text, matched: &length)
        } else {
            folded.removeAll(keepingCapacity: true)
            CaseFolding.append(text, to: &folded)
            isFound = needle.isFound(in: folded.span, matched: &length)
        }
        matched = length
        return !isFound
    }
}

/// A `TextQuery` with everything that is the same for all messages worked out once.
package struct TextMatcher: Sendable {
    private indirect enum Node: Sendable {
        case all([Node])
        case any([Node])
        case not(Node)
        case header(name: [UInt8], SearchText)
        case body(SearchText)
        case text(SearchText)
        case sent(DayRange)
    }

    private let root: Node
    /// False: the header of a message is enough.
    package let needsBody: Bool

    package init(_ query: TextQuery) {
        func node(_ query: TextQuery) -> Node {
            switch query {
            case .all(let keys): .all(keys.map(node))
            case .any(let keys): .any(keys.map(node))
            case .not(let key): .not(node(key))
            case .header(let name, let text): .header(name: name, SearchText(text))
            case .body(let text): .body(SearchText(text))
            case .text(let text): .text(SearchText(text))
            case .sent(let days): .sent(days)
            }
        }
        root = node(query)
        needsBody = query.needsBody
    }

    /// - Parameter octets: the message, or only its header if that is enough.
    package func matches(_ octets: [UInt8]) -> Bool {
        var structure: MessageStructure?
        return Self.matches(root, octets, &structure)
    }

    private static func matches(
        _ node: Node, _ octets: [UInt8], _ structure: inout MessageStructure?
    ) -> Bool {
        func parsed() -> MessageStructure {
            if let structure { return structure }
            let made = MessageStructure(octets.span)
            structure = made
            return made
        }
        switch node {
        case .all(let keys):
            for key in keys where !matches(key, octets, &structure) { return false }
            return true
        case .any(let keys):
            for key in keys where matches(key, octets, &structure) { return true }
            return false
        case .not(let key): return !matches(key, octets, &structure)
        case .header(let name, let text): return text.isIn(field: name, ofHeader: octets.span)
        case .body(let text): return text.isInBody(of: octets.span, parsed())
        case .text(let text): return text.isInText(of: octets.span, parsed())
        case .sent(let days):
            return SearchText.sentDay(ofHeader: octets.span).map(days.holds) ?? false
        }
    }
}
