// SPDX-License-Identifier: Apache-2.0
//
// Writing: one buffer per connection, sent when a session waits, flushes, or at the end of the
// loop's turn, so that replies to pipelined commands share packets (RFC 2920 §3.2).

import CLinux
import Glibc

extension Connection {
    /// Appends to the output.
    package func write(_ octets: [UInt8]) {
        guard failure == nil else { return }
        if output.isEmpty, octets.count < 4096, let spare = loop.takeOutput() { output = spare }
        output.append(contentsOf: octets)
    }

    /// Appends to the output.
    package func write(_ text: StaticString) {
        guard failure == nil else { return }
        if output.isEmpty, let spare = loop.takeOutput() { output = spare }
        text.withUTF8Buffer { unsafe output.append(contentsOf: $0) }
    }

    /// Appends to the output.
    package func write(copying octets: Span<UInt8>) {
        guard failure == nil else { return }
        if output.isEmpty, octets.count < 4096, let spare = loop.takeOutput() { output = spare }
        unsafe octets.withUnsafeBufferPointer { unsafe output.append(contentsOf: $0) }
    }

    /// Appends to the output; the descriptor goes with the first octet (SCM_RIGHTS) and is closed
    /// here when it has gone.
    package func write(_ octets: [UInt8], attaching attached: consuming Descriptor) {
        precondition(isUnix, "descriptors travel on Unix sockets only")
        precondition(!octets.isEmpty, "a descriptor needs an octet to travel with")
        guard failure == nil else { return }
        attachments.append((at: sent + UInt64(pendingOutput), descriptor: attached.release()))
        write(octets)
    }

    /// Octets written and not yet sent.
    package var pendingOutput: Int { output.count - outputHead }

    /// Waits until all that was written before has been sent.
    package func flush(within: Duration) async throws(ConnectionError) {
        if let failure { throw failure }
        if pendingOutput > 0, !isStreaming { pump() }
        if let failure { throw failure }
        if pendingOutput > 0 {
            try await awaitSent(sent + UInt64(pendingOutput), until: deadline(within))
        }
    }

    /// Sends at the end of this turn of the loop, without waiting.
    package func flushSoon() {
        guard !isDirty, pendingOutput > 0 else { return }
        isDirty = true
        loop.flushLater(self)
    }

    func turnEnds() {
        isDirty = false
        if pendingOutput > 0 { pump() }
    }

    /// Waits until the stream has come to `target`.
    func awaitSent(_ target: UInt64, until deadline: UInt64) async throws(ConnectionError) {
        if failure == nil, sent < target {
            let isOnTime = await unsafe withUnsafeContinuation {
                (continuation: UnsafeContinuation<Bool, Never>) in
                // As in suspendReader: it may have happened on the way here.
                if failure != nil || sent >= target {
                    unsafe continuation.resume(returning: true)
                    return
                }
                unsafe flushWaiters.append(
                    FlushWaiter(target: target, deadline: deadline, continuation: continuation))
                armWriteTimer()
            }
            if failure == nil, !isOnTime { throw .timedOut }
        }
        if let failure { throw failure }
    }

    private func armWriteTimer() {
        let earliest = flushWaiters.lazy.map { $0.deadline }.min() ?? .max
        guard earliest != .max else {
            writeTimer?.disarm()
            return
        }
        let timer = writeTimer ?? LoopTimer()
        writeTimer = timer
        loop.timers.arm(timer, at: earliest, self)
    }

    /// Resumes whoever waited for what has been sent, is too late, or waits for a dead stream.
    func resumeFlushWaiters() {
        guard !flushWaiters.isEmpty else { return }
        let now = MonotonicInstant.now.nanoseconds
        var left: [FlushWaiter] = []
        for waiter in flushWaiters {
            if failure != nil || waiter.target <= sent {
                unsafe waiter.continuation.resume(returning: true)
            } else if waiter.deadline <= now {
                unsafe waiter.continuation.resume(returning: false)
            } else {
                left.append(waiter)
            }
        }
        flushWaiters = left
        armWriteTimer()
    }

    // MARK: Sending

    /// Sends as much as the socket takes.
    ///
    /// - Parameter more: more follows at once, so a last short packet may wait for it.
    func pump(more: Bool = false) {
        guard failure == nil, !isStreaming, readWait != .handshake else { return }
        if let compression {
            pumpCompressed(compression)
            resumeFlushWaiters()
            return
        }
        while pendingOutput > 0, writable {
            var count = pendingOutput
            var attached: Int32 = -1
            if let next = attachments.first {
                if next.at == sent {
                    attached = next.descriptor
                    // One descriptor per message: stop before the next one.
                    if attachments.count > 1 { count = Int(attachments[1].at - sent) }
                } else {
                    count = Int(next.at - sent)
                }
            }
            let result = unsafe output.withUnsafeBytes { octets in
                guard let start = octets.baseAddress else { return 0 }
                return unsafe send(start + outputHead, count, attached: attached, more: more)
            }
            guard result > 0 else { break }
            if attached >= 0 {
                _ = Glibc.close(attached)
                attachments.removeFirst()
            }
            advanceOutput(result)
        }
        resumeFlushWaiters()
    }

