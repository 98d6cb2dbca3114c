// SPDX-License-Identifier: Apache-2.0
//
// The seam for the index: which messages a mailbox has, under which numbers, and what changed.
// docs/decisions/0003-seam.md; RFC 9051 §2.3.1.1 (UIDs), RFC 7162 §3.1 (MODSEQ, VANISHED).

import MIME
import Mail

/// A mailbox while somebody works on it: its numbers, as the next allocation counts on.
package protocol IndexedMailbox: AnyObject {
    var id: MailboxID { get }
    /// Greater than every UID given out.
    var uidNext: UInt32 { get }
    /// The greatest MODSEQ given out.
    var modSeq: UInt64 { get }
    /// Expunges up to this MODSEQ are forgotten.
    var floor: UInt64 { get }
}

/// A mailbox as the index has it.
package struct MailboxRow: Equatable, Sendable {
    package var id: MailboxID
    package var name: MailboxName
    /// Where its bytes are.
    package var directory: PathOctets
    package var specialUse: SpecialUse
    /// Where they may still be, after a rename.
    package var previous: PathOctets?

    package init(
        id: MailboxID, name: MailboxName, directory: PathOctets, specialUse: SpecialUse,
        previous: PathOctets? = nil
    ) {
        self.id = id
        self.name = name
        self.directory = directory
        self.specialUse = specialUse
        self.previous = previous
    }
}

/// A message as the index gets it.
package struct IndexedMessage: Sendable {
    package var entry: MessageEntry
    /// Where its bytes are: of the `BlobStore` that the mailbox uses.
    package var blob: BlobID
    package var summary: MessageSummary

    package init(entry: MessageEntry, blob: BlobID, summary: MessageSummary) {
        self.entry = entry
        self.blob = blob
        self.summary = summary
    }
}

/// A message that is on its way out: its row is gone, its bytes are not.
package struct RemovedMessage: Equatable, Sendable {
    package var blob: BlobID
    package var flags: Flags
}

/// Counts of a mailbox.
package struct MailboxTotals: Equatable, Sendable {
    package var messages: UInt32
    package var unseen: UInt32
    package var deleted: UInt32
    package var octets: UInt64
}

/// Numbers that a mailbox begins with.
package struct MailboxNumbers: Equatable, Sendable {
    package var uidNext: UInt32
    package var modSeq: UInt64
    package var floor: UInt64

    package init(uidNext: UInt32 = 1, modSeq: UInt64 = 1, floor: UInt64 = 0) {
        self.uidNext = uidNext
        self.modSeq = modSeq
        self.floor = floor
    }
}

