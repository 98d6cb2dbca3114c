// SPDX-License-Identifier: Apache-2.0
//
// Answering a text query from the index, as far as it goes: which messages match for certain, and
// which must be read. RFC 9051 §6.4.4. Three octets in a row are known for certain; of a longer key
// only that all its triples are somewhere in the message; of what is not indexed, nothing.

import Bytes
import MIME
import Mail

/// What the index says of the messages asked for. Those in neither list do not match.
package struct SearchPlan: Sendable, Equatable {
    package var found: [UInt32] = []
    /// To be read and compared, by rising UID.
    package var open: [UInt32] = []
}

/// A query with the keys worked out.
struct IndexQuery {
    private indirect enum Node {
        case all([Node])
        case any([Node])
        case not(Node)
        case column(SearchTerms.Column, Needle)
        /// A field that is no column: its name and its text must both be in the header.
        case field(Terms, Terms)
        case body(Terms)
        case text(Terms)
        case sent(DayRange)
    }

    /// How a string can be looked up.
    private enum Terms {
        /// The empty string, which is everywhere.
        case everything
        /// Shorter than a key: all keys from one to another begin with it.
        case range(UInt32, UInt32)
        /// All its keys; exact if there is one only.
        case keys([UInt32])
        /// Cannot be looked up: octets of 0 are thought behind texts.
        case unknown

        init(_ octets: [UInt8]) {
            if octets.isEmpty {
                self = .everything
            } else if octets.contains(0) {
                self = .unknown
            } else if octets.count < 3 {
                let low = octets.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                let shift = UInt32(8 * (3 - octets.count))
                self = .range(low << shift, (low + 1) << shift - 1)
            } else {
                var keys: [UInt32] = []
                for index in 0...(octets.count - 3) {
                    let key =
                        UInt32(octets[index]) << 16 | UInt32(octets[index + 1]) << 8
                        | UInt32(octets[index + 2])
                    if !keys.contains(key) { keys.append(key) }
                    if keys.count == 64 { break }  // enough to narrow with
                }
                self = .keys(keys)
            }
        }

        func isExact(_ needle: Needle) -> Bool {
            switch self {
            case .everything, .range: true
            case .keys: needle.octets.count == 3
            case .unknown: false
            }
        }
    }

    /// The messages of one segment that may match, and those that do.
    private struct Answer {
        var maybe: DocumentSet
        var sure: DocumentSet
    }

    private let root: Node
    private let exact: [Bool]

    init(_ query: TextQuery) {
        var exact: [Bool] = []
        func terms(_ text: [UInt8]) -> Terms {
            let needle = Needle(text)
            let terms = Terms(needle.octets)
            exact.append(terms.isExact(needle))
            return terms
        }
        func node(_ query: TextQuery) -> Node {
            switch query {
            case .all(let keys): return .all(keys.map(node))
            case .any(let keys): return .any(keys.map(node))
            case .not(let key): return .not(node(key))
            case .header(let name, let text):
                if let column = SearchTerms.Column(name: name) {
                    return .column(column, Needle(text))
                }
                return .field(
                    Terms(Needle(name + [0x3A, 0x20]).octets), Terms(Needle(text).octets))
            case .body(let text): return .body(terms(text))
            case .text(let text): return .text(terms(text))
            case .sent(let days): return .sent(days)
            }
        }
        root = node(query)
        self.exact = exact
    }

    // MARK: - Evaluating

    /// Sorts the messages of `segment` with a place in `places` into found and open ones.
    func run(
        _ segment: SearchIndex.Segment, in index: SearchIndex, isWanted: [Bool],
        into plan: inout SearchPlan
    ) throws(StoreError) {
        var opaque = DocumentSet(count: segment.documents.count)
        for (place, document) in segment.documents.enumerated() where document.isOpaque {
            opaque.insert(place)
        }
        var number = 0
        let answer = try answer(root, segment, index, opaque, &number)
        for (place, document) in segment.documents.enumerated() where isWanted[place] {
            if answer.sure[place] {
                plan.found.append(document.uid)
            } else if answer.maybe[place] {
                plan.open.append(document.uid)
            }
        }
    }

    private func answer(
        _ node: Node, _ segment: SearchIndex.Segment, _ index: SearchIndex,
        _ opaque: DocumentSet, _ number: inout Int
    ) throws(StoreError) -> Answer {
        let count = segment.documents.count
        switch node {
        case .all(let keys):
            var answer = Answer(
                maybe: DocumentSet(count: count, all: true),
                sure: DocumentSet(count: count, all: true))
            for key in keys {
                let one = try self.answer(key, segment, index, opaque, &number)
                answer.maybe.formIntersection(one.maybe)
                answer.sure.formIntersection(one.sure)
            }
            return answer
        case .any(let keys):
            var answer = Answer(maybe: DocumentSet(count: count), sure: DocumentSet(count: count))
            for key in keys {
                let one = try self.answer(key, segment, index, opaque, &number)
                answer.maybe.formUnion(one.maybe)
                answer.sure.formUnion(one.sure)
            }
            return answer
        case .not(let key):
            let inner = try self.answer(key, segment, index, opaque, &number)
            var answer = Answer(maybe: inner.sure, sure: inner.maybe)
            answer.maybe.invert()
            answer.sure.invert()
            return answer
        case .column(let column, let needle):
            let texts = try index.column(segment, column)
            return finished(try Self.search(texts, needle, segment), true, opaque)
        case .field(let name, let text):
            var set = try documents(name, .header, segment, index)
            if !set.isEmpty { set.formIntersection(try documents(text, .header, segment, index)) }
            return finished(set, false, opaque)
        case .body(let terms):
            defer { number += 1 }
            let set = try documents(terms, .body, segment, index)
            return finished(set, exact[number], opaque)
        case .text(let terms):
            defer { number += 1 }
            var set = try documents(terms, .header, segment, index)
            set.formUnion(try documents(terms, .body, segment, index))
            return finished(set, exact[number], opaque)
        case .sent(let days):
            var set = DocumentSet(count: count)
            for (place, document) in segment.documents.enumerated()
            where document.sentDay != IndexedDocument.noDay && days.holds(Int(document.sentDay)) {
                set.insert(place)
            }
            return finished(set, true, opaque)
        }
    }

