// SPDX-License-Identifier: Apache-2.0
//
// Who has mail here: domains, accounts and credentials, in `<state>/directory.sqlite`.
// RFC 5321 §2.4 (case of local-parts); passwords only as PHC strings. Unlike an index it cannot
// be made again, so a damaged file is reported and never moved away.

import Bytes
import Mail
import Synchronization

package struct DirectoryDomain: Equatable, Sendable {
    package var name: [UInt8]
    package var accounts: UInt32
    /// Named in mail.toml.
    package var isConfigured: Bool
}

package struct DirectoryAccount: Equatable, Sendable {
    /// As accounts are kept: local-part and domain in lower case (ASCII).
    package var address: EmailAddress
    package var created: SecondsSince1970
    package var state = AccountStanding.active
}

/// An account with all that a list shows of it.
package struct DirectoryRow: Equatable, Sendable {
    package var account: DirectoryAccount
    package var quota: QuotaSetting
    /// As it was written last; nil: never counted.
    package var usage: MailUsage?
}

/// Domains, accounts, credentials. Usable from any thread; a call may wait for the disk.
package final class Directory: @unchecked Sendable {  // safe: everything behind one lock
    /// The version that the database had before it was brought to this release's.
    package let migratedFrom: Int64?
    /// The database was lost or damaged and has been made again from `directory.backup`.
    package let isRestored: Bool
    private let state: File
    /// Of the copy on disk; nil: there is none.
    private var textHash: Int?
    private var isCopyStale = true
    private let lock = Mutex<Void>(())
    let database: Database
    private var configured: Set<[UInt8]>
    /// How addresses are read; inside `locked`.
    private(set) var rules = AddressRules()
    private var isClosed = false

    private init(
        _ database: Database, _ state: consuming File, configured: Set<[UInt8]>,
        migratedFrom: Int64?, isRestored: Bool, copy: Int?
    ) {
        self.database = database
        self.state = state
        self.migratedFrom = migratedFrom
        self.isRestored = isRestored
        textHash = copy
        self.configured = configured
    }

    /// Opens or makes the database.
    ///
    /// - Parameters:
    ///   - stateDirectory: made if it is missing; its parent must exist.
    ///   - configured: the domains of mail.toml; they are not written into the database.
    package static func open(
        stateDirectory: String, configured: [[UInt8]]
    ) throws(StoreError) -> Directory {
        try System.makeDirectory(PathOctets(stateDirectory))
        let real = try System.realPath(stateDirectory)
        let directory = try System.openDirectory(PathOctets(real))
        try removeLeftCopies(in: directory.descriptor)
        let copy = try DirectoryText.read(in: directory.descriptor)
        if copy != nil, try isDamaged(in: directory.descriptor, real) {
            try moveAside(in: directory.descriptor)
        }
        let migration = DirectorySchema.migration
        let database: Database
        var migratedFrom: Int64?
        switch try migration.open(in: directory.descriptor, path: real) {
        case .ready(let found): database = found
        case .new(let made):
            database = made
            try System.synchronize(directory.descriptor, "state directory")
        case .migrated(let found, let version):
            database = found
            migratedFrom = version
        case .unknown(let version):
            throw .index(
                """
                directory.sqlite has version \(version), this release knows up to \
                \(migration.version): start the release that wrote it, or see "Versions" in \
                docs/store.md
                """, code: 26)
        }
        var isRestored = false
        if let copy, try DirectoryText.isEmpty(database) {
            try DirectoryText.restore(copy, into: database)
            isRestored = try !DirectoryText.isEmpty(database)
        }
        try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return Directory(
            database, directory, configured: Set(configured.map(\.asciiLowercased)),
            migratedFrom: migratedFrom, isRestored: isRestored, copy: copy?.hash)
    }

    /// With a copy at hand a database that cannot be trusted is not opened.
    private static func isDamaged(in state: Int32, _ path: String) throws(StoreError) -> Bool {
        guard try System.status(PathOctets("directory.sqlite"), in: state) != nil else {
            return false
        }
        do throws(StoreError) {
            let database = try Database.open("\(path)/directory.sqlite")
            defer { database.close(checkpoint: false) }
            return try database.number(
                "SELECT count(*) FROM pragma_quick_check WHERE quick_check<>'ok'") > 0
        } catch {
            guard error.isCorruption else { throw error }
            return true
        }
    }

    private static func moveAside(in state: Int32) throws(StoreError) {
        let stamp = System.now()
        for name in ["directory.sqlite", "directory.sqlite-wal", "directory.sqlite-shm"] {
            _ = try System.rename(
                PathOctets(name), in: state,
                to: PathOctets("\(name).damaged-\(stamp.seconds)-\(stamp.microseconds)"), in: state)
        }
        try System.synchronize(state, "state directory")
    }

    /// Brings `directory.backup` up to date, if there was a change. Call it every few seconds.
    package func writeCopy() throws(StoreError) {
        try locked { () throws(StoreError) in
            guard isCopyStale else { return }
            let octets = try DirectoryText.octets(database)
            if octets.hash != textHash {
                try DurableFile.replace(
                    DirectoryText.fileName, with: octets, in: state.descriptor)
                textHash = octets.hash
            }
            isCopyStale = false
        }
    }

    private static let backupNote = "last-backup"

    /// Remembers when all accounts were backed up last.
    package func noteBackup(_ time: SecondsSince1970) throws(StoreError) {
        try locked { () throws(StoreError) in
            try DurableFile.replace(
                Self.backupNote, with: PathOctets("\(time)\n"), in: state.descriptor)
        }
    }

    /// Nil: never, or it cannot be read.
    package func lastBackup() throws(StoreError) -> SecondsSince1970? {
        try locked { () throws(StoreError) in
            guard let file = try System.openFile(PathOctets(Self.backupNote), in: state.descriptor)
            else { return nil }
            let octets = try System.read(file.descriptor, from: 0, count: 32)
            return SecondsSince1970(String(decoding: octets.prefix { $0 != 0x0A }, as: UTF8.self))
        }
    }

    package func close() {
        lock.withLock { _ in
            isClosed = true
            database.close(checkpoint: true)
        }
    }

    /// After a reload of mail.toml.
    package func setConfigured(_ domains: [[UInt8]]) {
        lock.withLock { _ in configured = Set(domains.map(\.asciiLowercased)) }
    }

    /// How addresses are read: what mail.toml says.
    package func setRules(_ rules: AddressRules) {
        lock.withLock { _ in self.rules = rules }
    }

    // MARK: - Domains

    package func hasDomain(_ name: [UInt8]) throws(StoreError) -> Bool {
        try locked { () throws(StoreError) in try hasDomainNow(name.asciiLowercased) }
    }

    /// By name.
    package func domains() throws(StoreError) -> [DirectoryDomain] {
        try locked { () throws(StoreError) in
            var names = configured
            let rows = try query(.domains)
            while try rows.step() { names.insert(rows.octets(0)) }
            var domains: [DirectoryDomain] = []
            for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
                domains.append(
                    DirectoryDomain(
                        name: name, accounts: try accountCount(name),
                        isConfigured: configured.contains(name)))
            }
            return domains
        }
    }

    /// - Throws: `.alreadyExists`, `.notPermitted` for what cannot be a domain.
    package func addDomain(_ name: [UInt8]) throws(StoreError) {
        try locked { () throws(StoreError) in
            let name = name.asciiLowercased
            guard Self.isDomain(name) else { throw .notPermitted }
            guard try !hasDomainNow(name) else { throw .alreadyExists }
            try change { () throws(StoreError) in
                let statement = try query(.addDomain)
                statement.set(1, name)
                try statement.run()
            }
        }
    }

    /// - Throws: `.noSuchDomain`, `.notPermitted` while it has accounts or aliases, others stand
    ///   for it, or it is in mail.toml.
    package func removeDomain(_ name: [UInt8]) throws(StoreError) {
        try locked { () throws(StoreError) in
            let name = name.asciiLowercased
            guard try hasDomainNow(name) else { throw .noSuchDomain }
            guard !configured.contains(name), try accountCount(name) == 0,
                try aliasCountNow(name) == 0, try standInsNow(name) == 0
            else { throw .notPermitted }
            try change { () throws(StoreError) in
                let setting = try query(.removeDomainSetting)
                setting.set(1, name)
                try setting.run()
                let statement = try query(.removeDomain)
                statement.set(1, name)
                try statement.run()
            }
        }
    }

    // MARK: - Accounts

    /// The account of exactly this name, in any ASCII case. `expand` knows where mail goes.
    package func account(_ address: EmailAddress) throws(StoreError) -> DirectoryAccount? {
        try locked { () throws(StoreError) in try accountNow(address) }
    }

    func accountNow(_ address: EmailAddress) throws(StoreError) -> DirectoryAccount? {
        let row = try find(address)
        defer { row.reset() }
        guard try row.step() else { return nil }
        return DirectoryAccount(
            address: Self.canonical(address), created: row.integer(0),
            state: AccountStanding(row, 2))
    }

    /// Of one domain, or all (nil); by domain and name.
    package func accounts(in domain: [UInt8]?) throws(StoreError) -> [DirectoryAccount] {
        try rows(in: domain).map(\.account)
    }

    /// As `accounts`, with what a list shows.
    package func rows(in domain: [UInt8]?) throws(StoreError) -> [DirectoryRow] {
        try locked { () throws(StoreError) in
            let wanted = domain?.asciiLowercased
            var found: [DirectoryRow] = []
            let rows = try query(.accounts)
            while try rows.step() {
                let address = EmailAddress(local: rows.octets(1), domain: rows.octets(0))
                guard wanted == nil || wanted == address.domain else { continue }
                found.append(
                    DirectoryRow(
                        account: DirectoryAccount(
                            address: address, created: rows.integer(2),
                            state: AccountStanding(rows, 3)),
                        quota: QuotaSetting(rows, 4), usage: MailUsage(rows, 6)))
            }
            return found
        }
    }

    /// The PHC string to verify a password against; nil without such an account.
    package func passwordHash(_ address: EmailAddress) throws(StoreError) -> [UInt8]? {
        try locked { () throws(StoreError) in
            let row = try find(address)
            defer { row.reset() }
            return try row.step() ? row.octets(1) : nil
        }
    }

    /// - Throws: `.noSuchDomain`, `.alreadyExists`, `.notPermitted` for what cannot be an address
    ///   or is in a domain that only stands for another.
    package func addAccount(
        _ address: EmailAddress, passwordHash: [UInt8], keys: PasswordKeys? = nil
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            let address = Self.canonical(address)
            guard Self.isLocalPart(address.local), !passwordHash.isEmpty else {
                throw .notPermitted
            }
            guard try hasDomainNow(address.domain) else { throw .noSuchDomain }
            guard try domainPolicyNow(address.domain).aliasOf.isEmpty else { throw .notPermitted }
            guard try accountNow(address) == nil else { throw .alreadyExists }
            try change { () throws(StoreError) in
                let statement = try query(.addAccount)
                statement.set(1, address.domain)
                statement.set(2, address.local)
                statement.set(3, System.now().seconds)
                statement.set(4, passwordHash)
                try statement.run()
                if let keys { try setKeysNow(address, keys) }
            }
        }
    }

    /// - Parameter keys: of the same password; nil: those of the old one go.
    package func setPassword(
        _ address: EmailAddress, passwordHash: [UInt8], keys: PasswordKeys? = nil
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            guard !passwordHash.isEmpty else { throw .notPermitted }
            try requireAccount(address)
            try change { () throws(StoreError) in
                let statement = try query(.setPassword)
                bind(statement, address)
                statement.set(3, passwordHash)
                try statement.run()
                try setKeysNow(address, keys)
            }
        }
    }

    /// Forgets the account; its mail is `MailRoot.removeAccount`'s business.
    package func removeAccount(_ address: EmailAddress) throws(StoreError) {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            try change { () throws(StoreError) in
                for kind: DirectoryQuery in [
                    .removeAccount, .removeSenders, .removeAppPasswords,
                ] {
                    let statement = try query(kind)
                    bind(statement, address)
                    try statement.run()
                }
            }
        }
    }

    // MARK: -

    func locked<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        var outcome: Swift.Result<Result, StoreError>?
        lock.withLock { _ in
            guard !isClosed else { return }
            do throws(StoreError) {
                outcome = .success(try body())
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { throw .index("directory is closed", code: 21) }
        return try outcome.get()
    }

    func change(_ body: () throws(StoreError) -> Void) throws(StoreError) {
        try database.begin()
        do throws(StoreError) {
            try body()
            try database.commit()
            isCopyStale = true
        } catch {
            database.rollback()
            throw error
        }
    }

    func query(_ query: DirectoryQuery) throws(StoreError) -> Statement {
        try database.statement(query.rawValue, query.sql)
    }

    func bind(_ statement: Statement, _ address: EmailAddress) {
        let address = Self.canonical(address)
        statement.set(1, address.domain)
        statement.set(2, address.local)
    }

    private func find(_ address: EmailAddress) throws(StoreError) -> Statement {
        let statement = try query(.account)
        bind(statement, address)
        return statement
    }

    func requireAccount(_ address: EmailAddress) throws(StoreError) {
        let row = try find(address)
        defer { row.reset() }
        guard try row.step() else { throw .noSuchAccount }
    }

    func hasDomainNow(_ name: [UInt8]) throws(StoreError) -> Bool {
        if configured.contains(name) { return true }
        let row = try query(.hasDomain)
        row.set(1, name)
        defer { row.reset() }
        return try row.step()
    }

    func accountCount(_ domain: [UInt8]) throws(StoreError) -> UInt32 {
        let row = try query(.accountCount)
        row.set(1, domain)
        defer { row.reset() }
        return try row.step() ? UInt32(clamping: row.integer(0)) : 0
    }

    static func canonical(_ address: EmailAddress) -> EmailAddress {
        EmailAddress(local: address.local.asciiLowercased, domain: address.domain)
    }

    /// RFC 5321 §4.5.3.1.1: 64 octets. Control characters are nobody's name.
    static func isLocalPart(_ local: [UInt8]) -> Bool {
        (1...64).contains(local.count) && local.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// Labels of letters, digits, hyphens and UTF-8, separated by dots. RFC 5321 §4.1.2, §4.5.3.1.2.
    static func isDomain(_ name: [UInt8]) -> Bool {
        (1...255).contains(name.count)
            && name.allSatisfy {
                $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x2E || $0 >= 0x80
            }
            && name.split(separator: 0x2E, omittingEmptySubsequences: false).allSatisfy {
                (1...63).contains($0.count) && $0.first != 0x2D && $0.last != 0x2D
            }
    }
}
