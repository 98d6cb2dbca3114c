// SPDX-License-Identifier: Apache-2.0
//
// Which accounts an address means, who may log in and how much may be kept: the directory, with
// what was found kept in memory. msgstored is the directory's only writer, so the memory is right
// until it changes something itself. RFC 5321 §2.3.11, §3.9; RFC 5233 (subaddresses).

import Bytes
import Config
import Mail
import Store
import Synchronization

/// What an address is here.
enum Lookup: Sendable, Equatable {
    case account(AccountRef)
    /// An alias that ends at several; each once.
    case accounts([AccountRef])
    /// Everything it leads to takes no mail.
    case disabled
    case unknownAccount
    case notLocal

    /// Where a message goes.
    var accounts: [AccountRef] {
        switch self {
        case .account(let account): [account]
        case .accounts(let accounts): accounts
        case .disabled, .unknownAccount, .notLocal: []
        }
    }
}

/// What mail.toml says about quota.
struct QuotaDefaults: Sendable, Equatable {
    var limits = QuotaLimits()
    /// Per cent of a limit that are worth a warning; 0: none are.
    var warning = 0
}

final class AddressBook: Sendable {
    private static let limit = 50_000

    private struct Right: Hashable {
        var account: EmailAddress
        var sender: EmailAddress
    }

    private struct State {
        var known: [EmailAddress: Lookup] = [:]
        var limits: [EmailAddress: QuotaLimits] = [:]
        var rights: [Right: Bool] = [:]
        /// Goes up with every change of the directory: an answer read before it is not kept.
        var version: UInt64 = 0
        var configured: Set<[UInt8]> = []
        var quota = QuotaDefaults()
        /// How often an account of this name was removed or renamed.
        var removals: [EmailAddress: UInt64] = [:]
        /// Accounts that nobody can log in to.
        var blocked: Set<EmailAddress> = []

        mutating func forget() {
            known = [:]
            limits = [:]
            rights = [:]
            version += 1
        }
    }

    private let directory: Directory
    private let usages: UsageBook
    private let state = Mutex(State())
    private let hasBlocked = Atomic<Bool>(false)
    /// Domains whose accounts cannot be used for a moment.
    private let held = Mutex<Set<[UInt8]>>([])
    private let hasHeld = Atomic<Bool>(false)

    init(_ directory: Directory, _ usages: UsageBook) {
        self.directory = directory
        self.usages = usages
    }

    func apply(_ suite: Suite) {
        directory.setConfigured(suite.domains.map { Array($0) })
        directory.setRules(
            AddressRules(
                separators: Array(suite.msgstored.subaddress),
                hosts: [suite.server.hostname, suite.smtpd.hostname].map {
                    Array($0).asciiLowercased
                }))
        state.withLock { state in
            state.configured = Set(suite.domains.map { Array($0).asciiLowercased })
            state.quota = QuotaDefaults(
                limits: QuotaLimits(
                    octets: UInt64(suite.msgstored.quota),
                    messages: UInt64(suite.msgstored.quotaMessages)),
                warning: suite.msgstored.quotaWarning)
            state.forget()
        }
    }

    /// Reads who cannot log in. Once, before anybody is served, and after every change of it.
    func loadBlocked() throws(StoreError) {
        let blocked = Set(try directory.inactiveAccounts())
        state.withLock { $0.blocked = blocked }
        hasBlocked.store(!blocked.isEmpty, ordering: .releasing)
    }

    /// Whether nobody may be logged in to this account.
    func isBlocked(_ account: EmailAddress) -> Bool {
        guard hasBlocked.load(ordering: .acquiring) else { return false }
        return state.withLock { $0.blocked.contains(account) }
    }

    /// No account of the domain is opened until `release`.
    func hold(_ domain: [UInt8]) {
        held.withLock { _ = $0.insert(domain) }
        hasHeld.store(true, ordering: .releasing)
    }

    func release(_ domain: [UInt8]) {
        let isEmpty = held.withLock { held in
            held.remove(domain)
            return held.isEmpty
        }
        if isEmpty { hasHeld.store(false, ordering: .releasing) }
    }

