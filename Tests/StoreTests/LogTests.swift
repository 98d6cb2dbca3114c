// SPDX-License-Identifier: Apache-2.0
//
// The delivery log: its records, its states L1 to L4, and what a power cut takes from everything
// that is not synced. docs/store.md, "The delivery log".

import Bytes
import Glibc
import Mail
import Synchronization
import Testing

@testable import Store

extension Sandbox {
    /// Begins the log, as a start does.
    convenience init(logged path: String?, size: Int = 16 << 20) throws {
        try self.init(path: path, log: DeliveryLogSettings(size: size))
        try root.rollBackDeliveries()
    }

    /// Makes a message durable in the log, no more.
    func record(
        _ text: String, to addresses: [EmailAddress] = [alice], mailbox: MailboxName = inbox,
        octets: Int = 0
    ) throws -> (LogPosition, LogEntry) {
        let entry = LogEntry(
            targets: addresses.map {
                LogEntry.Target(address: $0, unique: root.makeUniqueName(), mailbox: mailbox)
            },
            date: 1_700_000_000, octets: message(text, octets: octets))
        guard case .written(let position) = root.log.write(entry) else {
            throw StoreError.file("no log", errno: 0)
        }
        return (position, entry)
    }

    /// Stores what the log has, for one of its targets.
    @discardableResult
    func carryOut(
        _ position: LogPosition, _ entry: LogEntry, _ account: AccountStore
    ) throws -> AppendedMessage {
        let target = try #require(entry.targets.first { $0.address == account.address })
        return try account.append(
            PendingAppend(
                mailbox: target.mailbox, date: entry.date, source: .octets(entry.octets),
                unique: target.unique, position: position))
    }

    @discardableResult
    func deliver(_ text: String, _ account: AccountStore, octets: Int = 0) throws -> UInt32 {
        let (position, entry) = try record(text, to: [account.address], octets: octets)
        let uid = try carryOut(position, entry, account).uid
        root.log.resolve(position)
        return uid
    }

    /// The disk now, as another process would find it.
    func copied() throws -> String {
        let path = Self.temporary()
        #expect(run("/bin/cp", "-a", self.path + "/mail", path + "/mail") == 0)
        return path
    }
}

/// What a power cut can leave of a delivery that only the log has made durable.
enum Loss: CaseIterable {
    case nothing, everything, octets, names, rows, rowsAndOctets
}

/// The disk before and behind deliveries, and mixtures of both.
struct PowerCut {
    let before: String
    let after: String

    /// A disk on which the log is as it was at the end and the rest as `loss` says.
    func disk(_ loss: Loss) throws -> String {
        let path = Sandbox.temporary()
        let keepsTree = loss != .everything
        let source = keepsTree ? after : before
        #expect(run("/bin/cp", "-a", source + "/mail", path + "/mail") == 0)
        #expect(run("/bin/rm", "-rf", path + "/mail/.log") == 0)
        #expect(run("/bin/cp", "-a", after + "/mail/.log", path + "/mail/.log") == 0)
        let home = "/mail/example.net/alice"
        let current = home + "/Maildir/cur"
        let old = Set(names(before + current))
        for name in names(path + current) where !old.contains(name) {
            switch loss {
            case .octets, .rowsAndOctets: writeFile("\(path)\(current)/\(name)", [])
            case .names: unlink("\(path)\(current)/\(name)")
            default: break
            }
        }
        if loss == .rows || loss == .rowsAndOctets {
            for name in names(path + home) where name.hasPrefix("index.sqlite") {
                unlink("\(path)\(home)/\(name)")
            }
            for name in names(before + home) where name.hasPrefix("index.sqlite") {
                #expect(
                    run("/bin/cp", "-a", "\(before)\(home)/\(name)", "\(path)\(home)/\(name)")
                        == 0)
            }
        }
        return path
    }
}

