// SPDX-License-Identifier: Apache-2.0
//
// Domains, accounts and credentials.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("directory")
struct DirectoryTests {
    private func open(_ path: String) throws -> Directory {
        try Directory.open(stateDirectory: path, configured: [octets("Example.NET")])
    }

    @Test func `accounts live in domains, in any case, and survive a restart`() throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        var directory = try open(path)
        let alice = EmailAddress(local: octets("Alice"), domain: octets("EXAMPLE.net"))
        try directory.addAccount(alice, passwordHash: octets("$h"))
        #expect(throws: StoreError.alreadyExists) {
            try directory.addAccount(Sandbox.alice, passwordHash: octets("$h"))
        }
        #expect(try directory.account(alice)?.address == Sandbox.alice)
        try directory.setPassword(alice, passwordHash: octets("$i"))
        directory.close()
        #expect(throws: (any Error).self) { try directory.account(alice) }
        directory = try open(path)
        #expect(try directory.passwordHash(Sandbox.alice) == octets("$i"))
        #expect(try directory.passwordHash(Sandbox.bob) == nil)
        #expect(try directory.accounts(in: nil).map(\.address) == [Sandbox.alice])
        #expect(try directory.accounts(in: octets("other.test")).isEmpty)
        try directory.removeAccount(alice)
        #expect(throws: StoreError.noSuchAccount) { try directory.removeAccount(alice) }
        #expect(throws: StoreError.noSuchAccount) {
            try directory.setPassword(alice, passwordHash: octets("$i"))
        }
        #expect(try directory.account(alice) == nil)
    }

    @Test func `copies that a crash left behind are removed at the next start`() throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        try open(path).close()
        let left = ["directory-copy-1-2.sqlite", "directory-restore-1-2.sqlite-wal"]
        for name in left { writeFile("\(path)/\(name)", octets("hashes")) }
        writeFile("\(path)/directory-copying", octets("not ours"))
        try open(path).close()
        let found = names(path)
        #expect(left.allSatisfy { !found.contains($0) })
        #expect(found.contains("directory-copying") && found.contains("directory.sqlite"))
    }

    @Test func `domains are added, listed and removed when empty`() throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        let directory = try open(path)
        let user = EmailAddress(local: octets("u"), domain: octets("new.test"))
        #expect(throws: StoreError.noSuchDomain) {
            try directory.addAccount(user, passwordHash: octets("$h"))
        }
        try directory.addDomain(octets("NEW.test"))
        #expect(throws: StoreError.alreadyExists) { try directory.addDomain(octets("new.TEST")) }
        #expect(throws: StoreError.alreadyExists) { try directory.addDomain(octets("example.net")) }
        try directory.addAccount(user, passwordHash: octets("$h"))
        #expect(throws: StoreError.notPermitted) { try directory.removeDomain(octets("new.test")) }
        let domains = try directory.domains()
        #expect(domains.map(\.name) == [octets("example.net"), octets("new.test")])
        #expect(domains.map(\.accounts) == [0, 1])
        #expect(domains.map(\.isConfigured) == [true, false])
        try directory.removeAccount(user)
        try directory.removeDomain(octets("new.test"))
        #expect(try !directory.hasDomain(octets("new.test")))
        #expect(throws: StoreError.notPermitted) {
            try directory.removeDomain(octets("example.net"))
        }
        directory.setConfigured([])
        #expect(throws: StoreError.noSuchDomain) {
            try directory.removeDomain(octets("example.net"))
        }
    }

    @Test(arguments: ["", ".", "a..b", "-a.test", "a-.test", "a b", "a/b", "a.test.", "[1.2.3.4]"])
    func `what cannot be a domain is refused`(_ text: String) throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        let directory = try open(path)
        #expect(throws: StoreError.notPermitted) { try directory.addDomain(octets(text)) }
    }

    @Test func `a damaged directory is reported, never replaced`() throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        let junk = [UInt8](repeating: 0x41, count: 8_192)
        writeFile(path + "/directory.sqlite", junk)
        #expect(throws: StoreError.self) { _ = try open(path) }
        #expect(readFile(path + "/directory.sqlite") == junk)
    }
}
