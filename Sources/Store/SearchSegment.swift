// SPDX-License-Identifier: Apache-2.0
//
// A segment of a search index: some messages of one mailbox, and which of them have which three
// octets in a row. Made in memory, sorted, cut into blocks; never changed afterwards. docs/store.md.

import Bytes
import MIME
import Mail

/// A set of the messages of one segment, by their places in it.
struct DocumentSet: Equatable {
    var words: [UInt64]

    init(count: Int, all: Bool = false) {
        words = [UInt64](repeating: all ? .max : 0, count: (count + 63) / 64)
    }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    subscript(place: Int) -> Bool { words[place >> 6] >> UInt64(place & 63) & 1 != 0 }

    mutating func insert(_ place: Int) { words[place >> 6] |= 1 << UInt64(place & 63) }

    mutating func formIntersection(_ other: DocumentSet) {
        for index in words.indices { words[index] &= other.words[index] }
    }

    mutating func formUnion(_ other: DocumentSet) {
        for index in words.indices { words[index] |= other.words[index] }
    }

    mutating func subtract(_ other: DocumentSet) {
        for index in words.indices { words[index] &= ~other.words[index] }
    }

    mutating func invert() {
        for index in words.indices { words[index] = ~words[index] }
    }
}

/// One message of a segment. 13 octets on disk.
struct IndexedDocument: Equatable {
    static let octets = 13
    static let noDay = Int32.min

    var uid: UInt32
    /// As in the mailbox: another size means another message.
    var size: UInt32
    var sentDay: Int32
    /// True: nothing else is known of it; it must always be read.
    var isOpaque: Bool

    func append(to octets: inout [UInt8]) {
        octets.append(littleEndian: uid)
        octets.append(littleEndian: size)
        octets.append(littleEndian: UInt32(bitPattern: sentDay))
        octets.append(isOpaque ? 1 : 0)
    }

    static func decode(_ octets: [UInt8]) -> [IndexedDocument] {
        var documents: [IndexedDocument] = []
        documents.reserveCapacity(octets.count / Self.octets)
        var place = 0
        while place + Self.octets <= octets.count {
            documents.append(
                IndexedDocument(
                    uid: octets.littleEndian(at: place), size: octets.littleEndian(at: place + 4),
                    sentDay: Int32(bitPattern: octets.littleEndian(at: place + 8)),
                    isOpaque: octets[place + 12] != 0))
            place += Self.octets
        }
        return documents
    }
}

/// Some keys in rising order with the messages that have them; fits a page of the database.
///
/// For each key: how much greater it is than the one before (the first is the block's own), twice
/// the octets that follow plus one for a bitmap, then the bitmap, or the distances of the places.
struct SegmentBlock: Sendable {
    static let octetLimit = 3_900

    var first: UInt32
    var data: [UInt8]

    /// Calls `body` with every key from `lowest` to `highest` and where its messages are in `data`.
    func forEach(
        from lowest: UInt32, through highest: UInt32,
        _ body: (UInt32, Range<Int>, _ isBitmap: Bool) -> Void
    ) {
        var key = first
        var place = 0
        while let step = data.varint(&place), let header = data.varint(&place) {
            key &+= UInt32(truncatingIfNeeded: step)
            let end = place + Int(header >> 1)
            guard key <= highest, end <= data.count else { return }
            if key >= lowest { body(key, place..<end, header & 1 != 0) }
            place = end
        }
    }

    /// Adds the messages at `range` to `set`.
    func add(_ range: Range<Int>, isBitmap: Bool, to set: inout DocumentSet) {
        if isBitmap {
            var shift = range.lowerBound
            var word = 0
            while shift < range.upperBound, word < set.words.count {
                var bits: UInt64 = 0
                for index in 0..<min(8, range.upperBound - shift) {
                    bits |= UInt64(data[shift + index]) << UInt64(8 * index)
                }
                set.words[word] |= bits
                word += 1
                shift += 8
            }
            return
        }
        var place = range.lowerBound
        var document = -1
        while place < range.upperBound, let step = data.varint(&place) {
            document += Int(step) + 1
            guard document >= 0, document >> 6 < set.words.count else { return }
            set.insert(document)
        }
    }
}

