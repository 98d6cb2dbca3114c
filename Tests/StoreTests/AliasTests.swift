// SPDX-License-Identifier: Apache-2.0
//
// Where addresses lead: aliases, alias domains, catch-all, postmaster; rights to send; renaming.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("aliases")
struct AliasTests {
    /// A directory with alice, bob and carol in example.net, and dora in other.test.
    private final class World {
        let path = Sandbox.temporary()
        let directory: Directory

        init() throws {
            directory = try Directory.open(
                stateDirectory: path, configured: [octets("example.net")])
            directory.setRules(AddressRules(separators: [0x2B], hosts: [octets("mx.host")]))
            try directory.addDomain(octets("other.test"))
            for text in [
                "alice@example.net", "bob@example.net", "carol@example.net", "dora@other.test",
            ] {
                try directory.addAccount(address(text), passwordHash: octets("$h"))
            }
        }

        deinit { run("/bin/rm", "-rf", path) }

        func add(_ source: String, _ targets: String..., force: Bool = false) throws {
            try directory.addAliases(
                [Alias(address: address(source), targets: targets.map(address))],
                replacing: false, force: force)
        }

        func remove(_ source: String, _ targets: String...) throws {
            try directory.removeAliases(
                [Alias(address: address(source), targets: targets.map(address))])
        }

        func ends(_ text: String) throws -> [String] {
            try directory.expand(address(text)).accounts.map(\.address.text)
        }

        func problem(_ body: () throws -> Void) -> AddressProblem? {
            do {
                try body()
                return nil
            } catch {
                guard case StoreError.address(let problem) = error else {
                    Issue.record("\(error)")
                    return nil
                }
                return problem
            }
        }
    }

