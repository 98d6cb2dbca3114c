// SPDX-License-Identifier: Apache-2.0
//
// Who has failed to log in how often, over all daemons: delays, the back-off of names, and bans of
// networks. In memory, bounded; bans by owners are in the directory too. A network that has logged
// in well to an account is never kept from that account. docs/security.md.

import Bytes
import CLinux
import Config
import Glibc
import Store
import Synchronization

/// An IPv4 address, or the first 64 bits of an IPv6 address: what one customer has.
struct ClientNetwork: Hashable, Sendable {
    private let isV4: Bool
    private let bits: UInt64

    /// From an address, or from `address/64`, `address/32`.
    init?(_ text: [UInt8]) {
        let parts = text.split(separator: 0x2F, omittingEmptySubsequences: false)
        guard let first = parts.first, parts.count <= 2, (2...46).contains(first.count),
            !first.contains(0)
        else { return nil }
        let address = String(decoding: first, as: UTF8.self)
        var octets = [UInt8](repeating: 0, count: 16)
        let length = parts.count == 2 ? Int(String(decoding: parts[1], as: UTF8.self)) : nil
        if parts.count == 2, length == nil { return nil }
        if unsafe inet_pton(AF_INET, address, &octets) == 1 {
            guard length == nil || length == 32 else { return nil }
            isV4 = true
            bits = octets[..<4].reduce(0) { $0 << 8 | UInt64($1) }
        } else if unsafe inet_pton(AF_INET6, address, &octets) == 1 {
            guard length == nil || length == 64 else { return nil }
            if octets[..<10].allSatisfy({ $0 == 0 }), octets[10] == 0xFF, octets[11] == 0xFF {
                isV4 = true
                bits = octets[12...].reduce(0) { $0 << 8 | UInt64($1) }
            } else {
                isV4 = false
                bits = octets[..<8].reduce(0) { $0 << 8 | UInt64($1) }
            }
        } else {
            return nil
        }
    }

    var text: String {
        var buffer = [CChar](repeating: 0, count: 64)
        if isV4 {
            let octets = (0..<4).map { UInt8(truncatingIfNeeded: bits >> UInt64(24 - 8 * $0)) }
            return octets.map { String($0) }.joined(separator: ".")
        }
        var octets = (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
        octets += [UInt8](repeating: 0, count: 8)
        guard unsafe inet_ntop(AF_INET6, octets, &buffer, 64) != nil else { return "?" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            + "/64"
    }
}

/// Addresses that are never banned: one, or a CIDR block.
struct AddressRange: Sendable {
    private let prefix: UInt128
    private let length: Int

    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let bits = Self.bits(String(first)) else { return nil }
        let offset = first.utf8.contains(0x3A) ? 0 : 96
        var length = 128
        if parts.count == 2 {
            guard let count = Int(parts[1]), (0...(128 - offset)).contains(count) else {
                return nil
            }
            length = count + offset
        }
        prefix = bits
        self.length = length
    }

    func contains(_ address: String) -> Bool {
        guard let bits = Self.bits(address) else { return false }
        return length == 0 || (bits ^ prefix) >> UInt128(128 - length) == 0
    }

    private static func bits(_ text: String) -> UInt128? {
        var octets = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, text, &octets) == 1 {
            return octets[..<4].reduce(UInt128(0xFFFF)) { $0 << 8 | UInt128($1) }
        }
        guard unsafe inet_pton(AF_INET6, text, &octets) == 1 else { return nil }
        return octets.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    }
}

/// How many failures are too many: what mail.toml says.
struct GuardRules: Sendable, Equatable {
    /// Of a network within the window; 0: nobody is banned.
    var networkFailures = 10
    /// Of a name within the window, before its unknown clients have to wait; 0: never.
    var nameFailures = 20
    /// In seconds.
    var window: Int64 = 600
    var ban: Int64 = 3_600
}

/// What the guard knows of one ban.
struct GuardBan: Sendable, Equatable {
    var network: ClientNetwork
    var since: Int64
    /// 0: until it is taken back.
    var until: Int64
    var isManual: Bool
    var failures: UInt32
}

struct LoginGuard: Sendable {
    enum Admission: Equatable, Sendable {
        case open
        case banned
        case throttled
    }

    private struct Count: Sendable {
        var failures = 0
        var began: Int64
        /// Of a name: nothing is checked before.
        var next: Int64 = 0
    }

    private struct Pair: Hashable, Sendable {
        var network: ClientNetwork
        var name: [UInt8]
    }

    /// What is kept of each kind at most.
    private static let limit = 65_536
    /// A network that has logged in to an account stays welcome there for so long.
    private static let welcome: Int64 = 7 * 86_400
    private static let longestBan: Int64 = 86_400
    /// In milliseconds.
    private static let longestDelay = 16_000
    private static let longestWait: Int64 = 60

