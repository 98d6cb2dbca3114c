// SPDX-License-Identifier: Apache-2.0
//
// Mail that keeps its UIDs when it moves in. RFC 9051 §2.3.1.1; docs/store.md.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

extension AccountStore {
    fileprivate func place(
        _ text: String, _ mailbox: MailboxName, _ uidValidity: UInt32, _ uid: UInt32
    ) throws(StoreError) -> UInt32 {
        try append(
            PendingAppend(
                mailbox: mailbox, source: .octets(Array("Subject: \(text)\r\n\r\nx\r\n")),
                wanted: WantedUID(uidValidity: uidValidity, uid: uid))
        ).uid
    }
}

@Suite("placement")
struct PlacementTests {
    @Test func `a message gets the UID it had, and the next one follows`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let old = name("Old")
        try account.create(old, .none, uidValidity: 77)
        #expect(try account.place("a", old, 77, 5) == 5)
        #expect(try account.place("b", old, 77, 4_000_000) == 4_000_000)
        try account.add("c", to: old)
        let snapshot = try account.snapshot(old)
        #expect(snapshot.uidValidity == 77)
        #expect(snapshot.entries.map(\.uid) == [5, 4_000_000, 4_000_001])
        try account.close()
        box.removeIndex()
        let after = try box.account().snapshot(old)
        #expect(after.uidValidity == 77)
        #expect(after.entries.map(\.uid) == [5, 4_000_000, 4_000_001])
        #expect(after.uidNext > 4_000_001)
    }

    @Test func `a UID that may have been given out is refused, alone`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let old = name("Old")
        try account.create(old, .none, uidValidity: 77)
        func pending(_ uid: UInt32, _ validity: UInt32 = 77) -> PendingAppend {
            PendingAppend(
                mailbox: old, source: .octets(Array("A: \(uid)\r\n\r\n")),
                wanted: WantedUID(uidValidity: validity, uid: uid))
        }
        let results = account.append(batch: [
            pending(3), pending(3), pending(2), pending(9), pending(10, 78), pending(.max),
            pending(10),
        ])
        #expect(
            results.map { result in
                switch result {
                case .success(let done): "\(done.uid)"
                case .failure(let error): "\(error)"
                }
            } == [
                "3", "alreadyExists", "alreadyExists", "9", "notPermitted", "limit", "10",
            ])
        #expect(try account.snapshot(old).entries.map(\.uid) == [3, 9, 10])
        #expect(throws: StoreError.alreadyExists) { try account.place("x", old, 77, 10) }
    }

    @Test func `INBOX gets another UIDVALIDITY only while it never had a message`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(inbox, .none, uidValidity: 1_234)
        #expect(try account.snapshot(inbox).uidValidity == 1_234)
        #expect(try account.place("a", inbox, 1_234, 1) == 1)
        // Doing it again is no error.
        try account.create(inbox, .none, uidValidity: 1_234)
        #expect(throws: StoreError.mailboxExists) {
            try account.create(inbox, .none, uidValidity: 1_235)
        }
        #expect(throws: StoreError.alreadyExists) {
            try account.create(name("Other"), .none, uidValidity: 1_234)
        }
        #expect(throws: StoreError.limit) {
            try account.create(name("Other"), .none, uidValidity: .max)
        }
        // Numbers from elsewhere are never given out again.
        try account.create(name("Later"), .none, uidValidity: 4_000_000_000)
        try account.create(name("Next"), .none)
        #expect(try account.snapshot(name("Next")).uidValidity > 4_000_000_000)
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.snapshot(inbox).uidValidity == 1_234)
        try again.create(name("Last"), .none)
        #expect(
            try again.snapshot(name("Last")).uidValidity
                > again.snapshot(name("Next")).uidValidity)
    }

    @Test func `a mailbox that never had a message leaves its number to another`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let drafts = try account.snapshot(name("Drafts")).uidValidity
        try account.create(inbox, .none, uidValidity: drafts)
        #expect(try account.snapshot(inbox).uidValidity == drafts)
        let moved = try account.snapshot(name("Drafts")).uidValidity
        #expect(moved > drafts)
        try account.close()
        let again = try box.account()
        #expect(try again.snapshot(inbox).uidValidity == drafts)
        #expect(try again.snapshot(name("Drafts")).uidValidity == moved)
        #expect(try again.list().first { $0.name == name("Drafts") }?.specialUse == .drafts)
    }

    @Test(arguments: ["", ".Old"])
    func `after a crash behind the state file the numbers can still be placed`(
        directory: String
    ) throws {
        let box = try Sandbox()
        let account = try box.account()
        let mailbox = directory.isEmpty ? inbox : name("Old")
        if !directory.isEmpty { try account.create(mailbox, .none) }
        try account.close()
        // As the disk is when the process died between the state file and the row.
        var state = FolderState(uidValidity: 99, specialUse: .none)
        state.uidMark = 1
        let path = "\(box.home())/Maildir/\(directory)"
        let file = open("\(path)/martlet-folder", O_WRONLY | O_TRUNC)
        #expect(write(file, state.octets, state.octets.count) == state.octets.count)
        close(file)
        mkdir("\(box.home())/Maildir/touched", 0o700)
        let again = try box.account()
        try again.create(mailbox, .none, uidValidity: 99)
        #expect(try again.place("a", mailbox, 99, 1) == 1)
        #expect(try again.snapshot(mailbox).entries.map(\.uid) == [1])
    }
}
