// SPDX-License-Identifier: Apache-2.0
//
// Databases of earlier releases: stopped at every state of a migration, out of room, and rolled
// back. docs/store.md, "Versions".

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

/// A database of three releases.
private enum History {
    static let create: [StaticString] = ["CREATE TABLE people(name BLOB PRIMARY KEY)"]
    static let toTwo = MigrationStep(
        from: 1, statements: ["ALTER TABLE people ADD COLUMN age INTEGER NOT NULL DEFAULT 7"])
    static let toThree = MigrationStep(
        from: 2,
        statements: [
            "CREATE TABLE pets(owner BLOB)", "INSERT INTO pets SELECT name FROM people",
        ], recounted: ["pets"]
    ) { database throws(StoreError) in
        try database.run("UPDATE people SET age=age+1")
    }

    static func release(
        _ version: Int64, steps: [MigrationStep] = [toTwo, toThree], keepsOld: Bool = true
    ) -> Migration {
        Migration(
            name: "people.sqlite", version: version, statements: create,
            steps: steps.filter { $0.from < version }, keepsOld: keepsOld)
    }
}

/// A directory with a database of the first release in it.
private final class Place {
    let path: String
    let directory: File

    init(_ given: String? = nil) throws {
        path = given ?? Sandbox.temporary()
        directory = try System.openDirectory(PathOctets(path))
    }

    deinit { run("/bin/rm", "-rf", path) }

    /// - Parameter leaveLog: as a crash would leave it, with rows that are only in the log.
    static func first(leaveLog: Bool = false) throws -> Place {
        let place = try Place()
        let database = try place.open(History.release(1))
        try database.run("INSERT INTO people VALUES('ann'), ('bob'), ('cid')")
        database.close(checkpoint: !leaveLog)
        return place
    }

    func open(_ migration: Migration, _ reached: (DurableState) -> Void = { _ in }) throws
        -> Database
    {
        switch try migration.open(in: directory.descriptor, path: path, reached: reached) {
        case .ready(let database), .new(let database), .migrated(let database, _): return database
        case .unknown(let version): throw StoreError.index("version \(version)", code: 0)
        }
    }

    func people(_ migration: Migration) throws -> Int64 {
        let database = try open(migration)
        defer { database.close(checkpoint: true) }
        return try database.number("SELECT count(*) FROM people")
    }

    func isUnknown(_ migration: Migration) throws -> Bool {
        guard case .unknown = try migration.open(in: directory.descriptor, path: path) else {
            return false
        }
        return true
    }
}

@Suite("migration")
struct MigrationTests {
    @Test(arguments: [false, true])
    func `all steps run, with what was only in the log, and the old file is kept`(
        _ leaveLog: Bool
    ) throws {
        let place = try Place.first(leaveLog: leaveLog)
        var states: [DurableState] = []
        let database = try place.open(History.release(3)) { states.append($0) }
        #expect(states == [.migrationRehearsed, .migrationKept, .migrationDone])
        #expect(try database.number("PRAGMA user_version") == 3)
        #expect(try database.number("SELECT sum(age) FROM people") == 24)
        #expect(try database.number("SELECT count(*) FROM pets") == 3)
        database.close(checkpoint: true)
        #expect(names(place.path) == ["people.sqlite", "people.sqlite.before-v1"])
        guard
            case .ready(let again) = try History.release(3).open(
                in: place.directory.descriptor, path: place.path)
        else {
            Issue.record("a second opening migrates again")
            return
        }
        again.close(checkpoint: true)
    }

