// SPDX-License-Identifier: Apache-2.0
//
// What lists show of messages, kept beside the rows so that no list opens a file: made with each
// message, and in slices for those that came without (files of other programs, older indexes).
// RFC 9051 §6.4.5; docs/store.md.

import Bytes
import MIME
import Mail

/// What is not kept of a message yet.
enum MissingPieces: Int64 {
    case all = 1
    /// Only the beginning of the file was looked at.
    case structure = 2
}

/// A run of rows for `SummaryReader`, and where to go on.
package struct SummaryPage: Sendable {
    package var rows: [UInt8]
    /// The first UID that was not looked at; nil at the end.
    package var next: UInt32?
}

extension AccountStore {
    /// Messages larger than this are not read for their structure.
    private static let wholeLimit = 32 << 20
    /// UIDs between two looks at the time, and between two commits when filling in.
    private static let stride: UInt32 = 256
    private static let sliceMilliseconds: Int64 = 40

    // MARK: - Asking

    /// Pieces of what lists show of the messages in `uids`, from the UID `start` on, as many as
    /// fit into `limit` octets and one slice of time. What is missing is made. A message that
    /// cannot be read, or is gone, has no row.
    package func summaries(
        _ id: MailboxID, uids: [UIDRange], _ pieces: SummaryPieces, from start: UInt32, limit: Int
    ) throws(StoreError) -> SummaryPage {
        try guarded { () throws(StoreError) in
            let folder: Folder
            if let opened = openedFolder(id) {
                folder = opened  // as for reading: no look at the directory
            } else {
                folder = try self.folder(id)
            }
            let deadline = System.milliseconds() + Self.sliceMilliseconds
            var page = SummaryPage(rows: [], next: nil)
            page.rows.reserveCapacity(min(limit, 64 << 10))
            for range in uids where range.last >= start {
                var first = max(range.first, start)
                while true {
                    guard page.rows.count < limit, System.milliseconds() < deadline else {
                        page.next = first
                        return page
                    }
                    var last = min(range.last, first.addingClamped(Self.stride - 1))
                    if lacksSummaries {
                        // What did not fit into the slice is for the next one
                        last = min(
                            last,
                            try fill(
                                folder, first, last, until: deadline,
                                needsStructure: pieces.contains(.structure)))
                    }
                    let stopped = try index.summaries(
                        id, UIDRange(first, last), pieces, limit: limit, to: &page.rows)
                    if let stopped {
                        page.next = stopped
                        return page
                    }
                    guard last < range.last else { break }
                    first = last + 1
                    guard first < folder.uidNext else { break }
                }
            }
            return page
        }
    }

    // MARK: - Filling in

    /// Makes what is missing, for one slice of time.
    ///
    /// - Returns: true if there is more to do.
    package func fillSummaries() throws(StoreError) -> Bool {
        guard lacksSummaries else { return false }
        return try guarded { () throws(StoreError) in
            let deadline = System.milliseconds() + Self.sliceMilliseconds
            guard let next = try index.nextUnsummarized() else {
                // What is left could not be read: it is tried again when there is more to do
                index.fillPosition = .max
                index.lacksSummaries = try index.hasUnsummarized()
                return false
            }
            let folder: Folder
            do throws(StoreError) {
                folder = try self.folder(next.id)
            } catch .noSuchMailbox {
                try index.putSummary(next.id, next.uid, nil)
                return true
            }
            let last = try fill(
                folder, next.uid, next.uid.addingClamped(Self.stride - 1), until: deadline,
                needsStructure: true)
            index.filled(folder.id, last)
            return true
        }
    }

    /// Makes what the messages between two UIDs lack.
    ///
    /// - Returns: the UID up to which that is done: `last`, or less if time ran out.
    private func fill(
        _ folder: Folder, _ first: UInt32, _ last: UInt32, until deadline: Int64,
        needsStructure: Bool
    ) throws(StoreError) -> UInt32 {
        let missing = try index.unsummarized(
            folder.id, UIDRange(first, last), needsStructure: needsStructure)
        var done = last
        guard !missing.isEmpty else { return done }
        var made: [(uid: UInt32, synopsis: MessageSynopsis?)] = []
        for uid in missing {
            do throws(StoreError) {
                made.append((uid, try synopsis(folder, uid, needsStructure: needsStructure)))
            } catch .file(let what, let errno) {
                // It stays as it is; whoever asks for the message itself learns why
                notify(.postponed, "summary in \(folder.name.text): \(what) \(errno)")
            }
            if System.milliseconds() >= deadline {
                if uid != missing.last { done = uid }
                break
            }
        }
        do throws(StoreError) {
            try keep(made, folder.id)
        } catch .noSpace {
            notify(.postponed, "summaries in \(folder.name.text): no space")
        }
        return done
    }

    /// One transaction. It need not be durable: what a power cut takes is made again.
    private func keep(
        _ made: [(uid: UInt32, synopsis: MessageSynopsis?)], _ id: MailboxID
    ) throws(StoreError) {
        try transaction(.logged) { () throws(StoreError) in
            // Without a synopsis the message is gone.
            for (uid, synopsis) in made { try index.putSummary(id, uid, synopsis) }
        }
    }

    /// Nil if there is no such message any more.
    private func synopsis(
        _ folder: Folder, _ uid: UInt32, needsStructure: Bool
    ) throws(StoreError) -> MessageSynopsis? {
        if needsStructure {
            switch try content(folder, uid, .whole, inlineLimit: Self.wholeLimit) {
            case .octets(let octets): return MessageSynopsis(octets.span, isWhole: true)
            case .file: break
            case nil: return nil
            }
        }
        switch try content(folder, uid, .header, inlineLimit: Self.wholeLimit) {
        case .octets(let header):
            var synopsis = MessageSynopsis(header.span, isWhole: false)
            if needsStructure { synopsis.structure = [] }  // too large to be looked through here
            return synopsis
        case .file, nil: return nil
        }
    }
}

extension UInt32 {
    fileprivate func addingClamped(_ other: UInt32) -> UInt32 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
