// SPDX-License-Identifier: Apache-2.0
//
// Doing again at the start what the delivery log promised and a crash may have undone: each message
// is in its mailboxes once, whole, under a UID that no other message ever had. docs/store.md.

import Bytes
import Mail
import Synchronization

/// What is in the log when it is opened.
struct LogSurvey {
    struct Found {
        var segment: LogSegment
        var first: UInt64
        var last: UInt64
    }

    var log: UInt64
    /// By rising position.
    var segments: [Found] = []
    var lowWater: UInt64 = 0
    var next: UInt64 = 1
    var aborted: Set<UInt64> = []
    /// Accounts that were removed, with the position of the last removal.
    var removals: [EmailAddress: UInt64] = [:]

    /// There may be something to be done.
    var isAlive: Bool { lowWater < next && !segments.isEmpty }
}

/// One message of the log for one account.
struct RedoItem: Sendable {
    var position: UInt64
    var target: LogEntry.Target
    var entry: LogEntry
    var isAborted: Bool
}

extension DeliveryLog {
    /// Reads the segments' records, not yet their messages.
    func survey() throws(StoreError) -> LogSurvey {
        var pages: [(segment: LogSegment, page: LogSegment.FirstPage?)] = []
        for name in try System.names(in: directoryDescriptor) {
            guard let number = LogSegment.number(of: name),
                let segment = try LogSegment.open(number, in: directoryDescriptor)
            else {
                if name.starts(with: "making-".utf8) {
                    try System.unlink(name, in: directoryDescriptor)
                }
                continue
            }
            pages.append((segment, try segment.firstPage()))
        }
        // The log that was written last, should somebody have mixed two.
        let newest = pages.compactMap(\.page).max { $0.first < $1.first }
        var survey = LogSurvey(log: newest?.log ?? .random(in: 1 ... .max))
        for (segment, page) in pages {
            guard let page, page.log == survey.log else {
                survey.segments.append(LogSurvey.Found(segment: segment, first: 0, last: 0))
                continue
            }
            var last = page.first - 1
            survey.lowWater = max(survey.lowWater, page.lowWater)
            try segment.records(from: page.first) { header, octets, offset in
                last = header.position
                survey.lowWater = max(survey.lowWater, header.lowWater)
                guard header.kind != 1 else { return }
                switch LogRecord.read(header, from: octets, at: offset) {
                case .abort(let position): survey.aborted.insert(position.rawValue)
                case .removal(let address): survey.removals[address] = header.position
                case .mark, .message, nil: break
                }
            }
            survey.segments.append(LogSurvey.Found(segment: segment, first: page.first, last: last))
            survey.next = max(survey.next, last + 1, page.first)
        }
        survey.segments.sort { $0.first < $1.first }
        log = survey.log
        return survey
    }
}

extension MailRoot {
    /// Before any account is opened: brings the mail to where the log says it is.
    func redoDeliveries() throws(StoreError) {
        let survey = try log.survey()
        var open: Set<UInt64> = []
        var count = 0
        for found in survey.segments where found.first > 0 && found.last >= survey.lowWater {
            var accounts: [EmailAddress: [RedoItem]] = [:]
            try found.segment.records(from: found.first) { header, octets, offset in
                guard header.kind == 1, header.position >= survey.lowWater,
                    case .message(let entry) = LogRecord.read(header, from: octets, at: offset)
                else { return }
                let isAborted = survey.aborted.contains(header.position)
                for target in entry.targets {
                    if let removed = survey.removals[target.address], removed > header.position {
                        continue
                    }
                    accounts[target.address, default: []].append(
                        RedoItem(
                            position: header.position, target: target, entry: entry,
                            isAborted: isAborted))
                }
            }
            for (address, items) in accounts {
                // In the order of the log: what came later for this account waits as well.
                if postponed.contains(address) {
                    postponed.add(items, for: address)
                    open.formUnion(items.map(\.position))
                    continue
                }
                do throws(StoreError) {
                    count += try redo(address, items)
                } catch {
                    notice(
                        StoreNotice(.postponed, account: address.text, subject: "redo: \(error)"))
                    postponed.add(items, for: address)
                    open.formUnion(items.map(\.position))
                }
            }
        }
        if survey.isAlive { try log.synchronizeMail() }
        if count > 0 { notice(StoreNotice(.deliveryRedone, account: "", count: count)) }
        log.begin(survey, open: open)
    }

