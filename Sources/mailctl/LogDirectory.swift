// SPDX-License-Identifier: Apache-2.0
//
// The files of [server] log_dir: DAEMON.log.1, which is older, and DAEMON.log, of every daemon,
// merged by time; and what is appended to them from now on.

import CLinux
import Glibc

struct LogDirectory {
    private static let pause: useconds_t = 200_000

    private let path: String
    private let query: LogQuery

    init(_ path: String, _ query: LogQuery) {
        self.path = path
        self.query = query
    }

    /// One daemon's file, of which lines are read until there are none (for now).
    private final class File {
        private let path: String
        private var reader: LineReader?
        private var inode: ino_t = 0
        /// The next event that nobody has taken.
        var waiting: LogEvent?

        init(_ path: String) { self.path = path }

        func open() -> Bool {
            let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return false }
            var status = stat()
            if unsafe fstat(descriptor, &status) == 0 { inode = status.st_ino }
            reader = LineReader(descriptor)
            return true
        }

        func advance(_ query: LogQuery) {
            waiting = nil
            while let line = reader?.next() {
                guard let event = LogEvent(fileLine: line), query.takes(event) else { continue }
                waiting = event
                return
            }
        }

        /// The daemon began a new file, or the first one came: goes on there.
        func turn() {
            var status = stat()
            guard unsafe stat(path, &status) == 0, status.st_ino != inode else { return }
            _ = open()
        }
    }

    func read(_ body: (LogEvent) -> Bool) throws(Failure) {
        var current: [File] = []
        var found = 0
        for daemon in query.daemons {
            let older = File("\(path)/\(daemon).log.1")
            if older.open() {
                older.advance(query)
                current.append(older)
            }
            let file = File("\(path)/\(daemon).log")
            if file.open() { found += 1 }
            current.append(file)
            file.advance(query)
        }
        guard found > 0 || query.follows else {
            throw Failure(
                .noInput, "no log of a daemon in \(path)",
                hints: ["is log_dir in [server] set, and have the daemons been restarted?"])
        }
        guard drain(current, body) else { return }
        while query.follows {
            usleep(Self.pause)
            for file in current where file.waiting == nil { file.advance(query) }
            guard drain(current, body) else { return }
            for file in current { file.turn() }
        }
    }

    /// Hands out what there is, oldest first. False: `body` has had enough.
    private func drain(_ files: [File], _ body: (LogEvent) -> Bool) -> Bool {
        while true {
            var oldest: File?
            for file in files {
                guard let event = file.waiting else { continue }
                if let before = oldest?.waiting, before.milliseconds <= event.milliseconds {
                    continue
                }
                oldest = file
            }
            guard let oldest, let event = oldest.waiting else { return true }
            oldest.advance(query)
            guard body(event) else { return false }
        }
    }
}
