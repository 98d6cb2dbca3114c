// SPDX-License-Identifier: Apache-2.0
//
// Writing a long message into a file that the store lent out: in pieces, on worker threads, so that
// a slow disk stops one session and not its loop.

import Glibc
import Transport
import Wire

/// Owns a staged file until `finish` or the end of the object closes it.
package final class StageWriter {
    package let token: StageToken
    private var file: Descriptor?
    private let workers: Workers

    package init(_ staged: consuming StagedFile, workers: Workers) {
        token = staged.token
        file = .some(staged.file)
        self.workers = workers
    }

    /// Appends all of `octets`. One call at a time.
    ///
    /// - Throws: `.unavailable` if the file cannot take them; the message must then be given up.
    package func write(_ octets: [UInt8]) async throws(StoreFailure) {
        guard let number = file?.rawValue else { throw .badStage }
        // `self` keeps the descriptor open until the worker is done.
        let isWritten = await workers.run { writeAll(octets, to: number) }
        guard isWritten else { throw .unavailable }
    }

    /// Closes the file: only then may its token be delivered.
    package func finish() -> StageToken {
        file = nil
        return token
    }
}

/// Blocking; false after an error (no space, I/O).
private func writeAll(_ octets: [UInt8], to number: Int32) -> Bool {
    unsafe octets.withUnsafeBytes { bytes in
        var written = 0
        while written < bytes.count {
            let count = unsafe Glibc.write(
                number, bytes.baseAddress?.advanced(by: written), bytes.count - written)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            written += count
        }
        return true
    }
}
