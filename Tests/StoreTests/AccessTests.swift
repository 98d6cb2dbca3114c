// SPDX-License-Identifier: Apache-2.0
//
// Keys, app passwords and bans in the directory, and a directory of version 2 that gets them.

import Bytes
import Crypto
import Glibc
import Mail
import Testing

@testable import Store

private let alice = EmailAddress(local: Array("alice"), domain: Array("example.test"))
private let bob = EmailAddress(local: Array("bob"), domain: Array("example.test"))

private func open(_ box: Sandbox) throws -> Directory {
    try Directory.open(stateDirectory: box.path, configured: [Array("example.test")])
}

@Suite("Access to accounts")
struct AccessTests {
    @Test func `a directory of version 2 keeps all it had`() throws {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        let box = try Sandbox()
        #expect(
            run("/bin/cp", "/\(tests)/Fixtures/directory-2/directory.sqlite", box.path) == 0)
        let directory = try open(box)
        #expect(directory.migratedFrom == 2)
        #expect(try directory.accounts(in: nil).count == 3)
        let carol = EmailAddress(local: Array("carol"), domain: Array("example.test"))
        let secrets = try #require(try directory.secrets(carol))
        #expect(try PasswordHash.verify(Array("pw-of-carol".utf8), secrets.hash))
        #expect(secrets.scram == nil && secrets.sha256 == nil && secrets.cram == nil)
        #expect(try directory.policy(carol)?.state == .disabled)
        #expect(try directory.policy(bob)?.quota.octets == 1_073_741_824)
        #expect(try directory.senders(alice).count == 1)
        #expect(try directory.aliasCount(Array("example.test")) == 1)
        #expect(try directory.appPasswords(alice).isEmpty)
        #expect(try directory.bans().isEmpty)
        directory.close()
        #expect(exists(box.path + "/directory.sqlite.before-v2"))
        let again = try open(box)
        #expect(again.migratedFrom == nil)
        again.close()
    }

    @Test func `keys go with the password, the salt stays`() throws {
        let box = try Sandbox()
        let directory = try open(box)
        let salt = ScramSalt.make()
        let keys = PasswordKeys(password: Array("one".utf8), salt, sha1: true)
        try directory.addAccount(alice, passwordHash: Array("h1".utf8), keys: keys)
        #expect(try directory.scramSalt(alice) == salt)
        #expect(try directory.secrets(alice)?.sha1 != nil)
        try directory.setCram(alice, CramSecret(password: Array("one".utf8)))
        // A hash without the password: nothing of the old one may be left.
        try directory.setPassword(alice, passwordHash: Array("h2".utf8))
        let secrets = try #require(try directory.secrets(alice))
        #expect(secrets.sha1 == nil && secrets.sha256 == nil && secrets.cram == nil)
        #expect(secrets.scram == salt)
        // A rehash loses against a password that was set meanwhile.
        try directory.refresh(alice, from: Array("h1".utf8), hash: Array("h3".utf8), keys: keys)
        #expect(try directory.secrets(alice)?.hash == Array("h2".utf8))
        try directory.refresh(alice, from: Array("h2".utf8), hash: Array("h3".utf8), keys: keys)
        #expect(try directory.secrets(alice)?.hash == Array("h3".utf8))
        #expect(try directory.secrets(alice)?.sha256?.octets == keys.sha256)
        #expect(throws: StoreError.noSuchAccount) { try directory.scramSalt(bob) }
        directory.close()
    }

    @Test func `app passwords follow a rename, go with the account, and have a limit`() throws {
        let box = try Sandbox()
        let directory = try open(box)
        try directory.addAccount(alice, passwordHash: Array("h".utf8))
        let salt = try directory.scramSalt(alice)
        let keys = PasswordKeys(password: Array("p".utf8), salt, sha1: false)
        for number in 1...Directory.appPasswordLimit {
            let id = try directory.addAppPassword(
                alice, name: Array("n\(number)".utf8), scopes: 1, expires: 0, keys: keys)
            #expect(id == UInt32(number))
        }
        #expect(throws: StoreError.limit) {
            try directory.addAppPassword(
                alice, name: [1], scopes: 1, expires: 0, keys: keys)
        }
        #expect(try directory.removeAppPassword(alice, id: 7))
        #expect(try !directory.removeAppPassword(alice, id: 7))
        try directory.noteAppPassword(alice, id: 8, at: 99)
        try directory.renameAccount(alice, to: bob, keepAlias: false) {}
        #expect(try directory.appPasswords(alice).isEmpty)
        let rows = try directory.appPasswords(bob)
        #expect(rows.count == Directory.appPasswordLimit - 1)
        #expect(rows.first { $0.id == 8 }?.used == 99)
        try directory.removeAccount(bob)
        #expect(try directory.appPasswords(bob).isEmpty)
        directory.close()
    }

    @Test func `directory backup as text holds all of it`() throws {
        let box = try Sandbox()
        let directory = try open(box)
        let salt = ScramSalt.make()
        let keys = PasswordKeys(password: Array("one".utf8), salt, sha1: true)
        try directory.addAccount(alice, passwordHash: Array("h1".utf8), keys: keys)
        try directory.setCram(alice, CramSecret(password: Array("one".utf8)))
        _ = try directory.addAppPassword(
            alice, name: Array("my phone".utf8), scopes: 3, expires: 5, keys: keys)
        try directory.addBan(DirectoryBan(network: Array("192.0.2.1".utf8), since: 1, until: 0))
        let before = try (directory.secrets(alice), directory.appPasswords(alice))
        try directory.writeCopy()
        directory.close()
        for name in ["", "-wal", "-shm"] { unlink(box.path + "/directory.sqlite" + name) }
        let again = try open(box)
        #expect(again.isRestored)
        #expect(try again.secrets(alice) == before.0)
        #expect(try again.appPasswords(alice) == before.1)
        #expect(try again.bans().map(\.until) == [0])
        again.close()
    }

    @Test func `the secret of an installation stays`() throws {
        let box = try Sandbox()
        let directory = try open(box)
        let secret = try directory.secret("x")
        #expect(secret.count == 32)
        #expect(try directory.secret("y") != secret)
        directory.close()
        let again = try open(box)
        #expect(try again.secret("x") == secret)
        again.close()
    }
}
