// SPDX-License-Identifier: Apache-2.0
//
// The mail of one account: a Maildir++ and the index beside it. docs/store.md; RFC 9051 §2.3.
// Blocking calls: everything here runs on the account's own worker, one call at a time.

import Bytes
import Mail

/// One account's mailboxes. Never used from two threads at once, never from an event loop.
package final class AccountStore: @unchecked Sendable {  // safe: confined to its account's lane
    package let address: EmailAddress

    init(address: EmailAddress) { self.address = address }

    /// Writes file names behind, puts the index in order and closes it. Nothing works afterwards.
    package func close() throws(StoreError) { throw .notPermitted }

    /// Mailboxes changed since the last call, by any operation: for the events to watchers.
    package func takeChanges() -> [MailboxChange] { [] }

    package func list() throws(StoreError) -> [MailboxInfo] { throw .notPermitted }
    package func create(_ name: MailboxName, _ use: SpecialUse) throws(StoreError) { throw .notPermitted }
    package func delete(_ name: MailboxName) throws(StoreError) { throw .notPermitted }
    package func rename(_ name: MailboxName, to target: MailboxName) throws(StoreError) { throw .notPermitted }
    package func subscribe(_ name: MailboxName, _ wanted: Bool) throws(StoreError) { throw .notPermitted }
    package func status(_ name: MailboxName) throws(StoreError) -> MailboxStatus { throw .notPermitted }
    package func totals() throws(StoreError) -> AccountTotals { throw .notPermitted }
    package func snapshot(_ name: MailboxName) throws(StoreError) -> MailboxSnapshot { throw .notPermitted }
    package func changes(_ id: MailboxID, since: UInt64) throws(StoreError) -> MailboxChanges { throw .notPermitted }

    /// One result for each, in order; all that succeed are durable when this returns.
    package func append(batch: [PendingAppend]) -> [Result<AppendedMessage, StoreError>] { [] }
    package func append(_ message: PendingAppend) throws(StoreError) -> AppendedMessage { throw .notPermitted }
    /// Takes a delivery back: the message of this name disappears, if it is here.
    package func retract(_ unique: UniqueName) throws(StoreError) { throw .notPermitted }

    package func store(
        _ id: MailboxID, uids: [UIDRange], _ operation: FlagOperation, _ flags: NamedFlags,
        unchangedSince: UInt64?
    ) throws(StoreError) -> StoredFlags { throw .notPermitted }
    package func copy(
        _ id: MailboxID, uids: [UIDRange], to target: MailboxName, move: Bool
    ) throws(StoreError) -> CopyResult { throw .notPermitted }
    package func expunge(
        _ id: MailboxID, uids: [UIDRange]?, force: Bool
    ) throws(StoreError) -> ExpungedMessages { throw .notPermitted }
    /// Nil if there is no such message (any more). `inlineLimit`: longer ones come as a file.
    package func read(
        _ id: MailboxID, uid: UInt32, _ part: MessagePart, inlineLimit: Int
    ) throws(StoreError) -> MessageContent? { throw .notPermitted }

    /// True if flags wait to be written into file names.
    package var hasUnflushedNames: Bool { false }
    /// Renames up to `limit` files to carry their flags. Call it every few seconds while
    /// `hasUnflushedNames`.
    package func flushNames(limit: Int) throws(StoreError) { throw .notPermitted }
    /// Throws the index away and makes it anew from the Maildir.
    package func rebuildIndex() throws(StoreError) { throw .notPermitted }
}
