// SPDX-License-Identifier: Apache-2.0
//
// Another name for a domain, stopped at every state; an account that comes back from a copy of the
// directory with all that belonged to it. docs/store.md, "The directory".

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("domains that are renamed")
struct DomainRenameTests {
    /// A domain with alice, bob and aliases, and mail for alice; other.test with dora.
    private final class World {
        let box: Sandbox
        private(set) var directory: Directory

        init(_ domain: String = "example.net") throws {
            box = try Sandbox()
            directory = try Directory.open(stateDirectory: box.path + "/state", configured: [])
            for name in [domain, "other.test", "stands.test"] {
                try directory.addDomain(octets(name))
            }
            let (alice, bob) = (address("alice@\(domain)"), address("bob@\(domain)"))
            let dora = address("dora@other.test")
            for account in [alice, bob, dora] {
                try directory.addAccount(account, passwordHash: octets("$") + account.local)
            }
            try directory.setAliasOf(octets("stands.test"), octets(domain))
            try directory.setQuota(domain: octets(domain), octets: 77)
            try directory.setQuota(bob, messages: 9)
            try directory.setState(bob, .loginDisabled)
            try directory.addAliases(
                [
                    Alias(address: address("team@\(domain)"), targets: [alice, dora]),
                    Alias(address: address("friends@other.test"), targets: [bob]),
                ], replacing: false, force: false)
            try directory.addSender(alice, to: dora)
            try directory.addSender(address("x@y.test"), to: alice)
            let account = try box.account(alice)
            _ = try account.append(
                PendingAppend(mailbox: .inbox, source: .octets(DomainRenameTests.letter("one"))))
            try account.close()
        }

        func rename(
            _ old: String, _ new: String, keepAlias: Bool = false,
            before: () throws(StoreError) -> Void = {}, after: () throws(StoreError) -> Void = {}
        ) throws {
            let root = box.root
            try root.forgetDeliveries(
                try directory.accounts(in: octets(old)).map(\.address))
            try directory.renameDomain(octets(old), to: octets(new), keepAlias: keepAlias) {
                () throws(StoreError) in
                try before()
                try root.renameDomain(octets(old), to: octets(new))
                try after()
            }
        }

        /// As the next start does it.
        func restart() throws {
            directory.close()
            directory = try Directory.open(stateDirectory: box.path + "/state", configured: [])
            let root = box.root
            try directory.finishRenames(
                { _, _ in Issue.record("no account is being renamed") },
                domain: { old, new throws(StoreError) in try root.renameDomain(old, to: new) })
        }

        /// Everything that the directory says, without times.
        func said() throws -> [String] {
            var lines = try directory.domains().map {
                "\(String(decoding: $0.name, as: UTF8.self)) \($0.accounts)"
            }
            for name in ["example.net", "example.org", "stands.test"] {
                let policy = try directory.domainPolicy(octets(name))
                lines.append(
                    "\(name) \(String(decoding: policy.aliasOf, as: UTF8.self)) \(policy.quota)")
            }
            for row in try directory.rows(in: nil) {
                let account = row.account.address
                let hash = try #require(try directory.passwordHash(account))
                lines.append(
                    "\(account.text) \(row.account.state) \(row.quota) "
                        + String(decoding: hash, as: UTF8.self) + " "
                        + (try directory.senders(account).map(\.text)).joined(separator: ","))
            }
            lines += try directory.aliases(in: nil).map {
                "\($0.address.text) -> \($0.targets.map(\.text).joined(separator: " "))"
            }
            return lines
        }

        func mail(_ text: String) throws -> [[UInt8]] {
            try box.files("", address(text)).map { name in
                try #require(readFile("\(box.home(address(text)))/Maildir/cur/\(name)"))
            }
        }
    }

    fileprivate static func letter(_ text: String) -> [UInt8] {
        octets("Subject: \(text)\r\n\r\n\(text)\r\n")
    }

