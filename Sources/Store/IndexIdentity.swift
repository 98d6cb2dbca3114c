// SPDX-License-Identifier: Apache-2.0
//
// Whether the files of an index are still those that this store wrote last: removed while in use,
// a log removed after a crash, a database from a backup. Without this MODSEQs could go back.
// RFC 7162 §3.1.1; docs/store.md, "When something is broken".

import Bytes
import Mail

/// The inodes of an open database's files.
struct IndexIdentity {
    enum Change {
        case same, logRemoved, removed
    }

    private static let index = PathOctets("index.sqlite")
    private static let log = PathOctets("index.sqlite-wal")

    private var indexNode: UInt64?
    private var logNode: UInt64?

    init() {}

    init(in account: Int32) throws(StoreError) {
        indexNode = try System.status(Self.index, in: account)?.inode
        logNode = try System.status(Self.log, in: account)?.inode
    }

    mutating func compare(in account: Int32) throws(StoreError) -> Change {
        guard let indexNode else { return .same }
        guard try System.status(Self.index, in: account)?.inode == indexNode else {
            return .removed
        }
        let now = try System.status(Self.log, in: account)?.inode
        guard let logNode else {
            logNode = now  // SQLite makes it with the first change
            return .same
        }
        return now == logNode ? .same : .logRemoved
    }
}

/// How the index was left by whoever had it open last.
struct IndexEnd {
    /// The content of `index.closed`; nil: it was not closed, or something is missing.
    var closing: Int64?
    var hasLog: Bool
}

extension AccountStore {
    private static let closedName = "index.closed"

    /// What is known of the last closing; from now on the index counts as open.
    func takeEnd() throws(StoreError) -> IndexEnd {
        let octets = try DurableFile.read(Self.closedName, in: account.descriptor)
        if octets != nil {
            try System.unlink(PathOctets(Self.closedName), in: account.descriptor)
        }
        let log = try System.status(PathOctets("index.sqlite-wal"), in: account.descriptor)
        return IndexEnd(
            closing: octets.flatMap { Int64(String(decoding: $0, as: UTF8.self)) },
            hasLog: log != nil)
    }

    /// The number of this closing, in the index. The old one serves if nothing was written.
    func nextClosing() throws(StoreError) -> Int64 {
        if let kept = try meta(.closing), !index.hasChanges { return kept }
        let now = System.now()
        let closing = now.seconds << 20 | now.microseconds
        try setMeta(.closing, closing)
        return closing
    }

    /// The same number beside it. A file that is missing costs a comparison, no more.
    func noteClosed(_ closing: Int64) {
        do throws(StoreError) {
            try System.unlink(PathOctets(Self.closedName), in: account.descriptor)
            let file = try System.createFile(
                PathOctets(Self.closedName), in: account.descriptor)
            try System.write([UInt8]("\(closing)"), to: file.descriptor)
        } catch {
            notify(.postponed, "index.closed: \(error)")
        }
    }

    /// An index without its last changes (the log is gone, or it is from a backup) may not count on
    /// from what it knows: its folders go on at their marks, and are compared.
    func distrust(_ end: IndexEnd) throws(StoreError) {
        guard let closing = try meta(.closing), !end.hasLog, end.closing != closing else { return }
        notify(.indexRebuilt, "index from a backup, or without its log")
        try index.distrustMarks()
    }
}