/// A finished segment on its way into the database.
package struct EncodedSegment: Sendable {
    package let mailbox: MailboxID
    package let uids: [UInt32]
    let documents: [IndexedDocument]
    let columns: [[UInt8]]
    let blocks: [SegmentBlock]
    let pairs: Int
    let sourceOctets: UInt64
}

/// A segment read back, to become part of another one.
package struct StoredSegment: Sendable {
    let id: Int64
    let documents: [IndexedDocument]
    let columns: [[UInt8]]
    let blocks: [SegmentBlock]
    let sourceOctets: UInt64
    /// False for messages that are gone.
    let isAlive: [Bool]
}

/// A segment in the making. Bounded: about 40 MB when it is full.
package final class SegmentDraft: @unchecked Sendable {  // safe: one owner hands it on, hop by hop
    package static let documentLimit = 4_096
    /// Pairs of key and message.
    static let pairLimit = 2_000_000

    package let mailbox: MailboxID
    private var terms: SearchTerms
    private var documents: [IndexedDocument] = []
    /// Texts of each column; 0xFE behind each message.
    private var columns = [[UInt8]](
        repeating: [], count: SearchTerms.Column.allCases.count)
    /// Key and place, sorted when the segment is finished.
    private var pairs: [UInt64] = []
    private var sourceOctets: UInt64 = 0

    static let documentEnd: UInt8 = 0xFE

    /// - Parameter terms: memory of an earlier draft, to be used again.
    package init(_ mailbox: MailboxID, reusing terms: SearchTerms? = nil) {
        self.mailbox = mailbox
        self.terms = terms ?? SearchTerms()
    }

    package var isEmpty: Bool { documents.isEmpty }
    package var isFull: Bool {
        documents.count >= Self.documentLimit || pairs.count >= Self.pairLimit
    }

    /// Gives its memory to the next draft.
    package func takeTerms() -> SearchTerms { terms }

    /// - Parameter octets: the message; nil if it is too large to be looked at.
    package func add(uid: UInt32, size: UInt32, _ octets: [UInt8]?) {
        let place = UInt64(documents.count)
        var document = IndexedDocument(
            uid: uid, size: size, sentDay: IndexedDocument.noDay, isOpaque: true)
        sourceOctets += UInt64(size)
        if let octets, terms.take(octets.span) {
            document.isOpaque = false
            if let day = terms.sentDay.flatMap({ Int32(exactly: $0) }) { document.sentDay = day }
            for key in terms.keys { pairs.append(UInt64(key) << 16 | place) }
            for (number, text) in terms.columns.enumerated() {
                columns[number].append(contentsOf: text)
            }
        }
        for number in columns.indices { columns[number].append(Self.documentEnd) }
        documents.append(document)
    }

    /// Takes over what is alive of an earlier segment.
    package func add(_ segment: StoredSegment) {
        var places = [Int](repeating: -1, count: segment.documents.count)
        for (old, document) in segment.documents.enumerated() where segment.isAlive[old] {
            places[old] = documents.count
            documents.append(document)
            sourceOctets += UInt64(document.size)
        }
        for (number, column) in segment.columns.enumerated() where number < columns.count {
            var start = 0
            for isAlive in segment.isAlive {
                let end = min(
                    column.count, column.span.first(Self.documentEnd, in: start..<column.count) + 1)
                if isAlive { columns[number].append(contentsOf: column[start..<end]) }
                start = end
            }
        }
        for block in segment.blocks {
            block.forEach(from: 0, through: .max) { key, range, isBitmap in
                var set = DocumentSet(count: segment.documents.count)
                block.add(range, isBitmap: isBitmap, to: &set)
                for (index, word) in set.words.enumerated() {
                    var word = word
                    while word != 0 {
                        let old = index * 64 + word.trailingZeroBitCount
                        word &= word - 1
                        guard old < places.count, places[old] >= 0 else { continue }
                        pairs.append(UInt64(key) << 16 | UInt64(places[old]))
                    }
                }
            }
        }
    }

    /// Sorts and packs; the draft is empty afterwards.
    package func finish() -> EncodedSegment {
        sortPairs()
        var blocks: [SegmentBlock] = []
        var packer = BlockPacker(documents: documents.count)
        var start = 0
        while start < pairs.count {
            let key = pairs[start] >> 16
            var end = start + 1
            while end < pairs.count, pairs[end] >> 16 == key { end += 1 }
            packer.add(UInt32(truncatingIfNeeded: key), pairs[start..<end], &blocks)
            start = end
        }
        packer.finish(&blocks)
        defer {
            documents = []
            pairs = []
            columns = columns.map { _ in [] }
            sourceOctets = 0
        }
        return EncodedSegment(
            mailbox: mailbox, uids: documents.map(\.uid), documents: documents, columns: columns,
            blocks: blocks, pairs: pairs.count, sourceOctets: sourceOctets)
    }

    /// By key and then by place: 41 bits, radix sort from the lowest digit. Places of one message
    /// rise already, but those of a merged segment come key by key.
    private func sortPairs() {
        let digit = 11
        var from = pairs
        pairs = []
        var to = [UInt64](repeating: 0, count: from.count)
        for shift in [UInt64(0), 16, 27, 38] {
            var starts = [Int](repeating: 0, count: (1 << digit) + 1)
            let mask: UInt64 = shift == 0 ? 0xFFFF : (1 << UInt64(digit)) - 1
            if shift == 0 { starts = [Int](repeating: 0, count: 0x1_0001) }
            for pair in from { starts[Int(pair >> shift & mask) + 1] += 1 }
            for index in 1..<starts.count { starts[index] += starts[index - 1] }
            for pair in from {
                let place = Int(pair >> shift & mask)
                to[starts[place]] = pair
                starts[place] += 1
            }
            swap(&from, &to)
        }
        pairs = from
    }
}

