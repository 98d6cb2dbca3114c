// SPDX-License-Identifier: Apache-2.0
//
// Delays, waits and bans, with a clock of the test's own; and files of passwords.

import Bytes
import Testing

@testable import StoreServer

private func network(_ text: String) throws -> ClientNetwork {
    try #require(ClientNetwork(Array(text.utf8)))
}

private let alice = Array("alice@example.test".utf8)
private let bob = Array("bob@example.test".utf8)

/// `#expect` cannot call what changes a value.
private final class Guarded {
    private var login = LoginGuard()

    func admit(
        _ network: ClientNetwork?, _ name: [UInt8], isFirst: Bool = false, now: Int64
    ) -> LoginGuard.Admission {
        login.admit(network, name, isFirst: isFirst, now: now)
    }
    func delay(_ network: ClientNetwork?, now: Int64) -> UInt32 { login.delay(network, now: now) }
    func failed(
        _ network: ClientNetwork?, _ name: [UInt8], now: Int64
    ) -> (delay: UInt32, ban: GuardBan?) {
        login.failed(network, name, now: now)
    }
    func succeeded(_ network: ClientNetwork, _ name: [UInt8], now: Int64) {
        login.succeeded(network, name, now: now)
    }
    func isWelcome(_ network: ClientNetwork, now: Int64) -> Bool {
        login.isWelcome(network, now: now)
    }
    func bans(now: Int64) -> [GuardBan] { login.bans(now: now) }
    func add(_ ban: GuardBan) { login.add(ban) }
    func remove(_ network: ClientNetwork) -> Bool { login.remove(network) }
    var tableSizes: [Int] { login.tableSizes }
}

