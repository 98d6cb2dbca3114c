// SPDX-License-Identifier: Apache-2.0
//
// Reading: lines with limits (RFC 5321 §2.3.8, §4.5.3.1), octets, received descriptors.
// The input buffer is bounded: 64 KiB, or the longest line that was asked for.

import Bytes
import CLinux
import Glibc

extension Connection {
    /// Output that a TCP peer has not taken and that makes us stop reading from it: a client that
    /// sends commands and reads no replies must not fill memory.
    private static let outputBeforeReading = 256 * 1024
    /// Reads, their octets, and lines without a pause before other sessions of the loop get their
    /// turn: about a tenth of a millisecond.
    private static let readsBeforeYield = 16
    private static let octetsBeforeYield = 128 * 1024
    private static let linesBeforeYield = 64

    /// Reads the next line. Sends what was written before it waits.
    ///
    /// - Parameters:
    ///   - limit: the most octets, line end excluded.
    ///   - within: for the whole line.
    package func readLine(
        limit: Int, end: LineEnd, within: Duration
    ) async throws(ConnectionError) -> LineResult {
        lineStart = 0
        lineEnd = 0
        var until: UInt64 = 0
        while true {
            if let failure { throw failure }
            if owesTooMuch {
                // Lines that are here already wait, too.
                if until == 0 { until = deadline(within) }
                try await awaitPeer(until: until)
            }
            if let result = scanLine(limit: limit, end: end) {
                linesInARow += 1
                if linesInARow > Self.linesBeforeYield { await yieldTurn() }
                return result
            }
            if sawEnd { return .closed }
            if readable {
                try await readMore(limit: limit + 2)
                continue
            }
            if isDraining, input.count == 0, !isDiscarding { return .draining }
            try await awaitInput(.line, until: &until, within)
        }
    }