/// Packs sorted keys into blocks.
private struct BlockPacker {
    private let bitmapOctets: Int
    private var block = SegmentBlock(first: 0, data: [])
    private var lastKey: UInt32 = 0
    private var entry: [UInt8] = []
    private var list: [UInt8] = []

    init(documents: Int) { bitmapOctets = (documents + 7) / 8 }

    mutating func add(_ key: UInt32, _ pairs: ArraySlice<UInt64>, _ blocks: inout [SegmentBlock]) {
        list.removeAll(keepingCapacity: true)
        var isBitmap = false
        if pairs.count > bitmapOctets {
            isBitmap = true
            list.append(contentsOf: repeatElement(0, count: bitmapOctets))
            for pair in pairs {
                let place = Int(pair & 0xFFFF)
                list[place >> 3] |= 1 << UInt8(place & 7)
            }
        } else {
            var last = -1
            for pair in pairs {
                let place = Int(pair & 0xFFFF)
                list.append(varint: UInt64(place - last - 1))
                last = place
            }
        }
        let needed = list.count + 10
        if block.data.isEmpty {
            block.first = key
        } else if block.data.count + needed > SegmentBlock.octetLimit {
            finish(&blocks)
            block.first = key
        }
        block.data.append(varint: UInt64(block.data.isEmpty ? 0 : key - lastKey))
        block.data.append(varint: UInt64(list.count) << 1 | (isBitmap ? 1 : 0))
        block.data.append(contentsOf: list)
        lastKey = key
    }

    mutating func finish(_ blocks: inout [SegmentBlock]) {
        if !block.data.isEmpty { blocks.append(block) }
        block = SegmentBlock(first: 0, data: [])
    }
}

extension [UInt8] {
    fileprivate mutating func append(littleEndian value: UInt32) {
        for shift in [UInt32(0), 8, 16, 24] { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    fileprivate func littleEndian(at place: Int) -> UInt32 {
        UInt32(self[place]) | UInt32(self[place + 1]) << 8 | UInt32(self[place + 2]) << 16
            | UInt32(self[place + 3]) << 24
    }

    /// Seven bits to an octet, the lowest first.
    fileprivate mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// Nil at the end, or for a number that is cut off.
    @inline(__always)
    func varint(_ place: inout Int) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while place < count, shift < 63 {
            let octet = self[place]
            place += 1
            value |= UInt64(octet & 0x7F) << shift
            if octet < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
