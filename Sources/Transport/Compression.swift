// SPDX-License-Identifier: Apache-2.0
//
// DEFLATE in both directions of a connection, below what a session reads and writes and above TLS.
// RFC 4978, RFC 1951. A connection that waits for its peer keeps only what the peer may still refer
// to: the compressor is thrown away behind a flush, where a new one may go on.

import CZlib
import Glibc

/// The state of both directions.
@safe final class Compression {
    /// Octets that are compressed at a time.
    static let chunk = 32 << 10
    /// Measured over lists of envelopes and English text: 32 KiB of memory compress to 16 and 38 %,
    /// 256 KiB (15, 8) to 15 and 34 %.
    private static let windowBits: Int32 = 12
    private static let memoryLevel: Int32 = 5
    private static let level: Int32 = 6
    /// What a peer may refer back to.
    private static let peerWindow = 32 << 10

    /// Compressed octets from the peer.
    var input = InputBuffer()
    /// Compressed octets for the peer, and of how many octets of the output they were made.
    var packed: [UInt8] = []
    var packedHead = 0
    var packedSource = 0
    /// The peer's octets make more than there was room for.
    private(set) var hasMore = false
    /// The peer's octets are not DEFLATE, or come behind its end.
    private(set) var isBroken = false

    private var deflater: UnsafeMutablePointer<z_stream>?
    private var inflater: UnsafeMutablePointer<z_stream>?
    /// What the inflater knew when it was put away.
    private var dictionary: [UInt8] = []

    deinit {
        endDeflater()
        endInflater()
    }

    private static func makeStream() -> UnsafeMutablePointer<z_stream> {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        return unsafe stream
    }

    private func endDeflater() {
        guard let stream = unsafe deflater else { return }
        _ = unsafe deflateEnd(stream)
        unsafe stream.deallocate()
        unsafe deflater = nil
    }

    private func endInflater() {
        guard let stream = unsafe inflater else { return }
        _ = unsafe inflateEnd(stream)
        unsafe stream.deallocate()
        unsafe inflater = nil
    }

    // MARK: To the peer

    /// Compresses octets into `packed`.
    ///
    /// - Parameter flushes: the peer must be able to read all of it.
    /// - Returns: false if there is no memory for it.
    func pack(_ octets: UnsafeRawBufferPointer, flushes: Bool) -> Bool {
        if unsafe deflater == nil {
            let made = unsafe Self.makeStream()
            guard
                unsafe martlet_deflate_begin(
                    made, Self.level, Self.windowBits, Self.memoryLevel) == Z_OK
            else {
                unsafe made.deallocate()
                return false
            }
            unsafe deflater = made
        }
        guard let stream = unsafe deflater else { return false }
        let input = unsafe octets.bindMemory(to: UInt8.self)
        unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
        unsafe stream.pointee.avail_in = uInt(input.count)
        repeat {
            let size = max(octets.count / 2, 1_024)
            let part = unsafe [UInt8](unsafeUninitializedCapacity: size) { room, count in
                unsafe stream.pointee.next_out = room.baseAddress
                unsafe stream.pointee.avail_out = uInt(room.count)
                _ = unsafe deflate(stream, flushes ? Z_SYNC_FLUSH : Z_NO_FLUSH)
                count = unsafe room.count - Int(stream.pointee.avail_out)
            }
            packed += part
        } while unsafe stream.pointee.avail_out == 0
        packedSource = octets.count
        return true
    }

    // MARK: From the peer

