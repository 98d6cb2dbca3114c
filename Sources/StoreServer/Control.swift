// SPDX-License-Identifier: Apache-2.0
//
// The door of mailctl: domains, accounts, status, and logins without a password.

import Bytes
import Crypto
import Mail
import Store
import Synchronization
import Telemetry
import Transport
import Wire

extension DoorConnection {
    func control(_ request: Request) async throws(StoreFailure) -> Reply {
        switch request {
        case .listDomains: return .domains(try await domains())
        case .addDomain(let name):
            try await onDirectory { directory throws(StoreError) in
                try directory.addDomain(name.asciiLowercased)
            }
            Log.info("domain added", [LogField("account", name)])
            return .done
        case .removeDomain(let name):
            guard !core.addresses.isConfigured(name) else { throw .notPermitted }
            try await onDirectory { directory throws(StoreError) in
                try directory.removeDomain(name.asciiLowercased)
            }
            Log.info("domain removed", [LogField("account", name)])
            return .done
        case .listAccounts(let domain): return .accounts(try await accounts(in: domain))
        case .changeAccount(let change):
            try await changeAccount(change)
            return .done
        case .storeStatus: return .storeStatus(try await status())
        case .rebuildIndex(let address):
            let account = try await existing(address)
            let outcome = await core.performAside(account) { store throws(StoreError) in
                try store.rebuildIndex()
            }
            if case .failure(let error) = outcome { throw StoreFailure(error) }
            Log.info("index rebuilt", [LogField("account", account.address.octets)])
            return .done
        case .rebuildSearch(let address):
            let account = try await existing(address)
            let outcome = await core.perform(account) { store throws(StoreError) in
                try store.dropSearchIndex()
            }
            if case .failure(let error) = outcome { throw StoreFailure(error) }
            core.indexer.noteUrgent(account)
            return .done
        case .searchStats(let address): return .searchStats(try await searchStats(address))
        case .checkIndex(let address, let repair):
            return .indexReport(try await checkIndex(try await existing(address), repair))
        case .optimizeIndex(let address):
            let outcome = await core.performAside(try await existing(address)) {
                store throws(StoreError) in try store.optimizeIndex()
            }
            switch outcome {
            case .success(let octets):
                return .indexOptimized(before: octets.before, after: octets.after)
            case .failure(let error): throw StoreFailure(error)
            }
        case .assume(let address):
            let account = try await existing(address)
            let session = try makeSession(account)
            Log.info("account assumed", [LogField("account", account.address.octets)])
            return .authenticated(session.handle, account.address)
        default: throw .notPermitted
        }
    }

    /// A slice per hop, so that other accounts of the lane are served in between.
    private func checkIndex(
        _ account: AccountRef, _ repair: Bool
    ) async throws(StoreFailure) -> IndexReport {
        let checker = IndexChecker(repairs: repair)
        var failures = 0
        while true {
            let outcome = await core.perform(account) { store throws(StoreError) in
                try checker.step(store)
            }
            switch outcome {
            case .success(true):
                for finding in checker.report.findings {
                    core.metrics.checkFindings.increment(["\(finding.kind)"])
                }
                Log.info(
                    "index checked",
                    [
                        LogField("account", account.address.octets),
                        LogField("findings", checker.report.findings.count),
                    ])
                return checker.report
            case .success(false): continue
            case .failure(.index) where failures < 3:
                // A damaged file has been moved aside: the next step finds a new one.
                failures += 1
                checker.noteDamage()
            case .failure(let error): throw StoreFailure(error)
            }
        }
    }

    /// Blocking work on the directory; what is kept of it in memory is forgotten afterwards.
    func onDirectory<R: Sendable>(
        removes account: EmailAddress? = nil, changes: Bool = true,
        _ body: @escaping @Sendable (Directory) throws(StoreError) -> R
    ) async throws(StoreFailure) -> R {
        let directory = core.directory
        let addresses = core.addresses
        let result = await core.run { () -> Result<R, StoreError> in
            do throws(StoreError) {
                let result = try body(directory)
                if changes { addresses.directoryChanged(removed: account) }
                return .success(result)
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error):
            if StoreFailure(error) == .unavailable {
                Log.error("directory failed", [LogField("reason", "\(error)")])
            }
            throw StoreFailure(error)
        }
    }

    private func domains() async throws(StoreFailure) -> [DomainInfo] {
        let rows = try await onDirectory(changes: false) { directory throws(StoreError) in
            try directory.domains()
        }
        return rows.map {
            DomainInfo(
                name: $0.name, accounts: $0.accounts,
                isConfigured: core.addresses.isConfigured($0.name))
        }
    }

    private func accounts(in domain: [UInt8]) async throws(StoreFailure) -> [AccountInfo] {
        try await accountDetails(in: domain.asciiLowercased, exact: true).map { row in
            AccountInfo(
                address: row.address, size: row.usage?.octets ?? 0,
                messages: row.usage?.messages ?? 0, mailboxes: row.usage?.mailboxes ?? 0,
                created: row.created)
        }
    }

    func existing(_ address: EmailAddress) async throws(StoreFailure) -> AccountRef {
        let addresses = core.addresses
        let found = try await onDirectory(changes: false) { _ throws(StoreError) in
            try addresses.account(address)
        }
        guard let found else { throw .noSuchAccount }
        return found
    }

    private func checkCanAdd(_ address: EmailAddress) async throws(StoreFailure) {
        let addresses = core.addresses
        try await onDirectory(changes: false) { directory throws(StoreError) in
            guard try directory.hasDomain(address.domain) else { throw .noSuchDomain }
            if try addresses.account(address) != nil { throw .alreadyExists }
        }
    }

