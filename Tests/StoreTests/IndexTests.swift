// SPDX-License-Identifier: Apache-2.0
//
// Comparing index and Maildir, repairing both, and indexes that were removed under a running store.

import Bytes
import CSQLite
import Glibc
import Mail
import Testing

@testable import Store

private func check(_ account: AccountStore, repair: Bool = false) throws -> IndexReport {
    let checker = IndexChecker(repairs: repair)
    while try !checker.step(account) {}
    return checker.report
}

private func change(_ box: Sandbox, _ sql: String) {
    var handle: OpaquePointer?
    precondition(sqlite3_open(box.home() + "/index.sqlite", &handle) == SQLITE_OK)
    precondition(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK, sql)
    sqlite3_close(handle)
}

private func touch(_ path: String, _ seconds: Int) {
    let times = [timeval(tv_sec: seconds, tv_usec: 0), timeval(tv_sec: seconds, tv_usec: 0)]
    utimes(path, times)
}

@Suite("index check and repair")
struct IndexCheckTests {
    /// An account with five messages in INBOX and one in Sent, closed.
    private func prepared(_ box: Sandbox) throws {
        let account = try box.account()
        for number in 1...5 { try account.add("m\(number)", number == 2 ? .seen : []) }
        try account.add("sent", to: name("Sent"))
        try account.close()
    }

    @Test func `an account in order has no findings`() throws {
        let box = try Sandbox()
        try prepared(box)
        let account = try box.account()
        let id = try account.snapshot(inbox).id
        _ = try account.store(id, 1, .add, .flagged, ["work"])  // not in the name yet
        _ = try account.expunge(id, uids: [UIDRange(5, 5)], force: true)
        _ = try account.copy(id, uids: [UIDRange(1, 2)], to: name("Sent"), move: true)
        let report = try check(account)
        #expect(report.findings == [])
        #expect(report.messages == 5)
        #expect(report.mailboxes == 6)
    }

    /// What goes wrong, behind the store's back, and what is found.
    enum Damage: String, CaseIterable {
        case rowWithoutFile, fileWithoutRow, size, wireSize, flags, date, otherUID, badName
        case foreignObject, directoryInCur, uidBeyondNext, modSeqBeyond, missingState, orphanTemp
        case messageInRoot, orphanRow, subscription, strayDirectory, trash
    }