    private func redo(_ address: EmailAddress, _ items: [RedoItem]) throws(StoreError) -> Int {
        guard try hasAccount(address) else { return 0 }  // removed
        var wanted: [PathOctets: LogEntry] = [:]
        for item in items where !item.isAborted { wanted[item.target.unique.octets] = item.entry }
        try repairFiles(address, wanted, isInUse: false)
        let account = try openAccount(address)
        // Everything is synced at the end: closing need not.
        defer { account.abandon() }
        return try account.redo(items)
    }

    /// Makes files that are there hold what they should, before anybody looks at them: a power
    /// cut leaves names whose octets never reached the disk.
    ///
    /// - Parameters:
    ///   - wanted: by the part of the name that is like no other's.
    ///   - isInUse: sessions read the files: only what they hold is written again.
    func repairFiles(
        _ address: EmailAddress, _ wanted: [PathOctets: LogEntry], isInUse: Bool
    ) throws(StoreError) {
        guard let maildir = try openMaildir(of: address) else { return }
        var folders = [PathOctets(".")]
        for name in try System.names(in: maildir.descriptor) where name.first == 0x2E {
            folders.append(name)
        }
        for name in folders {
            guard try System.status(name, in: maildir.descriptor)?.isDirectory == true,
                let folder = try System.openDirectoryIfPresent(name, in: maildir.descriptor),
                let current = try System.openDirectoryIfPresent(.cur, in: folder.descriptor)
            else { continue }
            var found: [(name: PathOctets, entry: LogEntry)] = []
            try System.eachName(in: current.descriptor) { name in
                if let entry = wanted[FileName.unique(of: name)] { found.append((name, entry)) }
            }
            for (name, entry) in found {
                if isInUse {
                    try MessageRepair.replace(
                        entry.octets, date: entry.date, as: name, in: current.descriptor)
                    continue
                }
                do throws(StoreError) {
                    try MessageRepair.write(
                        entry.octets, date: entry.date, as: name, in: current.descriptor)
                } catch {
                    // Half a message must not be taken for one; it comes when it can.
                    try System.unlink(name, in: current.descriptor)
                    throw error
                }
            }
        }
    }
}

/// Writing a message's file again.
enum MessageRepair {
    /// Begins with a dot: no reader of a Maildir takes it for a message.
    private static let temporary = PathOctets(".martlet-redo")

    /// Always as a new file: octets that the kernel could not write once may never reach the disk
    /// when they are written over in place. ext4 leaves such blocks marked as not written to,
    /// though later syncs of the file succeed.
    static func write(
        _ octets: [UInt8], date: SecondsSince1970, as name: PathOctets, in directory: Int32
    ) throws(StoreError) {
        try make(octets, date, in: directory)
        _ = try System.rename(temporary, in: directory, to: name, in: directory)
    }

    /// The same for a file that is in use: nothing happens if it has gone, or has another size.
    static func replace(
        _ octets: [UInt8], date: SecondsSince1970, as name: PathOctets, in directory: Int32
    ) throws(StoreError) {
        guard try System.status(name, in: directory)?.size == Int64(octets.count) else { return }
        try make(octets, date, in: directory)
        switch try System.exchange(temporary, in: directory, with: name, in: directory) {
        case .done, .notBoth: try System.unlink(temporary, in: directory)
        case .notHere:
            _ = try System.rename(temporary, in: directory, to: name, in: directory)
        }
    }

    private static func make(
        _ octets: [UInt8], _ date: SecondsSince1970, in directory: Int32
    ) throws(StoreError) {
        try System.unlink(temporary, in: directory)
        let file = try System.createFile(temporary, in: directory)
        try System.write(octets, to: file.descriptor)
        try System.setModificationTime(file.descriptor, date)
    }
}

extension MailRoot {
    package var postponedAccounts: [EmailAddress] { postponed.accounts }
}

/// Messages of the log that could not be stored at the start, for instance on a full disk.
final class PostponedRedo: Sendable {
    private let items = Mutex<[EmailAddress: [RedoItem]]>([:])
    private let count = Atomic<Int>(0)

    func add(_ more: [RedoItem], for address: EmailAddress) {
        items.withLock { $0[address, default: []] += more }
        count.add(1, ordering: .relaxed)
    }

    func contains(_ address: EmailAddress) -> Bool {
        count.load(ordering: .relaxed) > 0 && items.withLock { $0[address] != nil }
    }