    private func finished(_ set: DocumentSet, _ isExact: Bool, _ opaque: DocumentSet) -> Answer {
        var maybe = set
        maybe.formUnion(opaque)
        guard isExact else {
            return Answer(
                maybe: maybe,
                sure: DocumentSet(count: set.words.count * 64))
        }
        var sure = set
        sure.subtract(opaque)
        return Answer(maybe: maybe, sure: sure)
    }

    private func documents(
        _ terms: Terms, _ zone: SearchTerms.Zone, _ segment: SearchIndex.Segment,
        _ index: SearchIndex
    ) throws(StoreError) -> DocumentSet {
        let base = zone.rawValue << 24
        switch terms {
        case .everything, .unknown:
            return DocumentSet(count: segment.documents.count, all: true)
        case .range(let low, let high):
            return try index.documents(segment, from: base | low, through: base | high)
        case .keys(let keys):
            var set = DocumentSet(count: segment.documents.count, all: true)
            for key in keys {
                set.formIntersection(
                    try index.documents(segment, from: base | key, through: base | key))
                if set.isEmpty { break }
            }
            return set
        }
    }

    /// The messages with `needle` in one of the texts of a column.
    private static func search(
        _ texts: [UInt8], _ needle: Needle, _ segment: SearchIndex.Segment
    ) throws(StoreError) -> DocumentSet {
        var set = DocumentSet(count: segment.documents.count)
        let span = texts.span
        var document = 0
        var start = 0
        // Behind the last message that was passed.
        var hit = needle.isEmpty ? nil : needle.firstIndex(in: span, from: 0)
        while start < texts.count, document < segment.documents.count {
            let end = span.first(SegmentDraft.documentEnd, in: start..<texts.count)
            if needle.isEmpty {
                if end > start { set.insert(document) }
            } else {
                guard let place = hit else { return set }
                if place < end {
                    set.insert(document)
                    hit = needle.firstIndex(in: span, from: min(end + 1, texts.count))
                }
            }
            document += 1
            start = end + 1
        }
        guard document == segment.documents.count else { throw .damagedSearch }
        return set
    }
}

extension SearchIndex {
    /// - Parameter wanted: the messages asked for, as they are in the mailbox, by rising UID.
    func plan(
        _ mailbox: MailboxID, _ wanted: ArraySlice<MessageEntry>, isWanted: (UInt32) -> Bool,
        _ query: TextQuery
    ) throws(StoreError) -> SearchPlan {
        var plan = SearchPlan()
        let query = IndexQuery(query)
        var isCovered = [Bool](repeating: false, count: wanted.count)
        for segment in try segments(of: mailbox) {
            var flags = [Bool](repeating: false, count: segment.documents.count)
            var isUseful = false
            var finder = EntryFinder(wanted)
            for (place, document) in segment.documents.enumerated() {
                guard let found = finder.find(document), !isCovered[found] else { continue }
                isCovered[found] = true
                guard isWanted(document.uid) else { continue }
                flags[place] = true
                isUseful = true
            }
            if isUseful { try query.run(segment, in: self, isWanted: flags, into: &plan) }
        }
        for (place, entry) in wanted.enumerated()
        where !isCovered[place] && isWanted(entry.uid) {
            plan.open.append(entry.uid)
        }
        plan.open.sort()
        return plan
    }
}

/// Finds messages of a segment among those of the mailbox; quick if both rise.
struct EntryFinder {
    private let entries: ArraySlice<MessageEntry>
    private var next: Int

    init(_ entries: ArraySlice<MessageEntry>) {
        self.entries = entries
        next = entries.startIndex
    }

    /// The place, from 0, of the message: the same UID and size.
    mutating func find(_ document: IndexedDocument) -> Int? {
        if next > entries.startIndex, entries[next - 1].uid >= document.uid {
            next = entries.startIndex
        }
        if next < entries.endIndex, entries[next].uid < document.uid {
            // Mostly the one behind the last; else by halves.
            next += 1
            if next < entries.endIndex, entries[next].uid < document.uid {
                var low = next
                var high = entries.endIndex
                while low < high {
                    let middle = low + (high - low) / 2
                    if entries[middle].uid < document.uid {
                        low = middle + 1
                    } else {
                        high = middle
                    }
                }
                next = low
            }
        }
        guard next < entries.endIndex, entries[next].uid == document.uid,
            entries[next].size == document.size
        else { return nil }
        defer { next += 1 }
        return next - entries.startIndex
    }
}
