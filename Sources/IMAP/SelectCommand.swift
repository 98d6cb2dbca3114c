// SPDX-License-Identifier: Apache-2.0
//
// SELECT and EXAMINE with their parameters. RFC 9051 §6.3.2, §6.3.3; RFC 7162 §3.1.8, §3.2.5.

import Bytes
import Mail

package struct SelectCommand: Equatable, Sendable {
    package var mailbox: [UInt8]
    package var isReadOnly: Bool
    package var condstore = false
    package var resync: Resynchronization?

    package init(mailbox: [UInt8], isReadOnly: Bool, condstore: Bool = false) {
        self.mailbox = mailbox
        self.isReadOnly = isReadOnly
        self.condstore = condstore
    }
}

/// What a client still knows of a mailbox: the parameter QRESYNC.
package struct Resynchronization: Equatable, Sendable {
    package var uidValidity: UInt32
    package var modSeq: UInt64
    /// Nil: all up to the UIDNEXT of then.
    package var known: SequenceSet?
    /// Numbers, and the UIDs that they had: as many.
    package var match: (numbers: SequenceSet, uids: SequenceSet)?

    package static func == (left: Resynchronization, right: Resynchronization) -> Bool {
        left.uidValidity == right.uidValidity && left.modSeq == right.modSeq
            && left.known == right.known && left.match?.numbers == right.match?.numbers
            && left.match?.uids == right.match?.uids
    }

    /// RFC 7162 §3.2.5.2: the greatest UID that still has the number that the client remembers.
    /// Nothing below it has gone that the client does not know of.
    ///
    /// Pairs that do not fit are no harm: the client is told more than it needs.
    package func matchedUID(in view: borrowing ClientView) -> UInt32 {
        guard let match else { return 0 }
        let numbers = match.numbers.resolved(largest: 0)
        let uids = match.uids.resolved(largest: 0)
        var matched: UInt32 = 0
        var (place, taken): (Int, UInt32) = (0, 0)
        for range in numbers {
            for number in range.first...range.last {
                // Pairs beyond what the mailbox has cannot match
                guard number <= view.messages, place < uids.count else { return matched }
                let uid = uids[place].first + taken
                if view.entries[Int(number) - 1].uid == uid { matched = max(matched, uid) }
                if uid == uids[place].last { (place, taken) = (place + 1, 0) } else { taken += 1 }
            }
        }
        return matched
    }
}

extension Cursor {
    /// Behind the name of the mailbox.
    mutating func selectParameters(
        of mailbox: [UInt8], isReadOnly: Bool
    ) throws(CommandError) -> SelectCommand {
        var command = SelectCommand(mailbox: mailbox, isReadOnly: isReadOnly)
        guard skip(while: { $0 == .space }) > 0, take(0x28) else { return command }
        repeat {
            _ = skip(while: { $0 == .space })
            switch word() {
            case "CONDSTORE": command.condstore = true
            case "QRESYNC" where command.resync == nil:
                try space()
                command.resync = try resynchronization()
            default: throw failure
            }
        } while next == .space
        try expect(0x29)
        return command
    }

    private mutating func resynchronization() throws(CommandError) -> Resynchronization {
        try expect(0x28)
        let validity = try number32()
        try space()
        let modSeq = try modSeq()
        guard validity > 0, modSeq > 0 else { throw failure }
        var resync = Resynchronization(uidValidity: validity, modSeq: modSeq)
        if skip(while: { $0 == .space }) > 0, next != 0x28 {
            resync.known = try knownSet()
            _ = skip(while: { $0 == .space })
        }
        if take(0x28) {
            let numbers = try knownSet()
            try space()
            resync.match = (numbers, try knownSet())
            try expect(0x29)
        }
        try expect(0x29)
        return resync
    }

    /// known-uids: without `*`.
    private mutating func knownSet() throws(CommandError) -> SequenceSet {
        let set = try SequenceSet(from: &self)
        guard !set.hasStar else { throw failure }
        return set
    }
}