    @Test func `an alias leads to all its targets, in order, each once`() throws {
        let world = try World()
        try world.add("Team@example.net", "bob@example.net", "ALICE@example.net")
        try world.add("all@example.net", "team@example.net", "dora@other.test", "bob@example.net")
        #expect(try world.ends("team@example.net") == ["bob@example.net", "alice@example.net"])
        #expect(
            try world.ends("ALL@EXAMPLE.net")
                == ["bob@example.net", "alice@example.net", "dora@other.test"])
        #expect(try world.ends("all+news@example.net").count == 3)
        try world.remove("all@example.net", "dora@other.test")
        #expect(try world.ends("all@example.net").count == 2)
        #expect(
            world.problem { try world.remove("all@example.net", "dora@other.test") }?.kind
                == .noSuchAlias)
        try world.remove("all@example.net")
        #expect(try world.ends("all@example.net").isEmpty)
        let steps = try world.directory.expand(address("all@example.net")).steps
        #expect(steps.map(\.outcome) == [.unknown])
    }

    @Test func `an alias may stand before an account and keep a copy for it`() throws {
        let world = try World()
        try world.add("alice@example.net", "bob@example.net")
        #expect(try world.ends("alice@example.net") == ["bob@example.net"])
        try world.add("alice@example.net", "alice@example.net")
        #expect(try world.ends("alice@example.net") == ["bob@example.net", "alice@example.net"])
        #expect(try world.ends("alice+x@example.net").count == 2)
    }

    @Test func `loops are refused, however long`() throws {
        let world = try World()
        try world.add("a@example.net", "b@example.net", force: true)
        try world.add("b@example.net", "c@example.net", "bob@example.net", force: true)
        let problem = world.problem { try world.add("c@example.net", "a+x@example.net") }
        #expect(
            problem
                == AddressProblem(
                    .loop, address("c@example.net"), target: address("a+x@example.net")))
        // Nothing of it stays.
        #expect(try world.ends("a@example.net") == ["bob@example.net"])
        #expect(world.problem { try world.add("x@example.net", "x@example.net") }?.kind == .loop)
        // The catch-all takes what is nobody: also its own target.
        #expect(
            world.problem { try world.add("@example.net", "nobody@example.net") }?.kind == .loop)
        // Two in one request may need each other, and may not bite each other.
        let pair = [
            Alias(address: address("p@example.net"), targets: [address("q@example.net")]),
            Alias(address: address("q@example.net"), targets: [address("p@example.net")]),
        ]
        #expect(
            world.problem {
                try world.directory.addAliases(pair, replacing: false, force: true)
            }?.kind == .loop)
        try world.directory.addAliases(
            [pair[0], Alias(address: pair[1].address, targets: [Sandbox.bob])], replacing: false,
            force: false)
        #expect(try world.ends("p@example.net") == ["bob@example.net"])
    }

    @Test func `a loop that came about otherwise ends by itself`() throws {
        let world = try World()
        // Allowed while carol is an account; then she goes and the catch-all takes her place.
        try world.add("@example.net", "carol@example.net", "bob@example.net")
        try world.directory.removeAccount(address("carol@example.net"))
        let expansion = try world.directory.expand(address("who@example.net"))
        #expect(expansion.accounts.map(\.address.text) == ["bob@example.net"])
        #expect(expansion.steps.contains { $0.outcome == .repeated })
        #expect(!expansion.isTooLarge)
    }

    @Test func `targets must be here and be somebody`() throws {
        let world = try World()
        let remote = world.problem { try world.add("x@example.net", "x@gmail.example") }
        #expect(remote?.kind == .remoteTarget)
        #expect(remote?.target == address("x@gmail.example"))
        #expect(
            world.problem { try world.add("x@example.net", "nobody@example.net") }?.kind
                == .unknownTarget)
        try world.add("x@example.net", "nobody@example.net", force: true)
        #expect(try world.ends("x@example.net").isEmpty)
        #expect(
            world.problem { try world.add("x@elsewhere.test", "bob@example.net") }?.kind
                == .notOurDomain)
        #expect(
            world.problem { try world.add(String(repeating: "x", count: 65) + "@example.net") }?
                .kind == .badAddress)
    }

    @Test func `too many targets and too deep aliases are refused`() throws {
        let world = try World()
        let many = (0...1_000).map { address("t\($0)@example.net") }
        #expect(
            world.problem {
                try world.directory.addAliases(
                    [Alias(address: address("m@example.net"), targets: many)], replacing: false,
                    force: true)
            }?.kind == .tooMany)
        try world.directory.addAliases(
            [Alias(address: address("m@example.net"), targets: Array(many.dropLast()))],
            replacing: false, force: true)
        var last = "bob@example.net"
        for number in 1...16 {
            try world.add("d\(number)@example.net", last)
            last = "d\(number)@example.net"
        }
        #expect(try world.ends(last) == ["bob@example.net"])
        #expect(world.problem { try world.add("d17@example.net", last) }?.kind == .tooMany)
    }

    @Test func `what is nobody goes to the catch-all of its domain`() throws {
        let world = try World()
        try world.add("@example.net", "bob@example.net", "dora@other.test")
        #expect(try world.ends("who@example.net") == ["bob@example.net", "dora@other.test"])
        #expect(try world.ends("alice@example.net") == ["alice@example.net"])
        #expect(try world.ends("alice+who@example.net") == ["alice@example.net"])
        #expect(try world.ends("who@other.test").isEmpty)
        #expect(try world.directory.aliases(in: octets("example.net")).first?.isCatchAll == true)
    }

    @Test func `an alias domain stands for another one`() throws {
        let world = try World()
        let directory = world.directory
        try directory.setAliasOf(octets("Example.ORG"), octets("example.net"))
        #expect(try directory.hasDomain(octets("example.org")))
        try world.add("team@example.net", "alice@example.net")
        #expect(try world.ends("Alice+x@example.org") == ["alice@example.net"])
        #expect(try world.ends("team@example.org") == ["alice@example.net"])
        #expect(try directory.resolved(address("Bob@example.org")) == address("bob@example.net"))
        // Nothing of its own may be in it.
        #expect(throws: StoreError.notPermitted) {
            try directory.addAccount(address("eve@example.org"), passwordHash: octets("$h"))
        }
        #expect(
            world.problem { try world.add("x@example.org", "alice@example.net") }?.kind
                == .aliasDomain)
        // And it is neither stood for nor made of a domain that has.
        #expect(
            world.problem { try directory.setAliasOf(octets("third.test"), octets("example.org")) }?
                .kind == .aliasDomain)
        #expect(
            world.problem { try directory.setAliasOf(octets("other.test"), octets("example.net")) }?
                .kind == .domainInUse)
        #expect(
            world.problem { try directory.setAliasOf(octets("example.net"), octets("other.test")) }?
                .kind == .domainInUse)
        #expect(throws: StoreError.noSuchDomain) {
            try directory.setAliasOf(octets("fourth.test"), octets("nowhere.test"))
        }
        // An alias of it is one of the other; so a loop through it is a loop.
        #expect(
            world.problem { try world.add("l@example.net", "l@example.org", force: true) }?.kind
                == .loop)
        try directory.setAliasOf(octets("example.org"), [])
        #expect(try world.ends("alice@example.org").isEmpty)
        try directory.removeDomain(octets("example.org"))
    }

    @Test func `postmaster and abuse are always somebody`() throws {
        let world = try World()
        #expect(try world.ends("POSTMASTER@example.net") == ["alice@example.net"])
        #expect(try world.ends("abuse@other.test") == ["dora@other.test"])
        #expect(try world.ends("postmaster@mx.host") == ["alice@example.net"])
        #expect(try world.directory.expand(address("root@mx.host")).isRemote)
        try world.directory.addDomain(octets("empty.test"))
        #expect(try world.ends("postmaster@empty.test") == ["alice@example.net"])
        #expect(try world.ends("hostmaster@empty.test").isEmpty)
        try world.add("postmaster@other.test", "bob@example.net")
        #expect(try world.ends("postmaster@other.test") == ["bob@example.net"])
        // An account that takes no mail cannot be it.
        try world.directory.setState(address("alice@example.net"), .disabled)
        #expect(try world.ends("postmaster@example.net") == ["bob@example.net"])
    }

    @Test func `who gets the mail of an address may send as it`() throws {
        let world = try World()
        let directory = world.directory
        func may(_ account: String, _ sender: String) throws -> Bool {
            try directory.maySend(address(account), as: address(sender))
        }
        try directory.setAliasOf(octets("example.org"), octets("example.net"))
        try world.add("team@example.net", "alice@example.net", "bob@example.net")
        try world.add("bob@example.net", "carol@example.net")
        #expect(try may("alice@example.net", "Alice@example.NET"))
        #expect(try may("alice@example.net", "alice+x@example.net"))
        #expect(try may("alice@example.net", "alice@example.org"))
        #expect(try may("alice@example.net", "team@example.net"))
        #expect(try !may("alice@example.net", "bob@example.net"))
        #expect(try !may("alice@example.net", "x@gmail.example"))
        // Though his mail goes elsewhere.
        #expect(try may("bob@example.net", "bob@example.net"))
        try directory.addSender(address("boss@corp.example"), to: address("alice@example.net"))
        try directory.addSender(address("@other.test"), to: address("alice@example.net"))
        #expect(try may("alice@example.net", "Boss+x@corp.example"))
        #expect(try !may("alice@example.net", "bos@corp.example"))
        #expect(try may("alice@example.net", "anybody@other.test"))
        #expect(try !may("bob@example.net", "anybody@other.test"))
        try directory.removeSender(address("@other.test"), from: address("alice@example.net"))
        #expect(try !may("alice@example.net", "anybody@other.test"))
        #expect(try directory.senders(address("alice@example.net")).count == 1)
        // With the account its rights go.
        try directory.removeAccount(address("alice@example.net"))
        try directory.addAccount(address("alice@example.net"), passwordHash: octets("$h"))
        #expect(try !may("alice@example.net", "boss@corp.example"))
    }

    @Test func `a renamed account keeps its rights, and aliases follow it`() throws {
        let world = try World()
        let directory = world.directory
        let (alice, new) = (address("alice@example.net"), address("alicia@other.test"))
        try world.add("team@example.net", "alice@example.net")
        try directory.setQuota(alice, octets: 5)
        try directory.addSender(address("x@y.test"), to: alice)
        var moved = false
        try directory.renameAccount(alice, to: new, keepAlias: true) { moved = true }
        #expect(moved)
        #expect(try directory.account(alice) == nil)
        #expect(try directory.policy(new)?.quota.octets == 5)
        #expect(try directory.maySend(new, as: address("x@y.test")))
        #expect(try world.ends("team@example.net") == ["alicia@other.test"])
        #expect(try world.ends("alice@example.net") == ["alicia@other.test"])
        #expect(
            world.problem {
                try directory.renameAccount(new, to: Sandbox.bob, keepAlias: false) {}
            }?.kind == .exists)
        #expect(throws: StoreError.noSuchAccount) {
            try directory.renameAccount(alice, to: new, keepAlias: false) {}
        }
    }

    @Test func `a rename that a crash interrupted is finished at the next start`() throws {
        let world = try World()
        let (alice, new) = (address("alice@example.net"), address("alicia@example.net"))
        #expect(throws: StoreError.noSpace) {
            try world.directory.renameAccount(alice, to: new, keepAlias: false) {
                () throws(StoreError) in throw .noSpace
            }
        }
        #expect(try world.directory.account(alice) != nil)
        world.directory.close()
        let again = try Directory.open(
            stateDirectory: world.path, configured: [octets("example.net")])
        var asked: [String] = []
        try again.finishRenames { old, new in asked.append("\(old.text) \(new.text)") }
        #expect(asked == ["alice@example.net alicia@example.net"])
        #expect(try again.account(alice) == nil)
        #expect(try again.account(new) != nil)
        try again.finishRenames { _, _ in Issue.record("finished before") }
    }

    @Test func `limits come from the account, its domain, or the settings`() throws {
        let world = try World()
        let directory = world.directory
        let alice = address("alice@example.net")
        let defaults = QuotaLimits(octets: 100, messages: 10)
        func limits() throws -> QuotaLimits {
            let policy = try #require(try directory.policy(alice))
            return policy.quota.over(policy.domainQuota.over(defaults))
        }
        #expect(try limits() == defaults)
        try directory.setQuota(domain: octets("EXAMPLE.net"), octets: 50)
        #expect(try limits() == QuotaLimits(octets: 50, messages: 10))
        try directory.setQuota(alice, octets: 0)
        try directory.setQuota(alice, messages: 7)
        #expect(try limits() == QuotaLimits(octets: 0, messages: 7))
        try directory.setQuota(alice, octets: nil)
        try directory.setQuota(domain: octets("example.net"), octets: nil)
        #expect(try limits() == QuotaLimits(octets: 100, messages: 7))
        #expect(throws: StoreError.noSuchDomain) {
            try directory.setQuota(domain: octets("no.test"), octets: 1)
        }
        #expect(throws: StoreError.noSuchAccount) {
            try directory.setQuota(address("no@example.net"), octets: 1)
        }
        #expect(try directory.policy(alice)?.usage == nil)
        let usage = MailUsage(octets: 1, messages: 2, mailboxes: 3)
        try directory.setUsage([alice: usage, address("no@example.net"): usage])
        #expect(try directory.policy(alice)?.usage == usage)
        try directory.setState(alice, .loginDisabled)
        #expect(try directory.inactiveAccounts() == [alice])
    }
}

func address(_ text: String) -> EmailAddress {
    if text.hasPrefix("@") {
        return EmailAddress(local: [], domain: octets(String(text.dropFirst())))
    }
    guard let address = EmailAddress(splitting: octets(text)) else { preconditionFailure(text) }
    return address
}
