// SPDX-License-Identifier: Apache-2.0
//
// Who may log in: passwords, SCRAM proofs, app passwords, names in certificates. Blocking; runs on
// the threads of `Hashing`. Unknown names cost what wrong passwords cost, and look the same.

import Bytes
import Config
import Crypto
import Mail
import Store
import Synchronization
import Telemetry
import Wire

/// What came of one attempt.
enum LoginVerdict: Sendable {
    case accepted(AccountRef, signature: [UInt8])
    case refused(LoginRefusalReason)
    /// Nobody's fault: nothing could be checked.
    case failed(String)
}

/// What mail.toml says about logins.
private struct LoginSettings: Sendable {
    var methods: Set<String> = []
    /// Passwords that mailctl has set are good.
    var usesOwn = true
    var keepsScram = true
    var allowsWeak = false
    var appPasswords = true
    var exempt: [AddressRange] = []
    var sources: [PasswordSource] = [.here]
    /// Nil: no tokens.
    var tokenHelper: String?
}

final class Logins: Sendable {
    private let directory: Directory
    private let addresses: AddressBook
    private let hashing: Hashing
    /// Salts of names that are nobody's are made from it, the same ones each time.
    private let decoySecret: [UInt8]
    private let settings = Mutex(LoginSettings())
    private let guarding = Mutex(LoginGuard())
    let passwordFile: PasswordFile
    let helpers = AuthHelpers()
    let bansTotal: Counter
    let activeBans: Gauge

    init(
        _ directory: Directory, _ addresses: AddressBook, _ hashing: Hashing, _ suite: Suite,
        _ metrics: StoreMetrics
    ) throws(StoreError) {
        self.directory = directory
        self.addresses = addresses
        self.hashing = hashing
        decoySecret = try directory.secret("scram-salt")
        passwordFile = PasswordFile()
        bansTotal = metrics.bans
        activeBans = metrics.activeBans
        apply(suite)
        let now = WallClock.seconds()
        for ban in try directory.bans() where ban.until == 0 || ban.until > now {
            guard let network = ClientNetwork(ban.network) else { continue }
            guarding.withLock {
                $0.add(
                    GuardBan(
                        network: network, since: ban.since, until: ban.until, isManual: true,
                        failures: 0))
            }
        }
    }

    func apply(_ suite: Suite) {
        let limits = suite.server.authLimits
        settings.withLock { settings in
            settings.methods = Set(suite.server.auth.methods)
            settings.usesOwn = suite.msgstored.authBackends.contains("internal")
            settings.keepsScram = suite.msgstored.keepsScram
            settings.allowsWeak = suite.msgstored.allowsWeakHashes
            settings.appPasswords = suite.msgstored.appPasswords
            settings.sources = Self.sources(suite)
            let takesTokens = !settings.methods.isDisjoint(with: ["oauthbearer", "xoauth2"])
            settings.tokenHelper = takesTokens ? suite.server.helperPath("authd-oauth") : nil
            settings.exempt = suite.server.exempt.compactMap { AddressRange($0) }
        }
        guarding.withLock {
            $0.rules = GuardRules(
                networkFailures: limits.perAddress,
                nameFailures: limits.perAccount,
                window: limits.window.components.seconds,
                ban: limits.ban.components.seconds)
        }
        passwordFile.apply(
            suite.msgstored.authBackends.contains("file") ? suite.msgstored.passwordFile : "",
            allowsWeak: suite.msgstored.allowsWeakHashes)
    }

    /// "internal" and "file" are asked together, where the first of them stands; app passwords are
    /// asked there as well, and first where neither is named.
    private static func sources(_ suite: Suite) -> [PasswordSource] {
        var sources: [PasswordSource] = []
        for backend in suite.msgstored.authBackends {
            let source: PasswordSource =
                backend == "ldap" ? .helper(suite.server.helperPath("authd-ldap")) : .here
            if !sources.contains(source) { sources.append(source) }
        }
        return sources.contains(.here) ? sources : [.here] + sources
    }

    var sources: [PasswordSource] { settings.withLock { $0.sources } }
    var tokenHelper: String? { settings.withLock { $0.tokenHelper } }

    // MARK: - The guard