@Suite("the delivery log")
struct LogTests {
    @Test func `CRC-32C has the well-known values`() {
        #expect(Checksum.crc32c([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)
        #expect(Checksum.crc32c([UInt8](repeating: 0xFF, count: 32)[...]) == 0x62A8_AB43)
        #expect(Checksum.crc32c([UInt8](0..<32)[...]) == 0x46DD_794E)
        #expect(Checksum.crc32c(Array("123456789".utf8)[...]) == 0xE306_9283)
    }

    @Test func `records are read as they were written, and not at all if an octet is wrong`() throws
    {
        let box = try Sandbox()
        let entry = LogEntry(
            targets: [Sandbox.alice, Sandbox.bob].map {
                LogEntry.Target(
                    address: $0, unique: box.root.makeUniqueName(), mailbox: name("A/B"))
            },
            flags: NamedFlags(system: [.seen, .draft], keywords: [octets("$Junk")]),
            date: -5, octets: message("m"))
        for record in [
            LogRecord.message(entry), .abort(LogPosition(rawValue: 7)), .mark,
            .removal(Sandbox.bob),
        ] {
            var buffer: [UInt8] = [1, 2, 3]
            record.write(to: &buffer, at: 9, lowWater: 4)
            #expect(buffer.count - 3 <= record.octetLimit)
            let header = try #require(LogRecord.header(in: buffer, at: 3))
            #expect(header.position == 9 && header.lowWater == 4)
            #expect(header.count == buffer.count - 3)
            #expect(LogRecord.read(header, from: buffer, at: 3) == record)
            for index in 3..<buffer.count {
                var broken = buffer
                broken[index] ^= 0x10
                #expect(LogRecord.header(in: broken, at: 3) == nil, "octet \(index)")
                #expect(LogRecord.header(in: Array(buffer[..<index]), at: 3) == nil)
            }
        }
    }

    @Test func `a message that is only in the log is stored at the start, once`() throws {
        let box = try Sandbox(logged: nil)
        try box.account().close()
        for text in ["one", "two"] { _ = try box.record(text) }
        let again = try Sandbox(logged: try box.copied())
        let account = try again.account()
        #expect(Set(try account.subjects().values) == ["one", "two"])
        #expect(try account.snapshot(inbox).entries[0].internalDate == 1_700_000_000)
        #expect(again.notices.has(.deliveryRedone))
        try account.close()
        let third = try Sandbox(logged: try again.copied())
        #expect(try third.account().subjects().count == 2)
    }

    @Test func `a crash at every state of a logged delivery`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        try account.add("old", .flagged)
        let (position, entry) = try box.record("new")
        var disks = [(DurableState.recordDurable, try box.copied())]
        account.observer = { state in
            disks.append((state, (try? box.copied()) ?? ""))
        }
        let uid = try box.carryOut(position, entry, account).uid
        box.root.log.resolve(position)
        try box.root.log.checkpoint()
        disks.append((.mailSynced, try box.copied()))
        #expect(disks.map(\.0) == [.recordDurable, .fileNamed, .rowWritten, .mailSynced])
        for (state, path) in disks {
            for keepsIndex in [true, false] {
                let copy = Sandbox.temporary()
                #expect(run("/bin/cp", "-a", path + "/mail", copy + "/mail") == 0)
                let found = try Sandbox(path: copy)
                if !keepsIndex { found.removeIndex() }
                try found.root.rollBackDeliveries()
                let account = try found.account()
                let subjects = try account.subjects()
                #expect(subjects.values.sorted() == ["new", "old"], "\(state)")
                #expect(subjects[1] == "old")
                if state != .recordDurable { #expect(subjects[uid] == "new", "\(state)") }
                let next = try account.add("next").uid
                #expect(next > uid && !subjects.keys.contains(next))
            }
            run("/bin/rm", "-rf", path)
        }
    }

