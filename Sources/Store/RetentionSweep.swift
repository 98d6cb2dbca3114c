// SPDX-License-Identifier: Apache-2.0
//
// The end of the retention time: expunged messages, deleted mailboxes and removed accounts go for
// good. Reads directories only, so accounts need not be open. docs/store.md.

import Bytes
import Mail

/// What a sweep removed.
package struct SweptFiles: Equatable, Sendable {
    package var days = 0
    package var files = 0
    /// What is there still.
    package var kept = 0
    package var keptOctets: Int64 = 0

    package init() {}
}

extension MailRoot {
    /// Every account's directory: domain and user, as on disk.
    package func accountDirectories() throws(StoreError) -> [(PathOctets, PathOctets)] {
        var accounts: [(PathOctets, PathOctets)] = []
        for domain in try System.names(in: directory.descriptor) where domain.first != 0x2E {
            guard try System.status(domain, in: directory.descriptor)?.isDirectory == true,
                let opened = try System.openDirectoryIfPresent(domain, in: directory.descriptor)
            else { continue }
            for user in try System.names(in: opened.descriptor) { accounts.append((domain, user)) }
        }
        return accounts
    }

    /// Removes the days of one account that are over, and the oldest files beyond its limit.
    package func sweepExpunged(
        _ domain: PathOctets, _ user: PathOctets
    ) throws(StoreError) -> SweptFiles {
        var swept = SweptFiles()
        guard
            let domain = try System.openDirectoryIfPresent(domain, in: directory.descriptor),
            try System.status(user, in: domain.descriptor)?.isDirectory == true,
            let account = try System.openDirectoryIfPresent(user, in: domain.descriptor),
            let top = try System.openDirectoryIfPresent(
                Retention.directoryName, in: account.descriptor)
        else { return swept }
        let seconds = retention.seconds
        // A day counts from its end: nothing goes before its time.
        let oldest = Retention.day(System.now().seconds - seconds)
        var days: [PathOctets] = []
        for day in try System.names(in: top.descriptor) where Retention.isDay(day) {
            if seconds == 0 || day.lexicographicallyPrecedes(oldest) {
                try System.removeTree(day, in: top.descriptor)
                swept.days += 1
            } else {
                days.append(day)
            }
        }
        if days.isEmpty {
            // Somebody may be making a day in it just now: then it stays.
            do throws(StoreError) {
                try System.removeDirectory(Retention.directoryName, in: account.descriptor)
            } catch .file(_, errno: 39) {}  // ENOTEMPTY
            return swept
        }
        let limit = retention.octetLimit
        try shrink(top, days, to: limit, &swept)
        return swept
    }

    private struct Kept {
        var path: [PathOctets]
        var size: Int64
        var changed: Int64
    }

    private func shrink(
        _ top: borrowing File, _ days: [PathOctets], to limit: Int64, _ swept: inout SweptFiles
    ) throws(StoreError) {
        var files: [Kept] = []
        for day in days { try collect([day], in: top.descriptor, &files, depth: 5) }
        var total = files.reduce(0) { $0 + $1.size }
        swept.kept = files.count
        swept.keptOctets = total
        guard limit > 0, total > limit else { return }
        for file in files.sorted(by: { $0.changed < $1.changed }) {
            guard total > limit else { break }
            guard let name = file.path.last,
                let directory = try open(Array(file.path.dropLast()), in: top.descriptor)
            else { continue }
            try System.unlink(name, in: directory.descriptor)
            total -= file.size
            swept.files += 1
        }
        swept.kept -= swept.files
        swept.keptOctets = total
    }

    private func open(_ path: [PathOctets], in top: Int32) throws(StoreError) -> File? {
        var directory = try System.openDirectory([0x2E], in: top)
        for name in path {
            guard let next = try System.openDirectoryIfPresent(name, in: directory.descriptor)
            else { return nil }
            directory = next
        }
        return directory
    }

    /// Message files below a directory; the small files of folders are not counted.
    private func collect(
        _ path: [PathOctets], in top: Int32, _ files: inout [Kept], depth: Int
    ) throws(StoreError) {
        guard depth > 0, let directory = try open(path, in: top) else { return }
        for name in try System.names(in: directory.descriptor) {
            guard let status = try System.status(name, in: directory.descriptor) else { continue }
            if status.isDirectory {
                try collect(path + [name], in: top, &files, depth: depth - 1)
            } else if status.isRegular, name != PathOctets(KeywordTable.fileName),
                name != PathOctets(FolderState.fileName)
            {
                files.append(
                    Kept(path: path + [name], size: status.size, changed: status.changed))
            }
        }
    }