    private func harm(_ box: Sandbox, _ damage: Damage) throws -> IndexFinding.Kind {
        let maildir = box.home() + "/Maildir/"
        let cur = maildir + "cur/"
        let first = cur + (try #require(box.files().first { $0.contains(",U=1:") }))
        switch damage {
        case .rowWithoutFile:
            unlink(first)
            return .rowWithoutFile
        case .fileWithoutRow:
            change(box, "DELETE FROM messages WHERE uid=1; DELETE FROM files WHERE uid=1")
            return .fileWithoutRow
        case .size:
            writeFile(first, message("m1") + octets("more\r\n"))
            touch(first, 1_000_000)
            change(box, "UPDATE messages SET date=1000000 WHERE uid=1")
            return .sizeDiffers
        case .wireSize:
            change(box, "UPDATE messages SET size=size+7 WHERE uid=1")
            return .wireSizeDiffers
        case .flags:
            change(box, "UPDATE messages SET disk_flags=4, flags=4 WHERE uid=1")
            return .flagsDiffer
        case .date:
            touch(first, 1_000_000)
            return .dateDiffers
        case .otherUID:
            change(
                box,
                """
                UPDATE messages SET uid=77 WHERE uid=1; UPDATE files SET uid=77 WHERE uid=1;
                UPDATE mailboxes SET uid_next=78 WHERE directory=x''
                """)
            return .duplicateUID
        case .badName:
            writeFile(cur + ",S=3:2,S", octets("Subject: odd\r\n\r\n"))
            return .badName
        case .foreignObject:
            symlink("/etc/passwd", cur + "1700000000.link.host:2,")
            return .foreignObject
        case .directoryInCur:
            mkdir(cur + "1700000000.dir.host", 0o700)
            writeFile(cur + "1700000000.dir.host/1", octets("Subject: buried\r\n\r\n"))
            return .foreignObject
        case .uidBeyondNext:
            change(box, "UPDATE mailboxes SET uid_next=3 WHERE directory=x''")
            return .uidBeyondNext
        case .modSeqBeyond:
            change(box, "UPDATE messages SET modseq=50000 WHERE uid=2")
            return .numberBeyondMark
        case .missingState:
            unlink(maildir + "martlet-folder")
            return .missingStateFile
        case .orphanTemp:
            writeFile(maildir + "martlet-new-dovecot-keywords", octets("0 half"))
            return .orphanFile
        case .messageInRoot:
            writeFile(maildir + "1700000000.M1P1.host", octets("Subject: lost\r\n\r\n"))
            return .orphanFile
        case .orphanRow:
            change(
                box,
                "INSERT INTO messages SELECT 99, uid, flags, disk_flags, modseq, size, "
                    + "date FROM messages WHERE uid=1 AND mailbox IN (SELECT id FROM mailboxes WHERE "
                    + "directory=x'')")
            return .orphanRow
        case .subscription:
            writeFile(maildir + "subscriptions", octets("V\t2\n\nINBOX\nNot there\n"))
            return .subscriptionWithoutMailbox
        case .strayDirectory:
            run("/bin/mkdir", "-p", maildir + ".a..b/cur")
            writeFile(maildir + ".a..b/cur/1.2.3:2,S", octets("Subject: stray\r\n\r\n"))
            return .directoryWithoutMailbox
        case .trash:
            run("/bin/mkdir", "-p", maildir + "martlet-removed-7/cur")
            writeFile(maildir + "martlet-removed-7/cur/1.2.3:2,S", octets("Subject: trash\r\n\r\n"))
            return .directoryWithoutMailbox
        }
    }

    @Test(arguments: Damage.allCases)
    func `every difference is named, repaired, and then gone; no message is lost`(
        _ damage: Damage
    ) throws {
        let box = try Sandbox()
        try prepared(box)
        let kind = try harm(box, damage)
        let account = try box.account()
        let found = try check(account)
        #expect(found.findings.contains { $0.kind == kind }, "\(damage): \(found.findings)")
        let repaired = try check(account, repair: true)
        let isLeft = [.foreignObject, .subscription].contains(damage)
        #expect(
            repaired.findings.filter { $0.kind == kind }.allSatisfy(\.isRepaired) || isLeft,
            "\(damage): \(repaired.findings)")
        let after = try check(account)
        let left: Set<Damage> = [.foreignObject, .subscription, .directoryInCur]
        #expect(after.findings.isEmpty || left.contains(damage), "\(damage): \(after.findings)")
        let subjects = Set(try account.subjects().values)
        #expect(subjects.isSuperset(of: ["m2", "m3", "m4", "m5"]))
        #expect(subjects.contains("m1") == (damage != .rowWithoutFile))
        switch damage {
        case .directoryInCur, .messageInRoot, .strayDirectory, .trash:
            #expect(try account.subjects(name("lost+found")).count == 1)
            #expect(try account.list().contains { $0.name.text == "lost+found" })
        case .badName: #expect(subjects.contains("odd"))
        case .date: #expect(try account.snapshot(inbox).entries[0].internalDate != 1_000_000)
        case .otherUID:
            #expect(box.files().contains { $0.contains(",U=77:") })
            #expect(try account.snapshot(inbox).entries.last?.uid == 77)
        case .uidBeyondNext: #expect(try account.add("next").uid == 6)
        case .modSeqBeyond: #expect(try account.snapshot(inbox).highestModSeq >= 50_000)
        case .size:
            let entry = try account.snapshot(inbox).entries[0]
            #expect(Int(entry.size) == message("m1").count + 6)
        default: break
        }
        // The index says the same when it is made again.
        let before = try account.snapshot(inbox)
        try account.rebuildIndex()
        let again = try account.snapshot(inbox)
        #expect(again.entries.map(\.uid) == before.entries.map(\.uid))
        #expect(again.entries.map(\.size) == before.entries.map(\.size))
        #expect(again.entries.map(\.flags) == before.entries.map(\.flags))
        #expect(again.entries.map(\.internalDate) == before.entries.map(\.internalDate))
        #expect(again.highestModSeq > before.highestModSeq)
    }