    func take(_ address: EmailAddress) -> [RedoItem] {
        items.withLock { $0.removeValue(forKey: address) ?? [] }
    }

    /// What nobody waits for any more, of these.
    func settled(_ positions: Set<UInt64>) -> Set<UInt64> {
        items.withLock { items in
            items.values.reduce(into: positions) { $0.subtract($1.lazy.map(\.position)) }
        }
    }

    var accounts: [EmailAddress] {
        count.load(ordering: .relaxed) == 0 ? [] : items.withLock { Array($0.keys) }
    }
}

extension AccountStore {
    /// A message of the log that has a row.
    private struct Row {
        var mailbox: MailboxID
        var uid: UInt32
        var name: PathOctets
        var size: Int
    }

    /// Stores what the log has for this account and the account has not; in the log's order.
    /// Nothing is synced.
    ///
    /// - Parameter isLate: the account has been in use since: what is missing may have been missed
    ///   by others, so it is stored whatever the rows say.
    func redo(_ items: [RedoItem], isLate: Bool = false) throws(StoreError) -> Int {
        // It was accepted for: a limit that is reached since is no reason to lose it.
        let limits = limits
        self.limits = QuotaLimits()
        defer { self.limits = limits }
        return try guarded { () throws(StoreError) in
            let applied = isLate ? 0 : try appliedPosition()
            try prepareRedo(items, hasLostRows: items.contains { $0.position > applied })
            let rows = try rows(of: Set(items.map(\.target.unique.octets)))
            var count = 0
            for item in items {
                let unique = item.target.unique
                if item.isAborted {
                    try retract(unique, from: item.target.mailbox)
                    continue
                }
                if let row = rows[unique.octets] {
                    guard row.size != item.entry.octets.count else { continue }
                    try removeHalf(row)
                } else if item.position <= applied {
                    continue  // expunged or moved
                }
                count += 1
                _ = try append(
                    PendingAppend(
                        mailbox: try redoFolder(item).name, flags: item.entry.flags,
                        date: item.entry.date, source: .octets(item.entry.octets), unique: unique,
                        position: LogPosition(rawValue: item.position)))
            }
            if let last = items.map(\.position).max(), last > self.applied {
                try transaction(.logged) { () throws(StoreError) in try setApplied(last) }
            }
            return count
        }
    }

    /// Tries again what failed at the start.
    package func redoPostponed() throws(StoreError) {
        let items = root.postponed.take(address)
        guard !items.isEmpty else { return }
        do throws(StoreError) {
            let count = try redo(items, isLate: true)
            notify(.deliveryRedone, count: count)
        } catch {
            root.postponed.add(items, for: address)
            throw error
        }
        for position in root.postponed.settled(Set(items.map(\.position))) {
            root.log.resolve(LogPosition(rawValue: position))
        }
    }

    /// Gives every row its file back, before a comparison takes the message for expunged; then
    /// takes in files whose rows are lost, under the UIDs of their names.
    private func prepareRedo(_ items: [RedoItem], hasLostRows: Bool) throws(StoreError) {
        var wanted: [PathOctets: RedoItem] = [:]
        for item in items where !item.isAborted { wanted[item.target.unique.octets] = item }
        let rows = try rows(of: Set(wanted.keys))
        var named: Set<PathOctets> = []
        var affected: Set<MailboxID> = []
        let mailboxes = try mailboxRows()
        for mailbox in mailboxes {
            guard let root = try openFolderDirectory(mailbox.directory),
                let current = try System.openDirectoryIfPresent(.cur, in: root.descriptor)
            else { continue }
            try System.eachName(in: current.descriptor) { name in
                let unique = FileName.unique(of: name)
                guard wanted[unique] != nil else { return }
                named.insert(unique)
                affected.insert(mailbox.id)
            }
        }
        for (unique, row) in rows where !named.contains(unique) {
            guard let item = wanted[unique],
                let mailbox = mailboxes.first(where: { $0.id == row.mailbox }),
                let root = try openFolderDirectory(mailbox.directory),
                let current = try System.openDirectoryIfPresent(.cur, in: root.descriptor)
            else { continue }
            try MessageRepair.write(
                item.entry.octets, date: item.entry.date, as: row.name, in: current.descriptor)
        }
        guard hasLostRows else { return }
        for item in items {
            affected.insert(
                mailboxes.first { $0.name == item.target.mailbox }?.id ?? mailboxes[0].id)
        }
        for id in affected { try skipLostNumbers(id) }
    }

