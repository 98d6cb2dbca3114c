// SPDX-License-Identifier: Apache-2.0
//
// The system calls of the store: open files and directories, names relative to directory
// descriptors, and nothing that follows a symbolic link. open(2), linkat(2), fsync(2).

import CLinux
import Glibc

/// A file name or path as the kernel has it: octets without NUL, in no known encoding.
package typealias PathOctets = [UInt8]

extension PathOctets {
    /// The path as a C string. A NUL inside would name another file, so it traps: ours to prevent.
    func withPath<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
        precondition(!contains(0), "NUL in a path")
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: count + 1) { buffer in
            for index in indices { unsafe buffer[index] = CChar(bitPattern: self[index]) }
            unsafe buffer[count] = 0
            guard let start = buffer.baseAddress else { preconditionFailure("no buffer") }
            return unsafe body(UnsafePointer(start))
        }
    }
}

/// Owns a descriptor; closed at the end of its life.
package struct File: ~Copyable, Sendable {
    package let descriptor: Int32

    package init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Gives the descriptor to the caller, who closes it.
    package consuming func release() -> Int32 {
        let released = descriptor
        discard self
        return released
    }
}

/// A file and its size when it was opened.
struct OpenedFile: ~Copyable {
    let file: File
    let octets: Int64
}

/// What fstat says, as far as the store asks.
package struct FileStatus: Equatable, Sendable {
    package var size: Int64
    package var isRegular: Bool
    package var isDirectory: Bool
    package var links: UInt64
    package var inode: UInt64
    package var seconds: Int64
    /// Modification time in nanoseconds since 1970.
    package var time: Int64
    /// When name, links or content changed last.
    package var changed: Int64
    package var owner: UInt32

    fileprivate init(_ status: stat) {
        size = Int64(status.st_size)
        isRegular = status.st_mode & S_IFMT == S_IFREG
        isDirectory = status.st_mode & S_IFMT == S_IFDIR
        links = UInt64(status.st_nlink)
        inode = UInt64(status.st_ino)
        seconds = Int64(status.st_mtim.tv_sec)
        changed = Int64(status.st_ctim.tv_sec)
        owner = status.st_uid
        time = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
    }
}

/// The calls, with errno turned into `StoreError`. Descriptors are borrowed as numbers.
enum System {
    /// O_TMPFILE without its O_DIRECTORY bit, AT_EMPTY_PATH, F_SETLEASE: not imported by Swift.
    private static let temporaryFile: Int32 = 0o20000000 | O_DIRECTORY
    private static let emptyPath: Int32 = 0x1000
    private static let setLease: Int32 = 1024