    private func network(_ client: LoginClient) -> ClientNetwork? {
        let text = String(decoding: client.remote, as: UTF8.self)
        let isExempt = settings.withLock { $0.exempt.contains { $0.contains(text) } }
        return isExempt ? nil : ClientNetwork(client.remote)
    }

    /// Nil: go on.
    func admit(
        _ name: [UInt8], _ client: LoginClient, isFirst: Bool = false
    ) -> LoginRefusal? {
        let (network, now) = (network(client), WallClock.seconds())
        let admission = guarding.withLock {
            $0.admit(network, name.asciiLowercased, isFirst: isFirst, now: now)
        }
        switch admission {
        case .open: return nil
        case .banned: return LoginRefusal(.banned, delay: 0)
        case .throttled: return LoginRefusal(.throttled, delay: 1_000)
        }
    }

    /// Counts a failure, and says when the client may hear of it.
    func refuse(
        _ reason: LoginRefusalReason, _ name: [UInt8], _ client: LoginClient
    ) -> LoginRefusal {
        let (network, now) = (network(client), WallClock.seconds())
        // A right password for what is switched off is nobody's attack; it looks like a wrong one.
        guard reason == .badCredentials else {
            return LoginRefusal(
                reason, delay: guarding.withLock { $0.delay(network, now: now) })
        }
        let (delay, ban) = guarding.withLock {
            $0.failed(network, name.asciiLowercased, now: now)
        }
        if let ban {
            bansTotal.increment()
            Log.warn(
                "banned",
                [
                    LogField("rip", client.remote), LogField("network", ban.network.text),
                    LogField("count", Int(ban.failures)),
                    LogField("seconds", Int(ban.until - ban.since)),
                ])
        }
        return LoginRefusal(reason, delay: delay)
    }

    func noteSuccess(_ name: [UInt8], _ client: LoginClient) {
        let (network, now) = (network(client), WallClock.seconds())
        guarding.withLock { $0.succeeded(network, name.asciiLowercased, now: now) }
    }

    func bans() -> [Ban] {
        let now = WallClock.seconds()
        return guarding.withLock { $0.bans(now: now) }.map {
            Ban(
                network: Array($0.network.text.utf8), since: $0.since, until: $0.until,
                isManual: $0.isManual, failures: $0.failures)
        }
    }

    /// For the metric.
    func countBans() { activeBans.set(Double(guarding.withLock { $0.banCount })) }

    /// - Throws: `.notPermitted` for what is no address, `.inUse` for one that somebody has just
    ///   logged in from.
    func ban(_ text: [UInt8], seconds: UInt64) throws(StoreError) {
        guard let network = ClientNetwork(text) else { throw .notPermitted }
        let now = WallClock.seconds()
        guard !guarding.withLock({ $0.isWelcome(network, now: now) }) else { throw .inUse }
        let until = seconds == 0 ? 0 : now + Int64(clamping: min(seconds, 1 << 40))
        try directory.addBan(
            DirectoryBan(network: Array(network.text.utf8), since: now, until: until))
        guarding.withLock {
            $0.add(
                GuardBan(
                    network: network, since: now, until: until, isManual: true, failures: 0))
        }
    }

    /// False if it was not banned.
    func unban(_ text: [UInt8]) throws(StoreError) -> Bool {
        guard let network = ClientNetwork(text) else { throw .notPermitted }
        try directory.removeBan(Array(network.text.utf8))
        return guarding.withLock { $0.remove(network) }
    }

    // MARK: - Checking

    /// The account of a name, and whether `authorizationID` is the same one.
    private func account(
        _ name: [UInt8], _ authorizationID: [UInt8]
    ) throws(StoreError) -> AccountRef? {
        // RFC 4616 §2: acting for somebody else is not offered.
        guard authorizationID.isEmpty || authorizationID.equalsIgnoringASCIICase(name),
            let address = EmailAddress(splitting: name)
        else { return nil }
        return try addresses.account(address)
    }

    /// The last question: may this account be logged in to at all?
    private func admitted(_ account: AccountRef, signature: [UInt8] = []) -> LoginVerdict {
        addresses.isBlocked(account.address)
            ? .refused(.disabled) : .accepted(account, signature: signature)
    }

    func check(_ credentials: Credentials) -> LoginVerdict {
        verdict { () throws(StoreError) in try self.password(credentials) }
    }

