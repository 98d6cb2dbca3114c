// SPDX-License-Identifier: Apache-2.0
//
// What lets somebody in beside the password's hash: keys of SCRAM (RFC 5802), the secret of
// CRAM-MD5, app passwords; and who is banned by an owner. docs/store.md, "The directory".

import Bytes
import Crypto
import Mail

/// SCRAM keys of one password, over the salt of its account.
package struct PasswordKeys: Equatable, Sendable {
    package var salt: [UInt8]
    package var iterations: Int
    package var sha1: [UInt8]?
    package var sha256: [UInt8]?

    /// Takes milliseconds: on a worker.
    package init(password: [UInt8], _ parameters: ScramSalt, sha1 wantsSHA1: Bool) {
        salt = parameters.salt
        iterations = parameters.iterations
        sha1 =
            wantsSHA1
            ? ScramKeys(.sha1, password: password, salt: salt, iterations: iterations).octets : nil
        sha256 =
            ScramKeys(.sha256, password: password, salt: salt, iterations: iterations).octets
    }
}

/// The public half of SCRAM keys.
package struct ScramSalt: Equatable, Sendable {
    package var salt: [UInt8]
    package var iterations: Int

    package init(salt: [UInt8], iterations: Int) {
        self.salt = salt
        self.iterations = iterations
    }

    package static func make() -> ScramSalt {
        ScramSalt(salt: RandomOctets.make(ScramKeys.saltOctets), iterations: ScramKeys.iterations)
    }
}

/// Everything by which the account itself can be logged in to.
package struct AccountSecrets: Equatable, Sendable {
    package var hash: [UInt8]
    /// Nil: nothing was derived for any password of the account.
    package var scram: ScramSalt?
    package var sha1: ScramKeys?
    package var sha256: ScramKeys?
    package var cram: CramSecret?
}

package struct DirectoryAppPassword: Equatable, Sendable {
    package var id: UInt32
    package var name: [UInt8]
    /// LoginScopes.
    package var scopes: UInt8
    package var created: SecondsSince1970
    /// 0: never.
    package var expires: SecondsSince1970
    /// 0: not yet.
    package var used: SecondsSince1970
    package var sha1: ScramKeys?
    package var sha256: ScramKeys?
}

package struct DirectoryBan: Equatable, Sendable {
    package var network: [UInt8]
    package var since: SecondsSince1970
    /// 0: until it is taken back.
    package var until: SecondsSince1970

    package init(network: [UInt8], since: SecondsSince1970, until: SecondsSince1970) {
        self.network = network
        self.since = since
        self.until = until
    }
}

extension Directory {
    package static let appPasswordLimit = 100

    // MARK: - Keys

    package func secrets(_ address: EmailAddress) throws(StoreError) -> AccountSecrets? {
        try locked { () throws(StoreError) in
            let row = try query(.secrets)
            bind(row, address)
            defer { row.reset() }
            guard try row.step() else { return nil }
            return AccountSecrets(
                hash: row.octets(0), scram: ScramSalt(row, 1),
                sha1: row.isNull(3) ? nil : ScramKeys(.sha1, octets: row.octets(3)),
                sha256: row.isNull(4) ? nil : ScramKeys(.sha256, octets: row.octets(4)),
                cram: row.isNull(5) ? nil : CramSecret(octets: row.octets(5)))
        }
    }

    /// The salt of all SCRAM keys of an account; made once, never changed.
    package func scramSalt(_ address: EmailAddress) throws(StoreError) -> ScramSalt {
        try locked { () throws(StoreError) in
            let row = try query(.saltOf)
            bind(row, address)
            guard try row.step() else {
                row.reset()
                throw .noSuchAccount
            }
            let known = ScramSalt(row, 0)
            row.reset()
            if let known { return known }
            let made = ScramSalt.make()
            try change { () throws(StoreError) in try setSaltNow(address, made) }
            return made
        }
    }

    private func setSaltNow(_ address: EmailAddress, _ salt: ScramSalt) throws(StoreError) {
        let statement = try query(.setSalt)
        bind(statement, address)
        statement.set(3, salt.salt)
        statement.set(4, Int64(salt.iterations))
        try statement.run()
    }

    /// In a transaction.
    func setKeysNow(_ address: EmailAddress, _ keys: PasswordKeys?) throws(StoreError) {
        if let keys {
            try setSaltNow(address, ScramSalt(salt: keys.salt, iterations: keys.iterations))
        }
        let statement = try query(.setKeys)
        bind(statement, address)
        statement.set(3, keys?.sha1)
        statement.set(4, keys?.sha256)
        try statement.run()
    }

