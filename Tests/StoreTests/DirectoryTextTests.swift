// SPDX-License-Identifier: Apache-2.0
//
// A directory that was lost or damaged and is made again from `directory.backup`.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("the copy of the directory")
struct DirectoryTextTests {
    private let path = Sandbox.temporary()
    private let hash = octets("$argon2id$v=19$m=1,t=1,p=1$AAAA$%41 b")

    private func open() throws -> Directory {
        try Directory.open(stateDirectory: path + "/state", configured: [octets("conf.test")])
    }

    private func filled() throws -> Directory {
        let directory = try open()
        try directory.addDomain(octets("example.net"))
        try directory.addAccount(Sandbox.alice, passwordHash: hash)
        try directory.addAccount(Sandbox.bob, passwordHash: hash)
        try directory.setState(Sandbox.bob, .disabled)
        try directory.setQuota(Sandbox.alice, octets: 1 << 40)
        try directory.setQuota(Sandbox.alice, messages: nil)
        return directory
    }

    private func expectFilled(_ directory: Directory) throws {
        #expect(
            try directory.accounts(in: nil).map(\.address) == [Sandbox.alice, Sandbox.bob])
        #expect(try directory.hasDomain(octets("example.net")))
        #expect(try directory.policy(Sandbox.bob)?.state == .disabled)
        #expect(try directory.policy(Sandbox.alice)?.quota.octets == 1 << 40)
        #expect(try directory.policy(Sandbox.alice)?.quota.messages == nil)
    }

    private func removeDatabase() {
        for name in names(path + "/state") where name.hasPrefix("directory.sqlite") {
            unlink("\(path)/state/\(name)")
        }
    }

    @Test func `a lost database comes back with everything`() throws {
        defer { run("/bin/rm", "-rf", path) }
        let directory = try filled()
        try directory.writeCopy()
        let created = try directory.accounts(in: nil).map(\.created)
        directory.close()
        removeDatabase()
        let again = try open()
        #expect(again.isRestored)
        try expectFilled(again)
        #expect(try again.accounts(in: nil).map(\.created) == created)
        var status = stat()
        stat(path + "/state/directory.backup", &status)
        #expect(status.st_mode & 0o777 == 0o600)
        again.close()
        let third = try open()
        #expect(!third.isRestored)
        try expectFilled(third)
        third.close()
    }

    @Test func `a damaged database is moved aside and made again`() throws {
        defer { run("/bin/rm", "-rf", path) }
        let directory = try filled()
        try directory.writeCopy()
        directory.close()
        let file = path + "/state/directory.sqlite"
        var bytes = try #require(readFile(file))
        for index in 0..<bytes.count { bytes[index] = 0x5A }
        writeFile(file, bytes)
        let again = try open()
        #expect(again.isRestored)
        try expectFilled(again)
        #expect(names(path + "/state").contains { $0.hasPrefix("directory.sqlite.damaged-") })
        again.close()
    }

    @Test(arguments: ["", "martlet-directory 1\n", "martlet-directory 1\ndomains name=a\nend 2\n"])
    func `a copy that is not whole is refused, and refused again`(_ text: String) throws {
        defer { run("/bin/rm", "-rf", path) }
        let directory = try filled()
        directory.close()
        removeDatabase()
        writeFile(path + "/state/directory.backup", octets(text))
        for _ in 0..<2 { #expect(throws: StoreError.self) { _ = try open().isRestored } }
        unlink(path + "/state/directory.backup")
        let empty = try open()
        #expect(try empty.accounts(in: nil).isEmpty)
        empty.close()
    }

    @Test func `a copy follows every change and is written only then`() throws {
        defer { run("/bin/rm", "-rf", path) }
        let directory = try filled()
        try directory.writeCopy()
        let first = readFile(path + "/state/directory.backup")
        unlink(path + "/state/directory.backup")
        try directory.writeCopy()
        #expect(!exists(path + "/state/directory.backup"))
        try directory.removeAccount(Sandbox.bob)
        try directory.writeCopy()
        let second = try #require(readFile(path + "/state/directory.backup"))
        #expect(first != second)
        #expect(!String(decoding: second, as: UTF8.self).contains("local=bob"))
        directory.close()
    }
}
