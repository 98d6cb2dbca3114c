// SPDX-License-Identifier: Apache-2.0
//
// A locked INBOX of one login: reading ahead for pipelined RETR, removing after QUIT.
// RFC 1939 §4 (the lock), §6 (update). `\Seen` is never set: POP3 has no flags, and who reads the
// same mailbox by IMAP decides there what is read.

import Mail
import POP3
import StoreClient
import Transport
import Wire

/// The maildrop while it is ours. `release` or `close` gives it back.
final class OpenMaildrop {
    /// Ranges in one request, well below `WireLimit.ranges`.
    private static let rangesAtOnce = 10_000
    /// A message that the reader will come to this soon is waited for; others are asked for anew.
    private static let nearby = 8

    private let session: MailboxSession
    private let mailbox: MailboxID

    /// Messages on their way: those of `coming` from `comingIndex` on.
    private var reader: MessageReader?
    private var coming: [UInt32] = []
    private var comingIndex = 0
    /// Read from `reader`, but further on than what was asked for.
    private var held: HeldMessage?

    private init(session: MailboxSession, mailbox: MailboxID) {
        self.session = session
        self.mailbox = mailbox
    }

    /// Locks the INBOX of `session`.
    ///
    /// - Throws: `.inUse` while another POP3 session has it; the login is given up then.
    static func open(
        _ session: MailboxSession
    ) async throws(StoreFailure) -> (OpenMaildrop, Maildrop) {
        let snapshot: MailboxSnapshot
        do throws(StoreFailure) {
            // Changes made by others do not alter a maildrop that is open.
            snapshot = try await session.open(.inbox, .maildrop, onChange: {})
        } catch {
            session.logout()
            throw error
        }
        let maildrop = Maildrop(
            uidValidity: snapshot.uidValidity,
            messages: snapshot.entries.map { .init(uid: $0.uid, size: $0.size) })
        return (OpenMaildrop(session: session, mailbox: snapshot.id), maildrop)
    }

    /// Whether the store still knows the session.
    var isValid: Bool { session.isValid }

    /// Gives the lock back without waiting.
    func release() {
        stopReadingAhead()
        session.logout()
    }

    /// Gives the lock back and waits until it is free.
    func close() async {
        stopReadingAhead()
        do throws(StoreFailure) {
            try await session.close(mailbox)
        } catch {
            // The store forgets the lock with the login or the connection, at the latest.
        }
        session.logout()
    }

    // MARK: - Reading

    /// The whole message; nil if it is gone.
    ///
    /// - Parameter readsAhead: the messages behind it are most likely wanted next.
    func message(
        _ uid: UInt32, of maildrop: Maildrop, readsAhead: Bool
    ) async throws(StoreFailure) -> StoredMessage? {
        if reader == nil || !isComing(uid) {
            stopReadingAhead()
            coming = readsAhead ? maildrop.uids(from: uid, limit: WireLimit.readUIDs) : [uid]
            reader = session.read(mailbox, uids: coming)
        }
        guard let reader else { return nil }
        while comingIndex < coming.count, coming[comingIndex] <= uid { comingIndex += 1 }
        while true {
            guard let next = try await take(reader) else { return nil }
            if next.uid == uid { return next }
            if next.uid > uid {
                // `uid` was left out, so it is gone; this one may be asked for next.
                held = HeldMessage(next)
                return nil
            }
        }
    }

    private func take(_ reader: MessageReader) async throws(StoreFailure) -> StoredMessage? {
        if let held {
            self.held = nil
            return held.take()
        }
        do throws(StoreFailure) {
            return try await reader.next()
        } catch {
            stopReadingAhead()
            throw error
        }
    }

    private func isComing(_ uid: UInt32) -> Bool {
        coming[comingIndex...].prefix(Self.nearby).contains(uid)
    }

    /// The message or its header, for TOP.
    func top(
        _ uid: UInt32, isHeaderOnly: Bool
    ) async throws(StoreFailure) -> StoredMessage? {
        try await session.read(mailbox, uids: [uid], part: isHeaderOnly ? .header : .whole).next()
    }

    /// Lets go of messages that were read and not asked for: an idle session holds none.
    func stopReadingAhead() {
        reader = nil
        held = nil
        coming = []
        comingIndex = 0
    }

    // MARK: - Removing

    /// Removes messages for good.
    ///
    /// - Returns: how many; fewer if others were quicker.
    func remove(_ uids: [UInt32]) async throws(StoreFailure) -> Int {
        stopReadingAhead()
        var removed = 0
        var rest = UIDRange.ranges(of: uids)[...]
        while !rest.isEmpty {
            let result = try await session.expunge(
                mailbox, uids: Array(rest.prefix(Self.rangesAtOnce)), force: true)
            removed += result.uids.count
            rest = rest.dropFirst(Self.rangesAtOnce)
        }
        return removed
    }
}

/// A noncopyable message in a place where only copyable values fit.
private final class HeldMessage {
    private var message: StoredMessage?

    init(_ message: consuming StoredMessage) { self.message = consume message }

    func take() -> StoredMessage? { message.take() }
}

extension Maildrop {
    /// UIDs of unmarked messages from `uid` on, at most `limit`.
    fileprivate func uids(from uid: UInt32, limit: Int) -> [UInt32] {
        var low = 0
        var high = messages.count
        while low < high {
            let middle = (low + high) / 2
            if messages[middle].uid < uid { low = middle + 1 } else { high = middle }
        }
        return messages[low...].lazy.filter { !$0.isDeleted }.prefix(limit).map(\.uid)
    }
}
