// SPDX-License-Identifier: Apache-2.0
//
// What list views need of many messages, in one run of octets: the store writes it, imapd reads it
// without copying. docs/wire.md, "Summaries". Integers are big-endian.

import Bytes

/// Pieces of what is kept of a message for lists. `MessageSynopsis` in MIME makes them.
package struct SummaryPieces: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let envelope = SummaryPieces(rawValue: 1)
    package static let structure = SummaryPieces(rawValue: 2)
    /// Header fields that clients ask for in lists.
    package static let fields = SummaryPieces(rawValue: 4)
    /// What SORT and THREAD compare.
    package static let keys = SummaryPieces(rawValue: 8)

    package static let all: SummaryPieces = [.envelope, .structure, .fields, .keys]
    /// In the order in which they are in a row.
    package static let inOrder: [SummaryPieces] = [.envelope, .structure, .fields, .keys]
}

/// One message: where its pieces are. An empty piece is not known: ask for the message itself.
package struct SummaryRow: Equatable, Sendable {
    package var uid: UInt32
    package var envelope = 0..<0
    package var structure = 0..<0
    package var fields = 0..<0
    package var keys = 0..<0

    package init(uid: UInt32) { self.uid = uid }

    /// False if one of `pieces` is not known.
    package func has(_ pieces: SummaryPieces) -> Bool {
        !(pieces.contains(.envelope) && envelope.isEmpty
            || pieces.contains(.structure) && structure.isEmpty
            || pieces.contains(.fields) && fields.isEmpty
            || pieces.contains(.keys) && keys.isEmpty)
    }
}

/// Takes rows one after the other. A row is a UID and, for each piece in order, its length and its
/// octets.
package struct SummaryReader: Sendable {
    private let pieces: SummaryPieces
    private var position = 0
    /// The octets are not rows with these pieces.
    package private(set) var isBroken = false

    package init(_ pieces: SummaryPieces) { self.pieces = pieces }

    /// Nil at the end, or if they are broken.
    package mutating func next(_ rows: Span<UInt8>) -> SummaryRow? {
        guard position < rows.count, let uid = number(rows) else { return nil }
        var row = SummaryRow(uid: UInt32(uid))
        if pieces.contains(.envelope) { row.envelope = piece(rows) }
        if pieces.contains(.structure) { row.structure = piece(rows) }
        if pieces.contains(.fields) { row.fields = piece(rows) }
        if pieces.contains(.keys) { row.keys = piece(rows) }
        return isBroken ? nil : row
    }

    private mutating func piece(_ rows: Span<UInt8>) -> Range<Int> {
        guard let count = number(rows), count <= rows.count - position else {
            isBroken = true
            return 0..<0
        }
        position += count
        return (position - count)..<position
    }

    private mutating func number(_ rows: Span<UInt8>) -> Int? {
        guard !isBroken, rows.count - position >= 4 else {
            isBroken = true
            return nil
        }
        var value = 0
        for index in position..<(position + 4) { value = value << 8 | Int(rows[index]) }
        position += 4
        return value
    }
}

extension [UInt8] {
    /// A UID, or the length of a piece, in a run of rows.
    @inline(__always)
    package mutating func append(row number: UInt32) {
        append(UInt8(truncatingIfNeeded: number >> 24))
        append(UInt8(truncatingIfNeeded: number >> 16))
        append(UInt8(truncatingIfNeeded: number >> 8))
        append(UInt8(truncatingIfNeeded: number))
    }
}
