// SPDX-License-Identifier: Apache-2.0
//
// The messages of one POP3 session and its deletions. RFC 1939 §5 (numbers, DELE, RSET), §7 (UIDL).
// Nothing here touches the store: marks become deletions only in the update state (§6).

import Bytes

/// A maildrop as it was when the session began, and what the session marked since.
package struct Maildrop: Equatable, Sendable {
    /// One message; its number is its index plus one.
    package struct Message: Equatable, Sendable {
        package let uid: UInt32
        /// Octets with CRLF line ends, before dot-stuffing (§11).
        package let size: UInt32
        package fileprivate(set) var isDeleted = false

        package init(uid: UInt32, size: UInt32) {
            self.uid = uid
            self.size = size
        }
    }

    package let uidValidity: UInt32
    package private(set) var messages: [Message]
    /// Messages not marked as deleted, and their octets: the figures of STAT.
    package private(set) var count: Int
    package private(set) var octets: UInt64

    private let allOctets: UInt64

    /// - Parameter messages: by rising UID.
    package init(uidValidity: UInt32, messages: [Message]) {
        self.uidValidity = uidValidity
        self.messages = messages
        count = messages.count
        var sum: UInt64 = 0
        for message in messages { sum += UInt64(message.size) }
        octets = sum
        allOctets = sum
    }

    /// Message `number`, unless there is none or it is marked as deleted.
    package func message(_ number: Int) -> Message? {
        guard number >= 1, number <= messages.count, !messages[number - 1].isDeleted else {
            return nil
        }
        return messages[number - 1]
    }

    /// Marks message `number`. False if there is none, or it was marked before.
    package mutating func delete(_ number: Int) -> Bool {
        guard let message = message(number) else { return false }
        messages[number - 1].isDeleted = true
        count -= 1
        octets -= UInt64(message.size)
        return true
    }

    /// Takes all marks back.
    package mutating func reset() {
        for index in messages.indices { messages[index].isDeleted = false }
        count = messages.count
        octets = allOctets
    }

    /// UIDs of the marked messages, rising.
    package var deletedUIDs: [UInt32] {
        count == messages.count ? [] : messages.filter(\.isDeleted).map(\.uid)
    }

    /// Which of the two listings.
    package enum Listing: Equatable, Sendable {
        /// `number size`, the scan listing of LIST.
        case scan
        /// `number unique-id` of UIDL.
        case uniqueID
    }

    /// Appends the line of message `number` (which exists), without a line end.
    package func append(_ listing: Listing, _ number: Int, to octets: inout [UInt8]) {
        octets.appendDecimal(UInt(number))
        octets.append(.space)
        let message = messages[number - 1]
        switch listing {
        case .scan:
            octets.appendDecimal(message.size)
        case .uniqueID:
            // At most 21 octets of the 70 that §7 allows, and as stable as the IMAP UID is.
            octets.appendDecimal(uidValidity)
            octets.append(0x2E)
            octets.appendDecimal(message.uid)
        }
    }

    /// Appends lines (CRLF included) from message `number` on until `limit` octets are exceeded.
    ///
    /// - Returns: the number to go on with; nil when the last message is written. The final dot is
    ///   the caller's.
    package func append(
        _ listing: Listing, from number: Int, to octets: inout [UInt8], limit: Int
    ) -> Int? {
        var next = number
        while next <= messages.count {
            if !messages[next - 1].isDeleted {
                append(listing, next, to: &octets)
                octets.append(contentsOf: [.cr, .lf])
            }
            next += 1
            if octets.count > limit { return next <= messages.count ? next : nil }
        }
        return nil
    }
}
