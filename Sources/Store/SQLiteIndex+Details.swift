// SPDX-License-Identifier: Apache-2.0
//
// Rows of what is known of messages beside their octets: names, which say when a message came and
// what it is called for ever, and previews. RFC 8474, RFC 8514, RFC 8970; docs/store.md.

import Mail

extension SQLiteIndex {
    /// Names by rising UID, `limit` of them at most.
    func names(
        _ id: MailboxID, _ uids: UIDRange, limit: Int
    ) throws(StoreError) -> [(uid: UInt32, name: BlobID)] {
        var found: [(uid: UInt32, name: BlobID)] = []
        let rows = try query(.namesRange).bind(id.rawValue, Int64(uids.first), Int64(uids.last))
        while try rows.step() {
            found.append((UInt32(truncatingIfNeeded: rows.integer(0)), rows.octets(1)))
            if found.count == limit {
                rows.reset()
                break
            }
        }
        return found
    }

    /// Those that are kept, by rising UID.
    func previews(
        _ id: MailboxID, _ uids: UIDRange
    ) throws(StoreError) -> [(uid: UInt32, text: [UInt8])] {
        var found: [(uid: UInt32, text: [UInt8])] = []
        let rows = try query(.previewsRange).bind(
            Self.key(id, uids.first), Self.key(id, uids.last))
        while try rows.step() {
            found.append((UInt32(truncatingIfNeeded: rows.integer(0)), rows.octets(1)))
        }
        return found
    }

    func putPreview(_ id: MailboxID, _ uid: UInt32, _ text: [UInt8]) throws(StoreError) {
        let row = try query(.insertPreview).bind(Self.key(id, uid))
        row.set(2, text)
        try row.run()
    }

    func removePreviews(_ id: MailboxID, _ uids: UIDRange) throws(StoreError) {
        try query(.removePreviewsRange).bind(
            Self.key(id, uids.first), Self.key(id, uids.last)
        ).run()
    }
}
