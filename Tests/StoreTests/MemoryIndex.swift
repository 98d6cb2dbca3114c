// SPDX-License-Identifier: Apache-2.0
//
// A driver of IndexStore without a disk or SQL: dictionaries, and a copy of them for every
// transaction. It shows what a driver has to do, and nothing more.

import MIME
import Mail

@testable import Store

final class MemoryMailbox: IndexedMailbox {
    let id: MailboxID
    fileprivate(set) var uidNext: UInt32
    fileprivate(set) var modSeq: UInt64
    fileprivate(set) var floor: UInt64

    fileprivate init(_ id: MailboxID, _ numbers: MailboxNumbers) {
        self.id = id
        uidNext = numbers.uidNext
        modSeq = numbers.modSeq
        floor = numbers.floor
    }
}

/// What survives the process.
final class MemoryRows {
    struct Message {
        var entry: MessageEntry
        var blob: BlobID
        var synopsis: MessageSynopsis?
    }

    struct Box {
        var row: MailboxRow
        var numbers: MailboxNumbers
        var messages: [UInt32: Message] = [:]
        var expunged: [(modSeq: UInt64, uid: UInt32)] = []
        var doomed: Set<BlobID> = []
    }

    var boxes: [MailboxID: Box] = [:]
}

final class MemoryIndex: IndexStore {
    private let disk: MemoryRows
    private var boxes: [MailboxID: MemoryRows.Box]
    private var depth = 0
    private var opened: [MailboxID: MemoryMailbox] = [:]
    private static let expungedLimit = 20_000

    init(_ disk: MemoryRows) {
        self.disk = disk
        boxes = disk.boxes
    }

    func transaction<Result>(
        _ durability: Durability, _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        let before = boxes
        do throws(StoreError) {
            let result = try body()
            if durability == .full { disk.boxes = boxes }
            return result
        } catch {
            boxes = before
            throw error
        }
    }

    func reading<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result { try body() }

    private func box(_ id: MailboxID) throws(StoreError) -> MemoryRows.Box {
        guard let box = boxes[id] else { throw .noSuchMailbox }
        return box
    }

    // MARK: - Mailboxes

    func mailboxes() throws(StoreError) -> [MailboxRow] {
        boxes.values.map(\.row).sorted {
            $0.name.octets.lexicographicallyPrecedes($1.name.octets)
        }
    }

    func mailboxCount() throws(StoreError) -> UInt32 { UInt32(boxes.count) }

    func mailboxID(_ name: MailboxName) throws(StoreError) -> MailboxID? {
        boxes.values.first { $0.row.name == name }?.row.id
    }

    func open(_ id: MailboxID) throws(StoreError) -> MemoryMailbox? {
        guard let box = boxes[id] else { return nil }
        if let mailbox = opened[id] { return mailbox }
        let mailbox = MemoryMailbox(id, box.numbers)
        opened[id] = mailbox
        return mailbox
    }

    func insert(_ mailbox: MailboxRow, _ numbers: MailboxNumbers) throws(StoreError) {
        guard boxes[mailbox.id] == nil else { throw .alreadyExists }
        boxes[mailbox.id] = MemoryRows.Box(row: mailbox, numbers: numbers)
    }

    func remove(_ id: MailboxID) throws(StoreError) {
        boxes[id] = nil
        opened[id] = nil
    }

    func rename(
        _ id: MailboxID, to name: MailboxName, _ directory: [UInt8], previous: [UInt8]?
    ) throws(StoreError) {
        boxes[id]?.row.name = name
        boxes[id]?.row.directory = directory
        boxes[id]?.row.previous = previous
    }

    func setSpecialUse(_ id: MailboxID, _ use: SpecialUse) throws(StoreError) {
        boxes[id]?.row.specialUse = use
    }

    // MARK: - Numbers

    func allocateUIDs(
        _ count: Int, in mailbox: MemoryMailbox
    ) throws(StoreError) -> UInt32 {
        let first = mailbox.uidNext
        guard UInt64(first) + UInt64(count) < UInt64(UInt32.max) else { throw .limit }
        mailbox.uidNext += UInt32(count)
        return first
    }

    func allocateModSeq(in mailbox: MemoryMailbox) throws(StoreError) -> UInt64 {
        mailbox.modSeq += 1
        return mailbox.modSeq
    }

    func putNumbers(of mailbox: MemoryMailbox) throws(StoreError) {
        boxes[mailbox.id]?.numbers = MailboxNumbers(
            uidNext: mailbox.uidNext, modSeq: mailbox.modSeq, floor: mailbox.floor)
    }

    // MARK: - Changes

    func insert(_ message: IndexedMessage, in id: MailboxID) throws(StoreError) {
        let uid = message.entry.uid
        guard try box(id).messages[uid] == nil else { throw .alreadyExists }
        boxes[id]?.messages[uid] = MemoryRows.Message(
            entry: message.entry, blob: message.blob, synopsis: message.summary.synopsis)
    }

    func copy(
        _ uid: UInt32, from source: MailboxID, as entry: MessageEntry, _ blob: BlobID,
        in target: MailboxID
    ) throws(StoreError) {
        let synopsis = try box(source).messages[uid]?.synopsis
        boxes[target]?.messages[entry.uid] = MemoryRows.Message(
            entry: entry, blob: blob, synopsis: synopsis)
    }