    /// Runs `call` again while it is interrupted by a signal.
    private static func retrying(_ call: () -> Int) -> Int {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    static func openDirectory(_ path: PathOctets, in parent: Int32 = AT_FDCWD) throws(StoreError)
        -> File
    {
        let opened = retrying {
            unsafe path.withPath { path in
                Int(unsafe openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
            }
        }
        guard opened >= 0 else { throw .system("open directory") }
        return File(owning: Int32(opened))
    }

    /// Nil when there is no such name.
    static func openDirectoryIfPresent(
        _ path: PathOctets, in parent: Int32
    ) throws(StoreError) -> File? {
        let opened = retrying {
            unsafe path.withPath { path in
                Int(unsafe openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
            }
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw .system("open directory") }
        return File(owning: Int32(opened))
    }

    /// A regular file, read only; nil when there is no such name.
    static func openFile(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File? {
        // O_NONBLOCK: opening a planted FIFO must not wait for a writer.
        let flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let opened = retrying {
            unsafe name.withPath { name in Int(unsafe openat(parent, name, flags)) }
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw .system("open file") }
        let file = File(owning: Int32(opened))
        guard try status(file.descriptor).isRegular else { throw .file("open file", errno: EINVAL) }
        return file
    }

    /// A regular file, read only, and its octets; nil when there is no such name.
    static func openSized(
        _ name: PathOctets, in parent: Int32
    ) throws(StoreError) -> OpenedFile? {
        let flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let opened = retrying {
            unsafe name.withPath { name in Int(unsafe openat(parent, name, flags)) }
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw .system("open file") }
        let file = File(owning: Int32(opened))
        let status = try status(file.descriptor)
        guard status.isRegular else { throw .file("open file", errno: EINVAL) }
        return OpenedFile(file: file, octets: status.size)
    }

    /// A regular file, to be written over in place; nil when there is no such name.
    static func openForWriting(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File? {
        let flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let opened = retrying {
            unsafe name.withPath { name in Int(unsafe openat(parent, name, flags)) }
        }
        if opened < 0, errno == ENOENT { return nil }
        guard opened >= 0 else { throw .system("open file") }
        let file = File(owning: Int32(opened))
        guard try status(file.descriptor).isRegular else { throw .file("open file", errno: EINVAL) }
        return file
    }

    /// A new file that must not exist yet.
    static func createFile(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let opened = retrying {
            unsafe name.withPath { name in Int(unsafe openat(parent, name, flags, 0o600)) }
        }
        guard opened >= 0 else { throw .system("create file") }
        return File(owning: Int32(opened))
    }

    /// A file without a name; nil where the file system cannot make one.
    static func createNameless(in parent: Int32) throws(StoreError) -> File? {
        let opened = retrying {
            Int(unsafe openat(parent, ".", temporaryFile | O_RDWR | O_CLOEXEC, 0o600))
        }
        if opened < 0, errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL { return nil }
        guard opened >= 0 else { throw .system("create file") }
        return File(owning: Int32(opened))
    }

    /// Another, read-only descriptor of an open file, with its own offset.
    static func reopenReadOnly(_ descriptor: Int32) throws(StoreError) -> File {
        let opened = retrying {
            Int(unsafe open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC))
        }
        guard opened >= 0 else { throw .system("reopen file") }
        return File(owning: Int32(opened))
    }

    /// True if no descriptor that can write to this file is left anywhere. fcntl(2), leases.
    static func hasNoWriter(_ readOnly: Int32) throws(StoreError) -> Bool {
        if fcntl(readOnly, setLease, Int32(F_RDLCK)) == 0 {
            guard fcntl(readOnly, setLease, Int32(F_UNLCK)) == 0 else {
                throw .system("release lease")
            }
            return true
        }
        if errno == EAGAIN { return false }
        throw .system("take lease")
    }

    static func makeDirectory(_ name: PathOctets, in parent: Int32 = AT_FDCWD) throws(StoreError) {
        let result = unsafe name.withPath { name in unsafe mkdirat(parent, name, 0o700) }
        if result != 0, errno != EEXIST { throw .system("make directory") }
    }

    static func status(_ descriptor: Int32) throws(StoreError) -> FileStatus {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("stat") }
        return FileStatus(status)
    }

    /// Of a name, not of what a symbolic link points at; nil when there is none.
    static func status(_ name: PathOctets, in parent: Int32) throws(StoreError) -> FileStatus? {
        var status = stat()
        let result = unsafe name.withPath { name in
            unsafe fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW)
        }
        if result == 0 {
            return FileStatus(status)
        }
        if errno == ENOENT { return nil }
        throw .system("stat")
    }

    static func write(_ octets: [UInt8], to descriptor: Int32) throws(StoreError) {
        var offset = 0
        while offset < octets.count {
            let written = unsafe octets.withUnsafeBytes { buffer in
                retrying {
                    unsafe Glibc.write(
                        descriptor, buffer.baseAddress.map { unsafe $0 + offset },
                        buffer.count - offset)
                }
            }
            guard written > 0 else { throw .system("write") }
            offset += written
        }
    }

    /// At a place of the file; its own offset stays.
    static func write(
        _ octets: [UInt8], to descriptor: Int32, at offset: Int64
    ) throws(StoreError) {
        var done = 0
        while done < octets.count {
            let written = unsafe octets.withUnsafeBytes { buffer in
                retrying {
                    unsafe pwrite(
                        descriptor, buffer.baseAddress.map { unsafe $0 + done },
                        buffer.count - done, off_t(offset) + off_t(done))
                }
            }
            guard written > 0 else { throw .system("write") }
            done += written
        }
    }

    /// Up to `count` octets from `offset`; fewer only at the end of the file.
    static func read(
        _ descriptor: Int32, from offset: Int64, count: Int
    ) throws(StoreError) -> [UInt8] {
        var failure: StoreError?
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let start = filled
                let got = retrying {
                    unsafe pread(
                        descriptor, buffer.baseAddress.map { unsafe $0 + start }, count - start,
                        off_t(offset) + off_t(start))
                }
                if got < 0 {
                    failure = .system("read")
                    return
                }
                if got == 0 { return }
                filled += got
            }
        }
        if let failure { throw failure }
        return octets
    }