    @Test(arguments: Loss.allCases)
    func `a power cut that takes what was not synced`(_ loss: Loss) throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        try account.add("old", .flagged)
        let before = try box.copied()
        var seen: [UInt32: String] = [1: "old"]
        for text in ["a", "b", "c"] { seen[try box.deliver(text, account)] = text }
        let modSeq = try account.snapshot(inbox).highestModSeq
        let cut = PowerCut(before: before, after: try box.copied())
        let found = try Sandbox(logged: try cut.disk(loss))
        let again = try found.account()
        let subjects = try again.subjects()
        #expect(subjects.values.sorted() == ["a", "b", "c", "old"])
        #expect(try again.snapshot(inbox).entries[0].flags == .flagged)
        for (uid, subject) in subjects {
            #expect(seen[uid] == nil || seen[uid] == subject, "\(uid) is another message now")
        }
        if loss != .everything && loss != .names { #expect(subjects == seen) }
        #expect(again.isSound())
        let next = try again.add("next")
        #expect(seen[next.uid] == nil && next.uid > 4)
        #expect(try again.snapshot(inbox).highestModSeq > modSeq)
        // And once more: what was redone is not redone again.
        try again.close()
        let third = try Sandbox(logged: try found.copied())
        #expect(try third.account().subjects().count == 5)
        run("/bin/rm", "-rf", before, cut.after)
    }

    @Test func `all recipients or none, wherever it ends`() throws {
        let addresses = [Sandbox.alice, Sandbox.bob]
        for isAborted in [false, true] {
            for stored in 0...2 {
                let box = try Sandbox(logged: nil)
                for address in addresses { try box.account(address).close() }
                let (position, entry) = try box.record("many", to: addresses)
                for address in addresses.prefix(stored) {
                    let account = try box.account(address)
                    try box.carryOut(position, entry, account)
                    account.abandon()
                }
                if isAborted {
                    guard case .written = box.root.log.abort(position) else {
                        Issue.record("not aborted")
                        continue
                    }
                }
                let found = try Sandbox(logged: try box.copied())
                for address in addresses {
                    let subjects = try found.account(address).subjects().values.sorted()
                    #expect(subjects == (isAborted ? [] : ["many"]), "\(stored) \(address.text)")
                }
            }
        }
    }

