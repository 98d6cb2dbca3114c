// SPDX-License-Identifier: Apache-2.0
//
// The door of mailctl: aliases, alias domains, rights, quota, and what lists show of them.

import Bytes
import Mail
import Store
import Telemetry
import Transport
import Wire

extension DoorConnection {
    func directory(_ request: DirectoryRequest) async throws(StoreFailure) -> Reply {
        switch request {
        case .changeAliases(let aliases, let edit, let force):
            return try await changeAliases(aliases, edit, force: force)
        case .listAliases(let domain):
            let aliases = try await onDirectory(changes: false) { directory throws(StoreError) in
                try Self.require(domain, directory)
                return try directory.aliases(in: domain.isEmpty ? nil : domain)
            }
            return .directory(.aliases(aliases))
        case .expand(let address):
            let expansion = try await onDirectory(changes: false) { directory throws(StoreError) in
                try directory.expand(address)
            }
            return .directory(.expansion(expansion.steps))
        case .listDomains: return .directory(.domains(try await domainDetails()))
        case .setDomain(let name, let setting): return try await setDomain(name, setting)
        case .listAccounts(let domain, let exact):
            return .directory(.accounts(try await accountDetails(in: domain, exact: exact)))
        case .showAccount(let address):
            return .directory(.accounts([try await details(try await existing(address))]))
        case .setAccount(let address, let setting):
            return try await setAccount(try await existing(address), setting)
        case .recount(let address): return try await recount(try await existing(address))
        case .renameAccount(let old, let new, let keepAlias):
            return try await renameAccount(try await existing(old), to: new, keepAlias: keepAlias)
        case .renameDomain(let old, let new, let keepAlias):
            return try await renameDomain(
                old.asciiLowercased, to: new.asciiLowercased, keepAlias: keepAlias)
        }
    }

    private static func require(
        _ domain: [UInt8], _ directory: Directory
    ) throws(StoreError) {
        if !domain.isEmpty, try !directory.hasDomain(domain) { throw .noSuchDomain }
    }

    /// A change that may be impossible for a reason worth telling.
    private func changing(
        removes account: EmailAddress? = nil,
        _ body: @escaping @Sendable (Directory) throws(StoreError) -> Void
    ) async throws(StoreFailure) -> AddressProblem? {
        try await onDirectory(removes: account) { directory throws(StoreError) in
            do throws(StoreError) {
                try body(directory)
                return nil
            } catch {
                guard case .address(let problem) = error else { throw error }
                return problem
            }
        }
    }

    static func reply(_ problem: AddressProblem?) -> Reply {
        problem.map { .directory(.problem($0)) } ?? .done
    }

    // MARK: - Aliases and domains

    private func changeAliases(
        _ aliases: [Alias], _ edit: AliasEdit, force: Bool
    ) async throws(StoreFailure) -> Reply {
        let problem = try await changing { directory throws(StoreError) in
            switch edit {
            case .add, .replace:
                try directory.addAliases(aliases, replacing: edit == .replace, force: force)
            case .remove: try directory.removeAliases(aliases)
            }
        }
        if problem == nil {
            var fields = [
                LogField("kind", "\(edit)"), LogField("count", aliases.count),
            ]
            if aliases.count == 1 {
                fields.append(LogField("account", aliases[0].address.octets))
                fields.append(LogField("rcpts", aliases[0].targets.count))
            }
            Log.info("aliases changed", fields)
        }
        return Self.reply(problem)
    }

    private func domainDetails() async throws(StoreFailure) -> [DomainDetails] {
        let addresses = core.addresses
        return try await onDirectory(changes: false) { directory throws(StoreError) in
            var details: [DomainDetails] = []
            let rests = try directory.aliases(in: nil).filter(\.isCatchAll)
            let catchAll = Dictionary(
                rests.map { ($0.address.domain, $0.targets) }, uniquingKeysWith: +)
            for row in try directory.domains() {
                let policy = try directory.domainPolicy(row.name)
                details.append(
                    DomainDetails(
                        name: row.name, accounts: row.accounts,
                        aliases: try directory.aliasCount(row.name),
                        isConfigured: addresses.isConfigured(row.name), aliasOf: policy.aliasOf,
                        quota: policy.quota, catchAll: catchAll[row.name] ?? []))
            }
            return details
        }
    }

    private func setDomain(
        _ name: [UInt8], _ setting: DomainSetting
    ) async throws(StoreFailure) -> Reply {
        let problem = try await changing { directory throws(StoreError) in
            switch setting {
            case .aliasOf(let target): try directory.setAliasOf(name, target)
            case .octets(let limit): try directory.setQuota(domain: name, octets: limit)
            case .messages(let limit): try directory.setQuota(domain: name, messages: limit)
            }
        }
        if problem == nil {
            Log.info(
                "domain changed", [LogField("account", name), LogField("kind", setting.name)])
        }
        return Self.reply(problem)
    }

    // MARK: - Accounts

