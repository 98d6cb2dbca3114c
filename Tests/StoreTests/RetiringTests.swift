// SPDX-License-Identifier: Apache-2.0
//
// EXPUNGE, COPY and MOVE of many messages: rows at once, files behind them, whatever happens between.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("many messages at once")
struct RetiringTests {
    private static let count = 80

    /// Eighty messages whose files are as durable as mail that has been there for a while.
    private func filled(_ box: Sandbox) throws -> AccountStore {
        let first = try box.account()
        var batch: [PendingAppend] = []
        for number in 1...Self.count {
            let system: Flags = number % 3 == 0 ? .flagged : []
            let keywords: [[UInt8]] = number % 5 == 0 ? [octets("five")] : []
            batch.append(
                PendingAppend(
                    mailbox: inbox, flags: NamedFlags(system: system, keywords: keywords),
                    date: 1_600_000_000 + Int64(number),
                    source: .octets(message("m\(number)"))))
        }
        _ = first.append(batch: batch)
        try first.close()
        return try box.account()
    }

    private func subjects(_ numbers: some Sequence<Int>) -> [String] {
        numbers.map { "m\($0)" }.sorted()
    }

    private func waiting(_ account: AccountStore) throws -> Int64 {
        try account.guarded { () throws(StoreError) in
            try account.index.database.number("SELECT count(*) FROM doomed")
        }
    }

    @Test func `expunged rows are gone at once, the files follow, and nothing else does`() throws {
        let box = try Sandbox()
        let account = try filled(box)
        let id = try account.snapshot(inbox).id
        let crashes = Crashes(box, account)
        // Every message but each tenth; flags that the names do not have yet.
        let doomed = (1...Self.count).filter { $0 % 10 != 0 }
        _ = try account.store(
            id, uids: UIDRange.ranges(of: doomed.map { UInt32($0) }), .add,
            NamedFlags(system: [.deleted, .answered]), unchangedSince: nil)
        let expunged = try account.expunge(id, uids: nil, force: false)
        #expect(expunged.uids == doomed.map { UInt32($0) })
        #expect(crashes.states == [.flagsCommitted, .expungeCommitted])
        #expect(box.files().count == Self.count)
        #expect(account.hasRetiring)
        #expect(try waiting(account) == Int64(doomed.count))
        #expect(try account.snapshot(inbox).entries.count == Self.count - doomed.count)
        let messages = try account.usage().messages
        #expect(messages == UInt64(Self.count - doomed.count))
        while account.hasRetiring { try account.retireDoomed(milliseconds: 0) }
        #expect(crashes.states.filter { $0 == .expungeUnlinked }.count > 2)
        #expect(try waiting(account) == 0)
        #expect(box.files().count == Self.count - doomed.count)
        #expect(account.takeComparisons() == 0)
        let left = subjects((1...Self.count).filter { $0 % 10 == 0 })
        try crashes.check(keepingIndex: [true]) { state, found, box in
            guard state != .flagsCommitted else { return }
            #expect(try found.subjects().values.sorted() == left)
            try found.finishRetiring()
            #expect(box.files().count == left.count)
            // What was expunged can come back as it was last.
            let paths = try found.retainedPlaces().flatMap { place in
                place.names.map { Array((place.path + [$0]).joined(separator: [0x2F])) }
            }
            #expect(paths.count == doomed.count)
            #expect(try found.undelete(paths).restored == UInt32(doomed.count))
            let back = try found.snapshot(inbox).entries.filter { $0.uid > Self.count }
            #expect(back.count == doomed.count)
            #expect(back.allSatisfy { $0.flags.contains(.answered) })
            #expect(Set(back.map(\.internalDate)).count == doomed.count)
        }
        // Without its index what was expunged may come back, nothing may be lost.
        try crashes.check(keepingIndex: [false]) { _, found, _ in
            let found = Set(try found.subjects().values)
            #expect(found.isSuperset(of: left))
        }
    }

