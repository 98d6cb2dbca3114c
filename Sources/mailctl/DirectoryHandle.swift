// SPDX-License-Identifier: Apache-2.0
//
// An open directory, and everything in it by name: nothing follows a symbolic link, names are
// octets. openat(2), linkat(2), fsync(2).

import CLinux
import Glibc

/// A file or directory, as far as mailctl asks.
struct EntryStatus {
    var size: Int64
    var isRegular: Bool
    var isDirectory: Bool
    var inode: UInt64
    var links: UInt64
    var owner: UInt32
    var group: UInt32
    var modified: Int64
}

final class DirectoryHandle {
    let descriptor: Int32
    /// For messages.
    let path: String

    private init(_ descriptor: Int32, _ path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    private static let directoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC

    private static func withName<R>(
        _ name: [UInt8], _ body: (UnsafePointer<CChar>) -> R
    ) throws(Failure) -> R {
        guard !name.isEmpty, !name.contains(0) else {
            throw Failure(.badData, "a file name with NUL in it")
        }
        let text = name.map { CChar(bitPattern: $0) } + [0]
        let result = unsafe text.withUnsafeBufferPointer { buffer -> R? in
            guard let start = buffer.baseAddress else { return nil }
            return unsafe body(start)
        }
        guard let result else { throw Failure(.software, "no buffer") }
        return result
    }

    private func failure(_ what: String, _ name: [UInt8]) -> Failure {
        .system("cannot \(what) \(path)/\(String(decoding: name, as: UTF8.self))", errno)
    }

    init(path: String) throws(Failure) {
        let opened = unsafe try Self.withName(Array(path.utf8)) {
            unsafe Glibc.open($0, Self.directoryFlags)
        }
        guard opened >= 0 else { throw .system("cannot open \(path)", errno, .noInput) }
        descriptor = opened
        self.path = path
    }

    /// Nil if there is no such directory.
    func open(_ name: [UInt8]) throws(Failure) -> DirectoryHandle? {
        let opened = unsafe try Self.withName(name) {
            unsafe openat(descriptor, $0, Self.directoryFlags | O_NOFOLLOW)
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw failure("open", name) }
        return DirectoryHandle(opened, "\(path)/\(String(decoding: name, as: UTF8.self))")
    }

    /// Along a path of names; nil if one is missing.
    func open(path names: [[UInt8]]) throws(Failure) -> DirectoryHandle? {
        var directory = self
        for name in names {
            guard let next = try directory.open(name) else { return nil }
            directory = next
        }
        return directory
    }

    /// Opened, made before if it is missing.
    func make(_ name: [UInt8]) throws(Failure) -> DirectoryHandle {
        let made = unsafe try Self.withName(name) { unsafe mkdirat(descriptor, $0, 0o700) }
        guard made == 0 || errno == EEXIST else { throw failure("make", name) }
        guard let directory = try open(name) else { throw failure("open", name) }
        return directory
    }

    func make(path names: [[UInt8]]) throws(Failure) -> DirectoryHandle {
        var directory = self
        for name in names { directory = try directory.make(name) }
        return directory
    }

    /// Names in it, in no order, without `.` and `..`.
    func names() throws(Failure) -> [[UInt8]] {
        let copy = unsafe openat(descriptor, ".", Self.directoryFlags)
        guard copy >= 0, let stream = unsafe fdopendir(copy) else {
            throw .system("cannot read \(path)", errno)
        }
        defer { unsafe closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw .system("cannot read \(path)", errno) }
                return names
            }
            var length = 0
            let start = unsafe martlet_entry_name(entry, &length)
            let name = unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: length))
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
    }

    /// Nil if there is no such name.
    func status(_ name: [UInt8]) throws(Failure) -> EntryStatus? {
        var status = stat()
        let result = unsafe try Self.withName(name) {
            unsafe fstatat(descriptor, $0, &status, AT_SYMLINK_NOFOLLOW)
        }
        if result != 0, errno == ENOENT { return nil }
        guard result == 0 else { throw failure("look at", name) }
        return Self.entry(status)
    }

    func status() throws(Failure) -> EntryStatus {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw .system("cannot look at \(path)", errno)
        }
        return Self.entry(status)
    }

    static func entry(_ status: stat) -> EntryStatus {
        EntryStatus(
            size: Int64(status.st_size), isRegular: status.st_mode & S_IFMT == S_IFREG,
            isDirectory: status.st_mode & S_IFMT == S_IFDIR, inode: UInt64(status.st_ino),
            links: UInt64(status.st_nlink), owner: status.st_uid, group: status.st_gid,
            modified: Int64(status.st_mtim.tv_sec))
    }

    /// A regular file for reading; nil if there is none.
    func read(_ name: [UInt8]) throws(Failure) -> OpenFile? {
        let opened = unsafe try Self.withName(name) {
            unsafe openat(descriptor, $0, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw failure("open", name) }
        return OpenFile(owning: opened)
    }

    /// All octets of a small file; nil if there is none.
    func contents(
        _ name: [UInt8], limit: Int = Files.sizeLimit
    ) throws(Failure) -> [UInt8]? {
        guard let file = try read(name) else { return nil }
        return try Files.readAll(
            file.descriptor, "\(path)/\(String(decoding: name, as: UTF8.self))", limit: limit)
    }

    /// A new file; one of the same name is removed before.
    func create(_ name: [UInt8]) throws(Failure) -> OpenFile {
        try unlink(name)
        let opened = unsafe try Self.withName(name) {
            unsafe openat(
                descriptor, $0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        }
        guard opened >= 0 else { throw failure("create", name) }
        return OpenFile(owning: opened)
    }

    /// For lines that are added.
    func append(_ name: [UInt8]) throws(Failure) -> OpenFile {
        let opened = unsafe try Self.withName(name) {
            unsafe openat(
                descriptor, $0, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600)
        }
        guard opened >= 0 else { throw failure("open", name) }
        return OpenFile(owning: opened)
    }

    /// A whole small file, durable; in one step if there was one before.
    func write(_ name: [UInt8], _ octets: [UInt8]) throws(Failure) {
        let temporary = Array(".new-".utf8) + name
        let file = try create(temporary)
        guard Files.writeAll(file.descriptor, octets), fsync(file.descriptor) == 0 else {
            throw failure("write", name)
        }
        try rename(temporary, to: name, in: self)
    }

    enum Linked { case done, impossible, missing }

    /// A second name. `.impossible`: another file system, or too many names.
    func link(
        _ name: [UInt8], to target: [UInt8], in directory: DirectoryHandle
    ) throws(Failure) -> Linked {
        let target = target.map { CChar(bitPattern: $0) } + [0]
        let result = unsafe try Self.withName(name) {
            unsafe linkat(descriptor, $0, directory.descriptor, target, 0)
        }
        let code = result == 0 ? 0 : errno
        switch code {
        case 0: return .done
        case ENOENT: return .missing
        case EXDEV, EMLINK, EPERM, EOPNOTSUPP: return .impossible
        default:
            errno = code
            throw directory.failure("link", name)
        }
    }

    func rename(
        _ name: [UInt8], to target: [UInt8], in directory: DirectoryHandle
    ) throws(Failure) {
        let target = target.map { CChar(bitPattern: $0) } + [0]
        let result = unsafe try Self.withName(name) {
            unsafe renameat(descriptor, $0, directory.descriptor, target)
        }
        guard result == 0 else { throw failure("rename", name) }
    }

    /// Nothing if there is no such name.
    func unlink(_ name: [UInt8]) throws(Failure) {
        let result = unsafe try Self.withName(name) { unsafe unlinkat(descriptor, $0, 0) }
        guard result == 0 || errno == ENOENT else { throw failure("remove", name) }
    }

    /// A file, or a directory with everything in it; at most 16 levels.
    func removeTree(_ name: [UInt8], depth: Int = 16) throws(Failure) {
        guard depth > 0 else { throw Failure(.badData, "\(path): nested too deeply") }
        guard let status = try status(name) else { return }
        guard status.isDirectory else { return try unlink(name) }
        if let directory = try open(name) {
            for inner in try directory.names() {
                try directory.removeTree(inner, depth: depth - 1)
            }
        }
        let result = unsafe try Self.withName(name) {
            unsafe unlinkat(descriptor, $0, AT_REMOVEDIR)
        }
        guard result == 0 || errno == ENOENT else { throw failure("remove", name) }
    }

    /// Makes names in it durable.
    func synchronize() throws(Failure) {
        guard fsync(descriptor) == 0 else { throw .system("cannot sync \(path)", errno) }
    }

    /// False if another process has it.
    func lock() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }
}

