// SPDX-License-Identifier: Apache-2.0
//
// The seam for message bytes: where the octets of one mailbox's messages are, and what whoever
// records them in an index may rely on. docs/decisions/0003-seam.md; RFC 5321 §6.1.

import Mail

/// What the index keeps of a message's bytes. Only the driver that made it takes it apart.
package typealias BlobID = [UInt8]

/// What a driver may write beside the bytes of a message, so that a lost index can be made again.
package struct BlobLabel: Sendable {
    /// Like that of no other message anywhere.
    package var unique: UniqueName
    /// Octets with CRLF line ends.
    package var size: UInt32
    package var uid: UInt32
    package var flags: Flags
    /// INTERNALDATE.
    package var date: SecondsSince1970

    package init(
        unique: UniqueName, size: UInt32, uid: UInt32, flags: Flags, date: SecondsSince1970
    ) {
        self.unique = unique
        self.size = size
        self.uid = uid
        self.flags = flags
        self.date = date
    }
}

/// The bytes of a message, open for reading: they stay whole even if it is deleted meanwhile.
package protocol BlobReader {
    var octets: Int64 { get }
    /// Up to `count` octets from `offset`; fewer only at the end.
    func read(from offset: Int64, count: Int) throws(StoreError) -> [UInt8]
    /// All of it as a read-only file for a front daemon. Once only; nothing is read afterwards.
    func file() throws(StoreError) -> SharedDescriptor
}

/// Keeps the bytes of one mailbox's messages.
///
/// Every driver promises (`BlobStoreTests` holds each to it):
/// - what `put` and `copy` return is durable, all of it, and is read back octet for octet for ever;
///   if they throw, nothing of theirs is there, or only what `list` shows and nobody else;
/// - a draft that was not put is nowhere, and a crash leaves nothing of it;
/// - `delete` of what is gone already is no error, and what one mailbox deletes another keeps;
/// - `list` shows everything that can be opened, once, in one order: what an index does not know
///   of that is older than the transactions on their way is an orphan.
///
/// The index never points at nothing: bytes first, then the row, then the answer; and a row goes
/// before its bytes. One thread at a time. Used as a generic parameter or by its own name, never as
/// an existential: a call costs what a call costs.
package protocol BlobStore: AnyObject {
    /// Bytes on their way in, which nobody sees yet.
    associatedtype Draft
    associatedtype Reader: BlobReader

    /// Bytes that may be put under a label. Nothing is durable yet.
    func draft(_ octets: [UInt8], date: SecondsSince1970?) throws(StoreError) -> Draft

    /// Makes the bytes of drafts durable, together; they have no place yet. One outcome for each:
    /// a message that cannot be written fails alone.
    func prepare(_ drafts: [Draft]) -> [StoreError?]

    /// Gives prepared drafts their place; one id for each, in order.
    ///
    /// - Parameter durability: `.logged`: the delivery log has the bytes, nothing needs to be
    ///   durable here, and drafts need not be prepared.
    func put(
        _ drafts: [(draft: Draft, label: BlobLabel)], _ durability: Durability
    ) throws(StoreError) -> [BlobID]

    /// The same bytes under ids of their own, from another mailbox of this driver or this one.
    /// Nil for each whose source is gone.
    func copy(
        _ blobs: [(id: BlobID, label: BlobLabel)], from source: Self
    ) throws(StoreError) -> [BlobID?]

    /// Nil if it is gone.
    func open(_ id: BlobID) throws(StoreError) -> Reader?

    /// False if it was gone. Durable with the next `synchronize`, or `put`.
    @discardableResult
    func delete(_ id: BlobID) throws(StoreError) -> Bool

    /// What was deleted stays so.
    func synchronize() throws(StoreError)

    /// The next ids behind `id` in the order of octets, at most `limit`: for sweepers.
    func list(after id: BlobID?, limit: Int) throws(StoreError) -> [BlobID]
}
