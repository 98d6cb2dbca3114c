// SPDX-License-Identifier: Apache-2.0
//
// What is known of messages beside their octets, and messages that come together. RFC 3502,
// RFC 8474, RFC 8508, RFC 8514, RFC 8970.

import Bytes
import Mail
import Testing

@testable import Store

private let other = name("Other")

extension AccountStore {
    fileprivate func details(
        _ box: MailboxName, _ wish: PreviewWish = .none
    ) throws -> [MessageDetail] {
        let id = try snapshot(box).id
        var rows: [MessageDetail] = []
        var next: UInt32? = 1
        while let start = next {
            let page = try details(id, uids: [UIDRange(1, .max)], wish, from: start)
            rows += page.rows
            next = page.next
        }
        return rows
    }

    fileprivate func preview(_ uid: UInt32, _ wish: PreviewWish) throws -> String? {
        try details(.inbox, wish).first { $0.uid == uid }?.preview
            .map { String(decoding: $0, as: UTF8.self) }
    }
}

private func plain(_ text: String) -> PendingAppend {
    PendingAppend(
        mailbox: .inbox, source: .octets(octets("Subject: x\r\n\r\n" + text + "\r\n")))
}

@Suite("details of messages")
struct DetailTests {
    @Test func `EMAILID is the same for copies of copies and without the index`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(other, .none)
        for text in ["one", "two", "three"] { _ = try account.append(plain(text)) }
        let before = try account.details(.inbox).map(\.emailID)
        #expect(Set(before).count == 3)
        #expect(before.allSatisfy { $0.count == MessageDetail.emailIDCount })
        let inbox = try account.snapshot(.inbox).id
        _ = try account.copy(inbox, uids: [UIDRange(1, 2)], to: other, move: false)
        _ = try account.copy(inbox, uids: [UIDRange(1, 3)], to: other, move: true)
        let moved = try account.details(other).map(\.emailID)
        #expect(moved == [before[0], before[1], before[0], before[1], before[2]])
        let back = try account.snapshot(other).id
        _ = try account.copy(back, uids: [UIDRange(5, 5)], to: .inbox, move: true)
        #expect(try account.details(.inbox).map(\.emailID) == [before[2]])
        // Flags change the name of the file, not what it says.
        _ = try account.store(
            back, uids: [UIDRange(1, 1)], .add, NamedFlags(system: .seen), unchangedSince: nil)
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.details(other).map(\.emailID) == Array(moved.dropLast()))
        #expect(try again.details(.inbox).map(\.emailID) == [before[2]])
        try again.close()
    }

    @Test func `SAVEDATE is when the message came into this mailbox`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(other, .none)
        let start = System.now().seconds
        var old = plain("old")
        old.date = 1_000_000
        _ = try account.append(old)
        let inbox = try account.snapshot(.inbox).id
        _ = try account.copy(inbox, uids: [UIDRange(1, 1)], to: other, move: false)
        for detail in try account.details(.inbox) + account.details(other) {
            #expect(detail.saved >= start && detail.saved <= System.now().seconds)
        }
        #expect(FileName.saved(octets("1600000001.P1.mutt:2,S")) == 1_600_000_001)
        #expect(FileName.saved(octets("nonsense")) == 0)
        try account.close()
    }

    @Test func `a preview is made when it is asked for, kept, and goes with its message`() throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = try account.append(plain("Hello,\r\nthis is   it."))
        #expect(try account.preview(1, .kept) == nil)
        #expect(try account.preview(1, .none) == nil)
        #expect(try account.preview(1, .made) == "Hello, this is it.")
        #expect(try account.preview(1, .kept) == "Hello, this is it.")
        _ = try account.expunge(
            try account.snapshot(.inbox).id, uids: [UIDRange(1, 1)], force: true)
        #expect(try account.index.previews(try account.snapshot(.inbox).id, UIDRange(1, 9)).isEmpty)
        #expect(try account.details(.inbox, .made).isEmpty)
        try account.close()
    }

    @Test func `many messages come in slices, and each once`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let batch = (1...600).map { plain("number \($0)") }
        for result in account.append(batch: batch) { _ = try result.get() }
        let rows = try account.details(.inbox, .made)
        #expect(rows.map(\.uid) == Array(1...600))
        #expect(rows.last?.preview == octets("number 600"))
        try account.close()
    }

    @Test(arguments: [
        ("1.M2P3Q4.host,S=5,U=7:2,S", "1.M2P3Q4.host"),
        ("1.M2P3Q4.host,S=5,E=short,U=7:2,", "1.M2P3Q4.host"),
    ])
    func `the id of a message that was never copied is made of its unique part`(
        _ file: String, _ unique: String
    ) {
        #expect(
            FileName.emailID(of: octets(file)) == FileName.emailID(unique: octets(unique)))
        #expect(FileName(octets(file)).octets == octets(file))
    }

    @Test func `a name keeps the id of its origin`() {
        let file = "1.M2P3Q4.host,S=5,E=0123456789abcdef01234567,U=7:2,S"
        #expect(FileName.emailID(of: octets(file)) == octets("0123456789abcdef01234567"))
        #expect(FileName(octets(file)).octets == octets(file))
        #expect(FileName(octets(file)).isOurs)
    }
}

@Suite("messages that come together")
struct GroupTests {
    private func group(_ texts: [String], in box: MailboxName = .inbox) -> [PendingAppend] {
        texts.map { text in
            PendingAppend(
                mailbox: box, flags: NamedFlags(keywords: [octets("k" + text)]), date: 5,
                source: .octets(octets("Subject: \(text)\r\n\r\n\(text)\r\n")))
        }
    }

