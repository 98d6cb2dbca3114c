// SPDX-License-Identifier: Apache-2.0
//
// What an account keeps, and that it keeps no more than it may.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("quota")
struct QuotaTests {
    /// The sums agree with the rows and with the files.
    private func check(_ account: AccountStore, _ sandbox: Sandbox, messages: UInt64) throws {
        let usage = try account.usage()
        #expect(usage.messages == messages)
        #expect(try account.recount() == (usage, false))
        var octets: UInt64 = 0
        for mailbox in try account.list() {
            octets += try account.status(mailbox.name).size
        }
        #expect(usage.octets == octets)
    }

    @Test func `sums follow whatever happens to messages`() throws {
        let sandbox = try Sandbox()
        var account = try sandbox.account()
        for number in 1...5 { try account.add("m\(number)") }
        try check(account, sandbox, messages: 5)
        let id = try account.snapshot(inbox).id
        _ = try account.copy(id, uids: [UIDRange(1, 3)], to: name("Trash"), move: false)
        try check(account, sandbox, messages: 8)
        _ = try account.copy(id, uids: [UIDRange(4, 4)], to: name("Trash"), move: true)
        try check(account, sandbox, messages: 8)
        _ = try account.expunge(id, uids: [UIDRange(1, 2)], force: true)
        try check(account, sandbox, messages: 6)
        try account.create(name("Extra"), .none)
        try account.add("extra", to: name("Extra"))
        try check(account, sandbox, messages: 7)
        try account.delete(name("Extra"))
        try check(account, sandbox, messages: 6)
        // Another program adds one and removes one.
        writeFile(sandbox.home() + "/Maildir/new/1.foreign", message("foreign"))
        unlink(sandbox.home() + "/Maildir/.Trash/cur/" + sandbox.files(".Trash")[0])
        account.abandon()
        account = try sandbox.account()
        _ = try account.snapshot(inbox)
        _ = try account.snapshot(name("Trash"))
        _ = try account.snapshot(name("Trash"))
        let seen = try account.usage().messages
        #expect(seen == 6 || seen == 7)  // a missing file is believed at the second look
        try check(account, sandbox, messages: seen)
        try account.rebuildIndex()
        try check(account, sandbox, messages: 6)
    }

    @Test func `nothing is kept beyond the limits, not even within one batch`() throws {
        let sandbox = try Sandbox()
        let account = try sandbox.account()
        let size = UInt64(message("m").count)
        account.limits = QuotaLimits(octets: size * 3)
        let batch = (0..<5).map { _ in
            PendingAppend(mailbox: inbox, source: .octets(message("m")))
        }
        let results = account.append(batch: batch)
        let errors = results.map { result -> StoreError? in
            if case .failure(let error) = result { return error }
            return nil
        }
        #expect(errors == [nil, nil, nil, .overQuota, .overQuota])
        #expect(try account.usage().messages == 3)
        #expect(sandbox.files().count == 3)
        // A smaller limit than what is there removes nothing and lets nothing in.
        account.limits = QuotaLimits(messages: 2)
        #expect(throws: StoreError.overQuota) { try account.add("n") }
        let id = try account.snapshot(inbox).id
        #expect(throws: StoreError.overQuota) {
            try account.copy(id, uids: [UIDRange(1, 1)], to: name("Trash"), move: false)
        }
        // Moving keeps the sum; expunging makes room.
        #expect(
            try account.copy(id, uids: [UIDRange(1, 1)], to: name("Trash"), move: true).source
                == [1])
        _ = try account.expunge(id, uids: [UIDRange(2, 3)], force: true)
        try account.add("n")
        #expect(throws: StoreError.overQuota) { try account.add("o") }
    }

    @Test func `a copy of many fits as a whole or not at all`() throws {
        let sandbox = try Sandbox()
        let account = try sandbox.account()
        for number in 1...4 { try account.add("\(number)") }
        account.limits = QuotaLimits(messages: 7)
        let id = try account.snapshot(inbox).id
        #expect(throws: StoreError.overQuota) {
            try account.copy(id, uids: [UIDRange(1, 4)], to: name("Trash"), move: false)
        }
        #expect(try account.status(name("Trash")).messages == 0)
        #expect(
            try account.copy(id, uids: [UIDRange(1, 3)], to: name("Trash"), move: false).source
                .count == 3)
    }

    @Test func `sums that are wrong are put right by counting`() throws {
        let sandbox = try Sandbox()
        let account = try sandbox.account()
        try account.add("one")
        let right = try account.usage()
        try account.index.database.run("UPDATE usage SET octets=77, messages=9")
        #expect(try account.usage().octets == 77)
        #expect(try account.recount() == (right, true))
        #expect(try account.usage() == right)
    }

    @Test func `limits that overflow are no limits to add to`() {
        let usage = MailUsage(octets: .max, messages: .max)
        #expect(!QuotaLimits(octets: .max).allow(1, 1, beside: usage))
        #expect(!QuotaLimits(messages: .max).allow(1, 1, beside: usage))
        #expect(QuotaLimits().allow(1, .max, beside: usage))
    }
}
