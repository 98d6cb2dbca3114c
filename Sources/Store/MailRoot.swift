// SPDX-License-Identifier: Apache-2.0
//
// The directory below which all mail lies: accounts, staging area, delivery log and journal.
// docs/store.md.

import Bytes
import Mail
import Synchronization

/// `<root>`, held by one process. Usable from any thread.
package final class MailRoot: Sendable {
    package let staging: StagingArea
    package let journal: DeliveryJournal
    package let retention = Retention()
    package let log: DeliveryLog
    let postponed = PostponedRedo()
    /// Without symbolic links.
    let path: String
    let notice: NoticeSink
    let directory: File
    private let lock: File
    private let host: [UInt8]
    private let counter = Atomic<UInt64>(0)

    private init(
        path: String, directory: consuming File, lock: consuming File, staging: StagingArea,
        journal: DeliveryJournal, log: DeliveryLog, host: [UInt8], notice: @escaping NoticeSink
    ) {
        self.path = path
        self.directory = directory
        self.lock = lock
        self.staging = staging
        self.journal = journal
        self.log = log
        self.host = host
        self.notice = notice
    }

    deinit { log.close(checkpointing: false) }

    /// Opens (or makes) the root and takes its lock.
    ///
    /// - Parameters:
    ///   - path: its parent must exist.
    ///   - host: goes into file names, as Maildir has it.
    /// - Throws: `.inUse` if another process serves this root.
    package static func open(
        path: String, host: String, log settings: DeliveryLogSettings = DeliveryLogSettings(),
        notice: @escaping NoticeSink
    ) throws(StoreError) -> MailRoot {
        try System.makeDirectory(PathOctets(path))
        let real = try System.realPath(path)
        let directory = try System.openDirectory(PathOctets(real))
        let lock = try System.openLock(PathOctets(".lock"), in: directory.descriptor)
        guard System.lock(lock.descriptor) else { throw .inUse }
        for name in [
            StagingArea.directoryName, DeliveryJournal.directoryName, DeliveryLog.directoryName,
        ] {
            try System.makeDirectory(PathOctets(name), in: directory.descriptor)
        }
        let staging = try StagingArea(
            try System.openDirectory(
                PathOctets(StagingArea.directoryName), in: directory.descriptor))
        let journal = DeliveryJournal(
            try System.openDirectory(
                PathOctets(DeliveryJournal.directoryName), in: directory.descriptor))
        let log = DeliveryLog(
            directory: try System.openDirectory(
                PathOctets(DeliveryLog.directoryName), in: directory.descriptor),
            fileSystem: try System.openDirectory([0x2E], in: directory.descriptor),
            settings: settings, notice: notice)
        try System.synchronize(directory.descriptor, "mail root")
        return MailRoot(
            path: real, directory: directory, lock: lock, staging: staging, journal: journal,
            log: log, host: UniqueName.host(host), notice: notice)
    }

    /// Opens an account's store; makes it, with INBOX and the usual folders, if it is new.
    package func openAccount(_ address: EmailAddress) throws(StoreError) -> AccountStore {
        let names = try components(address)
        let domain = try make(names.domain, in: directory.descriptor)
        let account = try make(names.local, in: domain.descriptor)
        let path =
            "\(path)/\(String(decoding: names.domain, as: UTF8.self))"
            + "/\(String(decoding: names.local, as: UTF8.self))"
        return try AccountStore(self, address, account, path)
    }

    /// True if there is a directory for the account.
    package func hasAccount(_ address: EmailAddress) throws(StoreError) -> Bool {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(
                names.domain, in: directory.descriptor)
        else { return false }
        return try System.status(names.local, in: domain.descriptor)?.isDirectory == true
    }

    /// The account's Maildir; nil if there is none.
    func openMaildir(of address: EmailAddress) throws(StoreError) -> File? {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(
                names.domain, in: directory.descriptor),
            let account = try System.openDirectoryIfPresent(names.local, in: domain.descriptor)
        else { return nil }
        return try System.openDirectoryIfPresent(PathOctets("Maildir"), in: account.descriptor)
    }

    /// Takes all mail of an account away; it is kept beside the domains for the retention time.
    /// Its store must be closed.
    package func removeAccount(_ address: EmailAddress) throws(StoreError) {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(
                names.domain, in: directory.descriptor),
            try System.status(names.local, in: domain.descriptor) != nil
        else { return }
        // What the log has is durable without it, and a crash does not bring it back for another
        // of this name.
        try log.synchronizeMail()
        try log.forget(address)
        // First out of the way in one step, so that a crash leaves no half of an account.
        guard let trash = try setAside(names.local, in: domain.descriptor, address) else { return }
        if !retention.isOn { try System.removeTree(trash, in: directory.descriptor) }
    }

    /// Gives an account's mail another address. Its store must be closed. Doing it again, or for
    /// an account that never got mail, changes nothing.
    ///
    /// - Throws: `.alreadyExists` if there is mail at the new address.
    package func renameAccount(
        _ old: EmailAddress, to new: EmailAddress
    ) throws(StoreError) {
        let (from, to) = (try components(old), try components(new))
        guard
            let source = try System.openDirectoryIfPresent(from.domain, in: directory.descriptor),
            try System.status(from.local, in: source.descriptor) != nil
        else { return }
        let target = try make(to.domain, in: directory.descriptor)
        guard try System.status(to.local, in: target.descriptor) == nil else {
            throw .alreadyExists
        }
        // The log knows the old address: what it has must be durable without it.
        try log.synchronizeMail()
        try log.forget(old)
        _ = try System.rename(
            from.local, in: source.descriptor, to: to.local, in: target.descriptor)
        try System.synchronize(target.descriptor, "domain")
        try System.synchronize(source.descriptor, "domain")
    }

    /// Carries out what the delivery log has, takes back deliveries of the journal that a crash
    /// left half done, and finishes removals. Before any account is opened.
    package func rollBackDeliveries() throws(StoreError) {
        try sweepRemoved()
        try redoDeliveries()
        for intent in try journal.pending() {
            var isTakenBack = true
            for target in intent.targets {
                do throws(StoreError) {
                    try takeBack(target)
                } catch {
                    // The others must not wait for it; the intent stays for the next start.
                    isTakenBack = false
                    notice(
                        StoreNotice(
                            .postponed, account: target.address.text,
                            subject: "take delivery back: \(error)"))
                }
            }
            if isTakenBack { try journal.forget(intent.name) }
        }
    }

    private func takeBack(_ target: DeliveryTarget) throws(StoreError) {
        guard try hasAccount(target.address) else { return }
        let account = try openAccount(target.address)
        try account.retract(target.unique)
        try account.close()
        notice(StoreNotice(.deliveryRolledBack, account: target.address.text, count: 1))
    }

    /// Whether the mail's file system has room for so much.
    package func hasRoom(octets: UInt64, files: UInt64) -> Bool {
        System.hasRoom(directory.descriptor, octets: octets, files: files)
    }

    /// A file name that no other message has. maildir(5).
    package func makeUniqueName() -> UniqueName {
        let (seconds, microseconds) = System.now()
        let number = counter.add(1, ordering: .relaxed).newValue
        var name = PathOctets("\(seconds).M\(microseconds)P\(System.processID)Q\(number).")
        name += host
        return UniqueName(octets: name)
    }

    func components(
        _ address: EmailAddress
    ) throws(StoreError) -> (domain: PathOctets, local: PathOctets) {
        guard let domain = AccountPath.component(address.domain),
            let local = AccountPath.component(address.local.asciiLowercased)
        else { throw .notPermitted }
        return (domain, local)
    }

    /// Durable when the account is made: see `AccountStore.makeDefaults`.
    private func make(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File {
        if let present = try System.openDirectoryIfPresent(name, in: parent) { return present }
        try System.makeDirectory(name, in: parent)
        return try System.openDirectory(name, in: parent)
    }

    func makeDurable(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File {
        if let present = try System.openDirectoryIfPresent(name, in: parent) { return present }
        try System.makeDirectory(name, in: parent)
        try System.synchronize(parent, "directory")
        return try System.openDirectory(name, in: parent)
    }
}