    func remove(
        _ uids: [UInt32], at modSeq: UInt64, from mailbox: MemoryMailbox
    ) throws(StoreError) -> [RemovedMessage] {
        var removed: [RemovedMessage] = []
        guard var box = boxes.removeValue(forKey: mailbox.id) else { throw .noSuchMailbox }
        for uid in uids {
            box.expunged.append((modSeq, uid))
            guard let message = box.messages.removeValue(forKey: uid) else { continue }
            box.doomed.insert(message.blob)
            removed.append(RemovedMessage(blob: message.blob, flags: message.entry.flags))
        }
        if box.expunged.count > Self.expungedLimit {
            let floor = box.expunged[box.expunged.count - Self.expungedLimit / 2].modSeq
            box.expunged.removeAll { $0.modSeq <= floor }
            mailbox.floor = max(mailbox.floor, floor)
        }
        boxes[mailbox.id] = box
        return removed
    }

    func changeFlags(
        _ uids: [UIDRange], _ operation: FlagOperation, _ mask: Flags, at modSeq: UInt64,
        unchangedSince limit: UInt64?, in id: MailboxID
    ) throws(StoreError) {
        for (uid, message) in try box(id).messages {
            guard uids.contains(where: { $0.first <= uid && uid <= $0.last }),
                message.entry.modSeq <= limit ?? .max
            else { continue }
            var flags = message.entry.flags
            switch operation {
            case .replace: flags = mask
            case .add: flags.formUnion(mask)
            case .remove: flags.subtract(mask)
            }
            guard flags != message.entry.flags else { continue }
            boxes[id]?.messages[uid]?.entry.flags = flags
            boxes[id]?.messages[uid]?.entry.modSeq = modSeq
        }
    }

    func forgetDoomed(in id: MailboxID) throws(StoreError) { boxes[id]?.doomed = [] }

    // MARK: - Reading

    private func messages(_ id: MailboxID, _ uids: UIDRange) -> [MemoryRows.Message] {
        (boxes[id]?.messages ?? [:]).values
            .filter { uids.first <= $0.entry.uid && $0.entry.uid <= uids.last }
            .sorted { $0.entry.uid < $1.entry.uid }
    }

    func entries(
        _ id: MailboxID, _ uids: UIDRange, limit: Int
    ) throws(StoreError) -> [MessageEntry] {
        messages(id, uids).prefix(limit).map(\.entry)
    }

    func entry(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> MessageEntry? {
        boxes[id]?.messages[uid]?.entry
    }

    func blob(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> BlobID? {
        boxes[id]?.messages[uid]?.blob
    }

    func eachBlob(
        _ id: MailboxID, _ body: (_ uid: UInt32, _ blob: BlobID) -> Void
    ) throws(StoreError) {
        for message in messages(id, UIDRange(1, .max)) { body(message.entry.uid, message.blob) }
    }

    func uids(
        _ id: MailboxID, _ uids: UIDRange, with flags: Flags
    ) throws(StoreError) -> [UInt32] {
        messages(id, uids).map(\.entry).filter { $0.flags.isSuperset(of: flags) }.map(\.uid)
    }

    func entries(
        _ id: MailboxID, changedSince modSeq: UInt64
    ) throws(StoreError) -> [MessageEntry] {
        messages(id, UIDRange(1, .max)).map(\.entry).filter { $0.modSeq > modSeq }
    }

    func vanished(_ id: MailboxID, since modSeq: UInt64) throws(StoreError) -> [UInt32] {
        (boxes[id]?.expunged ?? []).filter { $0.modSeq > modSeq }.map(\.uid).sorted()
    }

    func doomed(_ id: MailboxID) throws(StoreError) -> [BlobID] {
        (boxes[id]?.doomed ?? []).sorted { $0.lexicographicallyPrecedes($1) }
    }

    func totals(_ id: MailboxID) throws(StoreError) -> MailboxTotals {
        let entries = messages(id, UIDRange(1, .max)).map(\.entry)
        return MailboxTotals(
            messages: UInt32(entries.count),
            unseen: UInt32(entries.count { !$0.flags.contains(.seen) }),
            deleted: UInt32(entries.count { $0.flags.contains(.deleted) }),
            octets: entries.reduce(0) { $0 + UInt64($1.size) })
    }

    func deletedOctets(_ id: MailboxID) throws(StoreError) -> UInt64 {
        messages(id, UIDRange(1, .max)).map(\.entry).filter { $0.flags.contains(.deleted) }
            .reduce(0) { $0 + UInt64($1.size) }
    }

    func usage() throws(StoreError) -> MailUsage {
        let all = boxes.values.flatMap { $0.messages.values }
        return MailUsage(
            octets: all.reduce(0) { $0 + UInt64($1.entry.size) }, messages: UInt64(all.count),
            mailboxes: UInt32(boxes.count))
    }

    // MARK: - What lists show

    func summaries(
        _ id: MailboxID, _ uids: UIDRange, _ pieces: SummaryPieces, limit: Int,
        to rows: inout [UInt8]
    ) throws(StoreError) -> UInt32? {
        for message in messages(id, uids) {
            guard let synopsis = message.synopsis else { continue }
            if rows.count >= limit { return message.entry.uid }
            rows.append(row: message.entry.uid)
            for piece in SummaryPieces.inOrder where pieces.contains(piece) {
                let octets: [UInt8] =
                    switch piece {
                    case .envelope: synopsis.envelope
                    case .structure: synopsis.structure ?? []
                    case .fields: synopsis.fields
                    default: synopsis.keys
                    }
                rows.append(row: UInt32(octets.count))
                rows += octets
            }
        }
        return nil
    }

    func unsummarized(
        _ id: MailboxID, _ uids: UIDRange, needsStructure: Bool
    ) throws(StoreError) -> [UInt32] {
        messages(id, uids).filter {
            $0.synopsis == nil || needsStructure && $0.synopsis?.structure == nil
        }.map(\.entry.uid)
    }

    func putSummary(
        _ id: MailboxID, _ uid: UInt32, _ synopsis: MessageSynopsis?
    ) throws(StoreError) {
        boxes[id]?.messages[uid]?.synopsis = synopsis
    }
}
