// SPDX-License-Identifier: Apache-2.0
//
// The packed keys of SORT and THREAD, read where they lie: of a hundred thousand messages nothing
// is copied but what is compared. RFC 5256; docs/wire.md, "Summaries".

import Bytes
import Mail

/// Where the values of `ListKeys` are in packed octets. All texts may be empty.
package struct ListKeyRow: Sendable {
    package private(set) var sent: SecondsSince1970?
    package private(set) var isReplyOrForward = false
    package private(set) var from = 0..<0
    package private(set) var to = 0..<0
    package private(set) var cc = 0..<0
    package private(set) var displayFrom = 0..<0
    package private(set) var displayTo = 0..<0
    package private(set) var baseSubject = 0..<0
    package private(set) var messageID = 0..<0
    private var references = PackedReader(0..<0)
    package private(set) var referenceCount = 0

    /// Of a message of which nothing is known.
    package init() {}

    /// - Returns: nil if the octets were not made by `ListKeys.packed`.
    package init?(_ packed: Span<UInt8>, _ range: Range<Int>) {
        var reader = PackedReader(range)
        let marks = reader.number(packed)
        if marks & 1 == 1 {
            let number = UInt64(reader.number(packed))
            sent = Int64(number >> 1) ^ -Int64(number & 1)
        }
        isReplyOrForward = marks & 2 == 2
        func text() -> Range<Int> { reader.text(packed)?.range ?? 0..<0 }
        from = text()
        to = text()
        cc = text()
        displayFrom = text()
        displayTo = text()
        baseSubject = text()
        messageID = text()
        referenceCount = reader.number(packed)
        references = reader
        guard marks < 4, referenceCount <= ListKeys.referenceLimit else { return nil }
        for _ in 0..<referenceCount { _ = reader.text(packed) }
        guard !reader.isBroken, reader.isAtEnd else { return nil }
    }

    /// The ids that the message refers to, the oldest first.
    package func references(_ packed: Span<UInt8>) -> [Range<Int>] {
        var reader = references
        return (0..<referenceCount).map { _ in reader.text(packed)?.range ?? 0..<0 }
    }
}
