// SPDX-License-Identifier: Apache-2.0
//
// A store that an earlier release wrote opens with everything in it: Tests/Fixtures; docs/store.md,
// "Versions".

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

/// The releases whose stores must open, by the version of their databases.
private let releases = [1, 2]

private enum Fixture {
    static let alice = EmailAddress(local: octets("alice"), domain: octets("example.net"))
    static let bob = EmailAddress(local: octets("bob"), domain: octets("example.net"))
    static let carol = EmailAddress(
        local: octets("carol"), domain: octets("xn--bcher-kva.example"))
    static let accounts = [alice, bob, carol]

    static func path(_ release: Int, _ name: String) -> String {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(tests)/Fixtures/store-\(release)/\(name)"
    }

    /// What the release itself said about its store.
    static func expected(_ release: Int) throws -> [String] {
        let text = try #require(readFile(path(release, "expected.txt")))
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    static func unpack(_ release: Int) throws -> Sandbox {
        let place = Sandbox.temporary()
        let archive = path(release, "store.tar.gz")
        try #require(run("/bin/tar", "-xzf", archive, "-C", place) == 0)
        return try Sandbox(path: place)
    }

    static func directory(_ box: Sandbox) throws -> Directory {
        try Directory.open(stateDirectory: box.path, configured: [octets("example.net")])
    }

    static func describe(_ box: Sandbox) throws -> [String] {
        try box.root.rollBackDeliveries()
        let directory = try directory(box)
        defer { directory.close() }
        var lines = try report(directory)
        for who in accounts { lines += try report(box.root, who) }
        return lines
    }
}

@Suite("stores of earlier releases")
struct FixtureTests {
    @Test(arguments: releases)
    func `everything is there as the release itself saw it`(_ release: Int) throws {
        let expected = try Fixture.expected(release)
        #expect(expected.count > 100)
        let box = try Fixture.unpack(release)
        let found = try Fixture.describe(box)
        for (line, wanted) in zip(found, expected) { #expect(line == wanted) }
        #expect(found.count == expected.count)
        // And once more, now that it is of this version.
        #expect(try Fixture.describe(box) == found)
        let moved = box.notices.all.filter { $0.kind == .indexRebuilt || $0.kind == .postponed }
        #expect(moved == [])
    }

    @Test(arguments: releases)
    func `its directory can be rolled back, whenever a crash comes`(_ release: Int) throws {
        let box = try Fixture.unpack(release)
        let file = box.path + "/directory.sqlite"
        let before = try tables(file)
        let directory = try Fixture.directory(box)
        guard directory.migratedFrom != nil else { return }
        try directory.addDomain(octets("later.test"))
        let late = EmailAddress(local: octets("late"), domain: octets("later.test"))
        try directory.addAccount(late, passwordHash: octets("$h"))
        try directory.setPassword(Fixture.alice, passwordHash: octets("$new"))
        try directory.addAliases(
            [Alias(address: EmailAddress(local: [], domain: late.domain), targets: [late])],
            replacing: false, force: false)
        directory.close()
        let after = try tables(file)
        #expect(throws: StoreError.inUse) {
            try StoreRollback.prepare(stateDirectory: box.path, maildirRoot: box.path + "/mail")
        }
        /// Stops at a state, then goes on as the owner would.
        for stop in [DurableState?.none, .rollbackKept, .rollbackDone] {
            let place = Sandbox.temporary()
            defer { run("/bin/rm", "-rf", place) }
            try #require(run("/bin/cp", "-a", box.path + "/.", place) == 0)
            struct Stop: Error {}
            func prepare() throws -> StoreRollback? {
                try StoreRollback.prepare(stateDirectory: place, maildirRoot: place + "/mail")
            }
            var copies: [String] = []
            do {
                let rollback = try #require(try prepare())
                #expect(rollback.plan.keptVersion == Int64(release))
                #expect(!rollback.plan.hasUnstoredMail)
                let losses = rollback.plan.losses
                #expect(losses.map(\.kind) == ["domains", "accounts", "aliases", "new passwords"])
                #expect(
                    losses.map(\.names) == [
                        ["later.test"], ["late@later.test"], ["@later.test -> late@later.test"],
                        [Fixture.alice.text],
                    ])
                try rollback.carryOut { state in
                    guard state == stop else { return }
                    let copy = Sandbox.temporary()
                    #expect(run("/bin/cp", "-a", place + "/.", copy) == 0)
                    copies.append(copy)
                }
                #expect(try tables(place + "/directory.sqlite") == before)
                #expect(try tables(place + "/" + rollback.plan.putAside) == after)
            }
            #expect(try prepare() == nil)
            for copy in copies {
                defer { run("/bin/rm", "-rf", copy) }
                // The database is one or the other, whole; begun again it ends as it should.
                let found = try tables(copy + "/directory.sqlite")
                #expect(found == (stop == .rollbackKept ? after : before))
                try StoreRollback.prepare(stateDirectory: copy, maildirRoot: copy + "/mail")?
                    .carryOut()
                #expect(try tables(copy + "/directory.sqlite") == before)
            }
        }
    }

