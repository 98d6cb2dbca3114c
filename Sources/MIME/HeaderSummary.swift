// SPDX-License-Identifier: Apache-2.0
//
// What the store's index keeps of a header, as readable UTF-8 of bounded length.

import Bytes

/// Subject, addresses and id of one message. Empty where the field is missing.
package struct HeaderSummary: Equatable, Sendable {
    /// Octets of each text; what is longer is cut between two characters.
    package static let octetLimit = 512
    /// Octets of a field body that are looked at: encoded words are longer than their texts.
    private static let bodyLimit = 4 * octetLimit

    package var subject: [UInt8] = []
    /// Decoded From, as written.
    package var from: [UInt8] = []
    package var to: [UInt8] = []
    /// With its angle brackets.
    package var messageID: [UInt8] = []

    /// - Parameter header: a message header; anything after its empty line is not looked at.
    package init(header: Span<UInt8>) {
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header) {
            switch KnownField(header, field.name) {
            case .subject: Self.take(header, field.body, into: &subject)
            case .from: Self.take(header, field.body, into: &from)
            case .to: Self.take(header, field.body, into: &to)
            case .messageID: Self.take(header, field.body, into: &messageID)
            default: break
            }
        }
    }

    /// The first of repeated fields counts.
    private static func take(
        _ header: Span<UInt8>, _ body: Range<Int>, into text: inout [UInt8]
    ) {
        guard text.isEmpty else { return }
        let end = min(body.upperBound, body.lowerBound + bodyLimit)
        HeaderText.append(header, body.lowerBound..<end, to: &text)
        HeaderText.truncate(&text, to: octetLimit)
    }
}