    @Test func `a damaged database is found and made again`() throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = account.append(
            batch: (0..<300).map {
                PendingAppend(mailbox: inbox, source: .octets(message("m\($0)")))
            })
        let before = try account.subjects()
        try account.close()
        let path = box.home() + "/index.sqlite"
        var bytes = try #require(readFile(path))
        for index in (bytes.count / 2 / 4_096 * 4_096)..<bytes.count { bytes[index] = 0x5A }
        writeFile(path, bytes)
        let damaged = try box.account()
        let report = try? check(damaged, repair: true)
        if let report { #expect(report.findings.contains { $0.kind == .damagedIndex }) }
        #expect(try check(damaged, repair: true).findings.isEmpty)
        #expect(try damaged.subjects() == before)
    }

    @Test func `optimizing changes nothing but the size`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...200 { try account.add("m\(number)") }
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 190)], force: true)
        let before = try account.snapshot(inbox)
        let octets = try account.optimizeIndex()
        #expect(octets.after < octets.before)
        #expect(try account.snapshot(inbox) == before)
    }
}

@Suite("indexes removed, replaced or without their log")
struct RemovedIndexTests {
    @Test(arguments: [true, false])
    func `an index removed under a running store is made again with every flag`(_ all: Bool) throws
    {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...5 { try account.add("m\(number)") }
        try account.add("sent", to: name("Sent"))
        let id = try account.snapshot(inbox).id
        _ = try account.store(id, 3, .add, [.flagged, .seen], ["work"])
        _ = try account.expunge(id, uids: [UIDRange(2, 2)], force: true)
        let before = try account.snapshot(inbox)
        let list = try account.list()
        _ = account.takeChanges()
        if all { box.removeIndex() } else { unlink(box.home() + "/index.sqlite") }
        let after = try account.snapshot(inbox)
        #expect(exists(box.home() + "/index.sqlite"))
        #expect(after.id == before.id && after.uidValidity == before.uidValidity)
        #expect(after.entries.map(\.uid) == [1, 3, 4, 5])
        #expect(after.entries.map(\.flags) == before.entries.map(\.flags))
        #expect(after.entries.map(\.internalDate) == before.entries.map(\.internalDate))
        #expect(after.keywords == before.keywords)
        #expect(after.highestModSeq > before.highestModSeq)
        #expect(after.uidNext >= before.uidNext)
        #expect(try account.list() == list)
        // Whoever watches is told.
        #expect(account.takeChanges().contains { $0.mailbox == id })
        #expect(try account.changes(id, since: before.highestModSeq).vanished.contains(2))
        #expect(try account.add("next").uid >= before.uidNext)
        account.abandon()
        let again = try box.account()
        #expect(try again.snapshot(inbox).entries.count == 5)
    }

    @Test func `a log removed under a running store loses nothing`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...5 { try account.add("m\(number)", .flagged) }
        let before = try account.snapshot(inbox)
        unlink(box.home() + "/index.sqlite-wal")
        #expect(try account.snapshot(inbox) == before)
        try account.add("m6")
        account.abandon()
        let again = try box.account()
        #expect(try again.subjects().count == 6)
        #expect(try again.snapshot(inbox).highestModSeq >= before.highestModSeq)
    }

    @Test func `without the log of a crash no MODSEQ goes back and no message is lost`() throws {
        let box = try Sandbox()
        let first = try box.account()
        try first.add("m1")
        try first.close()
        let account = try box.account()
        for number in 2...6 { try account.add("m\(number)") }
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(4, 4)], force: true)
        try account.finishRetiring()
        let before = try account.snapshot(inbox)
        account.abandon()
        #expect(unlink(box.home() + "/index.sqlite-wal") == 0)
        let again = try box.account()
        let after = try again.snapshot(inbox)
        #expect(after.entries.map(\.uid) == before.entries.map(\.uid))
        #expect(after.highestModSeq > before.highestModSeq)
        #expect(after.uidNext >= before.uidNext)
        #expect(try again.subjects().values.sorted() == ["m1", "m2", "m3", "m5", "m6"])
    }

    @Test func `an index from a backup of the same thousand is noticed`() throws {
        let box = try Sandbox()
        let first = try box.account()
        try first.add("m1")
        try first.close()
        let backup = try #require(readFile(box.home() + "/index.sqlite"))
        let account = try box.account()
        let last = try account.add("m2").uid
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(last, last)], force: true)
        let before = try account.snapshot(inbox)
        try account.close()
        writeFile(box.home() + "/index.sqlite", backup)
        let again = try box.account()
        #expect(try again.snapshot(inbox).highestModSeq > before.highestModSeq)
        #expect(try again.add("m3").uid > last)
    }

    @Test func `closing and opening changes no number`() throws {
        let box = try Sandbox()
        var before: MailboxSnapshot?
        for round in 0..<4 {
            let account = try box.account()
            if round == 0 { try account.add("m1") }
            let found = try account.snapshot(inbox)
            if let before { #expect(found == before) }
            before = found
            if round == 2 { account.abandon() } else { try account.close() }
        }
    }
}

