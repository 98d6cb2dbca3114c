// SPDX-License-Identifier: Apache-2.0
//
// What the store's index keeps of a header, as readable UTF-8 of bounded length.

import Bytes

/// Subject, addresses and id of one message. Empty where the field is missing.
package struct HeaderSummary: Equatable, Sendable {
    /// Octets of each text; what is longer is cut between two characters.
    package static let octetLimit = 512

    package var subject: [UInt8] = []
    /// Decoded From, as written.
    package var from: [UInt8] = []
    package var to: [UInt8] = []
    /// With its angle brackets.
    package var messageID: [UInt8] = []

    /// - Parameter header: a message header; anything after its empty line is not looked at.
    package init(header: Span<UInt8>) {
    }
}
