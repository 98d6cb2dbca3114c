// SPDX-License-Identifier: Apache-2.0
//
// Messages one after the other, with the next ones already on their way. What is on its way is
// bounded: a client that reads slowly costs neither memory nor descriptors.

import Mail
import Transport
import Wire

/// One message that was read. The descriptor, if it is one, is closed with it.
@frozen package struct StoredMessage: ~Copyable {
    @frozen package enum Body: ~Copyable {
        case inline([UInt8])
        /// `size` octets from the start of this file, which is open for reading only.
        case file(Descriptor)
    }

    package let uid: UInt32
    /// Octets of the body (of the header, if that was asked).
    package let size: UInt32
    package var body: Body

    /// The body alone, to keep it or to hand its descriptor on.
    package consuming func takeBody() -> Body { body }
}

/// Reads a list of messages in batches, two at a time: the store opens the next files while the
/// client gets these.
package final class MessageReader {
    /// Messages in one request.
    private static let batch = 16
    /// No more is asked for while more than a batch of these have arrived and not been taken.
    private static let window = 2 * batch

    private let session: MailboxSession
    private let uids: [UInt32]
    /// What to ask for some of them.
    private let request: ([UInt32]) -> Request
    /// How many of `uids` have been asked for.
    private var asked = 0
    private var batches: [Batch] = []
    private var arrived: [Arrived] = []
    /// How many of `arrived` have been taken.
    private var taken = 0
    private var failure: StoreFailure?

    init(session: MailboxSession, uids: [UInt32], _ request: @escaping ([UInt32]) -> Request) {
        self.session = session
        self.uids = uids
        self.request = request
    }

    /// The next message; nil after the last.
    ///
    /// - Throws: also after messages that came well; then no more will come.
    package func next() async throws(StoreFailure) -> StoredMessage? {
        while true {
            ask()
            if taken < arrived.count {
                let message = arrived[taken].message()
                taken += 1
                if taken == arrived.count || taken == Self.window {
                    arrived.removeFirst(taken)
                    taken = 0
                }
                return message
            }
            if let failure { throw failure }
            guard let first = batches.first else { return nil }
            await first.progress()
        }
    }

    /// Keeps the window full.
    private func ask() {
        while let reply = batches.first?.reply {
            batches.removeFirst()
            if case .failure(let reason) = reply { failure = reason }
        }
        while failure == nil, asked < uids.count, batches.count < 2,
            arrived.count - taken <= Self.window - Self.batch
        {
            let end = min(asked + Self.batch, uids.count)
            let batch = Batch()
            let call = PendingCall(deadline: session.link.now.advanced(by: .seconds(120)))
            call.reader = self
            call.onReply = { batch.finish($0) }
            do {
                try session.checkValid()
                try session.link.post(request(Array(uids[asked..<end])), call)
            } catch {
                failure = error
                return
            }
            asked = end
            batches.append(batch)
        }
    }

    /// Called by the link for each part.
    func received(
        uid: UInt32, size: UInt32, inline: [UInt8]?, _ descriptor: consuming Descriptor?
    ) {
        arrived.append(Arrived(uid: uid, size: size, inline: inline, descriptor: descriptor))
        batches.first?.wake()
    }
}

/// A message that waits to be taken. A class, because an array cannot hold descriptors.
private final class Arrived {
    let uid: UInt32
    let size: UInt32
    var inline: [UInt8]?
    var descriptor: Descriptor?

    init(uid: UInt32, size: UInt32, inline: [UInt8]?, descriptor: consuming Descriptor?) {
        self.uid = uid
        self.size = size
        self.inline = inline
        self.descriptor = descriptor
    }

    func message() -> StoredMessage {
        if let descriptor = descriptor.take() {
            return StoredMessage(uid: uid, size: size, body: .file(descriptor))
        }
        let octets = inline ?? []
        inline = nil
        return StoredMessage(uid: uid, size: size, body: .inline(octets))
    }
}

/// One `read` request in flight.
private final class Batch {
    private(set) var reply: Reply?
    private let waiter = Waiter()

    func finish(_ reply: Reply) {
        self.reply = reply
        wake()
    }

    func wake() { waiter.wake() }

    /// Waits for a message or the end.
    func progress() async {
        guard reply == nil else { return }
        await waiter.wait()
    }
}
