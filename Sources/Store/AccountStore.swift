// SPDX-License-Identifier: Apache-2.0
//
// The mail of one account: a Maildir++ and the index beside it. docs/store.md; RFC 9051 §2.3.
// Blocking calls: everything here runs on the account's own worker, one call at a time. The
// operations are in Mailboxes, Snapshot, Append, Read, StoreFlags, Copy and Expunge.

import Bytes
import Mail

/// One account's mailboxes. Never used from two threads at once, never from an event loop.
package final class AccountStore: @unchecked Sendable {  // safe: confined to its account's lane
    package let address: EmailAddress
    /// For tests: called at every durable state.
    package var observer: ((DurableState) -> Void)?
    /// What may be kept here; set by whoever knows the directory.
    package var limits = QuotaLimits()
    /// What was promised room here and is still to come.
    package var reserved = MailUsage(octets: 0, messages: 0, mailboxes: 0)
    /// True if flags wait to be written into file names.
    package internal(set) var hasUnflushedNames = false
    /// Mailboxes with files that go in the background.
    var retiring: Set<MailboxID> = []
    /// How often a folder's names were compared with its rows, until somebody asks.
    var comparisons = 0
    /// True if something of what lists show is not kept yet.
    package var lacksSummaries: Bool { opened?.lacksSummaries ?? false }

    let root: MailRoot
    let account: File, maildir: File
    let path: String
    var searchIndex: SearchIndex?  // open while it is of use: SearchWork.swift
    private var opened: SQLiteIndex?
    /// Why the database must not be used any more, until it is opened anew.
    private var spoiled: StoreError?
    private var isClosed = false
    /// Operations inside operations.
    private var depth = 0
    var indexIdentity = IndexIdentity()
    var accountState: AccountState
    var lastUIDValidity: UInt32 = 0
    var maildirTime: Int64 = 0
    private let maildirNode: UInt64
    private var folders: [MailboxID: Folder] = [:]
    private var useCount: UInt64 = 0
    private static let openFolderLimit = 16
    private var changes: [MailboxID: MailboxChange] = [:]
    /// The last position of the delivery log that is in the rows, and of which log.
    var applied: UInt64 = 0
    var knownLog: UInt64 = 0
    var unsynced = UnsyncedMail()

    init(
        _ root: MailRoot, _ address: EmailAddress, _ account: consuming File, _ path: String
    ) throws(StoreError) {
        let made = try Self.openMaildir(in: account.descriptor)
        let state = try DurableFile.read(AccountState.fileName, in: made.descriptor)
            .flatMap { AccountState($0) }
        self.root = root
        self.address = address
        self.account = account
        self.path = path
        maildirNode = try System.status(made.descriptor).inode
        maildir = made
        accountState = state ?? AccountState(uidValidityMark: 1, hasDefaults: false)
        try openIndex()
        if !accountState.hasDefaults { try makeDefaults() }
        try dropHeld()  // of a process that died while a backup was read
    }

    deinit { opened?.close(checkpoint: false) }

    private static func openMaildir(in account: Int32) throws(StoreError) -> File {
        let name = PathOctets("Maildir")
        try System.makeDirectory(name, in: account)
        let maildir = try System.openDirectory(name, in: account)
        for name in [PathOctets.cur, .new, .tmp] {
            try System.makeDirectory(name, in: maildir.descriptor)
        }
        return maildir
    }

    /// Writes file names behind, puts the index in order and closes it. Nothing works afterwards.
    package func close() throws(StoreError) {
        guard !isClosed else { return }
        isClosed = true
        var closing: Int64?
        defer {
            dropIndex(checkpoint: spoiled == nil)
            if let closing { noteClosed(closing) }
        }
        guard spoiled == nil, opened != nil else { return }
        while hasUnflushedNames { try flushNamesNow(limit: 10_000) }
        while hasRetiring { try retireNow(milliseconds: 1_000) }
        try storeTimes()
        closing = try nextClosing()
    }

    /// Closes as a crash would: for tests.
    package func abandon() {
        isClosed = true
        dropIndex(checkpoint: false)
    }

    /// Mailboxes changed since the last call, by any operation: for the events to watchers.
    package func takeChanges() -> [MailboxChange] {
        defer { changes = [:] }
        return changes.values.sorted { $0.mailbox.rawValue < $1.mailbox.rawValue }
    }

    package func takeComparisons() -> Int {
        defer { comparisons = 0 }
        return comparisons
    }

    /// True if somebody put another Maildir where this one was: the account has to be opened again.
    package var isReplaced: Bool {
        get throws(StoreError) {
            try System.status(PathOctets("Maildir"), in: account.descriptor)?.inode
                != maildirNode
        }
    }

    /// Throws the index away and makes it anew from the Maildir.
    package func rebuildIndex() throws(StoreError) {
        guard !isClosed else { throw .index("closed", code: 0) }
        do throws(StoreError) {
            try guarded { () throws(StoreError) in
                while hasUnflushedNames { try flushNamesNow(limit: 10_000) }
                while hasRetiring { try retireNow(milliseconds: 1_000) }
            }
        } catch {
            guard error.isCorruption else { throw error }  // a reason to rebuild, not to refuse
        }
        dropIndex(checkpoint: true)
        try removeIndexFiles()
        try openIndex()
    }

    // MARK: - What the operations are made with

    /// The index, which is open inside `guarded`.
    var index: SQLiteIndex {
        guard let opened else { preconditionFailure("index used outside guarded") }
        return opened
    }

    func notify(_ kind: StoreNotice.Kind, _ subject: String = "", count: Int = 0) {
        root.notice(StoreNotice(kind, account: address.text, subject: subject, count: count))
    }

    func reached(_ state: DurableState) { observer?(state) }

    /// Runs an operation on a sound index. A spoiled one is opened anew before the next.
    func guarded<Result>(_ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        guard !isClosed else { throw .index("closed", code: 0) }
        if spoiled != nil || opened == nil {
            dropIndex(checkpoint: false)
            try openIndex()
        } else if depth == 0 {
            try replaceRemovedIndex()
        }
        depth += 1
        defer { depth -= 1 }
        do throws(StoreError) {
            // Never in the middle of an operation: one mailbox must not be open twice.
            while folders.count > Self.openFolderLimit { try closeLeastUsed() }
            return try body()
        } catch {
            if error.spoilsHandle { spoil(error) }
            throw error
        }
    }

    /// A handle that failed is not used again; a damaged file goes out of the way at once, so that
    /// whoever opens the account next starts from the Maildir.
    func spoil(_ error: StoreError) {
        spoiled = error
        forgetCachedIndex()
        guard error.isCorruption else { return }
        dropIndex(checkpoint: false)
        do throws(StoreError) {
            try moveIndexAside()
        } catch {
            notify(.postponed, "move damaged index aside: \(error)")
        }
    }

    /// Pages that could not be written must not be taken for written, nor be written over in place
    /// (`MessageRepair.write`): what the index's log has is put into pages read anew.
    private func forgetCachedIndex() {
        do throws(StoreError) {
            if let file = try System.openFile(PathOctets("index.sqlite"), in: account.descriptor) {
                System.forgetCache(file.descriptor)
            }
        } catch {
            notify(.postponed, "cached pages of the index: \(error)")
        }
    }

    /// Commits what `body` did, or nothing of it.
    ///
    /// - Parameter rows: how many messages it is about, if it may be many.
    func transaction<Result>(
        _ wanted: Durability = .full, rows: Int = 1, _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try index.transaction(isMaking ? .making : wanted, rows: rows, body)
    }

    /// The counters of a folder, as part of a transaction.
    func putCounters(_ folder: Folder) throws(StoreError) {
        folder.numbers.marks = MaildirMarks(
            // 0: whoever opens the folder next knows that the rows are not complete.
            uidMark: folder.adopting == nil ? folder.state.uidMark : 0,
            modSeqMark: folder.state.modSeqMark, currentTime: folder.currentTime,
            newTime: folder.newTime)
        try index.putNumbers(of: folder.numbers)
        guard folder.canClearDoomed else { return }
        if folder.doomsAreDone {
            try index.forgetDoomed(in: folder.id)
        } else {
            try index.forgetDoomedNow(in: folder.id)
        }
    }

    /// To be called when a transaction with `putCounters` is committed.
    func committed(_ folder: Folder, _ uids: some Sequence<UInt32>, at modSeq: UInt64) {
        folder.isTimeStored = true
        folder.doomedCleared()
        folder.changed(uids, at: modSeq)
        noteChange(folder)
    }

    func noteChange(_ folder: Folder) {
        changes[folder.id] = MailboxChange(
            mailbox: folder.id, highestModSeq: folder.modSeq, isGone: false)
    }

    func noteGone(_ id: MailboxID, at modSeq: UInt64) {
        folders[id] = nil
        changes[id] = MailboxChange(mailbox: id, highestModSeq: modSeq, isGone: true)
    }

    func meta(_ key: MetaKey) throws(StoreError) -> Int64? {
        try index.meta(key)
    }

    func setMeta(_ key: MetaKey, _ value: Int64) throws(StoreError) {
        try index.setMeta(key, value)
    }

    /// A UIDVALIDITY that no mailbox of this account ever had. RFC 9051 §2.3.1.1.
    func allocateUIDValidity() throws(StoreError) -> UInt32 {
        let now = UInt32(clamping: System.now().seconds)
        let next = max(now, lastUIDValidity &+ 1)
        guard next > lastUIDValidity else { throw .limit }
        try noteUIDValidity(next)
        return next
    }

    /// No mailbox to come gets this number.
    func noteUIDValidity(_ number: UInt32) throws(StoreError) {
        if number >= accountState.uidValidityMark {
            var raised = accountState
            raised.uidValidityMark = number &+ AccountState.uidValidityStep
            try raised.write(
                in: maildir.descriptor, syncing: isMaking ? .nothing : .contentAndName)
            accountState = raised
        }
        lastUIDValidity = max(lastUIDValidity, number)
    }

    // MARK: - Folders

    func mailboxID(_ name: MailboxName) throws(StoreError) -> MailboxID? {
        try index.mailboxID(name)
    }

    /// An open folder whose rows agree with its directory.
    func folder(_ name: MailboxName) throws(StoreError) -> Folder {
        var found = try mailboxID(name)
        if found == nil {
            // Another program may have made it.
            try scanFoldersIfChanged()
            found = try mailboxID(name)
        }
        guard let id = found else { throw .noSuchMailbox }
        do throws(StoreError) {
            return try folder(id)
        } catch .noSuchMailbox {
            // Replaced on disk under the same name: it has another id now.
            guard let id = try mailboxID(name) else { throw .noSuchMailbox }
            return try folder(id)
        }
    }

    /// An open folder whose rows agree with its directory.
    func folder(_ id: MailboxID) throws(StoreError) -> Folder {
        let folder = try loadFolder(id)
        try refresh(folder)
        return folder
    }

    /// An open folder as its rows have it; nobody looks at the directory.
    func loadFolder(_ id: MailboxID) throws(StoreError) -> Folder {
        let folder: Folder
        if let present = folders[id] {
            folder = present
        } else {
            folder = try openFolder(id)
            folders[id] = folder
        }
        useCount += 1
        folder.lastUse = useCount
        return folder
    }

    /// An open folder whose rows may not agree with its directory.
    func folderUnchecked(_ id: MailboxID) throws(StoreError) -> Folder {
        if let present = folders[id] { return present }
        let folder = try openFolder(id)
        folders[id] = folder
        return folder
    }

    /// The folder if it is open; nothing is looked at.
    func openedFolder(_ id: MailboxID) -> Folder? { folders[id] }

    var openFolders: some Sequence<Folder> { folders.values }

    /// Prepared statements and cached pages go. Not from within an operation.
    package func trimIndex() { opened?.trim() }

    /// One snapshot per account stays in memory: that of the mailbox looked at last.
    func dropImages(but folder: Folder) {
        for other in folders.values where other !== folder { other.image = nil }
    }

    private func closeLeastUsed() throws(StoreError) {
        guard let oldest = folders.values.min(by: { $0.lastUse < $1.lastUse }) else { return }
        if !oldest.isTimeStored || oldest.hasUnlinkedDoomed || oldest.canClearDoomed {
            if oldest.hasUnlinkedDoomed { try oldest.synchronize() }
            try transaction { () throws(StoreError) in try putCounters(oldest) }
        }
        folders[oldest.id] = nil
    }

    private func storeTimes() throws(StoreError) {
        let unsaved = folders.values.filter {
            !$0.isTimeStored || $0.hasUnlinkedDoomed || $0.canClearDoomed
        }
        for folder in unsaved where folder.hasUnlinkedDoomed { try folder.synchronize() }
        let time = try System.status(maildir.descriptor).time
        let isKnown = try meta(.maildirTime) == maildirTime
        guard !unsaved.isEmpty || !isKnown || time != maildirTime else { return }
        try transaction { () throws(StoreError) in
            for folder in unsaved { try putCounters(folder) }
            try setMeta(.maildirTime, maildirTime)
        }
        for folder in unsaved {
            folder.isTimeStored = true
            folder.doomedCleared()
        }
    }

    // MARK: - Opening the index

    private func openIndex() throws(StoreError) {
        do throws(StoreError) {
            try openIndexOnce()
        } catch {
            guard error.isCorruption else {
                spoiled = error
                throw error
            }
            dropIndex(checkpoint: false)
            try moveIndexAside()
            try openIndexOnce()
        }
        spoiled = nil
    }

    private func openIndexOnce() throws(StoreError) {
        var isNew = false
        let end = try takeEnd()
        switch try openDatabase() {
        case .ready(let database): opened = SQLiteIndex(database)
        case .new(let database):
            opened = SQLiteIndex(database)
            isNew = true
        case .migrated(let database, let version):
            opened = SQLiteIndex(database)
            notify(.indexMigrated, "from version \(version)")
        case .unknown:
            try removeIndexFiles()
            notify(.indexRebuilt, "other version")
            try openIndexOnce()
            return
        }
        // A handle that failed before may have left pages that only the cache knows: the
        // checkpoint writes and syncs them again.
        try index.checkpoint()
        let mailboxes = try index.mailboxCount()
        isNew = isNew || mailboxes == 0
        let kept = try meta(.uidValidity).map { UInt32(clamping: $0) }
        lastUIDValidity = kept ?? (accountState.uidValidityMark - 1)
        maildirTime = try meta(.maildirTime) ?? 0
        applied = max(applied, try appliedPosition())
        unsynced = UnsyncedMail(isKnown: applied < root.log.lowWater.rawValue)
        try finishRenames()
        try finishDeletes()
        indexIdentity = try IndexIdentity(in: account.descriptor)
        if !isNew { try distrust(end) }
        if isNew {
            if accountState.hasDefaults { notify(.indexRebuilt, "index missing") }
            try scanFolders()
            try scanAll()
        } else if try System.status(maildir.descriptor).time != maildirTime {
            try scanFolders()
        }
        hasUnflushedNames = try index.hasUnflushedNames()
        retiring = try index.mailboxesWithDoomed()
        index.lacksSummaries = try index.hasUnsummarized()
    }

    /// A migration that goes wrong is no reason to refuse the account: the Maildir has it all.
    private func openDatabase() throws(StoreError) -> Migration.Found {
        do throws(StoreError) {
            return try Schema.migration.open(
                in: account.descriptor, path: path, durability: durability,
                reached: { reached($0) })
        } catch {
            guard error.isFailedMigration else { throw error }
            notify(.postponed, "index not migrated: \(error)")
            return .unknown(0)
        }
    }

    /// Every folder is compared with its rows: a new index is complete when it is opened.
    private func scanAll() throws(StoreError) {
        for row in try index.mailboxes() { _ = try folder(row.id) }
    }

    /// Somebody removed or replaced the files of the open database. What it knows goes into the
    /// file names; then the index is made again. If only the log is gone nothing is lost.
    private func replaceRemovedIndex() throws(StoreError) {
        switch try indexIdentity.compare(in: account.descriptor) {
        case .same: return
        case .logRemoved:
            notify(.postponed, "index.sqlite-wal was removed while in use")
            let closing = try nextClosing()
            dropIndex(checkpoint: true)
            noteClosed(closing)
            try openIndex()
        case .removed:
            depth += 1
            defer { depth -= 1 }
            do throws(StoreError) {
                while hasUnflushedNames { try flushNamesNow(limit: 10_000) }
                while hasRetiring { try retireNow(milliseconds: 1_000) }
            } catch {
                notify(.postponed, "flags into names before a rebuild: \(error)")
            }
            dropIndex(checkpoint: false)
            try removeIndexFiles()
            try openIndex()
        }
    }

    private func dropIndex(checkpoint: Bool) {
        searchIndex = nil
        folders = [:]
        opened?.close(checkpoint: checkpoint)
        opened = nil
    }

    private static let indexFiles = ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"]

    private func removeIndexFiles() throws(StoreError) {
        for name in Self.indexFiles {
            try System.unlink(PathOctets(name), in: account.descriptor)
        }
        try System.synchronize(account.descriptor, "account")
    }

    private func moveIndexAside() throws(StoreError) {
        let stamp = System.now()
        let suffix = ".damaged-\(stamp.seconds)-\(stamp.microseconds)"
        for name in Self.indexFiles {
            _ = try System.rename(
                PathOctets(name), in: account.descriptor, to: PathOctets(name + suffix),
                in: account.descriptor)
        }
        try System.synchronize(account.descriptor, "account")
        notify(.indexMovedAside, "index.sqlite" + suffix)
    }
}