    /// Decompresses what `input` holds into `room`.
    ///
    /// - Returns: how many octets it made.
    func unpack(_ place: UnsafeMutableRawPointer, _ room: Int) -> Int {
        guard let stream = unsafe readyInflater() else { return 0 }
        let head = input.head
        let (made, left) = input.withOctets(head, input.tail) { octets -> (Int, Int) in
            unsafe octets.withUnsafeBufferPointer { octets in
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: octets.baseAddress)
                unsafe stream.pointee.avail_in = uInt(octets.count)
                unsafe stream.pointee.next_out = place.assumingMemoryBound(to: UInt8.self)
                unsafe stream.pointee.avail_out = uInt(room)
                let result = unsafe inflate(stream, Z_SYNC_FLUSH)
                // Z_BUF_ERROR: there was nothing to do
                if result != Z_OK, result != Z_BUF_ERROR { isBroken = true }
                return unsafe (
                    room - Int(stream.pointee.avail_out), Int(stream.pointee.avail_in)
                )
            }
        }
        input.consume(input.count - left)
        hasMore = made == room
        return made
    }

    private func readyInflater() -> UnsafeMutablePointer<z_stream>? {
        if let stream = unsafe inflater { return unsafe stream }
        let made = unsafe Self.makeStream()
        guard unsafe martlet_inflate_begin(made) == Z_OK else {
            unsafe made.deallocate()
            isBroken = true
            return nil
        }
        unsafe inflater = made
        if !dictionary.isEmpty {
            let result = unsafe inflateSetDictionary(made, dictionary, uInt(dictionary.count))
            if result != Z_OK { isBroken = true }
            dictionary = []
        }
        return unsafe made
    }

    // MARK: At rest

    /// Nothing is on its way in either direction: memory is given back.
    func rest() {
        guard packed.isEmpty else { return }
        packed = []
        endDeflater()
        // 128: at the end of a block; low bits: the next one does not begin with an octet
        guard let stream = unsafe inflater, input.count == 0, !hasMore, !isBroken,
            unsafe stream.pointee.data_type & 128 != 0, unsafe stream.pointee.data_type & 7 == 0
        else { return }
        let known = unsafe [UInt8](unsafeUninitializedCapacity: Self.peerWindow) { room, count in
            var length: uInt = 0
            let result = unsafe inflateGetDictionary(stream, room.baseAddress, &length)
            count = result == Z_OK ? Int(length) : 0
        }
        // A copy that is as long as it is: commands are short
        dictionary = []
        dictionary.reserveCapacity(known.count)
        dictionary.append(contentsOf: known)
        endInflater()
    }
}

extension Connection {
    /// From here on both directions are compressed. All that was written before has been sent.
    ///
    /// - Throws: `.closed` if output is left or the peer has sent something already.
    package func startCompression() throws(ConnectionError) {
        if let failure { throw failure }
        guard compression == nil, pendingOutput == 0, input.count == 0 else {
            fail(.closed)
            throw .closed
        }
        compression = Compression()
    }

    package var isCompressed: Bool { compression != nil }

    /// Compresses and sends as much as the socket takes.
    func pumpCompressed(_ compression: Compression) {
        while pendingOutput > 0, writable, failure == nil {
            if compression.packed.isEmpty {
                let count = min(pendingOutput, Compression.chunk)
                let isLast = count == pendingOutput
                let start = outputHead
                let isPacked = unsafe output.withUnsafeBytes { octets in
                    let part = unsafe UnsafeRawBufferPointer(
                        rebasing: octets[start..<start + count])
                    return unsafe compression.pack(part, flushes: isLast)
                }
                guard isPacked else { return fail(.closed) }
                compression.packedHead = 0
            }
            let head = compression.packedHead
            if head < compression.packed.count {
                let sent = unsafe compression.packed.withUnsafeBytes { octets in
                    guard let place = octets.baseAddress else { return 0 }
                    return unsafe send(place + head, octets.count - head)
                }
                guard sent > 0 else { return }
                compression.packedHead += sent
            }
            if compression.packedHead == compression.packed.count {
                compression.packed.removeAll(keepingCapacity: true)
                advanceOutput(compression.packedSource)
            }
        }
    }

    /// Reads once and decompresses as much as there is room for.
    func readCompressed(_ compression: Compression, limit: Int) throws(ConnectionError) {
        guard input.makeRoom(limit: limit, &loop.buffers) else { throw .system(ENOBUFS) }
        if compression.input.count == 0, !compression.hasMore {
            swap(&input, &compression.input)
            defer { swap(&input, &compression.input) }
            try readStream(limit: BufferPool.sizes[1])
        }
        guard !sawEnd || compression.input.count > 0 else { return }
        let count = unsafe input.receive { place, room in unsafe compression.unpack(place, room) }
        octetsInARow += count
        if compression.isBroken {
            fail(.system(EPROTO))
            throw .system(EPROTO)
        }
        if compression.input.count > 0 || compression.hasMore {
            readable = true  // here, if not in the socket
        } else {
            compression.input.release(&loop.buffers)
        }
    }

    /// A file in pieces: nothing can go straight to the socket.
    func sendCompressedFile(
        _ file: Int32, _ offset: Int, _ count: Int, _ until: UInt64
    ) async throws(ConnectionError) {
        var position = offset
        let end = offset + count
        while position < end {
            let size = min(Compression.chunk, end - position)
            let piece = unsafe [UInt8](unsafeUninitializedCapacity: size) { room, filled in
                filled = unsafe max(0, pread(file, room.baseAddress, size, off_t(position)))
            }
            guard !piece.isEmpty else { throw .system(EIO) }
            write(piece)
            position += piece.count
            pump()
            if let failure { throw failure }
            if pendingOutput > 0 {
                try await awaitSent(sent + UInt64(pendingOutput), until: until)
            }
            if position < end { await yieldTurn() }
        }
    }
}
