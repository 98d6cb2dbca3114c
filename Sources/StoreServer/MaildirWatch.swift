// SPDX-License-Identifier: Apache-2.0
//
// What other programs do to the folders that sessions have open: inotify(7) on cur/ and new/. A
// thread of its own reads the events and passes them on in bundles; the account's lane looks what
// they mean. docs/store.md, "Other programs".

import CLinux
import Glibc
import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// What was seen in one open folder.
struct SeenFolder: Sendable {
    var account: AccountRef
    var mailbox: MailboxID
    var changes: FolderEvents
}

/// The kernel's watches. Usable from any thread.
final class MaildirWatch: Sendable {
    /// Folders; each takes two of the kernel's watches (fs.inotify.max_user_watches).
    private static let folderLimit = 8_192
    private static let bufferOctets = 64 << 10
    /// Events that come this close together are looked at together.
    private static let pause: Int32 = 20
    private static let pauses = 5

    private struct Place {
        var account: AccountRef
        var mailbox: MailboxID
        var isNew: Bool
    }

    private struct State {
        var places: [Int32: Place] = [:]
        var seen: [Key: SeenFolder] = [:]
        var waiter: CheckedContinuation<Void, Never>?
        var hasWarned = false
    }

    private struct Key: Hashable {
        var account: EmailAddress
        var mailbox: MailboxID
    }

    private let descriptor: Int32
    private let state = Mutex(State())

    /// Nil if the kernel gives none: folders are then looked at every few seconds.
    init?() {
        descriptor = martlet_inotify_open()
        guard descriptor >= 0 else {
            Log.warn("no inotify", [LogField("reason", "errno \(errno)")])
            return nil
        }
        let watch = self
        Thread.start(name: "maildir-watch") { watch.read() }
    }

    /// Watches a folder's cur/ and new/.
    ///
    /// - Returns: the watches, or nil if the kernel has no more of them.
    func add(_ account: AccountRef, _ mailbox: MailboxID, path: String) -> [Int32]? {
        state.withLock { state in
            guard state.places.count < Self.folderLimit * 2 else { return nil }
            var watches: [Int32] = []
            for (name, isNew) in [("cur", false), ("new", true)] {
                let watch = unsafe martlet_inotify_watch(descriptor, "\(path)/\(name)")
                guard watch >= 0 else {
                    let code = errno
                    for watch in watches { drop(watch, &state) }
                    if !state.hasWarned {
                        state.hasWarned = true
                        Log.warn(
                            "folder not watched, looked at every few seconds",
                            [LogField("reason", "inotify: errno \(code)")])
                    }
                    return nil
                }
                watches.append(watch)
                state.places[watch] = Place(account: account, mailbox: mailbox, isNew: isNew)
            }
            return watches
        }
    }

    func remove(_ watches: [Int32]) {
        state.withLock { state in
            for watch in watches { drop(watch, &state) }
        }
    }

    private func drop(_ watch: Int32, _ state: inout State) {
        state.places[watch] = nil
        _ = martlet_inotify_forget(descriptor, watch)  // fails if the directory is gone
    }

    /// Waits until something was seen. One task only.
    func take() async -> [SeenFolder] {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                if state.seen.isEmpty {
                    state.waiter = continuation
                    return false
                }
                return true
            }
            if isReady { continuation.resume() }
        }
        return state.withLock { state in
            defer { state.seen = [:] }
            return Array(state.seen.values)
        }
    }

    // MARK: - On the thread

    private func read() {
        var buffer = [UInt8](repeating: 0, count: Self.bufferOctets)
        while true {
            guard read(into: &buffer) else { return }
            var left = Self.pauses
            while left > 0, martlet_wait_readable(descriptor, Self.pause) == 1 {
                guard read(into: &buffer) else { return }
                left -= 1
            }
            let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard !state.seen.isEmpty else { return nil }
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    private func read(into buffer: inout [UInt8]) -> Bool {
        let count = unsafe buffer.withUnsafeMutableBytes { buffer in
            unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        }
        if count < 0, errno == EINTR { return true }
        guard count > 0 else {
            Log.error("inotify failed", [LogField("reason", "errno \(errno)")])
            return false
        }
        // struct inotify_event: wd, mask, cookie, len (32 bits each, of the host), name.
        func number(_ at: Int) -> UInt32 {
            unsafe buffer.withUnsafeBytes {
                unsafe $0.loadUnaligned(fromByteOffset: at, as: UInt32.self)
            }
        }
        var at = 0
        while at + 16 <= count {
            let watch = Int32(bitPattern: number(at))
            let mask = number(at + 4)
            let length = Int(number(at + 12))
            guard at + 16 + length <= count else { break }
            note(watch, mask, Array(buffer[(at + 16)..<(at + 16 + length)].prefix { $0 != 0 }))
            at += 16 + length
        }
        return true
    }

    private func note(_ watch: Int32, _ mask: UInt32, _ name: [UInt8]) {
        state.withLock { state in
            if mask & martlet_in_overflow != 0 {
                Log.warn("inotify lost events, all open folders are compared")
                for place in state.places.values {
                    Self.add(.lost, place, &state)
                }
                return
            }
            guard let place = state.places[watch] else { return }
            if mask & martlet_in_self != 0 {
                Self.add(.moved, place, &state)
            } else if place.isNew {
                if mask & (martlet_in_appeared | martlet_in_closed) != 0 {
                    Self.add(.delivered, place, &state)
                }
            } else if mask & martlet_in_appeared != 0 {
                Self.add(.appeared(name), place, &state)
            } else if mask & martlet_in_gone != 0 {
                Self.add(.gone(name), place, &state)
            } else if mask & martlet_in_closed != 0 {
                Self.add(.written(name), place, &state)
            }
        }
    }

    private static func add(_ event: FolderEvent, _ place: Place, _ state: inout State) {
        let key = Key(account: place.account.address, mailbox: place.mailbox)
        state.seen[
            key,
            default: SeenFolder(
                account: place.account, mailbox: place.mailbox, changes: FolderEvents())
        ].changes.add(event)
    }
}
