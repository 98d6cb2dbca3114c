// SPDX-License-Identifier: Apache-2.0
//
// The delivery log on a disk that fails: a sync that failed is never believed in, what was refused
// does not come back, and what the kernel may have dropped is written again. docs/store.md, "The
// delivery log".

import Bytes
import Glibc
import Mail
import Synchronization
import Testing

@testable import Store

/// Errors that the log's steps meet, one for each time they are asked for.
final class LogFaults: Sendable {
    private let left = Mutex<[LogStep: Int]>([:])

    func fail(_ step: LogStep, times: Int) { left.withLock { $0[step] = times } }

    func error(_ step: LogStep) -> StoreError? {
        left.withLock { left in
            guard let count = left[step], count > 0 else { return nil }
            left[step] = count - 1
            return .file("injected", errno: EIO)
        }
    }

    var settings: DeliveryLogSettings {
        var settings = DeliveryLogSettings(size: 16 << 20)
        settings.rest = .zero
        settings.fault = { [self] in error($0) }
        return settings
    }
}

@Suite("the delivery log on a disk that fails")
struct LogFaultTests {
    private let faults = LogFaults()

    private func sandbox() throws -> Sandbox {
        let box = try Sandbox(log: faults.settings)
        try box.root.rollBackDeliveries()
        return box
    }

    private func entry(_ text: String, _ box: Sandbox) -> LogEntry {
        LogEntry(
            targets: [
                LogEntry.Target(
                    address: Sandbox.alice, unique: box.root.makeUniqueName(), mailbox: inbox)
            ], date: 1_700_000_000, octets: message(text))
    }

    /// Everything that a start does; then the account's messages.
    private func subjects(afterRestartOf box: Sandbox) throws -> [String] {
        let found = try Sandbox(logged: try box.copied())
        return try found.account().subjects().values.sorted()
    }

    @Test func `a record whose sync failed is refused, and does not come at the next start`() throws
    {
        let box = try sandbox()
        try box.account().close()
        _ = try box.record("before")
        faults.fail(.record, times: 1)
        // Its octets are in the segment all the same.
        guard case .failed = box.root.log.write(entry("refused", box)) else {
            Issue.record("not refused")
            return
        }
        #expect(box.notices.has(.logFailed))
        #expect(try subjects(afterRestartOf: box) == ["before"])
        _ = try box.record("after")
        #expect(try subjects(afterRestartOf: box) == ["after", "before"])
        let segments = names(box.path + "/mail/.log")
        #expect(segments.count == 2, "the failed segment is not written to: \(segments)")
    }

    @Test func `what cannot be disowned at once is disowned as soon as something can be written`()
        throws
    {
        let box = try sandbox()
        try box.account().close()
        _ = try box.record("before")
        faults.fail(.record, times: 1)
        faults.fail(.segment, times: 1)
        guard case .failed = box.root.log.write(entry("refused", box)) else {
            Issue.record("not refused")
            return
        }
        // Until then the other path is taken.
        guard case .unavailable = box.root.log.write(entry("early", box)) else {
            Issue.record("taken")
            return
        }
        #expect(try subjects(afterRestartOf: box) == ["before", "refused"])
        var isDisowned = false
        for _ in 0..<60 where !isDisowned {
            usleep(100_000)
            isDisowned = try subjects(afterRestartOf: box) == ["before"]
        }
        #expect(isDisowned)
        _ = try box.record("after")
        #expect(try subjects(afterRestartOf: box) == ["after", "before"])
    }

    @Test(arguments: [false, true])
    func `after a sync of the file system failed nothing is forgotten until all is written again`(
        _ noticesByCopy: Bool
    ) throws {
        let box = try sandbox()
        let account = try box.account()
        for text in ["one", "two", "three"] { try box.deliver(text, account) }
        let id = try account.snapshot(inbox).id
        faults.fail(.fileSystem, times: 1)
        if noticesByCopy {
            #expect(throws: StoreError.file("injected", errno: EIO)) {
                _ = try account.copy(id, uids: [UIDRange(1, 1)], to: name("Archive"), move: false)
            }
        } else {
            #expect(throws: StoreError.file("injected", errno: EIO)) {
                try box.root.log.checkpoint()
            }
        }
        // The kernel tells of it once; the log does not forget it.
        let low = box.root.log.lowWater
        #expect(throws: StoreError.self) { try box.root.log.checkpoint() }
        #expect(throws: StoreError.self) {
            _ = try account.copy(id, uids: [UIDRange(1, 1)], to: name("Archive"), move: false)
        }
        #expect(throws: StoreError.self) { try box.root.removeAccount(Sandbox.alice) }
        guard case .unavailable = box.root.log.write(entry("refused", box)) else {
            Issue.record("a broken log takes messages")
            return
        }
        #expect(box.root.log.lowWater == low)
        // What the kernel dropped: the octets of one message.
        let file = "\(box.home())/Maildir/cur/\(try #require(box.files().first))"
        let octets = try #require(readFile(file))
        writeFile(file, [UInt8](repeating: 0, count: octets.count))

        let mending = try #require(box.root.beginMending())
        for segment in mending.segments {
            let items = try #require(box.root.items(of: segment))
            #expect(Array(items.keys) == [Sandbox.alice])
            try account.writeAgain(items[Sandbox.alice] ?? [])
        }
        #expect(box.root.log.lowWater == low)
        box.root.finishMending(mending)
        #expect(box.notices.has(.logMended))
        #expect(box.root.log.lowWater > low)
        #expect(readFile(file) == octets)
        #expect(try account.subjects().count == 3)
        _ = try account.copy(id, uids: [UIDRange(1, 1)], to: name("Archive"), move: false)
        try box.deliver("four", account)
        try box.root.log.checkpoint()
        #expect(try subjects(afterRestartOf: box) == ["four", "one", "three", "two"])
    }

    @Test func `a mending that fails leaves the log as it was`() throws {
        let box = try sandbox()
        let account = try box.account()
        try box.deliver("one", account)
        faults.fail(.fileSystem, times: 2)
        #expect(throws: StoreError.self) { try box.root.log.checkpoint() }
        let low = box.root.log.lowWater
        box.root.finishMending(try #require(box.root.beginMending()))
        #expect(box.root.log.isBroken && box.root.log.lowWater == low)
        #expect(try subjects(afterRestartOf: box) == ["one"])
        box.root.finishMending(try #require(box.root.beginMending()))
        #expect(!box.root.log.isBroken && box.root.log.lowWater > low)
        try box.deliver("two", account)
    }
}
