// SPDX-License-Identifier: Apache-2.0
//
// Values that describe mailboxes and messages, shared by the store, the wire and the daemons.
// RFC 9051 §2.3. Limits: UIDs and sizes are 32 bits as the RFC has them.

import Bytes

/// Seconds since 1970-01-01T00:00:00Z; INTERNALDATE.
package typealias SecondsSince1970 = Int64

/// A mailbox name: UTF-8 octets, levels separated by `/`, INBOX in capitals.
///
/// Modified UTF-7 (RFC 3501 §5.1.3) is made at the edges: by imapd for clients, by the store for
/// folder names on disk.
package struct MailboxName: Hashable, Sendable, Comparable {
    package static let separator: UInt8 = 0x2F
    package static let inbox = MailboxName(unchecked: Array("INBOX"))
    /// Octets of a whole name, and of one level (a folder name must fit a file name in UTF-7).
    package static let octetLimit = 1_000
    package static let depthLimit = 16

    package let octets: [UInt8]

    private init(unchecked octets: [UInt8]) { self.octets = octets }

    /// Nil unless: valid UTF-8, 1 to 1,000 octets, at most 16 levels, no empty level, no level
    /// `.` or `..`, no control characters. Any case of INBOX as the first level becomes `INBOX`.
    package init?(_ octets: [UInt8]) {
        guard (1...Self.octetLimit).contains(octets.count),
            String(validating: octets, as: UTF8.self) != nil
        else { return nil }
        var levels = octets.split(separator: Self.separator, omittingEmptySubsequences: false)
        guard levels.count <= Self.depthLimit else { return nil }
        for level in levels {
            guard !level.isEmpty, level.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }),
                !level.elementsEqual([0x2E]), !level.elementsEqual([0x2E, 0x2E])
            else { return nil }
        }
        if Array(levels[0]).equalsIgnoringASCIICase(Array("INBOX")) {
            levels[0] = ArraySlice(Array("INBOX"))
        }
        self.octets = Array(levels.joined(separator: [Self.separator]))
    }

    package var text: String { String(decoding: octets, as: UTF8.self) }
    package var isInbox: Bool { self == .inbox }

    /// The name one level up; nil at the top.
    package var parent: MailboxName? {
        guard let cut = octets.lastIndex(of: Self.separator) else { return nil }
        return MailboxName(unchecked: Array(octets[..<cut]))
    }

    /// True if `self` lies below `other`.
    package func isBelow(_ other: MailboxName) -> Bool {
        octets.count > other.octets.count && octets[other.octets.count] == Self.separator
            && octets.starts(with: other.octets)
    }

    package static func < (left: MailboxName, right: MailboxName) -> Bool {
        left.octets.lexicographicallyPrecedes(right.octets)
    }
}

/// What a mailbox is for. RFC 6154.
package enum SpecialUse: UInt8, CaseIterable, Sendable {
    case none = 0
    case drafts, sent, junk, trash, archive
}

/// A mailbox inside one account, for as long as the account's index lives.
package struct MailboxID: Hashable, Sendable {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
}

/// One row of LIST.
package struct MailboxInfo: Equatable, Sendable {
    package var name: MailboxName
    package var specialUse: SpecialUse
    /// False for a level that exists only because mailboxes lie below it (`\NonExistent`), and for
    /// subscribed names whose mailbox is gone.
    package var isSelectable: Bool
    package var isSubscribed: Bool

    package init(
        name: MailboxName, specialUse: SpecialUse, isSelectable: Bool, isSubscribed: Bool
    ) {
        self.name = name
        self.specialUse = specialUse
        self.isSelectable = isSelectable
        self.isSubscribed = isSubscribed
    }
}

/// The numbers of STATUS.
package struct MailboxStatus: Equatable, Sendable {
    package var messages: UInt32
    package var unseen: UInt32
    package var deleted: UInt32
    /// Octets of all messages.
    package var size: UInt64
    package var uidNext: UInt32
    package var uidValidity: UInt32
    package var highestModSeq: UInt64

    package init(
        messages: UInt32, unseen: UInt32, deleted: UInt32, size: UInt64, uidNext: UInt32,
        uidValidity: UInt32, highestModSeq: UInt64
    ) {
        self.messages = messages
        self.unseen = unseen
        self.deleted = deleted
        self.size = size
        self.uidNext = uidNext
        self.uidValidity = uidValidity
        self.highestModSeq = highestModSeq
    }
}

