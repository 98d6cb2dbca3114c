// SPDX-License-Identifier: Apache-2.0
//
// What is kept of messages for lists is what the messages themselves say, however they came.
// docs/store.md, RFC 9051 §6.4.5.

import Bytes
import Glibc
import MIME
import Mail
import Testing

@testable import Store

/// Messages as people and programs send them, and some that nobody should.
private let corpus: [[UInt8]] = {
    var all: [String] = [
        "Subject: plain\r\nFrom: A <a@example.net>\r\nTo: b@example.net\r\n\r\nhello\r\n",
        "\r\nno header\r\n", "", "Subject: no end",
        "From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>\r\nSubject: Re: [list] \"quoted\" \\\r\n"
            + "Cc: Group: x@example.net, \"y z\"@example.net;\r\nReferences: <1@a> <2@b>\r\n"
            + "List-Id: <l.example.net>\r\nReceived: from x\r\n\tby y; date\r\n\r\n",
        "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nSubject: 8-bit \u{FC}\r\n"
            + "In-Reply-To: <\"q\"@b>\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=b; x*=utf-8''%C3%BC\r\n"
            + "Content-Disposition: attachment; filename=\"a \\\" b\"\r\n\r\n--b\r\n\r\none\r\n"
            + "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: i@example.net\r\n"
            + "\r\ninner\r\n--b\r\nContent-Type: text/html\r\nContent-Language: de, en\r\n"
            + "Content-Transfer-Encoding: base64\r\n\r\nPGI+\r\n--b--\r\n",
    ]
    var deep = ""
    for level in 0..<80 {
        deep += "Content-Type: multipart/mixed; boundary=b\(level)\r\n\r\n--b\(level)\r\n"
    }
    all.append(deep + "\r\nx\r\n")
    // More than is kept
    all.append(
        "To: " + (0..<4_000).map { "a\($0)@example.net" }.joined(separator: ",\r\n ")
            + "\r\nSubject: many\r\n\r\n")
    all.append(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            + String(
                repeating: "--b\r\nContent-Type: text/plain; name=abcdefgh\r\n\r\n", count: 3_000))
    return all.map { Array($0.utf8) } + [message("large", octets: 300_000)]
}()

/// The pieces of every message of a mailbox as they are kept.
private func kept(
    _ account: AccountStore, _ mailbox: MailboxName = inbox, limit: Int = 1 << 20
) throws -> [UInt32: MessageSynopsis] {
    let id = try account.snapshot(mailbox).id
    var found: [UInt32: MessageSynopsis] = [:]
    var next: UInt32? = 1
    while let start = next {
        let page = try account.summaries(
            id, uids: [UIDRange(1, .max)], .all, from: start, limit: limit)
        var reader = SummaryReader(.all)
        while let row = reader.next(page.rows.span) {
            var synopsis = MessageSynopsis([UInt8]().span, isWhole: true)
            synopsis.envelope = Array(page.rows[row.envelope])
            synopsis.structure = Array(page.rows[row.structure])
            synopsis.fields = Array(page.rows[row.fields])
            synopsis.keys = Array(page.rows[row.keys])
            #expect(found.updateValue(synopsis, forKey: row.uid) == nil)
        }
        #expect(!reader.isBroken)
        next = page.next
    }
    return found
}

/// What the messages themselves say.
private func computed(
    _ account: AccountStore, _ mailbox: MailboxName = inbox
) throws -> [UInt32: MessageSynopsis] {
    let snapshot = try account.snapshot(mailbox)
    var synopses: [UInt32: MessageSynopsis] = [:]
    for entry in snapshot.entries {
        let octets = try #require(try account.octets(snapshot.id, entry.uid))
        synopses[entry.uid] = MessageSynopsis(octets.span, isWhole: true)
    }
    return synopses
}

private func unsummarized(_ account: AccountStore) throws -> Int64 {
    try account.guarded { () throws(StoreError) in
        try account.index.database.number("SELECT count(*) FROM unsummarized")
    }
}

/// Takes out of an index what version 1 did not have.
private func makeVersionOne(_ database: Database) throws(StoreError) {
    let first = [
        "mailboxes", "messages", "files", "expunged", "doomed", "doomed_folders", "meta",
    ]
    while try database.number("SELECT count(*) FROM sqlite_master WHERE type='trigger'") > 0 {
        let trigger = try database.text("SELECT name FROM sqlite_master WHERE type='trigger'")
        try database.run(text: "DROP TRIGGER \(trigger)")
    }
    for table in try database.tables() where !first.contains(table) {
        try database.run(text: "DROP TABLE \(table)")
    }
    try database.run("PRAGMA user_version=1")
}