    /// fsync, once: a second try after a failure may lie. Applies to files and directories.
    static func synchronize(_ descriptor: Int32, _ what: String) throws(StoreError) {
        guard fsync(descriptor) == 0 else { throw .system("fsync \(what)") }
    }

    /// fdatasync: enough where the file's size does not change.
    static func synchronizeData(_ descriptor: Int32, _ what: String) throws(StoreError) {
        guard fdatasync(descriptor) == 0 else { throw .system("fdatasync \(what)") }
    }

    /// syncfs: everything that was written to this file system before, by anybody.
    static func synchronizeFileSystem(_ descriptor: Int32) throws(StoreError) {
        guard martlet_syncfs(descriptor) == 0 else { throw .system("syncfs") }
    }

    /// A hint: the disk may begin with this file while the caller does something else.
    /// Pages of the file that wait for no write are read from the disk again when they are needed.
    static func forgetCache(_ descriptor: Int32) {
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    }

    static func startWriting(_ descriptor: Int32) { martlet_start_writing(descriptor) }

    static func setModificationTime(
        _ descriptor: Int32, _ seconds: Int64
    ) throws(StoreError) {
        let times = [
            timespec(tv_sec: Int(seconds), tv_nsec: 0), timespec(tv_sec: Int(seconds), tv_nsec: 0),
        ]
        let result = unsafe times.withUnsafeBufferPointer { buffer in
            unsafe futimens(descriptor, buffer.baseAddress)
        }
        guard result == 0 else { throw .system("set time") }
    }

    /// Gives an open file a name. False if it cannot be linked there, and must be copied: another
    /// file system, too many links, or its last name was removed.
    static func link(_ descriptor: Int32, as name: PathOctets, in parent: Int32) throws(StoreError)
        -> Bool
    {
        // AT_EMPTY_PATH may need CAP_DAC_READ_SEARCH; /proc does not, but may not be mounted.
        let result = unsafe name.withPath { name in
            unsafe linkat(descriptor, "", parent, name, emptyPath)
        }
        if result == 0 { return true }
        if errno == EEXIST { throw .system("link") }
        if errno == ENOENT || errno == EPERM || errno == EINVAL {
            let source = "/proc/self/fd/\(descriptor)"
            let result = unsafe name.withPath { name in
                unsafe linkat(AT_FDCWD, source, parent, name, AT_SYMLINK_FOLLOW)
            }
            if result == 0 { return true }
        }
        if errno == EXDEV || errno == EMLINK || errno == ENOENT { return false }
        throw .system("link")
    }

    /// A second name for a file. False if it must be copied; nil if the source is gone.
    static func link(
        _ name: PathOctets, in directory: Int32, as target: PathOctets, in parent: Int32
    ) throws(StoreError) -> Bool? {
        let result = unsafe name.withPath { name in
            unsafe target.withPath { target in unsafe linkat(directory, name, parent, target, 0) }
        }
        if result == 0 { return true }
        if errno == EXDEV || errno == EMLINK || errno == EPERM { return false }
        if errno == ENOENT { return nil }
        throw .system("link")
    }

    /// False if there was no such name.
    static func rename(
        _ name: PathOctets, in directory: Int32, to target: PathOctets, in parent: Int32
    ) throws(StoreError) -> Bool {
        let result = unsafe name.withPath { name in
            unsafe target.withPath { target in unsafe renameat(directory, name, parent, target) }
        }
        if result == 0 { return true }
        if errno == ENOENT { return false }
        throw .system("rename")
    }

    /// False if there was no such name.
    @discardableResult
    static func unlink(_ name: PathOctets, in directory: Int32) throws(StoreError) -> Bool {
        let result = unsafe name.withPath { name in unsafe unlinkat(directory, name, 0) }
        if result == 0 { return true }
        if errno == ENOENT { return false }
        throw .system("unlink")
    }

