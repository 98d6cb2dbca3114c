// SPDX-License-Identifier: Apache-2.0
//
// A question that the store has not answered yet, and who waits for it.

import Mail
import Transport
import Wire

/// One request in flight. Finished exactly once.
final class PendingCall {
    var deadline: MonotonicInstant
    /// What came in parts.
    var entries: [MessageEntry] = []
    var found: [UInt32] = []
    var fragments: [UInt8] = []
    /// What came with the answer.
    var descriptor: Descriptor?
    /// Gets the messages of a `read`. Weak: nobody may want them any more.
    weak var reader: MessageReader?
    /// Gets the rows of a `summaries`.
    weak var summaries: SummaryStream?
    /// Runs when the answer is there, before anything that came behind it is looked at.
    var onReply: ((Reply) -> Void)?

    private var reply: Reply?
    private let waiter = Waiter()

    init(deadline: MonotonicInstant) { self.deadline = deadline }

    func finish(_ reply: Reply) {
        guard self.reply == nil else { return }
        self.reply = reply
        onReply?(reply)
        onReply = nil
        waiter.wake()
    }

    /// Waits for `finish`. One task only.
    func finished() async {
        guard reply == nil else { return }
        await waiter.wait()
    }

    func answer() throws(StoreFailure) -> Reply {
        switch reply {
        case .failure(let failure): throw failure
        case .some(let reply): return reply
        case nil: throw .unavailable
        }
    }

    func takeDescriptor() -> Descriptor? { descriptor.take() }
}

/// Where one task waits until another one on the same loop wakes it.
@safe final class Waiter {
    private var continuation: UnsafeContinuation<Void, Never>?
    private var isWaiting = false

    /// At most one task at a time. Does not remember a `wake` that came before.
    func wait() async {
        precondition(!isWaiting, "two tasks wait in one place")
        isWaiting = true
        await unsafe withUnsafeContinuation { (waiting: UnsafeContinuation<Void, Never>) in
            // The task may have queued on its way here, and `wake` have come in between.
            if isWaiting {
                unsafe continuation = waiting
            } else {
                unsafe waiting.resume()
            }
        }
    }

    func wake() {
        isWaiting = false
        guard let waiting = unsafe continuation else { return }
        unsafe continuation = nil
        unsafe waiting.resume()
    }
}