    @Test(arguments: releases)
    func `without its index every UID, flag, keyword, date and octet is the same`(
        _ release: Int
    ) throws {
        let box = try Fixture.unpack(release)
        box.removeIndex(Fixture.alice)
        let expected = try Fixture.expected(release)
        let start = try #require(expected.lastIndex { $0 == "account alice@example.net" })
        let end = try #require(expected.lastIndex { $0 == "account bob@example.net" })
        try box.root.rollBackDeliveries()
        let found = try report(box.root, Fixture.alice)
        #expect(found.map(lasting) == expected[start..<end].map(lasting))
        #expect(found.count > 40)
    }

    /// Without what a new index may count differently.
    private func lasting(_ line: String) -> String {
        line.hasPrefix("  vanished=")
            ? "vanished"
            : line.split(separator: " ")
                .filter { !$0.hasPrefix("modseq=") && !$0.hasPrefix("uidnext=") }
                .joined(separator: " ")
    }

    @Test(arguments: releases)
    func `a migrated database has the tables of a new one`(_ release: Int) throws {
        let old = try Fixture.unpack(release)
        try old.account(Fixture.alice).close()
        try Fixture.directory(old).close()
        let new = try Sandbox()
        try new.account().close()
        try Directory.open(stateDirectory: new.path, configured: []).close()
        #expect(
            try columns(old.home(Fixture.alice) + "/index.sqlite")
                == columns(new.home() + "/index.sqlite"))
        #expect(
            try columns(old.path + "/directory.sqlite")
                == columns(new.path + "/directory.sqlite"))
    }

    /// Tables and their numbers of rows.
    private func tables(_ path: String) throws -> [String] {
        let database = try Database.open(path)
        defer { database.close(checkpoint: true) }
        var found = ["version \(try database.number("PRAGMA user_version"))"]
        for table in try database.tables() {
            found.append("\(table) \(try database.number(text: "SELECT count(*) FROM \(table)"))")
        }
        return found
    }

    /// Every column and index, whatever the words it was made with.
    private func columns(_ path: String) throws -> [String] {
        let database = try Database.open(path)
        defer { database.close(checkpoint: true) }
        let rows = try database.statement(
            0,
            """
            SELECT m.type || ' ' || m.name || ' ' || coalesce(c.name, '') || ' '
              || coalesce(c.type, '') || ' ' || coalesce(c."notnull", '') || ' '
              || coalesce(c.pk, '') || ' ' || coalesce(c.dflt_value, '')
              FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c
              WHERE m.name NOT LIKE 'sqlite|_%' ESCAPE '|' ORDER BY m.type, m.name, c.name
            """)
        var found: [String] = []
        while try rows.step() { found.append(String(decoding: rows.octets(0), as: UTF8.self)) }
        #expect(found.count > 3)
        return found
    }
}

private func hex(_ octets: [UInt8]) -> String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in octets { hash = (hash ^ UInt64(octet)) &* 0x100_0000_01B3 }
    return String(hash, radix: 16)
}

private func content(_ account: AccountStore, _ id: MailboxID, _ uid: UInt32) throws -> [UInt8] {
    guard case .octets(let octets) = try account.read(id, uid: uid, .whole, inlineLimit: 1 << 20)
    else { return [] }
    return octets
}

private func report(_ root: MailRoot, _ who: EmailAddress) throws -> [String] {
    let account = try root.openAccount(who)
    defer { account.abandon() }
    var lines = ["account \(who.text)"]
    for info in try account.list() {
        lines.append(
            "mailbox \(info.name.text) use=\(info.specialUse) selectable=\(info.isSelectable) "
                + "subscribed=\(info.isSubscribed)")
        guard info.isSelectable else { continue }
        let box = try account.snapshot(info.name)
        lines.append(
            "  id=\(box.id.rawValue) uidvalidity=\(box.uidValidity) uidnext=\(box.uidNext) "
                + "modseq=\(box.highestModSeq) keywords="
                + box.keywords.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ","))
        for entry in box.entries {
            lines.append(
                "  \(entry.uid) flags=\(entry.flags.rawValue) modseq=\(entry.modSeq) "
                    + "size=\(entry.size) date=\(entry.internalDate) "
                    + "octets=\(hex(try content(account, box.id, entry.uid)))")
        }
        let vanished = try account.changes(box.id, since: 1).vanished
        lines.append("  vanished=\(vanished)")
    }
    return lines
}

private func report(_ directory: Directory) throws -> [String] {
    var lines: [String] = []
    for domain in try directory.domains() {
        lines.append(
            "domain \(String(decoding: domain.name, as: UTF8.self)) accounts=\(domain.accounts) "
                + "configured=\(domain.isConfigured)")
    }
    for account in try directory.accounts(in: nil) {
        let hash = try directory.passwordHash(account.address) ?? []
        lines.append(
            "account \(account.address.text) created=\(account.created) "
                + "hash=\(String(decoding: hash, as: UTF8.self))")
    }
    return lines
}