    private func redoFolder(_ item: RedoItem) throws(StoreError) -> Folder {
        do throws(StoreError) {
            return try folder(item.target.mailbox)
        } catch .noSuchMailbox {
            return try folder(.inbox)  // better than nowhere
        }
    }

    /// Rows of messages whose names begin so, in any mailbox.
    private func rows(of wanted: Set<PathOctets>) throws(StoreError) -> [PathOctets: Row] {
        var rows: [PathOctets: Row] = [:]
        try index.eachBlob { id, uid, name, size in
            let unique = FileName.unique(of: name)
            guard wanted.contains(unique) else { return }
            rows[unique] = Row(mailbox: id, uid: uid, name: name, size: size)
        }
        return rows
    }

    /// Takes in files under the UIDs of their names; other UIDs and MODSEQs go on at the marks,
    /// because those of the rows may be older than what was seen.
    private func skipLostNumbers(_ id: MailboxID) throws(StoreError) {
        let folder = try folderUnchecked(id)
        folder.hasLostRows = true
        folder.needsScan = true
        folder.modSeq = max(folder.modSeq, folder.state.modSeqMark - 1)
        folder.forgetRecent()
        try refresh(folder)
        folder.uidNext = max(folder.uidNext, folder.state.uidMark)
        folder.hasLostRows = false
        try transaction(.logged) { () throws(StoreError) in try putCounters(folder) }
    }

    /// A file that was taken in before it was whole.
    private func removeHalf(_ row: Row) throws(StoreError) {
        let folder = try folder(row.mailbox)
        let modSeq = try index.allocateModSeq(in: folder.numbers)
        try folder.blobs.delete(row.name)
        try folder.ownChange()
        try transaction(.logged) { () throws(StoreError) in
            try index.removeRows(row.mailbox, row.uid, modSeq)
            try putCounters(folder)
        }
        folder.image = nil
        committed(folder, [], at: modSeq)
    }

    func appliedPosition() throws(StoreError) -> UInt64 {
        guard let log = try meta(.log), UInt64(bitPattern: log) == root.log.log else { return 0 }
        return UInt64(clamping: try meta(.applied) ?? 0)
    }

    /// As part of a transaction.
    func setApplied(_ position: UInt64) throws(StoreError) {
        applied = max(applied, position)
        // With something older still to be stored, the rows alone say what was stored.
        guard !root.postponed.contains(address) else { return }
        let log = root.log.log
        if knownLog != log {
            try setMeta(.log, Int64(bitPattern: log))
            knownLog = log
        }
        try setMeta(.applied, Int64(clamping: position))
    }
}

/// Messages whose files only the delivery log makes durable.
struct UnsyncedMail {
    /// Below this position everything is durable, whatever the log still has.
    fileprivate(set) var durableBelow: UInt64 = 0
    /// The lowest UID by mailbox; nil if it is not known, because the account was just opened.
    fileprivate var first: [MailboxID: UInt32]?

    init(isKnown: Bool = true) { first = isKnown ? [:] : nil }
}

extension AccountStore {
    private var isAllDurable: Bool {
        applied < max(root.log.lowWater.rawValue, unsynced.durableBelow)
    }

    func noteUnsynced(_ folders: [(Folder, UInt32)], before: UInt64) {
        if before < max(root.log.lowWater.rawValue, unsynced.durableBelow) { unsynced.first = [:] }
        for (folder, uid) in folders {
            let lowest = unsynced.first?[folder.id] ?? uid
            unsynced.first?[folder.id] = min(uid, lowest)
        }
    }

    /// False if some files may be durable in the delivery log only.
    func isDurable(_ folder: Folder, _ uids: [UInt32]) -> Bool {
        if isAllDurable { return true }
        guard let first = unsynced.first else { return false }
        guard let lowest = first[folder.id] else { return true }
        return !uids.contains { $0 >= lowest }
    }

    /// Makes files durable that are about to get another name, if only the log has them.
    func synchronizeUnsynced(_ folder: Folder, _ uids: [UInt32]) throws(StoreError) {
        guard !isDurable(folder, uids) else { return }
        try root.log.synchronizeMail()
        unsynced.first = [:]
        unsynced.durableBelow = applied + 1
    }
}
