// SPDX-License-Identifier: Apache-2.0
//
// What the server itself needs to know of a message's header while it streams by: how many hops it
// made (RFC 5321 §6.3) and which fields a submission left out (RFC 6409 §8). Everything else about
// messages is MIME's.

import Bytes

/// Takes text in pieces of any size, undotted; costs nothing more once the header has ended.
package struct HeaderScanner: Sendable {
    /// Octets of a field name that are kept: enough for every name that matters.
    private static let nameLimit = 12

    /// Octets of a Message-ID that are kept.
    private static let messageIDLimit = 512

    private enum Place {
        /// In front of the colon.
        case name
        /// Behind it, or in a line that has none.
        case rest
    }

    private var place = Place.name
    private var name: [UInt8] = []
    /// Octets of the name, also those not kept.
    private var nameLength = 0
    private var isFirstLine = true

    /// `Received` fields.
    package private(set) var hops = 0
    package private(set) var hasDate = false
    package private(set) var hasMessageID = false
    /// The start of the first Message-ID's value, white space and all: for the log.
    private var messageIDValue: [UInt8] = []
    private var isInMessageID = false
    /// False if the first line is neither a field nor empty: a text without any header.
    package private(set) var hasHeader = true
    /// True when the empty line behind the header, or a text without header, was seen.
    package private(set) var isComplete = false
    /// Octets of the header with its empty line, once it is complete; 0 without a header.
    package private(set) var length = 0
    /// Octets seen in pieces before this one.
    private var seen = 0

    package init() { name.reserveCapacity(Self.nameLimit) }

    /// Takes the next piece.
    package mutating func scan(_ input: Span<UInt8>) {
        var index = 0
        while index < input.count, !isComplete {
            let end = input.firstLineEnd(from: index)
            while index < end, place == .name, !isComplete {
                take(input[index])
                index += 1
            }
            if isInMessageID, index < end, !isComplete {
                keep(input.extracting(index..<end))
            }
            guard end < input.count else { break }
            index = end + 1
            if input[end] == .lf { endLine() }
            if isComplete, hasHeader { length = seen + index }
        }
        seen += input.count
    }

    /// Call behind the last piece.
    package mutating func finish() {
        if nameLength > 0, !isComplete { endLine() }
        if !isComplete, hasHeader { length = seen }
        isComplete = true
    }

    /// What is in the angle brackets of the Message-ID, with them; nil without any.
    package var messageID: [UInt8]? {
        guard let start = messageIDValue.firstIndex(of: 0x3C),
            let end = messageIDValue[start...].firstIndex(of: 0x3E)
        else { return nil }
        return messageIDValue[start...end].filter { $0 > 0x20 }
    }

    private mutating func keep(_ value: Span<UInt8>) {
        for index in 0..<min(value.count, Self.messageIDLimit - messageIDValue.count) {
            messageIDValue.append(value[index])
        }
    }

    /// One octet in front of the colon.
    private mutating func take(_ octet: UInt8) {
        switch octet {
        case 0x3A where nameLength > 0:
            note()
            isFirstLine = false
            place = .rest
        case 0x21...0x39, 0x3B...0x7E:
            isInMessageID = false
            if nameLength < Self.nameLimit { name.append(octet) }
            nameLength += 1
        default:
            // White space, a control character or a colon without name: a continuation line, or
            // no field at all, which in the first line means no header at all.
            if isFirstLine { endWithoutHeader() }
            place = .rest
        }
    }

    private mutating func note() {
        guard nameLength == name.count else { return }
        if name.equalsIgnoringASCIICase(Self.received) {
            hops += 1
        } else if name.equalsIgnoringASCIICase(Self.date) {
            hasDate = true
        } else if name.equalsIgnoringASCIICase(Self.messageID) {
            isInMessageID = !hasMessageID
            hasMessageID = true
        }
    }

    private mutating func endLine() {
        if place == .name {
            if nameLength == 0 {
                isComplete = true
            } else if isFirstLine {
                endWithoutHeader()
            }
        }
        place = .name
        name.removeAll(keepingCapacity: true)
        nameLength = 0
    }

    private mutating func endWithoutHeader() {
        hasHeader = false
        isComplete = true
    }

    private static let received = Array("Received")
    private static let date = Array("Date")
    private static let messageID = Array("Message-ID")
}
