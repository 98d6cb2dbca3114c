// SPDX-License-Identifier: Apache-2.0
//
// Pieces of files for sessions that have to look at what they send. What is in memory is read at
// once; a worker waits for the disk, never the loop.

import CLinux
import Glibc

extension LoopContext {
    /// At most `count` octets of `file` from `offset` on; none at its end.
    package func read(
        _ file: borrowing Descriptor, offset: Int, count: Int
    ) async throws(ConnectionError) -> [UInt8] {
        let number = file.rawValue
        let cached = readPiece(number, offset, count, isWaiting: false)
        let result: Piece
        switch cached {
        case .failure(EAGAIN), .failure(EOPNOTSUPP), .failure(ENOSYS):
            result = await workers.run { readPiece(number, offset, count, isWaiting: true) }
        case .failure, .octets: result = cached
        }
        switch result {
        case .octets(let octets): return octets
        case .failure(let error): throw .system(error)
        }
    }
}

private enum Piece: Sendable {
    case octets([UInt8])
    /// errno.
    case failure(Int32)
}

private func readPiece(_ file: Int32, _ offset: Int, _ count: Int, isWaiting: Bool) -> Piece {
    while true {
        var failure: Int32 = 0
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: count) { room, filled in
            let result =
                unsafe isWaiting
                ? pread(file, room.baseAddress, count, off_t(offset))
                : martlet_read_cached(file, room.baseAddress, count, Int64(offset))
            filled = max(0, result)
            if result < 0 { failure = errno }
        }
        if failure == 0 { return .octets(octets) }
        if failure != EINTR { return .failure(failure) }
    }
}