/// One message as every session sees it: 32 octets in memory.
package struct MessageEntry: Equatable, Sendable {
    package var uid: UInt32
    /// Octets with CRLF line ends: RFC822.SIZE.
    package var size: UInt32
    package var flags: Flags
    package var modSeq: UInt64
    package var internalDate: SecondsSince1970

    package init(
        uid: UInt32, size: UInt32, flags: Flags, modSeq: UInt64, internalDate: SecondsSince1970
    ) {
        self.uid = uid
        self.size = size
        self.flags = flags
        self.modSeq = modSeq
        self.internalDate = internalDate
    }
}

/// A mailbox as it was at one moment: what SELECT needs.
package struct MailboxSnapshot: Equatable, Sendable {
    package var id: MailboxID
    package var uidValidity: UInt32
    package var uidNext: UInt32
    package var highestModSeq: UInt64
    /// Keyword names by number; index 0 is letter a.
    package var keywords: [[UInt8]]
    /// By rising UID.
    package var entries: [MessageEntry]

    package init(
        id: MailboxID, uidValidity: UInt32, uidNext: UInt32, highestModSeq: UInt64,
        keywords: [[UInt8]], entries: [MessageEntry]
    ) {
        self.id = id
        self.uidValidity = uidValidity
        self.uidNext = uidNext
        self.highestModSeq = highestModSeq
        self.keywords = keywords
        self.entries = entries
    }
}

/// What happened to a mailbox after a MODSEQ. RFC 7162.
package struct MailboxChanges: Equatable, Sendable {
    /// The mailbox itself was deleted: nothing else is set.
    package var isGone: Bool
    package var uidNext: UInt32
    package var highestModSeq: UInt64
    /// The whole keyword table, as in the snapshot.
    package var keywords: [[UInt8]]
    /// New messages and messages with new flags, by rising UID. A UID that the caller does not
    /// know is a new message.
    package var entries: [MessageEntry]
    /// UIDs expunged, rising. May name messages that the caller never saw.
    package var vanished: [UInt32]

    package init(
        isGone: Bool = false, uidNext: UInt32, highestModSeq: UInt64, keywords: [[UInt8]],
        entries: [MessageEntry], vanished: [UInt32]
    ) {
        self.isGone = isGone
        self.uidNext = uidNext
        self.highestModSeq = highestModSeq
        self.keywords = keywords
        self.entries = entries
        self.vanished = vanished
    }
}

/// Flags by name, as clients send them: system flags, and keywords in any case.
package struct NamedFlags: Equatable, Sendable {
    package var system: Flags
    /// Atoms without a leading backslash (`$Junk`, `NonJunk`), at most 26.
    package var keywords: [[UInt8]]

    package init(system: Flags = [], keywords: [[UInt8]] = []) {
        self.system = system
        self.keywords = keywords
    }
}

/// What STORE does with the named flags.
package enum FlagOperation: UInt8, Sendable {
    case replace = 0
    case add = 1
    case remove = 2
}

/// UIDs of copied messages, for COPYUID (RFC 4315): the same count, in order.
package struct CopyResult: Equatable, Sendable {
    package var uidValidity: UInt32
    package var source: [UInt32]
    package var destination: [UInt32]

    package init(uidValidity: UInt32, source: [UInt32], destination: [UInt32]) {
        self.uidValidity = uidValidity
        self.source = source
        self.destination = destination
    }
}

/// A closed range of UIDs. A set of them is an array, rising and not touching.
package struct UIDRange: Hashable, Sendable {
    package var first: UInt32
    package var last: UInt32

    package init(_ first: UInt32, _ last: UInt32) {
        self.first = first
        self.last = last
    }

    /// The ranges of `uids`, which must rise.
    package static func ranges(of uids: [UInt32]) -> [UIDRange] {
        var ranges: [UIDRange] = []
        for uid in uids {
            if let last = ranges.indices.last, ranges[last].last &+ 1 == uid {
                ranges[last].last = uid
            } else {
                ranges.append(UIDRange(uid, uid))
            }
        }
        return ranges
    }
}