    private func changeAccount(_ change: AccountChange) async throws(StoreFailure) {
        switch change {
        case .add(let address, let password, let hash):
            try await checkCanAdd(address)  // before a hash is spent on it
            let (hashed, keys) = try await secrets(password, hash, salt: ScramSalt.make())
            try await onDirectory { directory throws(StoreError) in
                try directory.addAccount(address, passwordHash: hashed, keys: keys)
            }
            // Made now, so that a disk that does not work is noticed now.
            let account = try await existing(address)
            let made = await core.perform(account) { store throws(StoreError) in
                try store.usage()
            }
            if case .success(let usage) = made { core.usages.note(account.address, usage) }
            if case .failure(let error) = made {
                try await onDirectory(removes: account.address) { directory throws(StoreError) in
                    try directory.removeAccount(account.address)
                }
                throw StoreFailure(error)
            }
            Log.info("account added", [LogField("account", account.address.octets)])
        case .setPassword(let address, let password, let hash):
            let account = try await existing(address)
            let salt = try await onDirectory(changes: false) { directory throws(StoreError) in
                try directory.scramSalt(account.address)
            }
            let (made, keys) = try await secrets(password, hash, salt: salt)
            try await onDirectory { directory throws(StoreError) in
                try directory.setPassword(account.address, passwordHash: made, keys: keys)
            }
            Log.info("password set", [LogField("account", account.address.octets)])
        case .remove(let address, let keepMail):
            try await removeAccount(try await existing(address), keepMail: keepMail)
        }
    }

    /// The hash to keep, and keys for SCRAM if the password is known.
    private func secrets(
        _ password: [UInt8], _ given: [UInt8], salt: ScramSalt
    ) async throws(StoreFailure) -> ([UInt8], PasswordKeys?) {
        if !given.isEmpty {
            guard StoredPassword(given) != nil else { throw .notPermitted }
            return (given, nil)
        }
        let parameters = core.hashing.parameters
        let logins = core.logins
        let made = await core.hashing.run {
            () -> Result<([UInt8], PasswordKeys?), PasswordHashError> in
            do throws(PasswordHashError) {
                return .success(
                    (try PasswordHash.make(password, parameters), logins.keys(password, salt)))
            } catch {
                return .failure(error)
            }
        }
        guard case .success(let result) = made else {
            Log.error("password not hashed")
            throw .unavailable
        }
        return result
    }

    /// From here on its sessions are stale and its mail is refused; then the mail goes.
    private func removeAccount(
        _ account: AccountRef, keepMail: Bool
    ) async throws(StoreFailure) {
        let addresses = core.addresses
        // The mail first: a crash in between leaves an account without mail, never mail that the
        // next owner of this address would get.
        if !keepMail {
            core.addresses.directoryChanged(removed: account.address)
            core.notifier.publishRemoval(of: account.address)
            try await removeMail(account.address)
        }
        try await onDirectory(removes: account.address) { directory throws(StoreError) in
            try directory.removeAccount(account.address)
            // Another of this name, made later, is not disabled.
            try addresses.loadBlocked()
        }
        core.notifier.publishRemoval(of: account.address)
        Log.info(
            "account removed",
            [LogField("account", account.address.octets), LogField("kept", "\(keepMail)")])
        if keepMail {
            // What was answered for belongs to the mail that is kept.
            let closed = await core.runWhenHere(account) { lane in
                lane.withClosed(account.address) { () throws(StoreError) in }
            }
            if case .failure(let error) = closed { throw StoreFailure(error) }
        } else {
            // And what has come since.
            try await removeMail(account.address)
        }
    }

    private func removeMail(_ address: EmailAddress) async throws(StoreFailure) {
        let root = core.root
        // Of no generation: not opened for it, but waited for while it is away.
        let gone = AccountRef(address: address, generation: .max)
        let outcome = await core.runWhenHere(gone) { lane in
            lane.withClosed(address, isRemoval: true) { () throws(StoreError) in
                try root.removeAccount(address)
            }
        }
        if case .failure(let error) = outcome { throw StoreFailure(error) }
    }

    private func searchStats(_ address: EmailAddress) async throws(StoreFailure) -> SearchStats {
        let account = try await existing(address)
        let isEnabled = core.indexer.isEnabled
        let outcome = await core.perform(account) { store throws(StoreError) in
            try store.searchState(usesIndex: isEnabled)
        }
        switch outcome {
        case .success(let state):
            return SearchStats(
                isEnabled: isEnabled, messages: state.messages, indexed: state.indexed,
                opaque: state.opaque, octets: state.octets, sourceOctets: state.source,
                segments: UInt32(clamping: state.segments))
        case .failure(let error): throw StoreFailure(error)
        }
    }

    private func status() async throws(StoreFailure) -> StoreStatus {
        let (domains, accounts) = try await onDirectory(changes: false) {
            directory throws(StoreError) -> (UInt32, UInt32) in
            let domains = try directory.domains()
            return (UInt32(clamping: domains.count), domains.reduce(0) { $0 &+ $1.accounts })
        }
        return StoreStatus(
            version: Array(Martlet.version), startedAt: core.startedAt, accounts: accounts,
            domains: domains, openDatabases: UInt32(clamping: core.openAccounts),
            sessions: UInt32(max(0, core.metrics.sessions.value())),
            deliveries: core.deliveries.load(ordering: .relaxed))
    }
}
