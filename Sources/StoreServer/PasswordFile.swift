// SPDX-License-Identifier: Apache-2.0
//
// Passwords in a file that an owner or another program keeps: `user@domain:{SCHEME}hash:...`, as
// Dovecot's passwd-file and passwd(5). Read again when it changes.

import Bytes
import Crypto
import Glibc
import Mail
import Store
import Synchronization
import Telemetry

final class PasswordFile: Sendable {
    enum Verdict: Sendable {
        case right
        case wrong
        /// Not in the file, or there is none.
        case unknown
    }

    private struct Stamp: Equatable {
        var size: Int
        var seconds: Int
        var nanoseconds: Int
        var inode: UInt64
    }

    private struct State {
        var path = ""
        var allowsWeak = false
        var stamp: Stamp?
        var entries: [[UInt8]: [UInt8]] = [:]
    }

    static let sizeLimit = 64 << 20
    private static let lineLimit = 4_096
    private let state = Mutex(State())

    /// - Parameter path: empty: no file.
    func apply(_ path: String, allowsWeak: Bool) {
        state.withLock { state in
            if state.path != path { state.stamp = nil }
            state.path = path
            state.allowsWeak = allowsWeak
            if path.isEmpty { state.entries = [:] }
        }
    }

    /// The passwords in a file, by user in lower case. Lines that make no sense are left out.
    static func parse(_ octets: [UInt8]) -> (entries: [[UInt8]: [UInt8]], bad: Int) {
        var entries: [[UInt8]: [UInt8]] = [:]
        var bad = 0
        for line in octets.split(separator: .lf) {
            var line = line
            if line.last == .cr { line.removeLast() }
            let text = line.drop { $0 == .space || $0 == 0x09 }
            if text.isEmpty || text.first == 0x23 { continue }
            let fields = text.split(
                separator: 0x3A, maxSplits: 7, omittingEmptySubsequences: false)
            guard text.count <= lineLimit, fields.count >= 2, !fields[0].isEmpty,
                !fields[1].isEmpty
            else {
                bad += 1
                continue
            }
            entries[Array(fields[0]).asciiLowercased] = Array(fields[1])
        }
        return (entries, bad)
    }

    /// Blocks, and takes a hash's time.
    func check(_ address: EmailAddress, _ password: [UInt8]) throws(StoreError) -> Verdict {
        let (hash, allowsWeak) = try lookup(address)
        guard let hash else { return .unknown }
        guard let stored = StoredPassword(hash), allowsWeak || !stored.isWeak else {
            Log.warn(
                "password not usable",
                [
                    LogField("account", address.octets),
                    LogField("reason", "its scheme in the password file is weak or not known"),
                ])
            return .wrong
        }
        do throws(PasswordHashError) {
            return try stored.verify(password) ? .right : .wrong
        } catch .tooLong {
            return .wrong
        } catch {
            throw .file("verify password", errno: 0)
        }
    }

    private func lookup(
        _ address: EmailAddress
    ) throws(StoreError) -> (hash: [UInt8]?, allowsWeak: Bool) {
        var outcome: Result<([UInt8]?, Bool), StoreError> = .success((nil, false))
        state.withLock { state in
            guard !state.path.isEmpty else { return }
            do throws(StoreError) {
                try Self.refresh(&state)
                outcome = .success((state.entries[address.octets], state.allowsWeak))
            } catch {
                outcome = .failure(error)
            }
        }
        let (hash, allowsWeak) = try outcome.get()
        return (hash, allowsWeak)
    }

    private static func refresh(_ state: inout State) throws(StoreError) {
        let descriptor = unsafe open(state.path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file("open password file", errno: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw .file("stat password file", errno: errno)
        }
        let stamp = Stamp(
            size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec, inode: UInt64(status.st_ino))
        guard stamp != state.stamp else { return }
        guard stamp.size <= sizeLimit else { throw .file("read password file", errno: EFBIG) }
        var octets = [UInt8](repeating: 0, count: stamp.size)
        var length = 0
        while length < octets.count {
            let count = unsafe octets.withUnsafeMutableBytes {
                unsafe pread(
                    descriptor, $0.baseAddress?.advanced(by: length), $0.count - length,
                    off_t(length))
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .file("read password file", errno: errno) }
            if count == 0 { break }
            length += count
        }
        let (entries, bad) = parse(Array(octets[..<length]))
        state.entries = entries
        state.stamp = stamp
        Log.info(
            "password file read",
            [LogField("path", state.path), LogField("count", entries.count)])
        if bad > 0 {
            Log.warn(
                "password file has bad lines",
                [LogField("path", state.path), LogField("count", bad)])
        }
    }
}
