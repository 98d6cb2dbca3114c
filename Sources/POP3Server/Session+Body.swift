// SPDX-License-Identifier: Apache-2.0
//
// Message octets on their way to the client: dot-stuffed, in pieces, never more than a few in
// memory. RFC 1939 §3. A message that cannot be read to its end never gets its final dot.

import Bytes
import Glibc
import POP3
import StoreClient
import Transport

extension Session {
    /// Octets of a file that are read at a time.
    private static let pieceSize = 64 << 10

    /// Sends a message as the lines of an answer.
    ///
    /// - Returns: octets of the message that went out.
    func write(
        _ message: borrowing StoredMessage, _ encoder: consuming MessageEncoder
    ) async throws(SessionEnd) -> UInt64 {
        var encoder = encoder
        let size = Int(message.size)
        switch message.body {
        case .inline(let octets):
            encoder.encode(octets.span) { connection.write(copying: $0) }
            encoder.finish { connection.write(copying: $0) }
            return UInt64(octets.count)
        case .file(let descriptor):
            let sent = try await write(descriptor, size: size, &encoder)
            encoder.finish { connection.write(copying: $0) }
            return sent
        }
    }

    private func write(
        _ file: borrowing Descriptor, size: Int, _ encoder: inout MessageEncoder
    ) async throws(SessionEnd) -> UInt64 {
        var offset = 0
        while offset < size, !encoder.isComplete {
            let number = file.rawValue
            let start = offset
            let wanted = min(Self.pieceSize, size - offset)
            // The disk may be slow: it is a worker that waits for it.
            let result = await service.context.workers.run {
                readPiece(number, offset: start, count: wanted)
            }
            let piece: [UInt8]
            switch result {
            case .success(let octets): piece = octets
            case .failure(let error): throw .broken("message file: errno \(error.number)")
            }
            if piece.isEmpty {
                // A file with bare line feeds is shorter than the message it stands for.
                guard offset + encoder.completedLines >= size else {
                    throw .broken("message file is short")
                }
                break
            }
            encoder.encode(piece.span) { connection.write(copying: $0) }
            offset += piece.count
            try await keepOutputBounded()
        }
        return UInt64(offset)
    }
}

/// errno of a failed read.
struct ReadError: Error {
    var number: Int32
}

/// At most `count` octets; none at the end of the file.
private func readPiece(
    _ descriptor: Int32, offset: Int, count: Int
) -> Result<[UInt8], ReadError> {
    while true {
        var failure: Int32 = 0
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let result = unsafe pread(descriptor, buffer.baseAddress, count, off_t(offset))
            filled = max(0, result)
            if result < 0 { failure = errno }
        }
        if failure == 0 { return .success(octets) }
        if failure != EINTR { return .failure(ReadError(number: failure)) }
    }
}
