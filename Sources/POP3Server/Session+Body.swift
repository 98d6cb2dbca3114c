// SPDX-License-Identifier: Apache-2.0
//
// Message octets on their way to the client: dot-stuffed, in pieces, never more than a few in
// memory. RFC 1939 §3. A message that cannot be read to its end never gets its final dot.

import Bytes
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
            let piece: [UInt8]
            do throws(ConnectionError) {
                piece = try await service.context.read(
                    file, offset: offset, count: min(Self.pieceSize, size - offset))
            } catch {
                throw .broken("message file: \(error)")
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
