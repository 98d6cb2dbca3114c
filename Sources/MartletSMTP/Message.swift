// SPDX-License-Identifier: Apache-2.0
//
// A message as an agent gets it: short ones in memory, long ones in a file that has no name any
// more. Reading a file blocks, which is allowed where agents run.

import Glibc
import Mail
import Transport
import Wire

/// A message that has arrived whole, with the trace fields in front (`Return-Path`, `Received`;
/// RFC 5321 §4.4), lines ending in CRLF.
///
/// It can be kept: its octets are there as long as there is a copy of this value. More than 256 KiB
/// are in a file of the temporary directory, not in memory; read them with `chunks`.
public struct Message: Sendable {
    /// As in the reply to the client and in the log.
    public let id: String
    /// Who sent it.
    public let client: Client
    /// Where reports go; nil: it is a report itself.
    public let sender: Address?
    /// Everybody who was accepted, each once: at least one.
    public let recipients: [Recipient]
    /// What the sender asked for beside the delivery.
    public let terms: Terms
    /// All octets, trace fields included.
    public let size: Int
    let body: Body

    enum Body: Sendable {
        case memory([UInt8])
        case file(MessageFile)
    }

    /// Why a message cannot be read.
    public struct ReadError: Error, Sendable, CustomStringConvertible {
        let number: Int32

        /// The system's words for it.
        public var description: String { unsafe String(cString: strerror(number)) }
    }

    /// The octets in pieces of at most 64 KiB.
    public var chunks: Chunks { Chunks(body: body) }

    /// All octets at once: as much memory as the message is long.
    public func octets() throws(ReadError) -> [UInt8] {
        switch body {
        case .memory(let octets): return octets
        case .file(let file):
            var all: [UInt8] = []
            all.reserveCapacity(size)
            while true {
                let piece = try file.read(at: all.count)
                if piece.isEmpty { return all }
                all += piece
            }
        }
    }

    /// The pieces of a message, in order; can be gone through more than once.
    public struct Chunks: AsyncSequence, Sendable {
        let body: Body

        /// Starts at the first octet.
        public func makeAsyncIterator() -> Iterator { Iterator(body: body) }

        /// A place in a message.
        public struct Iterator: AsyncIteratorProtocol {
            let body: Body
            var offset = 0

            /// The next piece; nil: that was all.
            public mutating func next() async throws(ReadError) -> [UInt8]? {
                let piece: [UInt8]
                switch body {
                case .memory(let octets):
                    let end = Swift.min(octets.count, offset + MessageFile.pieceSize)
                    piece = Array(octets[offset..<end])
                case .file(let file): piece = try file.read(at: offset)
                }
                offset += piece.count
                return piece.isEmpty ? nil : piece
            }
        }
    }
}

/// A file without a name; gone when the last message that needs it is.
final class MessageFile: Sendable {
    static let pieceSize = 64 << 10

    let descriptor: Descriptor

    /// Blocks. Nil: the directory takes no more; `errno` says why.
    init?(directory: String) {
        // A name that nobody can have guessed, and that is gone at once.
        let path = "\(directory)/martlet-\(UInt64.random(in: 0 ... .max))"
        let number = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard number >= 0 else { return nil }
        _ = unsafe unlink(path)
        descriptor = Descriptor(number)
    }

    /// A second descriptor for the same file; negative if there can be no more.
    func duplicate() -> Int32 { fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 0) }

    /// Octets in it now.
    var size: Int {
        var status = stat()
        return unsafe fstat(descriptor.rawValue, &status) == 0 ? Int(status.st_size) : 0
    }

    /// At most one piece; empty at the end.
    func read(at offset: Int) throws(Message.ReadError) -> [UInt8] {
        var failure: Int32 = 0
        let number = descriptor.rawValue
        let piece = unsafe [UInt8](unsafeUninitializedCapacity: Self.pieceSize) { room, count in
            var got = 0
            repeat {
                got = unsafe pread(number, room.baseAddress, room.count, off_t(offset))
            } while got < 0 && errno == EINTR
            if got < 0 { failure = errno }
            count = max(0, got)
        }
        guard failure == 0 else { throw Message.ReadError(number: failure) }
        return piece
    }
}