    static func removeDirectory(_ name: PathOctets, in parent: Int32) throws(StoreError) {
        let result = unsafe name.withPath { name in unsafe unlinkat(parent, name, AT_REMOVEDIR) }
        guard result == 0 || errno == ENOENT else {
            throw .system("remove directory")
        }
    }

    /// Removes a directory and what is below it, at most `depth` levels; follows nothing.
    static func removeTree(
        _ name: PathOctets, in parent: Int32, depth: Int = 6
    ) throws(StoreError) {
        guard depth > 0 else { throw .file("remove directory", errno: ELOOP) }
        guard let directory = try openDirectoryIfPresent(name, in: parent) else { return }
        for entry in try names(in: directory.descriptor) {
            guard let status = try status(entry, in: directory.descriptor) else { continue }
            if status.isDirectory {
                try removeTree(entry, in: directory.descriptor, depth: depth - 1)
            } else {
                try unlink(entry, in: directory.descriptor)
            }
        }
        try removeDirectory(name, in: parent)
    }

    /// A lock file, made if it is missing.
    static func openLock(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File {
        let flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC
        let opened = retrying {
            unsafe name.withPath { name in Int(unsafe openat(parent, name, flags, 0o600)) }
        }
        guard opened >= 0 else { throw .system("open lock") }
        return File(owning: Int32(opened))
    }

    /// The path without symbolic links.
    static func realPath(_ path: String) throws(StoreError) -> String {
        guard let resolved = unsafe realpath(path, nil) else { throw .system("resolve path") }
        defer { unsafe free(resolved) }
        return unsafe String(cString: resolved)
    }

    /// True if this process has the lock on the file now.
    static func lock(_ descriptor: Int32) -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }

    /// Every name in a directory but `.` and `..`.
    static func names(in directory: Int32) throws(StoreError) -> [PathOctets] {
        var names: [PathOctets] = []
        try eachName(in: directory) { names.append($0) }
        return names
    }

    static func eachName(
        in directory: Int32, _ body: (PathOctets) -> Void
    ) throws(StoreError) {
        // A descriptor of its own: the position of a directory belongs to the open file.
        let opened = retrying {
            Int(unsafe openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
        }
        guard opened >= 0 else { throw .system("open directory") }
        guard let stream = unsafe fdopendir(Int32(opened)) else {
            let code = errno
            close(Int32(opened))
            throw .system("read directory", code)
        }
        defer { unsafe closedir(stream) }
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                guard errno == 0 else { throw .system("read directory") }
                return
            }
            var length = 0
            let start = unsafe martlet_entry_name(entry, &length)
            let name = unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: length))
            if name != [0x2E], name != [0x2E, 0x2E] { body(name) }
        }
    }

    /// Less than a twentieth of the file system, or 256 MiB, is left.
    static func isNearlyFull(_ descriptor: Int32) throws(StoreError) -> Bool {
        var status = statvfs()
        guard unsafe fstatvfs(descriptor, &status) == 0 else { throw .system("statvfs") }
        let block = UInt64(status.f_frsize)
        let free = UInt64(status.f_bavail).multipliedReportingOverflow(by: block).partialValue
        let all = UInt64(status.f_blocks).multipliedReportingOverflow(by: block).partialValue
        return free < min(all / 20, 256 << 20)
    }

    /// Whether so many octets and files can be written; false if nobody can say.
    static func hasRoom(_ descriptor: Int32, octets: UInt64, files: UInt64) -> Bool {
        var status = statvfs()
        guard unsafe fstatvfs(descriptor, &status) == 0 else { return false }
        let free = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        // A file system without a fixed number of files says 0
        let hasFiles = status.f_files == 0 || UInt64(status.f_favail) >= files
        return hasFiles && (free.overflow || free.partialValue >= octets)
    }

    /// Wall clock: seconds and microseconds since 1970.
    static func now() -> (seconds: Int64, microseconds: Int64) {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec), Int64(time.tv_nsec) / 1_000)
    }

    /// A clock that never goes back, to measure with.
    static func milliseconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    static var processID: Int32 { getpid() }
}