    @Test func `a crash at any state loses nothing, and the release before it knows its own`()
        throws
    {
        let place = try Place.first(leaveLog: true)
        var disks: [(DurableState, Place)] = []
        let database = try place.open(History.release(3)) { state in
            for _ in 0..<2 {
                let copy = Sandbox.temporary()
                precondition(run("/bin/cp", "-a", place.path + "/.", copy) == 0)
                do { disks.append((state, try Place(copy))) } catch { Issue.record(error) }
            }
        }
        database.close(checkpoint: true)
        #expect(disks.count == 6)
        for (index, (state, disk)) in disks.enumerated() {
            if index.isMultiple(of: 2) {
                #expect(try disk.people(History.release(3)) == 3, "\(state)")
                #expect(
                    names(disk.path) == ["people.sqlite", "people.sqlite.before-v1"], "\(state)")
            } else if state == .migrationDone {
                #expect(try disk.isUnknown(History.release(1)))
                #expect(try disk.people(History.release(3)) == 3)
            } else {
                #expect(try disk.people(History.release(1)) == 3, "\(state)")
            }
        }
    }

    @Test func `a roll back is one move, and the next upgrade takes what is there then`() throws {
        let place = try Place.first()
        let newer = try place.open(History.release(3))
        try newer.run("INSERT INTO people VALUES('eve', 1)")
        newer.close(checkpoint: false)
        // As docs/store.md has it: the log belongs to the newer file.
        #expect(unlink(place.path + "/people.sqlite-wal") == 0)
        #expect(
            rename(place.path + "/people.sqlite.before-v1", place.path + "/people.sqlite") == 0)
        #expect(try place.people(History.release(1)) == 3)
        let old = try place.open(History.release(1))
        try old.run("INSERT INTO people VALUES('dan')")
        old.close(checkpoint: true)
        #expect(try place.people(History.release(3)) == 4)
    }

    @Test func `only the last version is kept`() throws {
        let place = try Place.first()
        try place.open(History.release(2)).close(checkpoint: true)
        #expect(names(place.path) == ["people.sqlite", "people.sqlite.before-v1"])
        try place.open(History.release(3)).close(checkpoint: true)
        #expect(names(place.path) == ["people.sqlite", "people.sqlite.before-v2"])
    }

    @Test func `nothing is kept of what can be made again`() throws {
        let place = try Place.first()
        try place.open(History.release(3, keepsOld: false)).close(checkpoint: true)
        #expect(names(place.path) == ["people.sqlite"])
    }

    @Test func `a step that loses rows, or cannot run, changes nothing`() throws {
        let losing = MigrationStep(from: 1, statements: ["DELETE FROM people WHERE name='bob'"])
        let dropping = MigrationStep(from: 1, statements: ["DROP TABLE people"])
        let wrong = MigrationStep(from: 1, statements: ["ALTER TABLE nobody ADD COLUMN age"])
        for step in [losing, dropping, wrong] {
            let place = try Place.first()
            #expect {
                _ = try place.open(History.release(2, steps: [step]))
            } throws: { error in
                (error as? StoreError)?.isFailedMigration == true
            }
            #expect(names(place.path) == ["people.sqlite"])
            #expect(try place.people(History.release(1)) == 3)
            #expect(try place.people(History.release(2)) == 3)
        }
    }

    @Test func `a full disk leaves the old file and no other`() throws {
        let full = MigrationStep(
            from: 1,
            statements: [
                "PRAGMA max_page_count=8", "CREATE TABLE large(octets BLOB)",
                "INSERT INTO large VALUES(zeroblob(1000000))",
            ])
        let place = try Place.first()
        #expect(throws: StoreError.noSpace) {
            _ = try place.open(History.release(2, steps: [full]))
        }
        #expect(names(place.path) == ["people.sqlite"])
        #expect(try place.people(History.release(1)) == 3)
    }

    @Test func `a damaged file is reported as damaged and stays`() throws {
        let place = try Place.first()
        let path = place.path + "/people.sqlite"
        var octets = try #require(readFile(path))
        for index in 4_096..<octets.count { octets[index] = 0x5A }
        writeFile(path, octets)
        #expect {
            _ = try place.open(History.release(3))
        } throws: { error in
            (error as? StoreError)?.isCorruption == true
        }
        #expect(readFile(path) == octets)
        #expect(names(place.path) == ["people.sqlite"])
    }

    @Test func `a directory of a later release is refused and stays`() throws {
        let place = try Place()
        try Directory.open(stateDirectory: place.path, configured: []).close()
        let database = try Database.open(place.path + "/directory.sqlite")
        try database.run("PRAGMA user_version=99")
        database.close(checkpoint: true)
        #expect {
            _ = try Directory.open(stateDirectory: place.path, configured: [])
        } throws: { error in
            "\(error)".contains("has version 99")
        }
        #expect(names(place.path) == ["directory.sqlite"])
    }
}