    @Test func `all of a group get UIDs in their order`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let result = try account.append(group: group(["a", "b", "c"]), replacing: nil)
        #expect(result.appended.map(\.uid) == [1, 2, 3])
        #expect(try account.subjects() == [1: "a", 2: "b", 3: "c"])
        #expect(try account.snapshot(.inbox).entries.allSatisfy { $0.internalDate == 5 })
        try account.close()
    }

    @Test func `a group that does not fit the quota leaves nothing`() throws {
        let box = try Sandbox()
        let account = try box.account()
        account.limits = QuotaLimits(octets: 0, messages: 2)
        #expect(throws: StoreError.overQuota) {
            try account.append(group: group(["a", "b", "c"]), replacing: nil)
        }
        #expect(try account.snapshot(.inbox).entries.isEmpty)
        #expect(box.files().isEmpty)
        _ = try account.append(group: group(["a", "b"]), replacing: nil)
        try account.close()
    }

    @Test func `as many as the limit come together, and not one more`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let most = (0..<AccountStore.groupLimit).map(String.init)
        #expect(throws: StoreError.limit) {
            try account.append(group: group(most + ["x"]), replacing: nil)
        }
        #expect(try account.append(group: group(most), replacing: nil).appended.count == 256)
        try account.close()
    }

    @Test func `slices of one file become messages`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let texts = ["Subject: one\r\n\r\n1\r\n", "Subject: two\r\n\r\n22\r\n"]
        let staged = try box.root.staging.stage(octets(texts.joined()))
        var offset: Int64 = 0
        let group = texts.map { text in
            defer { offset += Int64(text.utf8.count) }
            return PendingAppend(
                mailbox: .inbox,
                source: .slice(staged, offset: offset, size: text.utf8.count))
        }
        _ = try account.append(group: group, replacing: nil)
        let id = try account.snapshot(.inbox).id
        for (place, text) in texts.enumerated() {
            #expect(try account.octets(id, UInt32(place) + 1) == octets(text))
        }
        try account.close()
    }

    @Test(arguments: [true, false])
    func `what is replaced goes with the coming of its replacement`(_ isElsewhere: Bool) throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(other, .none)
        _ = try account.append(group: group(["old", "stays"]), replacing: nil)
        let inbox = try account.snapshot(.inbox).id
        let target = isElsewhere ? other : .inbox
        let before = try account.snapshot(.inbox).highestModSeq
        let result = try account.append(
            group: group(["new"], in: target), replacing: (inbox, 1))
        #expect(result.appended.map(\.uid) == [isElsewhere ? 1 : 3])
        let now = try account.snapshot(.inbox)
        #expect(result.highestModSeq == now.highestModSeq)
        #expect(try account.changes(inbox, since: before).vanished == [1])
        #expect(try account.subjects(target).values.contains("new"))
        #expect(try account.subjects()[1] == nil)
        #expect(try account.subjects()[2] == "stays")
        try account.close()
        let again = try box.account()
        #expect(try again.subjects()[1] == nil)
        try again.close()
    }

    @Test func `a group is whole or absent after a crash at each state`() throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = try account.append(group: group(["old"]), replacing: nil)
        let crashes = Crashes(box, account)
        _ = try account.append(group: group(["a", "b", "c"]), replacing: nil)
        #expect(crashes.states == [.bytesDurable, .nameDurable, .rowDurable])
        try crashes.check { state, found, _ in
            let isThere = state != .bytesDurable
            let subjects = try found.subjects()
            #expect(subjects[1] == "old", "\(state)")
            #expect(subjects.values.sorted() == (isThere ? ["a", "b", "c", "old"] : ["old"]))
            #expect(try found.append(group: group(["next"]), replacing: nil).appended[0].uid > 1)
        }
        try account.close()
    }

    @Test func `what is replaced never goes before its replacement is durable`() throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = try account.append(group: group(["old", "stays"]), replacing: nil)
        let inbox = try account.snapshot(.inbox).id
        let crashes = Crashes(box, account)
        _ = try account.append(group: group(["new"]), replacing: (inbox, 1))
        #expect(crashes.states.starts(with: [.bytesDurable, .nameDurable, .rowDurable]))
        try crashes.check(keepingIndex: [true]) { state, found, _ in
            let subjects = try found.subjects().values.sorted()
            switch state {
            case .bytesDurable: #expect(subjects == ["old", "stays"])
            // Nobody was told yet: both are there.
            case .nameDurable: #expect(subjects == ["new", "old", "stays"])
            default: #expect(subjects == ["new", "stays"], "\(state)")
            }
        }
        // Without the index the file says what there is: what was replaced may be back, none is lost.
        try crashes.check(keepingIndex: [false]) { state, found, _ in
            let subjects = Set(try found.subjects().values)
            #expect(subjects.contains("stays"))
            #expect(subjects.contains("new") || state == .bytesDurable, "\(state)")
            #expect(subjects.contains("old") || subjects.contains("new"), "\(state)")
        }
        try account.close()
    }

    @Test func `nothing comes in place of what is not there`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let inbox = try account.snapshot(.inbox).id
        #expect(throws: StoreError.badStage) {
            try account.append(group: group(["new"]), replacing: (inbox, 1))
        }
        #expect(try account.snapshot(.inbox).entries.isEmpty)
        try account.close()
    }
}
