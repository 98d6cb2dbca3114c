// SPDX-License-Identifier: Apache-2.0
//
// What clients ask of a message beside its octets: SAVEDATE and EMAILID, which file names say, so
// that they outlive the index, and PREVIEW, which is made when somebody wants it and kept. RFC 8474,
// RFC 8514, RFC 8970; docs/store.md.

import Bytes
import Crypto
import MIME
import Mail

/// A run of messages, and where to go on.
package struct DetailPage: Sendable {
    package var rows: [MessageDetail]
    /// The first UID that was not looked at; nil at the end.
    package var next: UInt32?
}

extension AccountStore {
    /// Messages in one slice.
    private static let sliceMessages = 512
    private static let sliceMilliseconds: Int64 = 40

    /// What is known of the messages in `uids` from the UID `start` on, as much as one slice of
    /// time allows.
    package func details(
        _ id: MailboxID, uids: [UIDRange], _ wish: PreviewWish, from start: UInt32
    ) throws(StoreError) -> DetailPage {
        try guarded { () throws(StoreError) in
            let folder: Folder
            if let opened = openedFolder(id) {
                folder = opened
            } else {
                folder = try self.folder(id)
            }
            let deadline = System.milliseconds() + Self.sliceMilliseconds
            var page = DetailPage(rows: [], next: nil)
            var made: [(uid: UInt32, text: [UInt8])] = []
            for range in uids where range.last >= start {
                let first = max(range.first, start)
                let stopped = try details(
                    folder, UIDRange(first, range.last), wish, until: deadline, &page.rows, &made)
                guard stopped == nil else {
                    page.next = stopped
                    break
                }
            }
            keep(made, folder)
            return page
        }
    }

    /// The number that a mailbox has as long as it is there (RFC 8474 MAILBOXID).
    package func number(of name: MailboxName) throws(StoreError) -> Int64 {
        try guarded { () throws(StoreError) in try folder(name).id.rawValue }
    }

    /// - Returns: the first UID that was not looked at.
    private func details(
        _ folder: Folder, _ uids: UIDRange, _ wish: PreviewWish, until deadline: Int64,
        _ rows: inout [MessageDetail], _ made: inout [(uid: UInt32, text: [UInt8])]
    ) throws(StoreError) -> UInt32? {
        let room = Self.sliceMessages - rows.count
        guard room > 0 else { return uids.first }
        let names = try index.names(folder.id, uids, limit: room)
        guard let first = names.first?.uid, let last = names.last?.uid else { return nil }
        let kept = wish == .none ? [] : try index.previews(folder.id, UIDRange(first, last))
        var next = 0
        for (uid, name) in names {
            var detail = MessageDetail(
                uid: uid, saved: FileName.saved(name), emailID: FileName.emailID(of: name))
            while next < kept.count, kept[next].uid < uid { next += 1 }
            if next < kept.count, kept[next].uid == uid {
                detail.preview = kept[next].text
            } else if wish == .made {
                guard System.milliseconds() < deadline || rows.isEmpty else { return uid }
                if let text = try preview(folder, uid) {
                    detail.preview = text
                    made.append((uid, text))
                }
            }
            rows.append(detail)
        }
        return names.count == room && last < uids.last ? last + 1 : nil
    }

    /// Nil if the message is gone or cannot be read.
    private func preview(_ folder: Folder, _ uid: UInt32) throws(StoreError) -> [UInt8]? {
        do throws(StoreError) {
            guard let head = try beginning(folder, uid, MessagePreview.window) else { return nil }
            return MessagePreview.text(of: head.span)
        } catch .file(let what, let errno) {
            notify(.postponed, "preview in \(folder.name.text): \(what) \(errno)")
            return nil
        }
    }

    /// One transaction. It need not be durable: what a power cut takes is made again.
    private func keep(_ made: [(uid: UInt32, text: [UInt8])], _ folder: Folder) {
        guard !made.isEmpty else { return }
        do throws(StoreError) {
            try transaction(.logged) { () throws(StoreError) in
                for (uid, text) in made { try index.putPreview(folder.id, uid, text) }
            }
        } catch {
            notify(.postponed, "previews in \(folder.name.text): \(error)")
        }
    }
}

extension FileName {
    /// The name is made when a message comes into a mailbox, and begins with the time of that.
    static func saved(_ name: PathOctets) -> SecondsSince1970 {
        var seconds: SecondsSince1970 = 0
        for octet in name.prefix(11) {
            guard octet.isASCIIDigit else { break }
            seconds = seconds * 10 + SecondsSince1970(octet - 0x30)
        }
        return seconds
    }

    /// What `E=` says; without it the message has been nowhere else, and its unique part says it.
    static func emailID(of name: PathOctets) -> [UInt8] {
        FileName(name).originID ?? emailID(unique: unique(of: name))
    }

    static func emailID(unique: PathOctets) -> [UInt8] {
        var text: [UInt8] = []
        for octet in MessageDigest.sha256.digest(unique).prefix(MessageDetail.emailIDCount / 2) {
            for digit in [octet >> 4, octet & 15] {
                text.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
            }
        }
        return text
    }
}
