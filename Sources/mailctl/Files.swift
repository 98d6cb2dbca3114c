// SPDX-License-Identifier: Apache-2.0
//
// Whole small files: read, write so that a crash leaves the old one or the new one, remove trees.

import CLinux
import Glibc

enum Files {
    static let sizeLimit = 64 << 20

    static func read(_ path: String, limit: Int = sizeLimit) throws(Failure) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("cannot open \(path)", errno, .noInput) }
        defer { close(descriptor) }
        return try readAll(descriptor, path, limit: limit)
    }

    static func readAll(
        _ descriptor: Int32, _ name: String, limit: Int
    ) throws(Failure) -> [UInt8] {
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                unsafe Glibc.read(descriptor, space.baseAddress, space.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system("cannot read \(name)", errno) }
            if count == 0 { return octets }
            octets += buffer[..<count]
            guard octets.count <= limit else {
                throw Failure(.badData, "\(name) is larger than \(limit) octets")
            }
        }
    }

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// Replaces `path` in one step, durably.
    static func write(_ path: String, _ octets: [UInt8], mode: mode_t) throws(Failure) {
        let temporary = "\(path).new"
        unsafe unlink(temporary)
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else {
            throw .system("cannot create \(temporary)", errno, .cannotCreate)
        }
        var failure: Int32 = 0
        if !writeAll(descriptor, octets) || fchmod(descriptor, mode) != 0 || fsync(descriptor) != 0
        {
            failure = errno
        }
        if close(descriptor) != 0 && failure == 0 { failure = errno }
        if failure == 0, unsafe rename(temporary, path) != 0 { failure = errno }
        guard failure == 0 else {
            unsafe unlink(temporary)
            throw .system("cannot write \(path)", failure)
        }
    }

    /// The directory gives its group to new files, so that the group can read what is for it:
    /// /etc/martlet/tls and martlet-tls.
    static func isShared(_ directory: String) -> Bool {
        var status = stat()
        return unsafe stat(directory, &status) == 0 && status.st_mode & S_ISGID != 0
            && status.st_gid != 0 && status.st_mode & 0o022 == 0
    }

    static func writeAll(_ descriptor: Int32, _ octets: [UInt8]) -> Bool {
        var start = 0
        while start < octets.count {
            let count = unsafe octets.withUnsafeBytes { buffer in
                unsafe Glibc.write(
                    descriptor, buffer.baseAddress?.advanced(by: start), octets.count - start)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            start += count
        }
        return true
    }

    /// Makes a directory and those above it.
    static func makeDirectory(_ path: String, mode: mode_t) throws(Failure) {
        var end = path.startIndex
        while end < path.endIndex {
            end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
            let part = String(path[..<end])
            if unsafe mkdir(part, mode) != 0 && errno != EEXIST {
                throw .system("cannot create directory \(part)", errno, .cannotCreate)
            }
        }
    }

    /// Absolute, without `.` and `..` parts resolved by name only.
    static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let directory = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(directory) }
        let base = unsafe String(cString: directory)
        return base == "/" ? "/\(path)" : "\(base)/\(path)"
    }

    static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The path behind /proc/self/exe.
    static func ownProgram() throws(Failure) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe buffer.withUnsafeMutableBufferPointer { space in
            unsafe space.withMemoryRebound(to: CChar.self) { text in
                guard let start = text.baseAddress else { return 0 }
                return unsafe readlink("/proc/self/exe", start, text.count)
            }
        }
        guard count > 0 else { throw .system("cannot read /proc/self/exe", errno) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Names in a directory, sorted, without `.` and `..`; nil if it cannot be read.
    static func names(in path: String) -> [String]? {
        guard let stream = unsafe opendir(path) else { return nil }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            var length = 0
            let start = unsafe martlet_entry_name(entry, &length)
            let name = unsafe String(
                decoding: UnsafeRawBufferPointer(start: start, count: length), as: UTF8.self)
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a directory and everything in it, without following links; 64 levels at most.
    static func removeTree(_ path: String, depth: Int = 0) {
        guard depth < 64 else { return }
        for name in names(in: path) ?? [] {
            let inner = "\(path)/\(name)"
            if unsafe unlink(inner) != 0 { removeTree(inner, depth: depth + 1) }
        }
        unsafe rmdir(path)
    }
}