    func accountDetails(
        in domain: [UInt8], exact: Bool
    ) async throws(StoreFailure) -> [AccountDetails] {
        let addresses = core.addresses
        let usages = core.usages
        let backlog = core.backlog
        var details = try await onDirectory(changes: false) {
            directory throws(StoreError) -> [AccountDetails] in
            try Self.require(domain, directory)
            let defaults = addresses.quotaDefaults.limits
            var domains: [[UInt8]: QuotaLimits] = [:]
            var details: [AccountDetails] = []
            for row in try directory.rows(in: domain.isEmpty ? nil : domain) {
                let address = row.account.address
                let fallback: QuotaLimits
                if let known = domains[address.domain] {
                    fallback = known
                } else {
                    fallback = try directory.domainPolicy(address.domain).quota.over(defaults)
                    domains[address.domain] = fallback
                }
                var usage = usages.known(address) ?? row.usage
                usage?.add(backlog.reserved(address))
                details.append(
                    AccountDetails(
                        address: address, created: row.account.created,
                        state: row.account.state, usage: usage,
                        quota: row.quota, limits: row.quota.over(fallback), senders: []))
            }
            return details
        }
        guard exact else { return details }
        for index in details.indices where details[index].usage == nil {
            let address = details[index].address
            let account = AccountRef(
                address: address, generation: core.addresses.generation(of: address))
            let outcome = await core.perform(account) { store throws(StoreError) in
                try store.usage()
            }
            // One that cannot be opened must not hide the others.
            if case .success(let usage) = outcome {
                usages.note(address, usage)
                details[index].usage = usage
            }
        }
        return details
    }

    private func details(_ account: AccountRef) async throws(StoreFailure) -> AccountDetails {
        let outcome = await core.perform(account) { store throws(StoreError) in
            try store.usage()
        }
        guard case .success(let usage) = outcome else {
            if case .failure(let error) = outcome { throw StoreFailure(error) }
            throw .unavailable
        }
        core.usages.note(account.address, usage)
        let defaults = core.addresses.quotaDefaults.limits
        return try await onDirectory(changes: false) { directory throws(StoreError) in
            guard let found = try directory.account(account.address),
                let policy = try directory.policy(account.address)
            else { throw .noSuchAccount }
            return AccountDetails(
                address: found.address, created: found.created, state: found.state, usage: usage,
                quota: policy.quota,
                limits: policy.quota.over(policy.domainQuota.over(defaults)),
                senders: try directory.senders(found.address))
        }
    }

    private func setAccount(
        _ account: AccountRef, _ setting: AccountSetting
    ) async throws(StoreFailure) -> Reply {
        let address = account.address
        let addresses = core.addresses
        let problem = try await changing { directory throws(StoreError) in
            switch setting {
            case .state(let state):
                try directory.setState(address, state)
                try addresses.loadBlocked()
            case .octets(let limit): try directory.setQuota(address, octets: limit)
            case .messages(let limit): try directory.setQuota(address, messages: limit)
            case .addSender(let sender): try directory.addSender(sender, to: address)
            case .removeSender(let sender): try directory.removeSender(sender, from: address)
            }
        }
        if problem == nil {
            Log.info(
                "account changed",
                [LogField("account", address.octets), LogField("kind", setting.name)])
            // Whoever is logged in learns that it is over.
            if addresses.isBlocked(address) { core.notifier.publishRemoval(of: address) }
        }
        return Self.reply(problem)
    }

    private func recount(_ account: AccountRef) async throws(StoreFailure) -> Reply {
        let outcome = await core.perform(account) { store throws(StoreError) in
            try store.recount()
        }
        switch outcome {
        case .success(let counted):
            core.usages.note(account.address, counted.usage)
            if counted.wasWrong {
                Log.warn("totals were wrong", [LogField("account", account.address.octets)])
            }
        case .failure(let error): throw StoreFailure(error)
        }
        return .directory(.accounts([try await details(account)]))
    }

    /// The account's lane stands still meanwhile; its sessions are stale afterwards.
    private func renameAccount(
        _ account: AccountRef, to new: EmailAddress, keepAlias: Bool
    ) async throws(StoreFailure) -> Reply {
        let old = account.address
        let (root, directory, addresses) = (core.root, core.directory, core.addresses)
        let outcome = await core.runWhenHere(account) { lane in
            lane.withClosed(old) { () throws(StoreError) in
                do throws(StoreError) {
                    try directory.renameAccount(old, to: new, keepAlias: keepAlias) {
                        () throws(StoreError) in
                        try root.renameAccount(old, to: new)
                    }
                } catch {
                    if case .address = error { throw error }  // nothing was begun
                    addresses.directoryChanged(removed: old)
                    throw error
                }
                addresses.directoryChanged(removed: old)
                try addresses.loadBlocked()
            }
        }
        switch outcome {
        case .success:
            core.notifier.publishRemoval(of: old)
            Log.info(
                "account renamed",
                [LogField("account", old.octets), LogField("to", new.octets)])
            return .done
        case .failure(.address(let problem)): return Self.reply(problem)
        case .failure(.alreadyExists):
            // Mail that was left behind by an account of this name.
            return Self.reply(AddressProblem(.exists, new))
        case .failure(let error): throw StoreFailure(error)
        }
    }
}

extension AccountSetting {
    /// For the log.
    fileprivate var name: String {
        switch self {
        case .state(let state): "\(state)"
        case .octets, .messages: "quota"
        case .addSender: "sender-added"
        case .removeSender: "sender-removed"
        }
    }
}

extension DomainSetting {
    fileprivate var name: String {
        switch self {
        case .aliasOf: "alias"
        case .octets, .messages: "quota"
        }
    }
}