extension OpenFile {
    func status() throws(Failure) -> EntryStatus {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("stat", errno) }
        return DirectoryHandle.entry(status)
    }

    /// Makes its octets durable.
    func synchronize() throws(Failure) {
        guard fsync(descriptor) == 0 else { throw .system("cannot sync a file", errno) }
    }

    /// The disk may begin with it.
    func startWriting() { martlet_start_writing(descriptor) }

    func setModified(_ seconds: Int64) throws(Failure) {
        let time = timespec(tv_sec: Int(seconds), tv_nsec: 0)
        let times = [time, time]
        let result = unsafe times.withUnsafeBufferPointer { buffer in
            unsafe futimens(descriptor, buffer.baseAddress)
        }
        guard result == 0 else { throw .system("cannot set a time", errno) }
    }

    func setOwner(_ owner: UInt32, _ group: UInt32) throws(Failure) {
        guard fchown(descriptor, owner, group) == 0 else {
            throw .system("cannot give a file away", errno)
        }
    }

    /// Copies everything into `target`, if there is one, and returns its digest and size.
    func digest(
        copyingTo target: OpenFile? = nil, _ buffer: inout [UInt8]
    ) throws(Failure) -> (digest: String, size: Int64) {
        let digest = try SHA256()
        var offset: Int64 = 0
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                unsafe pread(descriptor, space.baseAddress, space.count, off_t(offset))
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("cannot read a file", errno) }
            if count == 0 { return (try digest.digest(), offset) }
            try digest.add(buffer[..<count])
            if let target {
                let isWritten =
                    count == buffer.count
                    ? Files.writeAll(target.descriptor, buffer)
                    : Files.writeAll(target.descriptor, Array(buffer[..<count]))
                guard isWritten else { throw .system("cannot write a file", errno) }
            }
            offset += Int64(count)
        }
    }
}