    // MARK: - Removed accounts

    private static let removedPrefix = PathOctets(".removed-")
    private static let restorePrefix = PathOctets(".restore-")
    private static let removedNote = "martlet-removed"

    /// Renames an account's directory to one beside the domains, durably, with a note whose it
    /// was. Nil if there is none.
    func setAside(
        _ user: PathOctets, in domain: Int32, _ address: EmailAddress
    ) throws(StoreError) -> PathOctets? {
        guard let account = try System.openDirectoryIfPresent(user, in: domain) else { return nil }
        let name = Self.removedPrefix + makeUniqueName().octets
        try noteRemoval(account, address)
        guard try System.rename(user, in: domain, to: name, in: directory.descriptor) else {
            return nil
        }
        try System.synchronize(domain, "domain")
        try System.synchronize(directory.descriptor, "mail root")
        return name
    }

    private func noteRemoval(
        _ account: borrowing File, _ address: EmailAddress
    ) throws(StoreError) {
        do throws(StoreError) {
            try DurableFile.replace(
                Self.removedNote, with: address.octets + [0x0A], in: account.descriptor)
        } catch .noSpace {}  // the note is a help only
    }

    /// Accounts that were removed and can be put back, newest first.
    package func removedAccounts() throws(StoreError) -> [RemovedAccount] {
        var accounts: [RemovedAccount] = []
        for name in try System.names(in: directory.descriptor) {
            guard let time = Self.removalTime(name),
                let account = try System.openDirectoryIfPresent(name, in: directory.descriptor),
                let note = try DurableFile.read(Self.removedNote, in: account.descriptor)
            else { continue }
            accounts.append(
                RemovedAccount(
                    directory: name, address: Array(note.prefix { $0 != 0x0A }.prefix(1_000)),
                    removedAt: time))
        }
        return accounts.sorted { $0.removedAt > $1.removedAt }
    }

    /// The second in which it was removed; nil for another name.
    private static func removalTime(_ name: PathOctets) -> SecondsSince1970? {
        guard name.starts(with: removedPrefix) else { return nil }
        let digits = name.dropFirst(removedPrefix.count).prefix { $0 != 0x2E }
        return Int64(String(decoding: digits, as: UTF8.self))
    }

    /// Removes what was set aside longer ago than the retention time, at least a day, and
    /// unfinished restores of two days ago.
    package func sweepRemoved() throws(StoreError) {
        let now = System.now().seconds
        let limit = max(retention.seconds, 86_400)
        for name in try System.names(in: directory.descriptor) {
            if let time = Self.removalTime(name) {
                guard now - time > limit else { continue }
                try System.removeTree(name, in: directory.descriptor, depth: 9)
            } else if name.starts(with: Self.restorePrefix),
                let status = try System.status(name, in: directory.descriptor),
                now - status.seconds > 2 * 86_400
            {
                try System.removeTree(name, in: directory.descriptor, depth: 9)
            }
        }
    }

    // MARK: - Putting an account in place

    /// UIDs and MODSEQs that may have been given out between a backup and the loss of the account
    /// are not given out again.
    private static let restoredUIDStep: UInt32 = 100_000
    private static let restoredModSeqStep: UInt64 = 1_000_000_000