/// The rows of one account's mailboxes.
///
/// Every driver promises (`IndexStoreTests` holds each to it):
/// - `transaction` does all of its body or nothing: rows, numbers, sums and the log of expunges;
///   with `.full` it is durable when it returns, whatever happens then;
/// - numbers of a mailbox are given out in the order in which they become visible, and never
///   twice, whether or not what they were for came to be. A driver with other writers holds the
///   mailbox from the allocation to the end of the transaction;
/// - whoever knows the mailbox as of a MODSEQ at or above the floor learns of every change since;
/// - the sums of `usage` are those of the rows, always;
/// - an id of a mailbox that was removed does not come back.
///
/// One thread at a time for each account. Like `BlobStore` it is used by name or as a generic
/// parameter. Reading functions return rows by rising UID.
package protocol IndexStore: AnyObject {
    associatedtype Mailbox: IndexedMailbox

    /// Commits what `body` did, or nothing of it.
    func transaction<Result>(
        _ durability: Durability, _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result

    /// What `body` reads is one state.
    func reading<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result

    // MARK: - Mailboxes

    /// By name.
    func mailboxes() throws(StoreError) -> [MailboxRow]
    func mailboxCount() throws(StoreError) -> UInt32
    func mailboxID(_ name: MailboxName) throws(StoreError) -> MailboxID?
    /// Numbers of a mailbox for those who change it. Nil if there is none.
    func open(_ id: MailboxID) throws(StoreError) -> Mailbox?
    /// As part of a transaction.
    func insert(_ mailbox: MailboxRow, _ numbers: MailboxNumbers) throws(StoreError)
    /// With all of its rows, as part of a transaction.
    func remove(_ id: MailboxID) throws(StoreError)
    /// Name and place, as part of a transaction. `previous`: where the bytes may still be.
    func rename(
        _ id: MailboxID, to name: MailboxName, _ directory: [UInt8], previous: [UInt8]?
    ) throws(StoreError)
    func setSpecialUse(_ id: MailboxID, _ use: SpecialUse) throws(StoreError)

    // MARK: - Numbers

    /// `count` UIDs in a row that no message of the mailbox ever had; the first of them.
    func allocateUIDs(_ count: Int, in mailbox: Mailbox) throws(StoreError) -> UInt32
    /// A MODSEQ greater than every other of the mailbox.
    func allocateModSeq(in mailbox: Mailbox) throws(StoreError) -> UInt64
    /// What was allocated becomes visible, as part of the transaction that uses it.
    func putNumbers(of mailbox: Mailbox) throws(StoreError)

    // MARK: - Changes, as parts of a transaction

    func insert(_ message: IndexedMessage, in id: MailboxID) throws(StoreError)
    /// What lists show is that of the source.
    func copy(
        _ uid: UInt32, from source: MailboxID, as entry: MessageEntry, _ blob: BlobID,
        in target: MailboxID
    ) throws(StoreError)
    /// Logs the expunges, and keeps the blobs in mind until `forgetDoomed`.
    func remove(
        _ uids: [UInt32], at modSeq: UInt64, from mailbox: Mailbox
    ) throws(StoreError) -> [RemovedMessage]
    /// - Parameter limit: messages with a greater MODSEQ stay as they are.
    func changeFlags(
        _ uids: [UIDRange], _ operation: FlagOperation, _ mask: Flags, at modSeq: UInt64,
        unchangedSince limit: UInt64?, in id: MailboxID
    ) throws(StoreError)
    /// The bytes of all messages removed so far are durably gone.
    func forgetDoomed(in id: MailboxID) throws(StoreError)

    // MARK: - Reading

    func entries(
        _ id: MailboxID, _ uids: UIDRange, limit: Int
    ) throws(StoreError) -> [MessageEntry]
    func entry(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> MessageEntry?
    func blob(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> BlobID?
    /// Where the bytes of every message are, in no order: for sweepers.
    func eachBlob(
        _ id: MailboxID, _ body: (_ uid: UInt32, _ blob: BlobID) -> Void
    ) throws(StoreError)
    /// UIDs of messages that have all of `flags`.
    func uids(
        _ id: MailboxID, _ uids: UIDRange, with flags: Flags
    ) throws(StoreError) -> [UInt32]
    func entries(_ id: MailboxID, changedSince modSeq: UInt64) throws(StoreError) -> [MessageEntry]
    /// Expunged since a MODSEQ that is not below the floor.
    func vanished(_ id: MailboxID, since modSeq: UInt64) throws(StoreError) -> [UInt32]
    /// Blobs that may still be there although their rows are gone.
    func doomed(_ id: MailboxID) throws(StoreError) -> [BlobID]
    func totals(_ id: MailboxID) throws(StoreError) -> MailboxTotals
    /// Octets of messages with `\Deleted`.
    func deletedOctets(_ id: MailboxID) throws(StoreError) -> UInt64
    /// Sums over all mailboxes, without counting.
    func usage() throws(StoreError) -> MailUsage

    // MARK: - What lists show

    /// Pieces of each message that has them, as `SummaryReader` takes them, until there are `limit`
    /// octets; then the UID to go on with.
    func summaries(
        _ id: MailboxID, _ uids: UIDRange, _ pieces: SummaryPieces, limit: Int,
        to rows: inout [UInt8]
    ) throws(StoreError) -> UInt32?
    /// Messages of which nothing is kept, or (`needsStructure`) not all.
    func unsummarized(
        _ id: MailboxID, _ uids: UIDRange, needsStructure: Bool
    ) throws(StoreError) -> [UInt32]
    /// Keeps what was missing; nil: there is nothing to be kept. As part of a transaction.
    func putSummary(
        _ id: MailboxID, _ uid: UInt32, _ synopsis: MessageSynopsis?
    ) throws(StoreError)
}
