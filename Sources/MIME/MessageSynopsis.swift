// SPDX-License-Identifier: Apache-2.0
//
// All that list views show of a message, read out of it once and kept beside it, so that no list
// opens a file. RFC 9051 §6.4.5 (ENVELOPE, BODYSTRUCTURE, HEADER.FIELDS), RFC 5256.

import Bytes

/// Packed pieces of one message; each is empty if it would be longer than `pieceLimit`, for
/// messages made to hurt. Then the message itself must be looked at.
package struct MessageSynopsis: Equatable, Sendable {
    /// Octets of one piece.
    package static let pieceLimit = 64 << 10

    /// `PackedEnvelope`.
    package var envelope: [UInt8] = []
    /// The fields of `ListFields`, as they are in the header.
    package var fields: [UInt8] = []
    /// `ListKeys`.
    package var keys: [UInt8] = []
    /// `PackedStructure`; nil if only the header was there to look at.
    package var structure: [UInt8]?

    /// - Parameters:
    ///   - message: a message with CRLF line ends, or the beginning of one with all of its header.
    ///   - isWhole: it is all of the message.
    package init(_ message: Span<UInt8>, isWhole: Bool) {
        let header = 0..<HeaderReader.bodyStart(message, in: 0..<message.count)
        PackedEnvelope.append(message, header, to: &envelope)
        if envelope.count > Self.pieceLimit { envelope = [] }
        if !ListFields.append(message, header, limit: Self.pieceLimit, to: &fields) {
            fields = []
        } else {
            fields.append(literal: "\r\n")  // never empty: that would mean too long
        }
        keys = ListKeys(message, header).packed
        if keys.count > Self.pieceLimit { keys = [] }
        if isWhole { structure = Self.structure(of: message) }
    }

    /// The structure alone.
    package static func structure(of message: Span<UInt8>) -> [UInt8] {
        var packed: [UInt8] = []
        let isWhole = PackedStructure.append(
            MessageStructure(message), of: message, limit: pieceLimit, to: &packed)
        return isWhole ? packed : []
    }
}
