// SPDX-License-Identifier: Apache-2.0
//
// SEARCH for a front daemon: the index says what it knows, the rest is read and compared here, a few
// messages at a time. No message leaves the store for it. RFC 9051 §6.4.4.

import Bytes
import Glibc
import MIME
import Mail
import Store
import Telemetry
import Transport
import Wire

/// A message to be looked through, away from its account's lane.
struct SearchFile: Sendable {
    let uid: UInt32
    let size: UInt32
    private let content: MessageContent

    init(uid: UInt32, content: MessageContent) {
        self.uid = uid
        size = content.size
        self.content = content
    }

    /// The octets; nil if they cannot be read.
    func octets() -> [UInt8]? {
        switch content {
        case .octets(let octets): return octets
        case .file(let shared, let size):
            guard let descriptor = shared.take() else { return nil }
            let file = Descriptor(descriptor)
            return Self.read(file.rawValue, count: Int(size))
        }
    }

    private static func read(_ descriptor: Int32, count: Int) -> [UInt8]? {
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let read = unsafe pread(
                    descriptor, buffer.baseAddress?.advanced(by: filled), count - filled,
                    off_t(filled))
                if read < 0, errno == EINTR { continue }
                guard read > 0 else { break }
                filled += read
            }
        }
        return octets.count == count ? octets : nil
    }
}

/// What one hop to a worker found.
private struct SearchSlice: Sendable {
    var found: [UInt32] = []
    /// How many messages were looked through.
    var done = 0
    /// False if one could not be read: an answer without it would be a wrong one.
    var isComplete = true
}

extension AccountStore {
    /// Messages by UID; those that are gone are left out. Long ones come as files.
    func searchFiles(
        _ mailbox: MailboxID, _ uids: [UInt32], _ part: Store.MessagePart
    ) throws(StoreError) -> [SearchFile] {
        var files: [SearchFile] = []
        files.reserveCapacity(uids.count)
        for uid in uids {
            if let content = try read(mailbox, uid: uid, part, inlineLimit: 64 << 10) {
                files.append(SearchFile(uid: uid, content: content))
            }
        }
        return files
    }
}

extension DoorConnection {
    /// Messages that are opened in one hop, and how long one hop may compare.
    private static let batch = 64
    private static let slice = Duration.milliseconds(20)
    /// How often an asker hears something, so that it goes on waiting.
    private static let sign = Duration.seconds(5)

    func search(
        _ mailbox: MailboxID, _ uids: [UIDRange], _ query: TextQuery, _ session: Session,
        _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        guard session.open[mailbox] != nil else { throw .staleHandle }
        let usesIndex = core.indexer.isEnabled
        let plan = try await onAccount(session) { store throws(StoreError) in
            try store.searchPlan(mailbox, uids: uids, query, usesIndex: usesIndex)
        }
        core.metrics.searches.increment()
        sendFound(plan.found, id)
        let matcher = TextMatcher(query)
        let part: Store.MessagePart = matcher.needsBody ? .whole : .header
        var next = 0
        var lastSign = context.now
        while next < plan.open.count {
            guard sessions[session.handle] != nil else { throw .staleHandle }
            let some = Array(plan.open[next..<min(next + Self.batch, plan.open.count)])
            next += some.count
            let files = try await onAccount(session) { store throws(StoreError) in
                try store.searchFiles(mailbox, some, part)
            }
            let found = try await matches(files, matcher)
            core.metrics.searchReads.increment(by: UInt64(files.count))
            if !found.isEmpty || lastSign.duration(to: context.now) > Self.sign {
                send(.found(found), id, kind: .part)
                lastSign = context.now
            }
            do {
                try await outputRoom()
            } catch {
                throw .unavailable
            }
        }
        return .done
    }

    private func matches(
        _ files: [SearchFile], _ matcher: TextMatcher
    ) async throws(StoreFailure) -> [UInt32] {
        var found: [UInt32] = []
        var start = 0
        while start < files.count {
            let from = start
            let slice = await core.run { () -> SearchSlice in
                var slice = SearchSlice()
                let begin = MonotonicInstant.now
                for file in files[from...] {
                    guard let octets = file.octets() else {
                        slice.isComplete = false
                        break
                    }
                    if matcher.matches(octets) { slice.found.append(file.uid) }
                    slice.done += 1
                    if begin.duration(to: .now) > Self.slice { break }
                }
                return slice
            }
            guard slice.isComplete else {
                Log.error("message cannot be read for a search")
                throw .unavailable
            }
            found += slice.found
            start += slice.done
        }
        return found
    }

    private func sendFound(_ uids: [UInt32], _ id: UInt32) {
        var rest = uids[...]
        while !rest.isEmpty {
            let part = rest.prefix(Reply.foundPerPart)
            rest = rest.dropFirst(part.count)
            send(.found(Array(part)), id, kind: .part)
        }
    }
}