    func isHeld(_ domain: [UInt8]) -> Bool {
        guard hasHeld.load(ordering: .acquiring) else { return false }
        return held.withLock { $0.contains(domain) }
    }

    func isConfigured(_ domain: [UInt8]) -> Bool {
        state.withLock { $0.configured.contains(domain.asciiLowercased) }
    }

    // MARK: - Where mail goes

    /// Without asking the directory: for event loops.
    func known(_ address: EmailAddress) -> Lookup? { state.withLock { $0.known[address] } }

    /// Asks the directory if need be: blocks.
    func lookup(_ address: EmailAddress) throws(StoreError) -> Lookup {
        let (found, version) = state.withLock { ($0.known[address], $0.version) }
        if let found { return found }
        let lookup = try ask(address)
        state.withLock { state in
            guard state.version == version else { return }
            if state.known.count >= Self.limit { state.known = [:] }
            state.known[address] = lookup
        }
        return lookup
    }

    private func ask(_ address: EmailAddress) throws(StoreError) -> Lookup {
        let expansion = try directory.expand(address)
        if expansion.isRemote { return .notLocal }
        guard !expansion.isTooLarge else { throw .limit }
        let open = expansion.accounts.filter { $0.state != .disabled }
        switch open.count {
        case 0: return expansion.accounts.isEmpty ? .unknownAccount : .disabled
        case 1: return .account(reference(open[0].address))
        default: return .accounts(open.map { reference($0.address) })
        }
    }

    /// The account with exactly this address, in any case and by any name of its domain: blocks.
    func account(_ address: EmailAddress) throws(StoreError) -> AccountRef? {
        guard let found = try directory.account(try directory.resolved(address)) else {
            return nil
        }
        return reference(found.address)
    }

    private func reference(_ address: EmailAddress) -> AccountRef {
        AccountRef(address: address, generation: generation(of: address))
    }

    func generation(of account: EmailAddress) -> UInt64 {
        state.withLock { $0.removals[account] ?? 0 }
    }

    /// To be called after every change of the directory.
    func directoryChanged(removed account: EmailAddress? = nil) {
        directoryChanged(removed: account.map { [$0] } ?? [])
    }

    func directoryChanged(removed accounts: [EmailAddress]) {
        state.withLock { state in
            state.forget()
            for account in accounts { state.removals[account, default: 0] += 1 }
        }
        for account in accounts { usages.forget(account) }
    }

    // MARK: - Rights and quota

    func knownRight(_ account: EmailAddress, as sender: EmailAddress) -> Bool? {
        state.withLock { $0.rights[Right(account: account, sender: sender)] }
    }

    /// Whether the account may send as `sender`: blocks.
    func maySend(_ account: EmailAddress, as sender: EmailAddress) throws(StoreError) -> Bool {
        let version = state.withLock { $0.version }
        let may = try directory.maySend(account, as: sender)
        state.withLock { state in
            guard state.version == version else { return }
            if state.rights.count >= Self.limit { state.rights = [:] }
            state.rights[Right(account: account, sender: sender)] = may
        }
        return may
    }

    var quotaDefaults: QuotaDefaults { state.withLock { $0.quota } }

    /// What the account may keep, if it is known: for event loops.
    func knownLimits(_ account: EmailAddress) -> QuotaLimits? {
        state.withLock { $0.limits[account] }
    }

    /// What the account may keep: may block.
    func limits(_ account: EmailAddress) throws(StoreError) -> QuotaLimits {
        let (found, version, defaults) = state.withLock {
            ($0.limits[account], $0.version, $0.quota.limits)
        }
        if let found { return found }
        guard let policy = try directory.policy(account) else { return defaults }
        let limits = policy.quota.over(policy.domainQuota.over(defaults))
        if let usage = policy.usage { usages.seed(account, usage) }
        state.withLock { state in
            guard state.version == version else { return }
            if state.limits.count >= Self.limit { state.limits = [:] }
            state.limits[account] = limits
        }
        return limits
    }
}
