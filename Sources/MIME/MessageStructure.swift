// SPDX-License-Identifier: Apache-2.0
//
// The tree of a message's parts, as ranges of its octets. RFC 2045, RFC 2046 §5, RFC 5322 §2.1.
// Nothing is copied and nothing decoded; MessageStructure+Parsing.swift makes it.

import Bytes

/// Every part of one message in the order of their first octets; part 0 is the message itself.
package struct MessageStructure: Equatable, Sendable {
    /// What parsing does with a message that was made to hurt.
    package struct Limits: Sendable {
        /// Parts inside parts. A multipart or message deeper than this stays one opaque part.
        package var depth = 64
        /// All parts together. What follows the last one belongs to it.
        package var parts = 10_000
        /// Octets of a boundary; RFC 2046 §5.1.1 allows 70.
        package var boundary = 256

        package init() {}
    }

    /// Always at least one.
    package internal(set) var parts: [MessagePart]

    package init(_ message: Span<UInt8>, limits: Limits = Limits()) {
        self.init(message, in: 0..<message.count, limits: limits)
    }

    /// Number of the child of `part` that is `position`th, counted from 1; nil if there is none.
    package func child(_ position: Int, of part: Int) -> Int? {
        guard position >= 1 else { return nil }
        var child = parts[part].firstChild
        var left = position - 1
        while left > 0, let current = child {
            child = parts[current].nextSibling
            left -= 1
        }
        return child
    }
}

/// One part: a leaf, a multipart, or a message inside a message.
package struct MessagePart: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        /// Text, an attachment, anything without parts of its own.
        case leaf
        /// `multipart/*` with a boundary; may have no children at all.
        case multipart
        /// `message/rfc822` or `message/global`: its one child is the message inside.
        case message
        /// A multipart or message beyond the limits: to be shown as `application/octet-stream`.
        case opaque
    }

    package internal(set) var kind: Kind
    /// The header with the empty line that ends it.
    package internal(set) var header: Range<Int>
    /// Everything after that line, to the line end before the next boundary.
    package internal(set) var body: Range<Int>
    /// Line ends inside `body`.
    package internal(set) var lines: Int
    /// Body of the Content-Type field; nil without one.
    package internal(set) var contentType: Range<Int>?
    package internal(set) var encoding: TransferEncoding
    /// True for children of `multipart/digest`, whose default type is `message/rfc822`.
    package internal(set) var isInDigest: Bool
    package internal(set) var depth: Int
    package internal(set) var firstChild: Int?
    package internal(set) var nextSibling: Int?
}

/// How a body is encoded. RFC 2045 §6.1.
package enum TransferEncoding: UInt8, Sendable {
    /// `7bit`, `8bit`, `binary`, or nothing said.
    case identity
    case quotedPrintable, base64
    /// A name that nobody knows; the octets mean nothing to us.
    case unknown
}
