// SPDX-License-Identifier: Apache-2.0
//
// How much an account keeps, and whether it may keep more. RFC 9208 §3, §4.3; RFC 5321 §4.5.3.1.10.
//
// The sums live in one row that triggers change together with every row of `messages`, in its
// transaction: whoever adds or removes messages, and however that ends, they are right.

import Mail

extension Schema {
    /// `messages` is only ever changed with INSERT, UPDATE and DELETE: REPLACE would not fire the
    /// second trigger.
    static let usage: [StaticString] = [
        """
        CREATE TABLE usage(id INTEGER PRIMARY KEY, octets INTEGER NOT NULL,
          messages INTEGER NOT NULL)
        """,
        "INSERT INTO usage SELECT 1, coalesce(sum(size), 0), count(*) FROM messages",
        """
        CREATE TRIGGER usage_insert AFTER INSERT ON messages BEGIN
          UPDATE usage SET octets=octets+new.size, messages=messages+1 WHERE id=1; END
        """,
        """
        CREATE TRIGGER usage_delete AFTER DELETE ON messages BEGIN
          UPDATE usage SET octets=octets-old.size, messages=messages-1 WHERE id=1; END
        """,
        """
        CREATE TRIGGER usage_size AFTER UPDATE OF size ON messages WHEN old.size<>new.size BEGIN
          UPDATE usage SET octets=octets+new.size-old.size WHERE id=1; END
        """,
    ]
}

/// What of an account's quota is left while a batch is put together. Because an account's
/// operations come one after the other, nothing is kept beyond its limits.
struct QuotaRoom {
    private let limits: QuotaLimits
    private var usage: MailUsage

    init(_ limits: QuotaLimits, _ usage: MailUsage) {
        self.limits = limits
        self.usage = usage
    }

    /// - Throws: `.overQuota`; then nothing was taken.
    mutating func take(_ octets: UInt64, messages: UInt64 = 1) throws(StoreError) {
        guard limits.allow(messages, octets, beside: usage) else { throw .overQuota }
        usage.octets += octets
        usage.messages += messages
    }
}

extension AccountStore {
    /// What the account keeps, without counting.
    package func usage() throws(StoreError) -> MailUsage {
        try guarded { () throws(StoreError) in try usageNow() }
    }

    func usageNow() throws(StoreError) -> MailUsage {
        try index.usage()
    }

    /// Octets of a mailbox's messages with `\Deleted`: what an EXPUNGE would free. RFC 9208 §4.1.4.
    package func deletedOctets(_ name: MailboxName) throws(StoreError) -> UInt64 {
        try guarded { () throws(StoreError) in
            try index.deletedOctets(try folder(name).id)
        }
    }

    /// What may still be added; nil if there is no limit, so that nothing needs to be asked.
    func quotaRoom() throws(StoreError) -> QuotaRoom? {
        guard !limits.isUnlimited else { return nil }
        var usage = try usageNow()
        usage.add(reserved)
        return QuotaRoom(limits, usage)
    }

    /// Counts all messages again and puts the sums right, if they are not.
    ///
    /// - Returns: the sums, and whether they had been wrong.
    package func recount() throws(StoreError) -> (usage: MailUsage, wasWrong: Bool) {
        try guarded { () throws(StoreError) in
            let before = try usageNow()
            try transaction { () throws(StoreError) in try index.recount() }
            let usage = try usageNow()
            return (usage, usage != before)
        }
    }
}