    /// The line that the last `readLine` found, without its line end. Valid until the next read.
    package func withLine<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try input.withOctets(lineStart, lineEnd, body)
    }

    /// Waits until the input buffer holds at least one octet more than now.
    ///
    /// - Returns: false if the peer sends no more.
    package func fill(within: Duration) async throws(ConnectionError) -> Bool {
        let before = input.count
        var until: UInt64 = 0
        while true {
            if let failure { throw failure }
            if sawEnd { return false }
            if readable {
                try await readMore(limit: BufferPool.sizes[2])
                if input.count > before { return true }
                continue
            }
            try await awaitInput(.octets, until: &until, within)
        }
    }

    /// Octets in the input buffer.
    package var buffered: Int { input.count }

    /// Whether input came that nobody asked for yet: plaintext behind STARTTLS.
    package var hasReadAhead: Bool { input.count > 0 }

    /// All of the input buffer. Valid in `body` only.
    package func withInput<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try input.withOctets(input.head, input.tail, body)
    }

    /// Takes `count` octets off the input buffer.
    package func consume(_ count: Int) {
        input.consume(count)
        scanned = 0
    }

    /// Reads exactly `count` octets; the caller has checked that `count` is reasonable.
    ///
    /// - Throws: `.closed` if the peer ends before.
    package func readExactly(
        _ count: Int, within: Duration
    ) async throws(ConnectionError) -> [UInt8] {
        var result: [UInt8] = []
        // What the peer claims is not believed for more than this.
        result.reserveCapacity(min(count, 256 * 1024))
        var until: UInt64 = 0
        scanned = 0
        while true {
            input.move(count - result.count, to: &result)
            if result.count == count { return result }
            if let failure { throw failure }
            if sawEnd { throw .closed }
            if readable {
                try await readMore(limit: BufferPool.sizes[2])
            } else {
                try await awaitInput(.octets, until: &until, within)
            }
        }
    }

    /// Waits for whatever comes first: input, `wake()`, the time, the peer's end, draining.
    package func wait(within: Duration) async -> WaitResult {
        var until: UInt64 = 0
        while true {
            if failure != nil { return .closed }
            if isWoken {
                isWoken = false
                return .woken
            }
            if input.count > 0 { return .input }
            if sawEnd { return .closed }
            do throws(ConnectionError) {
                if readable {
                    try await readMore(limit: BufferPool.sizes[2])
                    continue
                }
                if isDraining { return .draining }
                try await awaitInput(.anything, until: &until, within)
            } catch {
                return error == .timedOut ? .timedOut : .closed
            }
        }
    }

    /// Makes `wait` return `.woken`, now or when it is next called.
    package func wake() {
        isWoken = true
        if readWait == .anything { resumeReader() }
    }

    /// The next descriptor that the peer sent, in order. Unix sockets only.
    package func takeDescriptor() -> Descriptor? {
        descriptors.isEmpty ? nil : Descriptor(descriptors.removeFirst())
    }

    // MARK: Lines

    /// Finds a line in what is buffered; nil: more input is needed.
    private func scanLine(limit: Int, end: LineEnd) -> LineResult? {
        while true {
            guard let lineFeed = input.firstIndex(of: .lf, from: scanned) else {
                let held = input.count
                // Without the CR, which may be the first half of the line end.
                if isDiscarding || held > limit + 1 || (held > limit && input[held - 1] != .cr) {
                    discard(held)
                }
                scanned = input.count
                return nil
            }
            let hasCR = lineFeed > 0 ? input[lineFeed - 1] == .cr : isDiscarding && discardedCR
            if isDiscarding {
                discard(lineFeed + 1)
                if end == .crlf, !hasCR { continue }
                isDiscarding = false
                return .tooLong
            }
            let length = hasCR ? lineFeed - 1 : lineFeed
            if length > limit, end == .crlf, !hasCR {
                discard(lineFeed + 1)  // too long already, and this LF does not end it
                continue
            }
            lineStart = input.head
            lineEnd = input.head + length
            consume(lineFeed + 1)
            if end == .crlf, !hasCR {
                lineEnd = lineStart
                return .bareLineFeed
            }
            guard length <= limit else {
                lineEnd = lineStart
                return .tooLong
            }
            return .line
        }
    }

    private func discard(_ count: Int) {
        isDiscarding = true
        discardedCR = count > 0 ? input[count - 1] == .cr : discardedCR
        consume(count)
    }

    // MARK: Waiting and reading

    /// Sends what is pending, gives idle memory back and waits for input.
    ///
    /// - Parameter until: the deadline; 0 before the first wait of an operation.
    func awaitInput(
        _ kind: ReadWait, until: inout UInt64, _ within: Duration
    ) async throws(ConnectionError) {
        if until == 0 { until = deadline(within) }
        if pendingOutput > 0 {
            pump()
            if let failure { throw failure }
            if owesTooMuch {
                try await awaitPeer(until: until)
                return
            }
        }
        if input.count == 0 {
            input.release(&loop.buffers)
            lineStart = 0
            lineEnd = 0
            scanned = 0
        }
        releaseOutput()
        if pendingOutput == 0, input.count == 0 { compression?.rest() }
        let timedOut = await suspendReader(kind, until: until)
        if let failure { throw failure }
        if timedOut { throw .timedOut }
    }

    /// The peer has left more unread than we keep for it. Between daemons both sides may have much to
    /// send; there, writers wait in flush.
    private var owesTooMuch: Bool { !isUnix && pendingOutput > Self.outputBeforeReading }

    /// Waits until the peer has read enough of what it asked for.
    private func awaitPeer(until: UInt64) async throws(ConnectionError) {
        pump()
        if let failure { throw failure }
        guard owesTooMuch else { return }
        try await awaitSent(
            sent + UInt64(pendingOutput - Self.outputBeforeReading), until: until)
    }

    private func readMore(limit: Int) async throws(ConnectionError) {
        readsInARow += 1
        if readsInARow > Self.readsBeforeYield || octetsInARow > Self.octetsBeforeYield {
            await yieldTurn()
        }
        try readSome(limit: max(limit, BufferPool.sizes[2]))
    }

    /// Reads once. Clears `readable` when there is no more, sets `sawEnd` at the end.
    func readSome(limit: Int) throws(ConnectionError) {
        if let failure { throw failure }
        if let compression {
            try readCompressed(compression, limit: limit)
        } else {
            try readStream(limit: limit)
        }
    }

    /// Reads once what the socket or TLS has.
    func readStream(limit: Int) throws(ConnectionError) {
        guard input.makeRoom(limit: limit, &loop.buffers) else { throw .system(ENOBUFS) }
        let room = input.capacity - input.tail
        let count: Int
        if let tls {
            count = try readTLS(tls)
            guard count > 0 else { return }
        } else {
            count = isUnix ? try receiveWithDescriptor() : try receivePlain()
        }
        octetsInARow += max(count, 0)
        if count == 0 {
            sawEnd = true
        } else if count > 0, count < room, tls == nil, !isUnix, !sawHangup {
            readable = false  // a short read: epoll tells when more comes
        }
    }

    /// - Returns: octets read, 0 at the end, -1 if it would block.
    private func receivePlain() throws(ConnectionError) -> Int {
        while true {
            var error: Int32 = 0
            let count = unsafe input.receive { place, room in
                let count = unsafe recv(descriptor, place, room, 0)
                if count < 0 { error = errno }
                return count
            }
            if count >= 0 { return count }
            if try !isRetry(error) { return -1 }
        }
    }

    private func receiveWithDescriptor() throws(ConnectionError) -> Int {
        while true {
            var error: Int32 = 0
            var received: Int32 = -1
            let count = unsafe input.receive { place, room in
                let count = unsafe martlet_receive(descriptor, place, room, &received)
                if count < 0 { error = errno }
                return count
            }
            if received >= 0 {
                guard descriptors.count < 64 else {
                    _ = Glibc.close(received)
                    fail(.system(EMFILE))
                    throw .system(EMFILE)
                }
                descriptors.append(received)
            }
            if count >= 0 { return count }
            if try !isRetry(error) { return -1 }
        }
    }

    private func isRetry(_ error: Int32) throws(ConnectionError) -> Bool {
        if error == EINTR { return true }
        if error == EAGAIN {
            readable = false
            return false
        }
        let reason = ConnectionError(errno: error)
        fail(reason)
        throw reason
    }
}

extension ConnectionError {
    /// A peer that went away is `.closed`, however the kernel says it.
    init(errno: Int32) {
        switch errno {
        case EPIPE, ECONNRESET: self = .closed
        case ETIMEDOUT: self = .timedOut
        default: self = .system(errno)
        }
    }
}