    @Test func `what a user did since is not undone`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        for text in ["kept", "expunged", "moved", "flagged"] { try box.deliver(text, account) }
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(2, 2)], force: true)
        _ = try account.copy(id, uids: [UIDRange(3, 3)], to: name("Archive"), move: true)
        _ = try account.store(id, 4, .add, .seen)
        try account.flushNames(limit: 10)
        let found = try Sandbox(logged: try box.copied())
        let again = try found.account()
        #expect(try again.subjects() == [1: "kept", 4: "flagged"])
        #expect(try again.subjects(name("Archive")) == [1: "moved"])
        #expect(try again.snapshot(inbox).entries[1].flags == .seen)
        #expect(!found.notices.has(.deliveryRedone))
    }

    @Test func `mail of a removed account does not come to another of its name`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        try box.deliver("old owner's", account)
        try account.close()
        try box.root.removeAccount(Sandbox.alice)
        try box.account().close()
        let found = try Sandbox(logged: try box.copied())
        #expect(try found.account().subjects().isEmpty)
    }

    @Test func `behind a checkpoint nothing is redone, not even without an index`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        for text in ["one", "two"] { try box.deliver(text, account) }
        _ = try account.expunge(
            try account.snapshot(inbox).id, uids: [UIDRange(1, 1)], force: true)
        try account.close()
        box.root.log.close(checkpointing: true)
        let found = try Sandbox(path: try box.copied())
        found.removeIndex()
        try found.root.rollBackDeliveries()
        let left = try found.account().subjects()
        #expect(left == [2: "two"])
    }

    @Test func `a full log waits for its checkpoint, and wraps around`() throws {
        let box = try Sandbox(logged: nil, size: 4 << 20)
        let account = try box.account()
        for number in 0..<40 { try box.deliver("m\(number)", account, octets: 300_000) }
        #expect(names(box.path + "/mail/.log") == ["segment-0", "segment-1"])
        let found = try Sandbox(logged: try box.copied(), size: 4 << 20)
        let again = try found.account()
        #expect(try again.subjects().count == 40)
        try found.deliver("more", again)
        #expect(try again.subjects().count == 41)
    }

    @Test func `a torn record ends the log, what stands before it counts`() throws {
        let box = try Sandbox(logged: nil)
        try box.account().close()
        for text in ["one", "two", "torn"] { _ = try box.record(text) }
        let disk = try box.copied()
        let segment = disk + "/mail/.log/segment-0"
        var octets = try #require(readFile(segment))
        let last = try #require(octets.lastIndex { $0 != 0 })
        octets[last] ^= 1
        writeFile(segment, octets)
        let found = try Sandbox(logged: disk)
        #expect(try found.account().subjects().values.sorted() == ["one", "two"])
        // The log goes on, and later records are not hidden by the torn one.
        _ = try found.record("three")
        let third = try Sandbox(logged: try found.copied())
        #expect(try third.account().subjects().values.sorted() == ["one", "three", "two"])
    }

    @Test func `segments of another log and half made ones are left aside`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        try box.deliver("one", account)
        account.abandon()
        let disk = try box.copied()
        writeFile(disk + "/mail/.log/making-3", [1, 2, 3])
        writeFile(disk + "/mail/.log/segment-7", [UInt8](repeating: 0x4D, count: 100_000))
        writeFile(disk + "/mail/.log/segment-x", [1])
        let found = try Sandbox(logged: disk)
        let again = try found.account()
        #expect(try again.subjects() == [1: "one"])
        try found.deliver("two", again)
        #expect(try again.subjects().count == 2)
        #expect(!names(disk + "/mail/.log").contains("making-3"))
    }

    @Test func `a lost log is a new log`() throws {
        let box = try Sandbox(logged: nil)
        let account = try box.account()
        for number in 0..<5 { try box.deliver("m\(number)", account) }
        try account.close()
        let disk = try box.copied()
        #expect(run("/bin/rm", "-rf", disk + "/mail/.log") == 0)
        let found = try Sandbox(logged: disk)
        // Positions begin again; the account must not take them for old ones.
        _ = try found.record("after")
        let third = try Sandbox(logged: try found.copied())
        #expect(try third.account().subjects().values.contains("after"))
    }

    @Test func `without a log the caller is told`() throws {
        let box = try Sandbox(logged: nil, size: 0)
        #expect(throws: StoreError.file("no log", errno: 0)) { try box.record("m") }
        #expect(names(box.path + "/mail/.log").isEmpty)
    }

    @Test func `concurrent records share syncs and all are there`() throws {
        let box = try Sandbox(logged: nil)
        try box.account().close()
        let log = box.root.log
        let left = Mutex(500)
        for number in 0..<500 {
            let entry = LogEntry(
                targets: [
                    LogEntry.Target(
                        address: Sandbox.alice, unique: box.root.makeUniqueName(), mailbox: inbox)
                ], date: 1, octets: message("m\(number)"))
            log.submit(entry) { _ in left.withLock { $0 -= 1 } }
        }
        while left.withLock({ $0 }) > 0 { usleep(1_000) }
        let found = try Sandbox(logged: try box.copied())
        #expect(Set(try found.account().subjects().values).count == 500)
    }
}

extension AccountStore {
    /// Every row has a file of its size.
    fileprivate func isSound() -> Bool {
        guard let snapshot = try? snapshot(inbox) else { return false }
        return snapshot.entries.allSatisfy { entry in
            let octets = try? octets(snapshot.id, entry.uid)
            return octets?.count == Int(entry.size)
        }
    }
}
