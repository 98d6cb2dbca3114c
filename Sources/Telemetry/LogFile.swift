// SPDX-License-Identifier: Apache-2.0
//
// The log as JSON lines in a file of the daemon's own: what `mailctl log` reads where there is no
// journal. Two files of bounded length; the older one is DAEMON.log.1.

import Glibc
import Synchronization

/// Appends lines, each with one write(2).
package final class LogFile: Sendable {
    /// Octets after which a new file is begun.
    private static let limit: Int = 64 << 20

    private struct State: Sendable {
        var descriptor: Int32
        var size: Int
    }

    private let path: String
    private let state: Mutex<State>

    /// - Returns: nil if the file cannot be opened; errno says why.
    package init?(directory: String, program: String) {
        path = "\(directory)/\(program).log"
        guard let opened = Self.open(path) else { return nil }
        state = Mutex(opened)
    }

    deinit {
        let descriptor = state.withLock { $0.descriptor }
        if descriptor >= 0 { _ = close(descriptor) }
    }

    func write(_ line: [UInt8]) {
        state.withLock { state in
            if state.size + line.count > Self.limit { turn(&state) }
            guard state.descriptor >= 0 else { return }
            let count = unsafe line.withUnsafeBytes { octets in
                // A log that cannot be written must not stop the mail.
                unsafe Glibc.write(state.descriptor, octets.baseAddress, octets.count)
            }
            if count > 0 { state.size += count }
        }
    }

    private func turn(_ state: inout State) {
        guard unsafe rename(path, path + ".1") == 0, let fresh = Self.open(path) else {
            state.size = 0  // goes on in the old file, and tries again when it has doubled
            return
        }
        _ = close(state.descriptor)
        state = fresh
    }

    private static func open(_ path: String) -> State? {
        let descriptor = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            _ = close(descriptor)
            return nil
        }
        return State(descriptor: descriptor, size: Int(status.st_size))
    }
}