    @Test func `a move of many loses and doubles nothing, wherever it ends`() throws {
        let box = try Sandbox()
        let account = try filled(box)
        // Other letters for the same keyword
        try account.add("other", to: name("Archive"), keywords: ["one", "two"])
        let before = try account.snapshot(inbox)
        let crashes = Crashes(box, account)
        let moved = try account.copy(
            before.id, uids: [UIDRange(1, 50), UIDRange(61, 70)], to: name("Archive"), move: true)
        let wanted: [UInt32] = Array(1...50) + Array(61...70)
        #expect(moved.source == wanted)
        #expect(moved.destination == Array(2...61))
        #expect(crashes.states == [.copyLinked, .copyCommitted])
        try account.finishRetiring()
        #expect(box.files().count == 20)
        let all = subjects(1...Self.count)
        let here = subjects(Array(51...60) + Array(71...80))
        try crashes.check(keepingIndex: [true]) { state, found, box in
            let inboxNow = try found.subjects().values.sorted()
            let archive = try found.subjects(name("Archive")).values.filter { $0 != "other" }
            #expect(archive.count == 60)
            #expect(inboxNow == (state == .copyLinked ? all : here))
            guard state != .copyLinked else { return }
            #expect((inboxNow + archive).sorted() == all)
            try found.finishRetiring()
            #expect(box.files().count == 20)
            // A moved message is not kept.
            #expect(try found.retainedPlaces().isEmpty)
            let snapshot = try found.snapshot(name("Archive"))
            for (place, entry) in snapshot.entries.dropFirst().enumerated() {
                let number = Int(moved.source[place])
                #expect(entry.internalDate == 1_600_000_000 + Int64(number))
                #expect(entry.flags.contains(.flagged) == (number % 3 == 0))
                #expect(entry.flags.contains(.keyword(2)) == (number % 5 == 0))
            }
            let keywords = ["one", "two", "five"].map { octets($0) }
            #expect(snapshot.keywords == keywords)
        }
        try crashes.check(keepingIndex: [false]) { _, found, _ in
            let everywhere = Set(try found.subjects().values).union(
                try found.subjects(name("Archive")).values)
            #expect(everywhere.isSuperset(of: all))
        }
    }

    @Test func `copies of many have what lists show, and the quota counts them`() throws {
        let box = try Sandbox()
        let account = try filled(box)
        let before = try account.snapshot(inbox)
        let octetsBefore = try account.usage().octets
        let copied = try account.copy(
            before.id, uids: [UIDRange(1, .max)], to: name("Archive"), move: false)
        #expect(copied.destination == Array(1...UInt32(Self.count)))
        #expect(try account.usage().octets == 2 * octetsBefore)
        #expect(try account.usage().messages == UInt64(2 * Self.count))
        let target = try account.snapshot(name("Archive"))
        #expect(target.entries.map(\.size) == before.entries.map(\.size))
        let all = [UIDRange(1, .max)]
        let page = try account.summaries(target.id, uids: all, .all, from: 1, limit: 1 << 20)
        let own = try account.summaries(before.id, uids: all, .all, from: 1, limit: 1 << 20)
        #expect(page.rows == own.rows)
        #expect(!account.lacksSummaries)
        #expect(try account.recount().wasWrong == false)
    }

    @Test func `another program's rename meanwhile loses nothing and brings nothing back`() throws {
        let box = try Sandbox()
        let account = try filled(box)
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 60)], force: true)
        let cur = "\(box.home())/Maildir/cur"
        let renamed = try #require(box.files().first { $0.contains(",U=7:") })
        #expect(rename("\(cur)/\(renamed)", "\(cur)/\(renamed)T") == 0)
        try account.finishRetiring()
        #expect(box.files().count == 20)
        #expect(try account.subjects().values.sorted() == subjects(61...80))
        #expect(!account.hasRetiring)
        try account.close()
        let again = try box.account()
        #expect(try again.subjects().values.sorted() == subjects(61...80))
    }

    @Test func `a comparison, a second expunge and the end of the folder find files that wait`()
        throws
    {
        let box = try Sandbox()
        let account = try filled(box)
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 40)], force: true)
        // A file of another program leads to a comparison.
        writeFile(
            "\(box.home())/Maildir/cur/1700000000.M1P1.other:2,", octets("Subject: foreign\n\nx\n"))
        #expect(try account.snapshot(inbox).entries.count == 41)
        #expect(box.files().count == 41)
        _ = try account.expunge(id, uids: [UIDRange(41, 41)], force: true)
        _ = try account.expunge(id, uids: [UIDRange(42, 79)], force: true)
        try account.finishRetiring()
        #expect(box.files().count == 2)
        #expect(try account.subjects().values.sorted() == ["foreign", "m80"])

        // Moved out of a folder, then the folder goes: nothing comes back twice.
        _ = try account.copy(id, uids: [UIDRange(1, .max)], to: name("Archive"), move: false)
        let third = try Sandbox()
        let other = try filled(third)
        let source = try other.snapshot(inbox).id
        _ = try other.copy(source, uids: [UIDRange(1, .max)], to: name("Trash"), move: false)
        let trash = try other.snapshot(name("Trash")).id
        _ = try other.copy(trash, uids: [UIDRange(1, 70)], to: name("Archive"), move: true)
        try other.delete(name("Trash"))
        let kept = try other.retainedPlaces().reduce(0) { $0 + $1.names.count }
        #expect(kept == 10)
        #expect(try other.snapshot(name("Archive")).entries.count == 70)
        #expect(!other.hasRetiring)
    }

    @Test func `without retention the files are gone`() throws {
        let box = try Sandbox()
        box.root.retention.set(seconds: 0, octetLimit: 0)
        let account = try filled(box)
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 80)], force: true)
        #expect(box.files().count == 80)
        try account.close()
        #expect(box.files().isEmpty)
        #expect(names(box.home()).allSatisfy { $0 != "Expunged" })
    }
}