    /// Whether there is such an account, before somebody else is asked about its password.
    func known(_ credentials: Credentials) -> LoginVerdict {
        verdict { () throws(StoreError) in
            let account = try self.account(
                credentials.authenticationID, credentials.authorizationID)
            return account.map { self.admitted($0) } ?? .refused(.badCredentials)
        }
    }

    /// The account of a token's user. `wanted`: whom the client says it is, if anybody.
    func owner(of user: [UInt8], wanted: [UInt8]) -> LoginVerdict {
        verdict { () throws(StoreError) in
            let account = try self.account(user, wanted)
            return account.map { self.admitted($0) } ?? .refused(.badCredentials)
        }
    }

    private func verdict(_ body: () throws(StoreError) -> LoginVerdict) -> LoginVerdict {
        do throws(StoreError) {
            return try body()
        } catch {
            return .failed("\(error)")
        }
    }

    private func password(_ credentials: Credentials) throws(StoreError) -> LoginVerdict {
        let settings = settings.withLock { $0 }
        let account = try account(credentials.authenticationID, credentials.authorizationID)
        let secrets: AccountSecrets?
        if let account { secrets = try directory.secrets(account.address) } else { secrets = nil }
        let known = settings.usesOwn ? secrets?.hash : nil
        let isRight = try matches(credentials.password, known ?? hashing.decoy)
        guard let account, let secrets else { return .refused(.badCredentials) }
        if isRight, known != nil {
            if !addresses.isBlocked(account.address) {
                refresh(account.address, secrets, credentials.password, settings)
            }
            return admitted(account)
        }
        switch try passwordFile.check(account.address, credentials.password) {
        case .right: return admitted(account)
        case .wrong, .unknown: break
        }
        guard settings.appPasswords, let salt = secrets.scram else {
            return .refused(.badCredentials)
        }
        let candidates = try directory.appPasswords(account.address)
        guard !candidates.isEmpty else { return .refused(.badCredentials) }
        let keys = ScramKeys(
            .sha256, password: credentials.password, salt: salt.salt, iterations: salt.iterations)
        for candidate in candidates {
            guard let known = candidate.sha256,
                ConstantTime.equal(known.storedKey, keys.storedKey)
            else { continue }
            if let refusal = try use(candidate, account, credentials.service) { return refusal }
            return admitted(account)
        }
        return .refused(.badCredentials)
    }

    /// A hash of another kind is not an error of ours only if it was not made here.
    private func matches(_ password: [UInt8], _ hash: [UInt8]) throws(StoreError) -> Bool {
        guard let stored = StoredPassword(hash) else {
            throw .file("password hash of an unknown kind", errno: 0)
        }
        do throws(PasswordHashError) {
            return try stored.verify(password)
        } catch .tooLong {
            return false
        } catch {
            throw .file("verify password", errno: 0)
        }
    }