    /// A better hash and missing keys of the same password, unless it has been changed meanwhile.
    package func refresh(
        _ address: EmailAddress, from old: [UInt8], hash: [UInt8], keys: PasswordKeys?
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                let statement = try query(.refreshKeys)
                bind(statement, address)
                statement.set(3, old)
                statement.set(4, hash)
                statement.set(5, keys?.sha1)
                statement.set(6, keys?.sha256)
                try statement.run()
            }
        }
    }

    package func setCram(
        _ address: EmailAddress, _ secret: CramSecret?
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            try change { () throws(StoreError) in
                let statement = try query(.setCram)
                bind(statement, address)
                statement.set(3, secret?.octets)
                try statement.run()
            }
        }
    }

    /// Random octets of this installation, made when they are first asked for.
    package func secret(_ name: String) throws(StoreError) -> [UInt8] {
        try locked { () throws(StoreError) in
            if let known = try secretNow(name) { return known }
            let made = RandomOctets.make(32)
            try change { () throws(StoreError) in
                let statement = try query(.addSecret)
                statement.set(1, Array(name.utf8))
                statement.set(2, made)
                try statement.run()
            }
            return made
        }
    }

    private func secretNow(_ name: String) throws(StoreError) -> [UInt8]? {
        let row = try query(.secret)
        row.set(1, Array(name.utf8))
        defer { row.reset() }
        return try row.step() ? row.octets(0) : nil
    }

    // MARK: - App passwords

    package func appPasswords(
        _ address: EmailAddress
    ) throws(StoreError) -> [DirectoryAppPassword] {
        try locked { () throws(StoreError) in
            var found: [DirectoryAppPassword] = []
            let row = try query(.appPasswords)
            bind(row, address)
            while try row.step() {
                found.append(
                    DirectoryAppPassword(
                        id: UInt32(clamping: row.integer(0)), name: row.octets(1),
                        scopes: UInt8(clamping: row.integer(2)), created: row.integer(3),
                        expires: row.integer(4), used: row.integer(5),
                        sha1: row.isNull(6) ? nil : ScramKeys(.sha1, octets: row.octets(6)),
                        sha256: ScramKeys(.sha256, octets: row.octets(7))))
            }
            return found
        }
    }

    /// - Throws: `.limit` if there are too many.
    package func addAppPassword(
        _ address: EmailAddress, name: [UInt8], scopes: UInt8, expires: SecondsSince1970,
        keys: PasswordKeys
    ) throws(StoreError) -> UInt32 {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            let last = try query(.lastAppPassword)
            bind(last, address)
            guard try last.step() else { throw .index("app passwords", code: 1) }
            let (id, count) = (last.integer(0) + 1, last.integer(1))
            last.reset()
            guard count < Self.appPasswordLimit else { throw .limit }
            try change { () throws(StoreError) in
                let statement = try query(.addAppPassword)
                bind(statement, address)
                statement.set(3, id)
                statement.set(4, name)
                statement.set(5, Int64(scopes))
                statement.set(6, System.now().seconds)
                statement.set(7, expires)
                statement.set(8, keys.sha1)
                statement.set(9, keys.sha256)
                try statement.run()
            }
            return UInt32(clamping: id)
        }
    }

    /// False if there is none of this number.
    package func removeAppPassword(
        _ address: EmailAddress, id: UInt32
    ) throws(StoreError) -> Bool {
        guard try appPasswords(address).contains(where: { $0.id == id }) else { return false }
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                let statement = try query(.removeAppPassword)
                bind(statement, address)
                statement.set(3, Int64(id))
                try statement.run()
            }
        }
        return true
    }

    package func noteAppPassword(
        _ address: EmailAddress, id: UInt32, at time: SecondsSince1970
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                let statement = try query(.noteAppPassword)
                bind(statement, address)
                statement.set(3, Int64(id))
                statement.set(4, time)
                try statement.run()
            }
        }
    }

    // MARK: - Bans

    package func bans() throws(StoreError) -> [DirectoryBan] {
        try locked { () throws(StoreError) in
            var found: [DirectoryBan] = []
            let row = try query(.bans)
            while try row.step() {
                found.append(
                    DirectoryBan(
                        network: row.octets(0), since: row.integer(1), until: row.integer(2)))
            }
            return found
        }
    }

    package func addBan(_ ban: DirectoryBan) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                let statement = try query(.addBan)
                statement.set(1, ban.network)
                statement.set(2, ban.since)
                statement.set(3, ban.until)
                try statement.run()
            }
        }
    }

    package func removeBan(_ network: [UInt8]) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                let statement = try query(.removeBan)
                statement.set(1, network)
                try statement.run()
            }
        }
    }
}

extension ScramSalt {
    fileprivate init?(_ row: Statement, _ column: Int32) {
        guard !row.isNull(column), row.integer(column + 1) > 0 else { return nil }
        self.init(salt: row.octets(column), iterations: Int(row.integer(column + 1)))
    }
}