    @Test func `accounts, mail, aliases, rights and quota go along`() throws {
        let world = try World()
        try world.rename("EXAMPLE.net", "example.org")
        #expect(try world.said() == World("example.org").said())
        #expect(try !world.directory.hasDomain(octets("example.net")))
        #expect(try world.mail("alice@example.org") == [Self.letter("one")])
        #expect(names(world.box.path + "/mail").filter { !$0.hasPrefix(".") } == ["example.org"])
        #expect(
            try world.directory.expand(address("team@stands.test")).accounts.map(\.address.text)
                == ["alice@example.org", "dora@other.test"])
    }

    @Test func `the old name can stand for the new one, and they can change places`() throws {
        let world = try World()
        try world.rename("example.net", "example.org", keepAlias: true)
        #expect(
            try world.directory.expand(address("alice@example.net")).accounts.map(\.address.text)
                == ["alice@example.org"])
        // Back: the domain that stood for it is the real one again.
        try world.rename("example.org", "example.net", keepAlias: true)
        #expect(
            try world.directory.expand(address("bob@example.org")).accounts.map(\.address.text)
                == ["bob@example.net"])
        #expect(try world.mail("alice@example.net") == [Self.letter("one")])
    }

    @Test func `what cannot be is refused and changes nothing`() throws {
        let world = try World()
        let before = try world.said()
        func kind(_ body: () throws -> Void) -> AddressProblem.Kind? {
            do {
                try body()
            } catch StoreError.address(let problem) {
                return problem.kind
            } catch {
                Issue.record("\(error)")
            }
            return nil
        }
        #expect(kind { try world.rename("example.net", "other.test") } == .exists)
        #expect(kind { try world.rename("example.net", "example.net") } == .exists)
        #expect(kind { try world.rename("example.net", "no domain") } == .badAddress)
        #expect(kind { try world.rename("stands.test", "new.test") } == .aliasDomain)
        #expect(throws: StoreError.noSuchDomain) { try world.rename("no.test", "new.test") }
        // Mail of somebody who was there before.
        let left = world.box.path + "/mail/example.org"
        try #require(mkdir(left, 0o700) == 0)
        try #require(mkdir(left + "/somebody", 0o700) == 0)
        #expect(throws: StoreError.alreadyExists) {
            try world.rename("example.net", "example.org")
        }
        #expect(try world.said() == before)
        try world.restart()
        #expect(try world.said() == before)
        #expect(try world.mail("alice@example.net") == [Self.letter("one")])
        // An empty directory is none.
        rmdir(left + "/somebody")
        try world.rename("example.net", "example.org")
        #expect(try world.mail("alice@example.org") == [Self.letter("one")])
    }

    @Test(arguments: [true, false])
    func `a crash at M1 is finished at the next start`(_ isMoved: Bool) throws {
        let world = try World()
        let whole = try World()
        try whole.rename("example.net", "example.org", keepAlias: true)
        #expect(throws: StoreError.noSpace) {
            try world.rename(
                "example.net", "example.org", keepAlias: true,
                before: { () throws(StoreError) in if !isMoved { throw .noSpace } },
                after: { () throws(StoreError) in throw .noSpace })
        }
        #expect(try world.directory.account(address("alice@example.net")) != nil)
        try world.restart()
        #expect(try world.said() == whole.said())
        #expect(try world.mail("alice@example.org") == [Self.letter("one")])
        #expect(names(world.box.path + "/mail").filter { !$0.hasPrefix(".") } == ["example.org"])
        // Once is enough.
        try world.restart()
        #expect(try world.said() == whole.said())
    }

    @Test func `what the log has of a renamed domain is not stored under the old name`() throws {
        let world = try World()
        try world.box.root.rollBackDeliveries()
        let entry = LogEntry(
            targets: [
                LogEntry.Target(
                    address: address("bob@example.net"), unique: world.box.root.makeUniqueName(),
                    mailbox: .inbox)
            ], flags: NamedFlags(), date: 1_700_000_000, octets: Self.letter("logged"))
        guard case .written = world.box.root.log.write(entry) else {
            Issue.record("not written")
            return
        }
        try world.rename("example.net", "example.org")
        let again = try Sandbox(path: try world.box.copied())
        try again.root.rollBackDeliveries()
        #expect(names(again.path + "/mail").filter { !$0.hasPrefix(".") } == ["example.org"])
    }

    @Test func `an account that was removed comes back from a copy with all that it had`() throws {
        let world = try World()
        let (bob, alice) = (address("bob@example.net"), address("alice@example.net"))
        let before = try world.said()
        let copied = try #require(try world.directory.copy().take())
        let copy = readAll(copied)
        close(copied)
        // Bob goes, and so does what leads to him; team leads to others by now.
        try world.directory.removeAccount(bob)
        try world.directory.removeAliases([
            Alias(address: address("friends@other.test"), targets: [])
        ])
        try world.directory.removeAccount(alice)
        try world.directory.removeAliases([
            Alias(address: address("team@example.net"), targets: [alice])
        ])
        let staged = try world.box.root.staging.stage(copy)
        #expect(try world.directory.restore(from: staged, account: bob).accounts == 1)
        let again = try world.box.root.staging.stage(copy)
        #expect(try world.directory.restore(from: again, account: alice).accounts == 1)
        // As before, but that the target that came back is the last.
        let expected = before.map {
            $0 == "team@example.net -> alice@example.net dora@other.test"
                ? "team@example.net -> dora@other.test alice@example.net" : $0
        }
        #expect(try world.said() == expected)
        // Who is there stays as they are.
        try world.directory.removeSender(address("x@y.test"), from: alice)
        let third = try world.box.root.staging.stage(copy)
        #expect(try world.directory.restore(from: third, account: alice).rows == 0)
        #expect(try world.directory.senders(alice) == [])
    }

    @Test func `the time of the last backup is remembered`() throws {
        let world = try World()
        #expect(try world.directory.lastBackup() == nil)
        try world.directory.noteBackup(1_700_000_123)
        try world.restart()
        #expect(try world.directory.lastBackup() == 1_700_000_123)
    }
}