    /// What is missing or old-fashioned is made while the password is at hand.
    private func refresh(
        _ address: EmailAddress, _ secrets: AccountSecrets, _ password: [UInt8],
        _ settings: LoginSettings
    ) {
        let wantsSHA1 =
            settings.methods.contains("scram-sha-1")
            || settings.methods.contains("scram-sha-1-plus")
        let needsKeys =
            settings.keepsScram
            && (secrets.sha256 == nil || (wantsSHA1 && secrets.sha1 == nil))
        let isCurrent = StoredPassword(secrets.hash)?.isCurrent(hashing.parameters) ?? false
        guard needsKeys || !isCurrent else { return }
        do {
            var keys: PasswordKeys?
            if needsKeys {
                keys = PasswordKeys(
                    password: password, try directory.scramSalt(address), sha1: wantsSHA1)
            }
            let hash =
                isCurrent ? secrets.hash : try PasswordHash.make(password, hashing.parameters)
            try directory.refresh(address, from: secrets.hash, hash: hash, keys: keys)
            if !isCurrent { Log.info("password rehashed", [LogField("account", address.octets)]) }
        } catch {
            // It is tried again at the next login.
            Log.warn(
                "password not rehashed",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
        }
    }

    /// Nil if the app password is good for this service now.
    private func use(
        _ password: DirectoryAppPassword, _ account: AccountRef, _ service: [UInt8]
    ) throws(StoreError) -> LoginVerdict? {
        let scopes = LoginScopes(rawValue: password.scopes)
        guard let wanted = LoginScopes(service: service), scopes.contains(wanted) else {
            return .refused(.badCredentials)
        }
        let now = WallClock.seconds()
        if password.expires != 0, password.expires <= now { return .refused(.expired) }
        if now - password.used >= 3_600 {
            try directory.noteAppPassword(account.address, id: password.id, at: now)
        }
        return nil
    }

    // MARK: - Other mechanisms

    func scramSalt(_ name: [UInt8]) throws(StoreError) -> ScramSalt {
        let made = MessageDigest.sha256.hmac(key: decoySecret, name.asciiLowercased)
        let decoy = ScramSalt(
            salt: Array(made.prefix(ScramKeys.saltOctets)), iterations: ScramKeys.iterations)
        guard let account = try account(name, []) else { return decoy }
        return try directory.secrets(account.address)?.scram ?? decoy
    }

    func check(_ attempt: Attempt, _ client: LoginClient) -> LoginVerdict {
        verdict { () throws(StoreError) in
            switch attempt {
            case .scramParameters: .failed("not an attempt")
            case .scramProof(let hash, let authorizationID, let name, let message, let proof):
                try self.scram(hash, authorizationID, name, message, proof, client)
            case .cramMD5(let name, let challenge, let digest):
                try self.cram(name, challenge, digest)
            case .external(let authorizationID, let name):
                try self.external(authorizationID, name)
            case .token: .failed("not a question for this store")
            }
        }
    }

    private func scram(
        _ hash: UInt8, _ authorizationID: [UInt8], _ name: [UInt8], _ message: [UInt8],
        _ proof: [UInt8], _ client: LoginClient
    ) throws(StoreError) -> LoginVerdict {
        guard let hash = ScramHash(rawValue: hash),
            let account = try account(name, authorizationID),
            let secrets = try directory.secrets(account.address)
        else { return .refused(.badCredentials) }
        let usesOwn = settings.withLock { $0.usesOwn }
        let own = !usesOwn ? nil : hash == .sha1 ? secrets.sha1 : secrets.sha256
        if let signature = own?.signature(message, proof: proof) {
            return admitted(account, signature: signature)
        }
        guard settings.withLock({ $0.appPasswords }) else { return .refused(.badCredentials) }
        for candidate in try directory.appPasswords(account.address) {
            let keys = hash == .sha1 ? candidate.sha1 : candidate.sha256
            guard let signature = keys?.signature(message, proof: proof) else { continue }
            if let refusal = try use(candidate, account, client.service) { return refusal }
            return admitted(account, signature: signature)
        }
        return .refused(.badCredentials)
    }

    private func cram(
        _ name: [UInt8], _ challenge: [UInt8], _ digest: [UInt8]
    ) throws(StoreError) -> LoginVerdict {
        guard settings.withLock({ $0.methods.contains("cram-md5") && $0.usesOwn }) else {
            return .refused(.badCredentials)
        }
        guard let account = try account(name, []),
            let secret = try directory.secrets(account.address)?.cram,
            secret.verify(digest, of: challenge)
        else { return .refused(.badCredentials) }
        return admitted(account)
    }

    private func external(
        _ authorizationID: [UInt8], _ name: [UInt8]
    ) throws(StoreError) -> LoginVerdict {
        // Without it in mail.toml a front daemon that was broken into could be anybody.
        guard settings.withLock({ $0.methods.contains("external") }),
            let account = try account(name, authorizationID)
        else { return .refused(.badCredentials) }
        return admitted(account)
    }

    // MARK: - New passwords

    /// Keys for a password that is being set; nil if none are kept. On a worker.
    func keys(_ password: [UInt8], _ salt: ScramSalt) -> PasswordKeys? {
        let settings = settings.withLock { $0 }
        guard settings.keepsScram else { return nil }
        return PasswordKeys(password: password, salt, sha1: wantsSHA1)
    }

    var wantsSHA1: Bool {
        settings.withLock {
            $0.methods.contains("scram-sha-1") || $0.methods.contains("scram-sha-1-plus")
        }
    }
}

extension LoginScopes {
    init?(service: [UInt8]) {
        switch String(decoding: service, as: UTF8.self) {
        case "imap": self = .imap
        case "pop3": self = .pop3
        case "smtp": self = .smtp
        default: return nil
        }
    }
}
