// SPDX-License-Identifier: Apache-2.0
//
// Who watches which mailbox, and how a change on one thread reaches connections on the loops.

import Mail
import Store
import Synchronization
import Wire

/// One session that has a mailbox open.
struct Watcher: Hashable, Sendable {
    let inbox: LoopInbox
    let connection: UInt64
    let session: SessionHandle

    static func == (left: Watcher, right: Watcher) -> Bool {
        left.connection == right.connection && left.session == right.session
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(connection)
        hasher.combine(session)
    }
}

/// All open mailboxes of all connections of this process.
final class WatchRegistry: ChangeListener {
    private struct Key: Hashable {
        var account: EmailAddress
        var mailbox: MailboxID
    }

    private let watchers = Mutex<[Key: Set<Watcher>]>([:])
    /// Open mailboxes by account.
    private let watched = Mutex<[EmailAddress: Int]>([:])

    /// An open mailbox and the kernel's watches on it; nil: it has none.
    private struct Directories {
        var account: AccountRef
        var watches: [Int32]?
    }

    /// Nil where there is no inotify.
    let maildirs = MaildirWatch()
    private let directories = Mutex<[Key: Directories]>([:])

    func add(_ watcher: Watcher, _ account: EmailAddress, _ mailbox: MailboxID) {
        watchers.withLock { watchers in
            let key = Key(account: account, mailbox: mailbox)
            if watchers[key] == nil { watched.withLock { $0[account, default: 0] += 1 } }
            watchers[key, default: []].insert(watcher)
        }
    }

    /// Whether a session of the account has a mailbox open.
    func isWatched(_ account: EmailAddress) -> Bool { watched.withLock { $0[account] != nil } }

    func remove(_ watcher: Watcher, _ account: EmailAddress, _ mailbox: MailboxID) {
        let key = Key(account: account, mailbox: mailbox)
        let isLast = watchers.withLock { watchers in
            watchers[key]?.remove(watcher)
            guard watchers[key]?.isEmpty == true else { return false }
            watchers[key] = nil
            watched.withLock { watched in
                let others = (watched[account] ?? 1) - 1
                watched[account] = others > 0 ? others : nil
            }
            return true
        }
        guard isLast else { return }
        directories.withLock { directories in
            // Opened again meanwhile: it stays watched.
            guard watchers.withLock({ $0[key] == nil }) else { return }
            if let watches = directories.removeValue(forKey: key)?.watches {
                maildirs?.remove(watches)
            }
        }
    }

    /// Has the kernel watch the mailbox's directories, from the first session on. On the account's
    /// lane, behind `add`.
    ///
    /// - Returns: true if it did not before.
    func watch(_ account: AccountRef, _ mailbox: MailboxID, path: String?) -> Bool {
        let key = Key(account: account.address, mailbox: mailbox)
        return directories.withLock { directories in
            if directories[key]?.account == account { return false }
            // Closed again meanwhile: whoever removes the last watcher has been here, or is next.
            guard watchers.withLock({ $0[key] != nil }) else { return false }
            if let watches = directories[key]?.watches { maildirs?.remove(watches) }
            directories[key] = Directories(
                account: account,
                watches: path.flatMap { maildirs?.add(account, mailbox, path: $0) })
            return true
        }
    }

    /// Open mailboxes that the kernel does not watch.
    var unwatched: [(account: AccountRef, mailbox: MailboxID)] {
        directories.withLock { directories in
            directories.compactMap {
                $0.value.watches == nil ? ($0.value.account, $0.key.mailbox) : nil
            }
        }
    }

    func mailboxChanged(_ account: EmailAddress, _ change: MailboxChange) {
        tell(account, change.mailbox, change.highestModSeq)
    }

    private func tell(_ account: EmailAddress, _ mailbox: MailboxID, _ highestModSeq: UInt64) {
        let told = watchers.withLock { watchers in
            let ofThis = watchers[Key(account: account, mailbox: mailbox)] ?? []
            guard let ofAll = watchers[Key(account: account, mailbox: .all)] else { return ofThis }
            return ofAll.union(ofThis)
        }
        for watcher in told {
            watcher.inbox.put(
                Notice(
                    connection: watcher.connection, session: watcher.session, mailbox: mailbox),
                highestModSeq)
        }
    }

    /// A mailbox was made, renamed or deleted, or a subscription changed.
    func mailboxListChanged(_ account: EmailAddress) { tell(account, .all, 0) }

    /// Everybody who has anything of this account open: it is gone.
    func accountGone(_ account: EmailAddress) {
        let told = watchers.withLock { $0.filter { $0.key.account == account } }
        for (key, watchers) in told {
            for watcher in watchers {
                watcher.inbox.put(
                    Notice(
                        connection: watcher.connection, session: watcher.session,
                        mailbox: key.mailbox), .max)
            }
        }
    }

    var count: Int { watchers.withLock { $0.count } }
}

/// An event for one session. Several for the same mailbox become one.
struct Notice: Hashable, Sendable {
    var connection: UInt64
    var session: SessionHandle
    var mailbox: MailboxID
}

/// Events on their way to one loop. Put from any thread, taken on the loop.
final class LoopInbox: Sendable {
    private struct State {
        var notices: [Notice: UInt64] = [:]
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func put(_ notice: Notice, _ highestModSeq: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.notices[notice] = max(highestModSeq, state.notices[notice] ?? 0)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Waits for at least one. One task only.
    func take() async -> [Notice: UInt64] {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                if state.notices.isEmpty {
                    state.waiter = continuation
                    return false
                }
                return true
            }
            if isReady { continuation.resume() }
        }
        return state.withLock { state in
            defer { state.notices = [:] }
            return state.notices
        }
    }
}

// MARK: - Whole accounts (NOTIFY)

extension MailboxID {
    /// No mailbox has this number. As the one that is watched: all; as the one that has changed:
    /// the list of them.
    static let all = MailboxID(rawValue: 0)
}

extension DoorConnection {
    /// Every change of the account becomes an event, until `close` of `.all`.
    func watchAccount(_ session: Session) throws(StoreFailure) {
        guard session.open[.all] == nil else { return }
        session.open[.all] = .readOnly
        core.watchers.add(watcher(session), session.account.address, .all)
    }
}

extension Request {
    /// LIST or LSUB may have another answer after it.
    var changesMailboxList: Bool {
        switch self {
        case .create, .createAs, .delete, .rename, .subscribe: true
        default: false
        }
    }
}