@Suite("what lists show of messages")
struct SummaryTests {
    @Test func `appended messages have it at once`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for octets in corpus {
            _ = try account.append(PendingAppend(mailbox: inbox, source: .octets(octets)))
        }
        #expect(try unsummarized(account) == 0)
        #expect(!account.lacksSummaries)
        #expect(try kept(account) == computed(account))
        #expect(try kept(account, limit: 1) == computed(account))
    }

    @Test(arguments: [false, true])
    func `messages of other programs get it, when asked or in the background`(
        _ inBackground: Bool
    ) throws {
        let box = try Sandbox()
        var account = try box.account()
        try account.close()
        for (number, octets) in corpus.enumerated() {
            // With LF line ends, as other programs write them
            let lines = octets.filter { $0 != 0x0D }
            writeFile("\(box.home())/Maildir/cur/\(1_000 + number).x.host:2,", lines)
        }
        account = try box.account()
        #expect(try account.snapshot(inbox).entries.count == corpus.count)
        #expect(account.lacksSummaries)
        if inBackground {
            var slices = 0
            while try account.fillSummaries() {
                slices += 1
                #expect(slices < 100)
            }
            #expect(try unsummarized(account) == 0)
        }
        let found = try kept(account)
        #expect(try found == computed(account))
        #expect(try unsummarized(account) == 0)
    }

    @Test func `an index of version 1 is brought forward and filled`() throws {
        let box = try Sandbox()
        var account = try box.account()
        for octets in corpus {
            _ = try account.append(PendingAppend(mailbox: inbox, source: .octets(octets)))
        }
        let before = try account.snapshot(inbox)
        let expected = try computed(account)
        try account.guarded { () throws(StoreError) in try makeVersionOne(account.index.database) }
        account.abandon()
        account = try box.account()
        #expect(try account.snapshot(inbox) == before)
        #expect(try unsummarized(account) == Int64(corpus.count))
        // The header alone is enough for most lists: the structures stay to be made
        var envelopes: [UInt32: [UInt8]] = [:]
        var next: UInt32? = 1
        while let start = next {  // a slice of time may end before the last
            let page = try account.summaries(
                before.id, uids: [UIDRange(1, .max)], .envelope, from: start, limit: 1 << 20)
            var reader = SummaryReader(.envelope)
            while let row = reader.next(page.rows.span) {
                envelopes[row.uid] = Array(page.rows[row.envelope])
            }
            next = page.next
        }
        #expect(envelopes == expected.mapValues(\.envelope))
        #expect(try unsummarized(account) == Int64(corpus.count))
        #expect(try kept(account) == expected)
        #expect(try unsummarized(account) == 0)
        try account.close()
        account = try box.account()
        #expect(!account.lacksSummaries)
        #expect(try kept(account) == expected)
    }

    @Test func `copies, moves, expunges and deleted mailboxes take it along`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for octets in corpus {
            _ = try account.append(PendingAppend(mailbox: inbox, source: .octets(octets)))
        }
        let id = try account.snapshot(inbox).id
        try account.create(name("Copies"), .none)
        _ = try account.copy(id, uids: [UIDRange(1, 4)], to: name("Copies"), move: false)
        _ = try account.copy(id, uids: [UIDRange(5, 6)], to: name("Copies"), move: true)
        #expect(try kept(account) == computed(account))
        #expect(try kept(account, name("Copies")) == computed(account, name("Copies")))
        #expect(try kept(account, name("Copies")).count == 6)
        _ = try account.expunge(id, uids: [UIDRange(1, 2)], force: true)
        #expect(try kept(account) == computed(account))
        try account.delete(name("Copies"))
        let rows = try account.guarded { () throws(StoreError) in
            try account.index.database.number("SELECT count(*) FROM summaries") * 1_000
                + account.index.database.number("SELECT count(*) FROM list_fields")
        }
        let left = Int64(try account.snapshot(inbox).entries.count)
        #expect(rows == left * 1_000 + left)
    }

    @Test func `what cannot be read has no row and does not stop the others`() throws {
        let box = try Sandbox()
        var account = try box.account()
        for text in ["a", "b", "c"] { try account.add(text) }
        try account.guarded { () throws(StoreError) in
            try account.index.database.run("DELETE FROM summaries")
            try account.index.database.run(
                "INSERT INTO unsummarized SELECT mailbox << 32 | uid, 1 FROM messages")
        }
        account.abandon()
        account = try box.account()
        let id = try account.snapshot(inbox).id
        let file = try #require(box.files().first { $0.contains("U=2:") })
        // Gone while the folder is open: nobody has looked yet
        unlink("\(box.home())/Maildir/cur/\(file)")
        let page = try account.summaries(
            id, uids: [UIDRange(1, 9)], .keys, from: 1, limit: 1 << 20)
        var reader = SummaryReader(.keys)
        var uids: [UInt32] = []
        while let row = reader.next(page.rows.span) { uids.append(row.uid) }
        #expect(uids == [1, 3])
    }
}

@Suite("opening a mailbox again")
struct ResumeTests {
    @Test func `only what changed comes to who knows the mailbox`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for text in ["a", "b", "c"] { try account.add(text) }
        let before = try account.snapshot(inbox)
        let same = try account.openSnapshot(inbox, knowing: before.id, since: before.highestModSeq)
        #expect(!same.isWhole && same.snapshot.entries.isEmpty && same.vanished.isEmpty)
        _ = try account.store(before.id, 2, .add, .seen)
        _ = try account.expunge(before.id, uids: [UIDRange(1, 1)], force: true)
        try account.add("d")
        let after = try account.openSnapshot(inbox, knowing: before.id, since: before.highestModSeq)
        #expect(!after.isWhole)
        #expect(after.snapshot.entries.map(\.uid) == [2, 4])
        #expect(after.vanished == [1])
        let now = try account.snapshot(inbox)
        #expect(after.snapshot.highestModSeq == now.highestModSeq)
        // Somebody else's mailbox, or a state that never was: everything
        for (id, since) in [
            (MailboxID(rawValue: 7), before.highestModSeq), (before.id, now.highestModSeq + 1),
        ] {
            let whole = try account.openSnapshot(inbox, knowing: id, since: since)
            #expect(whole.isWhole && whole.snapshot == now)
        }
    }

    @Test func `the messages of a large mailbox come page by page`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 0..<10 { try account.add("m\(number)") }
        let all = try account.snapshot(inbox)
        var pages: [MessageEntry] = []
        var next: UInt32 = 1
        while true {
            let page = try account.entries(all.id, from: next, below: all.uidNext, limit: 3)
            pages += page
            guard page.count == 3, let last = page.last else { break }
            next = last.uid + 1
        }
        #expect(pages == all.entries)
    }
}
