// SPDX-License-Identifier: Apache-2.0
//
// The encoding of what only replies carry: snapshots, changes and rows of lists. docs/wire.md.

import Bytes
import Mail

extension Encoder {
    mutating func put(_ row: MailboxInfo) {
        put(row.name)
        put(row.specialUse.rawValue)
        put(row.isSelectable)
        put(row.isSubscribed)
    }

    mutating func put(_ status: MailboxStatus) {
        put(status.messages)
        put(status.unseen)
        put(status.deleted)
        put(status.size)
        put(status.uidNext)
        put(status.uidValidity)
        put(status.highestModSeq)
    }

    /// `entries` travels as parts in front.
    mutating func put(_ snapshot: MailboxSnapshot) {
        put(snapshot.id)
        put(snapshot.uidValidity)
        put(snapshot.uidNext)
        put(snapshot.highestModSeq)
        put(keywords: snapshot.keywords)
    }

    /// `entries` travels as parts in front.
    mutating func put(_ changes: MailboxChanges) {
        put(changes.isGone)
        put(changes.uidNext)
        put(changes.highestModSeq)
        put(keywords: changes.keywords)
        put(uids: changes.vanished)
    }

    mutating func put(_ row: DomainInfo) {
        put(row.name, limit: WireLimit.domain)
        put(row.accounts)
        put(row.isConfigured)
    }

    mutating func put(_ row: AccountInfo) {
        put(row.address)
        put(row.size)
        put(row.messages)
        put(row.mailboxes)
        put(row.created)
    }

    mutating func put(_ status: StoreStatus) {
        put(status.version, limit: WireLimit.version)
        put(status.startedAt)
        put(status.accounts)
        put(status.domains)
        put(status.openDatabases)
        put(status.sessions)
        put(status.deliveries)
    }
}

extension Decoder {
    mutating func rows<Row>(
        _ minimum: Int, _ each: (inout Decoder) throws(WireError) -> Row
    ) throws(WireError) -> [Row] {
        try list(limit: WireLimit.rows, minimum: minimum, each)
    }

    mutating func mailboxInfo() throws(WireError) -> MailboxInfo {
        MailboxInfo(
            name: try mailboxName(), specialUse: try choice(SpecialUse.self, "special use"),
            isSelectable: try bool(), isSubscribed: try bool())
    }

    mutating func mailboxStatus() throws(WireError) -> MailboxStatus {
        MailboxStatus(
            messages: try integer(UInt32.self), unseen: try integer(UInt32.self),
            deleted: try integer(UInt32.self), size: try integer(UInt64.self),
            uidNext: try integer(UInt32.self), uidValidity: try integer(UInt32.self),
            highestModSeq: try integer(UInt64.self))
    }

    mutating func snapshot() throws(WireError) -> MailboxSnapshot {
        MailboxSnapshot(
            id: try mailboxID(), uidValidity: try integer(UInt32.self),
            uidNext: try integer(UInt32.self), highestModSeq: try integer(UInt64.self),
            keywords: try keywords(), entries: [])
    }

    mutating func changes() throws(WireError) -> MailboxChanges {
        MailboxChanges(
            isGone: try bool(), uidNext: try integer(UInt32.self),
            highestModSeq: try integer(UInt64.self), keywords: try keywords(), entries: [],
            vanished: try uids())
    }

    /// Both lists have the same count: the UIDs correspond one to one.
    mutating func copyResult() throws(WireError) -> CopyResult {
        let result = CopyResult(
            uidValidity: try integer(UInt32.self), source: try uids(), destination: try uids())
        guard result.source.count == result.destination.count else { throw .invalid("copied UIDs") }
        return result
    }

    mutating func domainInfo() throws(WireError) -> DomainInfo {
        DomainInfo(
            name: try string(limit: WireLimit.domain), accounts: try integer(UInt32.self),
            isConfigured: try bool())
    }

    mutating func accountInfo() throws(WireError) -> AccountInfo {
        AccountInfo(
            address: try address(), size: try integer(UInt64.self),
            messages: try integer(UInt64.self), mailboxes: try integer(UInt32.self),
            created: try integer(Int64.self))
    }

    mutating func storeStatus() throws(WireError) -> StoreStatus {
        StoreStatus(
            version: try string(limit: WireLimit.version), startedAt: try integer(Int64.self),
            accounts: try integer(UInt32.self), domains: try integer(UInt32.self),
            openDatabases: try integer(UInt32.self), sessions: try integer(UInt32.self),
            deliveries: try integer(UInt64.self))
    }
}