    /// Puts `.restore-*` or `.removed-*` in the place of the account's directory, which is set
    /// aside. The account's store must be closed. After a crash in between it can be done again.
    ///
    ///     state  source                  the account's directory   after a crash here
    ///     P0     there                   the present one           nothing happened
    ///     P1     as `.removed-<now>`     the present one           the same, under another name
    ///     P2     the one that was here   the one put in place      done
    ///
    /// From P1 to P2 both change places in one step; a note in each says whose it is, so that none
    /// of them can be missed by `removedAccounts`.
    package func placeAccount(
        _ address: EmailAddress, from source: PathOctets
    ) throws(StoreError) {
        let isRestore = source.starts(with: Self.restorePrefix)
        guard isRestore || source.starts(with: Self.removedPrefix),
            !source.contains(0x2F), !source.contains(0)
        else { throw .notPermitted }
        let names = try components(address)
        guard let placed = try System.openDirectoryIfPresent(source, in: directory.descriptor),
            let maildir = try System.openDirectoryIfPresent(
                PathOctets("Maildir"), in: placed.descriptor),
            try System.status(.cur, in: maildir.descriptor)?.isDirectory == true
        else { throw .noSuchMailbox }
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] where isRestore {
            try System.unlink(PathOctets(name), in: placed.descriptor)
        }
        let domain = try makeDurable(names.domain, in: directory.descriptor)
        try raiseMarks(maildir, above: names.local, in: domain, isRestore: isRestore)
        try System.synchronize(maildir.descriptor, "Maildir")
        try System.synchronize(placed.descriptor, "account")
        try changePlaces(source, names.local, in: domain.descriptor, address)
        // Only now: whatever is beside the domains without a note is found by nobody.
        try System.unlink(PathOctets(Self.removedNote), in: placed.descriptor)
        try System.synchronize(placed.descriptor, "account")
    }

    private func changePlaces(
        _ source: PathOctets, _ user: PathOctets, in domain: Int32, _ address: EmailAddress
    ) throws(StoreError) {
        var source = source
        if let present = try System.openDirectoryIfPresent(user, in: domain) {
            try noteRemoval(present, address)
            // The name of what is set aside says since when.
            let aside = Self.removedPrefix + makeUniqueName().octets
            guard
                try System.rename(
                    source, in: directory.descriptor, to: aside, in: directory.descriptor)
            else { throw .noSuchMailbox }
            try System.synchronize(directory.descriptor, "mail root")
            switch try System.exchange(aside, in: directory.descriptor, with: user, in: domain) {
            case .done:
                try System.synchronize(domain, "domain")
                try System.synchronize(directory.descriptor, "mail root")
                return
            case .notBoth: break
            case .notHere: _ = try setAside(user, in: domain, address)
            }
            source = aside
        }
        guard try System.rename(source, in: directory.descriptor, to: user, in: domain) else {
            throw .noSuchMailbox
        }
        try System.synchronize(domain, "domain")
        try System.synchronize(directory.descriptor, "mail root")
    }

    private func raiseMarks(
        _ maildir: borrowing File, above user: PathOctets, in domain: borrowing File,
        isRestore: Bool
    ) throws(StoreError) {
        var old: [UInt32: FolderState] = [:]
        var oldAccount: AccountState?
        if let account = try System.openDirectoryIfPresent(user, in: domain.descriptor),
            let present = try System.openDirectoryIfPresent(
                PathOctets("Maildir"), in: account.descriptor)
        {
            for (state, _) in try states(in: present) { old[state.uidValidity] = state }
            oldAccount = try DurableFile.read(AccountState.fileName, in: present.descriptor)
                .flatMap { AccountState($0) }
        }
        for (state, name) in try states(in: maildir) {
            var raised = state
            if isRestore {
                let (mark, overflow) = state.uidMark.addingReportingOverflow(Self.restoredUIDStep)
                if !overflow { raised.uidMark = mark }
                raised.modSeqMark = min(state.modSeqMark + Self.restoredModSeqStep, 1 << 61)
            }
            if let other = old[state.uidValidity] {
                raised.uidMark = max(raised.uidMark, other.uidMark)
                raised.modSeqMark = max(raised.modSeqMark, other.modSeqMark)
            }
            guard raised != state,
                let folder = try System.openDirectoryIfPresent(name, in: maildir.descriptor)
            else { continue }
            try raised.write(in: folder.descriptor)
        }
        let read = try DurableFile.read(AccountState.fileName, in: maildir.descriptor)
        guard let oldAccount, var state = read.flatMap({ AccountState($0) }),
            state.uidValidityMark < oldAccount.uidValidityMark
        else { return }
        state.uidValidityMark = oldAccount.uidValidityMark
        try state.write(in: maildir.descriptor)
    }

    /// The state of every folder, and its directory below the Maildir (`.`: INBOX).
    private func states(
        in maildir: borrowing File
    ) throws(StoreError) -> [(FolderState, PathOctets)] {
        var found: [(FolderState, PathOctets)] = []
        let names = try System.names(in: maildir.descriptor).filter { $0.first == 0x2E }
        for name in [[0x2E]] + names {
            guard try System.status(name, in: maildir.descriptor)?.isDirectory == true,
                let folder = try System.openDirectoryIfPresent(name, in: maildir.descriptor),
                let state = try FolderState.read(in: folder.descriptor)
            else { continue }
            found.append((state, name))
        }
        return found
    }
}
