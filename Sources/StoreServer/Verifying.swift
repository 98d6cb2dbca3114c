// SPDX-License-Identifier: Apache-2.0
//
// Logins on a door: the guard before, the check on a thread for hashes, the session or the refusal
// after. And the owner's side of it: app passwords and bans. docs/wire.md.

import Bytes
import Crypto
import Mail
import Store
import Telemetry
import Transport
import Wire

extension DoorConnection {
    func authenticate(_ credentials: Credentials) async throws(StoreFailure) -> Reply {
        let logins = core.logins
        let client = LoginClient(
            remote: credentials.remote, session: credentials.session,
            service: credentials.service)
        let name = credentials.authenticationID
        if let refusal = logins.admit(name, client) { return refuse(refusal, client) }
        return try await conclude(await check(credentials), name, client)
    }

    func attempt(_ attempt: Attempt, _ client: LoginClient) async throws(StoreFailure) -> Reply {
        let logins = core.logins
        let name: [UInt8]
        switch attempt {
        case .scramParameters(_, let wanted):
            if let refusal = logins.admit(wanted, client, isFirst: true) {
                return refuse(refusal, client)
            }
            let found = await core.run { () -> Result<ScramSalt, StoreError> in
                do throws(StoreError) {
                    return .success(try logins.scramSalt(wanted))
                } catch {
                    return .failure(error)
                }
            }
            switch found {
            case .success(let salt):
                return .access(
                    .scramParameters(salt: salt.salt, iterations: UInt32(salt.iterations)))
            case .failure(let error): throw failed("\(error)", client)
            }
        case .scramProof(_, _, let wanted, _, _), .cramMD5(let wanted, _, _),
            .external(_, let wanted):
            name = wanted
        case .token(let wanted, let token):
            if let refusal = logins.admit(wanted, client) { return refuse(refusal, client) }
            let verdict = await check(token: token, name: wanted, client)
            return try await conclude(verdict, wanted, client)
        }
        if let refusal = logins.admit(name, client) { return refuse(refusal, client) }
        let verdict = await core.hashing.run { logins.check(attempt, client) }
        return try await conclude(verdict, name, client)
    }

    /// - Parameter verdict: nil: too many are waiting.
    private func conclude(
        _ verdict: LoginVerdict?, _ name: [UInt8], _ client: LoginClient
    ) async throws(StoreFailure) -> Reply {
        let logins = core.logins
        let service = Self.label(client.service)
        guard let verdict else {
            core.metrics.logins.increment([service, "busy"])
            throw .unavailable
        }
        switch verdict {
        case .accepted(let account, let signature):
            let session = try makeSession(account)
            // A token can come without a name.
            logins.noteSuccess(name.isEmpty ? account.address.octets : name, client)
            core.metrics.logins.increment([service, "accepted"])
            guard !signature.isEmpty else {
                return .authenticated(session.handle, account.address)
            }
            return .access(.proven(session.handle, account.address, signature: signature))
        case .refused(let reason): return refuse(logins.refuse(reason, name, client), client)
        case .failed(let reason): throw failed(reason, client)
        }
    }

    private func refuse(_ refusal: LoginRefusal, _ client: LoginClient) -> Reply {
        let result =
            switch refusal.reason {
            case .badCredentials: "refused"
            case .banned: "banned"
            case .throttled: "throttled"
            case .disabled: "disabled"
            case .expired: "expired"
            }
        core.metrics.logins.increment([Self.label(client.service), result])
        return .access(.refused(refusal))
    }

    private func failed(_ reason: String, _ client: LoginClient) -> StoreFailure {
        core.metrics.logins.increment([Self.label(client.service), "failed"])
        Log.error("password not checked", [LogField("reason", reason)])
        return .unavailable
    }

    /// Only names that we know become labels.
    private static func label(_ service: [UInt8]) -> String {
        for name in ["imap", "pop3", "smtp"] where service.elementsEqual(name.utf8) { return name }
        return "other"
    }

    // MARK: - The owner's side

    func access(_ request: AccessRequest) async throws(StoreFailure) -> Reply {
        let logins = core.logins
        switch request {
        case .addAppPassword(let address, let name, let scopes, let expires, let password):
            return try await addAppPassword(address, name, scopes, expires, password)
        case .listAppPasswords(let address):
            let account = try await existing(address)
            let rows = try await onDirectory(changes: false) { directory throws(StoreError) in
                try directory.appPasswords(account.address)
            }
            return .access(.appPasswords(rows.map { AppPassword($0) }))
        case .removeAppPassword(let address, let id):
            let account = try await existing(address)
            let isRemoved = try await onDirectory(changes: false) { directory throws(StoreError) in
                try directory.removeAppPassword(account.address, id: id)
            }
            guard isRemoved else { throw .notPermitted }
            Log.info(
                "app password removed",
                [LogField("account", account.address.octets), LogField("number", Int(id))])
            return .done
        case .listBans: return .access(.bans(logins.bans()))
        case .addBan(let network, let seconds):
            try await onDirectory(changes: false) { _ throws(StoreError) in
                do throws(StoreError) {
                    try logins.ban(network, seconds: seconds)
                } catch .inUse {
                    throw .alreadyExists
                }
            }
            Log.info("ban added", [LogField("network", network)])
            return .done
        case .removeBan(let network):
            let isRemoved = try await onDirectory(changes: false) { _ throws(StoreError) in
                try logins.unban(network)
            }
            guard isRemoved else { throw .noSuchAccount }
            Log.info("ban removed", [LogField("network", network)])
            return .done
        case .setCramSecret(let address, let password):
            let account = try await existing(address)
            let secret = password.isEmpty ? nil : CramSecret(password: password)
            try await onDirectory(changes: false) { directory throws(StoreError) in
                try directory.setCram(account.address, secret)
            }
            return .done
        }
    }

    private func addAppPassword(
        _ address: EmailAddress, _ name: [UInt8], _ scopes: LoginScopes,
        _ expires: SecondsSince1970, _ password: [UInt8]
    ) async throws(StoreFailure) -> Reply {
        // Only what a program has made is long enough to be kept as it is.
        guard password.count >= 16, !scopes.isEmpty, scopes.isSubset(of: .all),
            !name.isEmpty, name.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { throw .notPermitted }
        let account = try await existing(address)
        let wantsSHA1 = core.logins.wantsSHA1
        let rows = try await onDirectory(changes: false) { directory throws(StoreError) in
            let salt = try directory.scramSalt(account.address)
            let keys = PasswordKeys(password: password, salt, sha1: wantsSHA1)
            let id = try directory.addAppPassword(
                account.address, name: name, scopes: scopes.rawValue, expires: expires, keys: keys)
            return try directory.appPasswords(account.address).filter { $0.id == id }
        }
        Log.info("app password added", [LogField("account", account.address.octets)])
        return .access(.appPasswords(rows.map { AppPassword($0) }))
    }
}

extension AppPassword {
    fileprivate init(_ row: DirectoryAppPassword) {
        self.init(
            id: row.id, name: row.name, scopes: LoginScopes(rawValue: row.scopes),
            created: row.created, expires: row.expires, used: row.used)
    }
}