@Suite("what the kernel reports of open folders")
struct NoticedTests {
    private func events(_ events: FolderEvent...) -> FolderEvents {
        var all = FolderEvents()
        for event in events { all.add(event) }
        return all
    }

    @Test func `our own changes cause no comparison`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let id = try account.snapshot(inbox).id
        let old = octets(box.files()[0])
        _ = try account.store(id, 1, .add, .seen)
        try account.flushNames(limit: 10)
        let new = octets(box.files()[0])
        _ = account.takeComparisons()
        try account.noticed(id, events(.appeared(old), .gone(old), .appeared(new)))
        #expect(account.takeComparisons() == 0)
        _ = try account.expunge(id, uids: [UIDRange(1, 1)], force: true)
        try account.noticed(id, events(.gone(new), .appeared(octets(".hidden"))))
        #expect(account.takeComparisons() == 0)
    }

    @Test func `a change in the same tick as ours is noticed by its name`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let id = try account.snapshot(inbox).id
        let cur = box.home() + "/Maildir/cur/"
        var status = stat()
        stat(cur, &status)
        let old = box.files()[0]
        rename(cur + old, cur + old + "F")
        // As if it had happened in that tick.
        let times = [status.st_mtim, status.st_mtim]
        utimensat(AT_FDCWD, cur, times, 0)
        try account.noticed(id, events(.gone(octets(old)), .appeared(octets(old + "F"))))
        #expect(try account.snapshot(inbox).entries[0].flags == .flagged)
    }

    @Test func `lost events, deliveries and moved folders are looked at`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", to: name("Sent"))
        let id = try account.snapshot(name("Sent")).id
        let maildir = box.home() + "/Maildir/"
        writeFile(maildir + ".Sent/new/1700000000.M1P1.host", octets("Subject: two\n\n"))
        try account.noticed(id, events(.delivered))
        #expect(account.takeChanges().contains { $0.mailbox == id })
        _ = account.takeComparisons()
        try account.noticed(id, events(.lost))
        #expect(account.takeComparisons() == 1)
        run("/bin/rm", "-rf", maildir + ".Sent")
        _ = account.takeChanges()
        try account.noticed(id, events(.moved))
        #expect(account.takeChanges().first { $0.mailbox == id }?.isGone == true)
    }

    @Test func `a file taken in half written becomes another message when it is whole`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let cur = box.home() + "/Maildir/cur/"
        writeFile(cur + "1700000000.M1P1.host:2,S", octets("Subject: ha"))
        let before = try account.snapshot(inbox)
        let name = try #require(box.files().first)
        writeFile(cur + name, octets("Subject: whole\r\n\r\nbody\r\n"))
        try account.noticed(before.id, events(.written(octets(name))))
        let after = try account.snapshot(inbox)
        #expect(after.entries.count == 1)
        #expect(after.entries[0].uid > before.entries[0].uid)
        #expect(after.entries[0].size == 24)
        #expect(after.entries[0].flags == .seen)
        #expect(try account.subjects().values.sorted() == ["whole"])
    }
}
