// SPDX-License-Identifier: Apache-2.0
//
// A password in a file of its own: its first line.

import Glibc
import Telemetry

package enum SecretFile {
    private static let limit = 4_096

    /// Nil: it cannot be read; the log says why.
    package static func read(_ path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = unsafe String(cString: strerror(errno))
            Log.error("secret not read", [LogField("path", path), LogField("reason", reason)])
            return nil
        }
        defer { close(descriptor) }
        var room = [UInt8](repeating: 0, count: limit)
        let count = unsafe Glibc.read(descriptor, &room, room.count)
        guard count >= 0 else {
            let reason = unsafe String(cString: strerror(errno))
            Log.error("secret not read", [LogField("path", path), LogField("reason", reason)])
            return nil
        }
        return Array(room[..<count].prefix { $0 != 0x0A && $0 != 0x0D && $0 != 0 })
    }
}
