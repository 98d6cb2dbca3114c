// SPDX-License-Identifier: Apache-2.0
//
// What a search index keeps of one message: every three octets in a row of its texts, case folded,
// and the fields that are asked for most. Made from `SearchableText`, so that the index knows exactly
// what the search looks in.

import Bytes

/// Takes messages apart, one after the other; its memory (4 MiB and the keys) is used again.
package struct SearchTerms {
    /// Where three octets were seen.
    package enum Zone: UInt32, Sendable {
        case header = 0
        case body = 1
    }

    /// Fields that are kept as they are.
    package enum Column: Int, CaseIterable, Sendable {
        case subject, from, to, cc, bcc

        fileprivate init?(_ field: KnownField?) {
            switch field {
            case .subject: self = .subject
            case .from: self = .from
            case .to: self = .to
            case .cc: self = .cc
            case .bcc: self = .bcc
            default: return nil
            }
        }

        /// The column of the field with this name, in any case.
        package init?(name: [UInt8]) {
            self.init(KnownField(name.span, 0..<name.count))
        }
    }

    /// Ends each field's text in a column: no octet of UTF-8.
    package static let fieldEnd: UInt8 = 0xFF
    /// Different keys of one message; one with more is not taken apart.
    private static let keyLimit = 400_000
    /// Octets of one column of one message, and of a header: the same.
    private static let columnLimit = 32 << 10
    package static let headerLimit = 512 << 10

    /// The keys of the last message, each once, in no order: zone and three octets. Behind each
    /// text two octets of 0 are thought.
    package private(set) var keys: [UInt32] = []
    /// For each column the folded texts of all fields of that name, with `fieldEnd` behind each.
    package private(set) var columns = [[UInt8]](repeating: [], count: Column.allCases.count)
    package private(set) var sentDay: Int?
    private var reader = SearchableText(needsUnicode: true)
    private var seen = [UInt64](repeating: 0, count: (1 << 25) / 64)
    private var folded: [UInt8] = []

    package init() {}

    /// - Returns: false if the message is too strange for an index; it must always be read.
    package mutating func take(_ message: Span<UInt8>) -> Bool {
        let structure = MessageStructure(message)
        let header = structure.parts[0].header
        keys.removeAll(keepingCapacity: true)
        for index in columns.indices { columns[index].removeAll(keepingCapacity: true) }
        sentDay = SearchText.sentDay(ofHeader: message.extracting(header))
        guard header.count <= Self.headerLimit, takeColumns(message, header) else { return false }

        var sink = TermSink(keys: keys, seen: seen, folded: folded, limit: Self.keyLimit)
        (keys, seen, folded) = ([], [], [])
        sink.zone = .header
        var isWhole = reader.header(message, header, into: &sink)
        sink.endText()
        if isWhole {
            sink.zone = .body
            isWhole = reader.body(message, structure, into: &sink)
            sink.endText()
        }
        (keys, seen, folded) = (sink.keys, sink.seen, sink.folded)
        sink = TermSink(keys: [], seen: [], folded: [], limit: 0)
        for key in keys { seen[Int(key >> 6)] = 0 }
        return isWhole
    }

    private mutating func takeColumns(_ message: Span<UInt8>, _ header: Range<Int>) -> Bool {
        var reader = HeaderReader(header)
        var text: [UInt8] = []
        while let field = reader.next(message) {
            guard let column = Column(KnownField(message, field.name)) else { continue }
            text.removeAll(keepingCapacity: true)
            HeaderText.append(message, field.body, to: &text)
            CaseFolding.append(text, to: &columns[column.rawValue])
            columns[column.rawValue].append(Self.fieldEnd)
            if columns[column.rawValue].count > Self.columnLimit { return false }
        }
        return true
    }
}

/// Collects keys.
private struct TermSink: TextSink {
    var zone = SearchTerms.Zone.header
    var keys: [UInt32]
    var seen: [UInt64]
    var folded: [UInt8]
    let limit: Int
    /// The last octets of the text, and how many there were (3 is enough).
    private var window: UInt32 = 0
    private var count = 0

    init(keys: [UInt32], seen: [UInt64], folded: [UInt8], limit: Int) {
        self.keys = keys
        self.seen = seen
        self.folded = folded
        self.limit = limit
    }

    mutating func begin() { endText() }

    mutating func take(_ text: Span<UInt8>) -> Bool {
        folded.removeAll(keepingCapacity: true)
        CaseFolding.append(text, to: &folded)
        let text = folded  // not copied: only to let go of `self`
        add(text)
        return keys.count <= limit
    }

    /// The octets thought behind the text, so that its last ones begin a key too.
    mutating func endText() {
        guard count > 0 else { return }
        add([0, 0])
        window = 0
        count = 0
    }

    private mutating func add(_ octets: Span<UInt8>) {
        let base = zone.rawValue << 24
        var window = window
        var index = 0
        while count < 2, index < octets.count {
            window = window << 8 | UInt32(octets[index])
            count += 1
            index += 1
        }
        while index < octets.count {
            window = (window << 8 | UInt32(octets[index])) & 0xFF_FFFF
            index += 1
            let key = base | window
            let bit: UInt64 = 1 << UInt64(key & 63)
            let word = seen[Int(key >> 6)]
            if word & bit == 0 {
                seen[Int(key >> 6)] = word | bit
                keys.append(key)
            }
        }
        self.window = window
    }

    private mutating func add(_ octets: [UInt8]) { add(octets.span) }
}