    var rules = GuardRules()
    private var networks: [ClientNetwork: Count] = [:]
    private var names: [[UInt8]: Count] = [:]
    private var good: [Pair: Int64] = [:]
    private var banned: [ClientNetwork: GuardBan] = [:]
    /// How often a network was banned, for the length of the next one.
    private var repeats: [ClientNetwork: Int] = [:]

    /// Whether a password is looked at. `network` nil: an exempt one, or none at all.
    ///
    /// - Parameter isFirst: more of the same attempt follows: it does not use up a turn yet.
    mutating func admit(
        _ network: ClientNetwork?, _ name: [UInt8], isFirst: Bool = false, now: Int64
    ) -> Admission {
        guard let network else { return .open }
        let pair = Pair(network: network, name: name)
        if let since = good[pair], now - since < Self.welcome { return .open }
        if let ban = banned[network] {
            if ban.until == 0 || ban.until > now { return .banned }
            banned[network] = nil
        }
        guard !isFirst, rules.nameFailures > 0, var count = names[name],
            now - count.began < rules.window,
            count.failures >= rules.nameFailures
        else { return .open }
        if now < count.next { return .throttled }
        let exponent = min(count.failures - rules.nameFailures, 6)
        count.next = now + min(1 << Int64(exponent), Self.longestWait)
        names[name] = count
        return .open
    }

    /// - Returns: milliseconds until the client hears of it, and the ban that this was the last
    ///   straw for.
    mutating func failed(
        _ network: ClientNetwork?, _ name: [UInt8], now: Int64
    ) -> (delay: UInt32, ban: GuardBan?) {
        guard let network else { return (1_000, nil) }
        // A token without a name is nobody's failure in particular.
        if !name.isEmpty { Self.bump(&names, name, now, rules.window) }
        Self.bump(&networks, network, now, rules.window)
        let failures = networks[network]?.failures ?? 1
        let delay = min(1_000 << min(failures - 1, 5), Self.longestDelay)
        guard rules.networkFailures > 0, failures >= rules.networkFailures,
            banned[network]?.isManual != true
        else { return (UInt32(delay), nil) }
        networks[network] = nil
        let times = repeats[network, default: 0]
        if repeats.count >= Self.limit { repeats = [:] }
        repeats[network] = times + 1
        let length = max(rules.ban, min(rules.ban << Int64(min(times, 8)), Self.longestBan))
        let ban = GuardBan(
            network: network, since: now, until: now + length, isManual: false,
            failures: UInt32(clamping: failures))
        if banned.count >= Self.limit { sweep(now) }
        banned[network] = ban
        return (UInt32(delay), ban)
    }

    /// Milliseconds that a failure would take now: for refusals that do not count.
    func delay(_ network: ClientNetwork?, now: Int64) -> UInt32 {
        guard let network, let count = networks[network], now - count.began < rules.window else {
            return 1_000
        }
        return UInt32(min(1_000 << min(count.failures, 5), Self.longestDelay))
    }

    private static func bump<Key: Hashable>(
        _ table: inout [Key: Count], _ key: Key, _ now: Int64, _ window: Int64
    ) {
        var count = table[key] ?? Count(began: now)
        if now - count.began >= window { count = Count(began: now) }
        count.failures += 1
        if table.count >= limit, table[key] == nil {
            table = table.filter { now - $0.value.began < window && $0.value.failures > 1 }
            // Somebody with more networks than we count: those who come again are counted again.
            if table.count >= limit { table = [:] }
        }
        table[key] = count
    }

    /// Somebody was let in.
    mutating func succeeded(_ network: ClientNetwork?, _ name: [UInt8], now: Int64) {
        guard let network else { return }
        if good.count >= Self.limit {
            good = good.filter { now - $0.value < Self.welcome }
            if good.count >= Self.limit { good = [:] }
        }
        good[Pair(network: network, name: name)] = now
    }

    // MARK: - Bans

    mutating func bans(now: Int64) -> [GuardBan] {
        sweep(now)
        return banned.values.sorted { ($0.since, $0.network.text) < ($1.since, $1.network.text) }
    }

    var banCount: Int { banned.count }

    /// For tests.
    var tableSizes: [Int] {
        [networks.count, names.count, good.count, banned.count, repeats.count]
    }

    private mutating func sweep(_ now: Int64) {
        banned = banned.filter { $0.value.until == 0 || $0.value.until > now }
        if banned.count >= Self.limit { banned = banned.filter { $0.value.isManual } }
    }

    /// Whether somebody has just logged in from there.
    func isWelcome(_ network: ClientNetwork, now: Int64) -> Bool {
        good.contains { $0.key.network == network && now - $0.value < Self.welcome }
    }

    mutating func add(_ ban: GuardBan) { banned[ban.network] = ban }

    /// False if it was not banned. What was counted is forgotten, too.
    mutating func remove(_ network: ClientNetwork) -> Bool {
        networks[network] = nil
        repeats[network] = nil
        return banned.removeValue(forKey: network) != nil
    }
}