@Suite("Who fails to log in")
struct LoginGuardTests {
    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("192.0.2.7/32", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "2001:db8:1:2::/64"), ("::1", "::/64"),
    ])
    func `a network is an address, or a /64`(text: String, wanted: String) throws {
        #expect(try network(text).text == wanted)
    }

    @Test(arguments: [
        "", "x", "192.0.2", "192.0.2.7/24", "2001:db8::/48", "1.2.3.4/x", "1.2.3.4\0",
    ])
    func `other text is none`(text: String) {
        #expect(ClientNetwork(Array(text.utf8)) == nil)
    }

    @Test func `the tenth failure bans a network, and no failure before it`() throws {
        let login = Guarded()
        let peer = try network("192.0.2.7")
        for count in 1...9 {
            let expected = login.delay(peer, now: 1_000)
            let (delay, ban) = login.failed(peer, alice, now: 1_000)
            #expect(delay == expected)
            #expect(delay == UInt32(min(1_000 << min(count - 1, 5), 16_000)))
            #expect(ban == nil)
            #expect(login.admit(peer, bob, now: 1_000) == .open)
        }
        let ban = login.failed(peer, alice, now: 1_000).ban
        #expect(try #require(ban).until == 4_600)
        #expect(login.admit(peer, bob, now: 1_001) == .banned)
        #expect(login.admit(try network("192.0.2.8"), bob, now: 1_001) == .open)
        #expect(login.admit(peer, bob, now: 1_000 + 3_600) == .open)
    }

    @Test func `all addresses of a /64 are one`() throws {
        let login = Guarded()
        for host in 1...10 {
            _ = login.failed(try network("2001:db8::\(host)"), alice, now: 0)
        }
        #expect(login.admit(try network("2001:db8::ffff"), bob, now: 1) == .banned)
        #expect(login.admit(try network("2001:db8:0:1::1"), bob, now: 1) == .open)
    }

    @Test func `failures are forgotten after the window`() throws {
        let login = Guarded()
        let peer = try network("192.0.2.7")
        for count in 0..<30 {
            #expect(login.failed(peer, alice, now: Int64(count) * 100).ban == nil)
        }
    }

    @Test func `each ban is twice as long, up to a day`() throws {
        let login = Guarded()
        let peer = try network("192.0.2.7")
        var now: Int64 = 0
        var lengths: [Int64] = []
        for _ in 0..<7 {
            for _ in 0..<9 { _ = login.failed(peer, alice, now: now) }
            let ban = try #require(login.failed(peer, alice, now: now).ban)
            lengths.append(ban.until - ban.since)
            now = ban.until
        }
        #expect(lengths == [3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 86_400])
    }

    @Test func `whoever has just logged in well is let in although the network is banned`() throws {
        let login = Guarded()
        let office = try network("192.0.2.7")
        login.succeeded(office, alice, now: 0)
        for _ in 0..<20 { _ = login.failed(office, bob, now: 10) }
        #expect(login.admit(office, bob, now: 11) == .banned)
        #expect(login.admit(office, alice, now: 11) == .open)
        // An attacker with an account of his own gains nothing for others.
        #expect(login.admit(office, Array("carol".utf8), now: 11) == .banned)
        #expect(login.isWelcome(office, now: 11))
        #expect(!login.isWelcome(office, now: 8 * 86_400))
    }

    @Test func `many networks against one name have to wait, its user does not`() throws {
        let login = Guarded()
        let home = try network("198.51.100.1")
        login.succeeded(home, alice, now: 0)
        for host in 1...20 {
            let peer = try network("192.0.2.\(host)")
            #expect(login.admit(peer, alice, now: 5) == .open)
            _ = login.failed(peer, alice, now: 5)
        }
        let stranger = try network("203.0.113.1")
        // The two steps of SCRAM are one attempt.
        #expect(login.admit(stranger, alice, isFirst: true, now: 6) == .open)
        #expect(login.admit(stranger, alice, now: 6) == .open)
        #expect(login.admit(stranger, alice, now: 6) == .throttled)
        #expect(login.admit(stranger, alice, now: 7) == .open)
        #expect(login.admit(home, alice, now: 7) == .open)
        #expect(login.admit(stranger, bob, now: 7) == .open)
        #expect(login.admit(stranger, alice, now: 700) == .open)
    }

    @Test func `exempt networks are neither delayed nor banned`() {
        let login = Guarded()
        for _ in 0..<100 { #expect(login.failed(nil, alice, now: 0).delay == 1_000) }
        #expect(login.admit(nil, alice, now: 0) == .open)
        #expect(AddressRange("127.0.0.0/8")?.contains("127.3.2.1") == true)
        #expect(AddressRange("127.0.0.0/8")?.contains("128.0.0.1") == false)
        #expect(AddressRange("2001:db8::/32")?.contains("2001:db8:ffff::1") == true)
        #expect(AddressRange("::1")?.contains("127.0.0.1") == false)
    }

    @Test func `a ban can be taken back`() throws {
        let login = Guarded()
        let peer = try network("192.0.2.7")
        login.add(
            GuardBan(network: peer, since: 0, until: 0, isManual: true, failures: 0))
        #expect(login.admit(peer, alice, now: 1 << 40) == .banned)
        #expect(login.bans(now: 1 << 40).count == 1)
        #expect(login.remove(peer))
        #expect(!login.remove(peer))
        #expect(login.admit(peer, alice, now: 1) == .open)
    }

    @Test func `a hundred thousand networks do not grow the tables beyond their limit`() {
        let login = Guarded()
        for number in 0..<100_000 {
            let text = "10.\(number >> 16).\(number >> 8 & 255).\(number & 255)"
            _ = login.failed(
                ClientNetwork(Array(text.utf8)), Array("user\(number)".utf8), now: 0)
        }
        #expect(login.tableSizes.allSatisfy { $0 <= 65_536 })
    }

    @Test func `a password file is read as Dovecot reads it`() {
        let text = """
            # comment
            alice@example.test:{SSHA}abc:1000:1000::/home/alice::userdb_quota=1G
              Bob@Example.TEST:$6$x$y\r

            no-colon
            :{PLAIN}x
            carol@example.test::
            dave@example.test:{SCRAM-SHA-256}4096,a,b,c
            """
        let (entries, bad) = PasswordFile.parse(Array(text.utf8))
        #expect(entries.count == 3)
        #expect(bad == 3)
        #expect(entries[alice] == Array("{SSHA}abc".utf8))
        #expect(entries[bob] == Array("$6$x$y".utf8))
    }
}
