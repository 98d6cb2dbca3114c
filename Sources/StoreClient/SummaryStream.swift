// SPDX-License-Identifier: Apache-2.0
//
// What lists show of messages, with the next ones already on their way. What is on its way is
// bounded: a client that reads slowly costs no memory.

import Mail
import Transport
import Wire

/// Reads the summaries of a list of messages in batches, two at a time.
package final class SummaryStream {
    /// Messages in one request.
    private static let batch = 512
    /// Octets that may wait to be taken before more is asked for.
    private static let window = 256 << 10

    private let session: MailboxSession
    private let mailbox: MailboxID
    private let uids: [UInt32]
    private let pieces: SummaryPieces
    /// How many of `uids` have been asked for.
    private var asked = 0
    /// In the order in which they were asked.
    private var batches: [SummaryBatch] = []
    private var failure: StoreFailure?

    init(session: MailboxSession, mailbox: MailboxID, uids: [UInt32], _ pieces: SummaryPieces) {
        self.session = session
        self.mailbox = mailbox
        self.uids = uids
        self.pieces = pieces
    }

    /// The next run of rows, for a `SummaryReader`; nil after the last.
    package func next() async throws(StoreFailure) -> [UInt8]? {
        while true {
            ask()
            guard let first = batches.first else {
                if let failure { throw failure }
                return nil
            }
            if !first.rows.isEmpty { return first.rows.removeFirst() }
            switch first.reply {
            case nil: await first.progress()
            case .failure(let reason): throw reason
            case .some: batches.removeFirst()
            }
        }
    }

    private func ask() {
        while failure == nil, asked < uids.count, batches.count < 2,
            batches.reduce(0, { $0 + $1.octets }) <= Self.window
        {
            let end = min(asked + Self.batch, uids.count)
            let call = PendingCall(deadline: session.link.now.advanced(by: .seconds(240)))
            let batch = SummaryBatch(call)
            call.summaries = self
            call.onReply = { batch.finish($0) }
            do {
                try session.checkValid()
                try session.link.post(
                    .summaries(
                        session.handle, mailbox,
                        uids: UIDRange.ranges(of: Array(uids[asked..<end])),
                        pieces), call)
            } catch {
                failure = error
                return
            }
            asked = end
            batches.append(batch)
        }
    }

    /// Called by the link for each part.
    func received(_ rows: [UInt8], of call: PendingCall) {
        batches.first { $0.call === call }?.received(rows)
    }
}

/// One request in flight.
private final class SummaryBatch {
    let call: PendingCall
    private(set) var reply: Reply?
    var rows: [[UInt8]] = []
    private let waiter = Waiter()

    init(_ call: PendingCall) { self.call = call }

    var octets: Int { rows.reduce(0) { $0 + $1.count } }

    func received(_ octets: [UInt8]) {
        rows.append(octets)
        waiter.wake()
    }

    func finish(_ reply: Reply) {
        self.reply = reply
        waiter.wake()
    }

    /// Waits for rows or the end.
    func progress() async {
        guard reply == nil, rows.isEmpty else { return }
        await waiter.wait()
    }
}