    /// - Returns: octets sent; 0 if the socket takes no more or is broken.
    func send(
        _ octets: UnsafeRawPointer, _ count: Int, attached: Int32 = -1, more: Bool = false
    ) -> Int {
        if let tls { return unsafe sendTLS(tls, octets, count) }
        while true {
            let result =
                if attached >= 0 {
                    unsafe martlet_send_descriptor(descriptor, octets, count, attached)
                } else {
                    unsafe Glibc.send(
                        descriptor, octets, count,
                        martlet_msg_nosignal | (more ? martlet_msg_more : 0))
                }
            if result >= 0 { return result }
            switch errno {
            case EINTR: continue
            case EAGAIN: writable = false
            default: fail(ConnectionError(errno: errno))
            }
            return 0
        }
    }

    func advanceOutput(_ count: Int) {
        sent += UInt64(count)
        outputHead += count
        if outputHead == output.count {
            output.removeAll(keepingCapacity: output.capacity <= 128 * 1024)
            outputHead = 0
        } else if outputHead > 64 * 1024, outputHead > output.count / 2 {
            output.removeSubrange(0..<outputHead)
            outputHead = 0
        }
    }

    /// Gives the output's memory to the loop, for the next session that writes.
    func releaseOutput() {
        guard output.isEmpty, output.capacity > 0 else { return }
        loop.giveOutput(output)
        output = []
    }

    // MARK: Files

    /// Sends octets of a file behind what was written before.
    ///
    /// - Throws: `.system(EIO)` if the file is shorter.
    package func sendFile(
        _ file: borrowing Descriptor, offset: Int, count: Int, within: Duration
    ) async throws(ConnectionError) {
        let until = deadline(within)
        if let failure { throw failure }
        pump(more: tls == nil && count > 0)
        if pendingOutput > 0 {
            try await awaitSent(sent + UInt64(pendingOutput), until: until)
        }
        if let failure { throw failure }
        _ = posix_fadvise(file.rawValue, off_t(offset), off_t(count), POSIX_FADV_WILLNEED)
        if compression != nil {
            return try await sendCompressedFile(file.rawValue, offset, count, until)
        }
        isStreaming = true
        defer {
            isStreaming = false
            flushSoon()
        }
        if tls == nil {
            try await sendPlainFile(file.rawValue, offset, count, until)
        } else {
            try await sendFileThroughTLS(file.rawValue, offset, count, until)
        }
    }

    private func sendPlainFile(
        _ file: Int32, _ offset: Int, _ count: Int, _ until: UInt64
    ) async throws(ConnectionError) {
        var position = off_t(offset)
        var left = count
        while left > 0 {
            if let failure { throw failure }
            let result = unsafe sendfile(descriptor, file, &position, min(left, 1 << 20))
            if result > 0 {
                left -= result
                if left > 0 { await yieldTurn() }
            } else if result == 0 {
                throw .system(EIO)
            } else if errno == EAGAIN {
                writable = false
                try await awaitWritable(until)
            } else if errno != EINTR {
                let error = ConnectionError(errno: errno)
                fail(error)
                throw error
            }
        }
    }

    private func sendFileThroughTLS(
        _ file: Int32, _ offset: Int, _ count: Int, _ until: UInt64
    ) async throws(ConnectionError) {
        let (chunk, size) = unsafe loop.buffers.take(BufferPool.sizes[2])
        defer { unsafe loop.buffers.give(chunk, size) }
        var position = offset
        let end = offset + count
        while position < end {
            let read = unsafe pread(file, chunk, min(size, end - position), off_t(position))
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { throw .system(read == 0 ? EIO : errno) }
            var done = 0
            while done < read {
                if let failure { throw failure }
                let result = unsafe send(chunk + done, read - done)
                if let failure { throw failure }
                if result > 0 {
                    done += result
                } else {
                    try await awaitWritable(until)
                }
            }
            position += read
            if position < end { await yieldTurn() }
        }
    }

    private func awaitWritable(_ until: UInt64) async throws(ConnectionError) {
        if await suspendWriter(until: until) { throw .timedOut }
        if let failure { throw failure }
    }
}

extension EventLoop {
    /// An empty array with room, or nil.
    func takeOutput() -> [UInt8]? { spareOutputs.popLast() }

    func giveOutput(_ array: [UInt8]) {
        if spareOutputs.count < 64, array.capacity <= 64 * 1024 { spareOutputs.append(array) }
    }
}
