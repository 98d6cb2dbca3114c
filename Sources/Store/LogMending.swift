// SPDX-License-Identifier: Apache-2.0
//
// When the disk has failed to write what the log had not yet made durable as mail: the kernel
// believes in pages that never reached the disk, so all of them are written again from the log.
// docs/store.md, "The delivery log".

import Bytes
import Glibc
import Mail
import Synchronization

extension DeliveryLog {
    /// Makes every file written so far durable, whether or not the log may forget it yet.
    func synchronizeMail() throws(StoreError) {
        try checkpointGate.withLock { _ throws(StoreError) in try synchronizeNow() }
    }

    /// Only with the gate: the kernel tells of an error once, and all must hear of it.
    func synchronizeNow() throws(StoreError) {
        guard !isBroken else { throw .file("sync of the file system", errno: EIO) }
        do throws(StoreError) {
            if let fault = settings.fault(.fileSystem) { throw fault }
            try System.synchronizeFileSystem(fileSystem.descriptor)
        } catch {
            monitor.locked {
                if status != .closed { status = .broken }
                brokenAt = timespec.now
                monitor.signal(Self.changed)
            }
            throw error
        }
    }

    /// The kernel may have thrown away what was written to files: nothing is taken any more, and
    /// nothing forgotten, until all of it was written again.
    package var isBroken: Bool { monitor.locked { status == .broken } }

    /// It is time to try again.
    var isMendingDue: Bool {
        monitor.locked {
            status == .broken
                && !timespec.now.isBefore(
                    brokenAt.after(milliseconds: Int(settings.rest.milliseconds)))
        }
    }

    /// Segments with records that are not durable as mail, and up to where all are carried out.
    var unforgotten: (segments: [LogSegment], target: UInt64) {
        monitor.locked {
            let below = durableBelow.load(ordering: .relaxed)
            let kept = segments.filter { $0.value >= below }.keys
            return (kept.sorted { $0.number < $1.number }, tracker.firstOpen)
        }
    }

    /// What is in the unforgotten segments was written again: if it reaches the disk now the log
    /// is sound, and may forget what is below `target`.
    func mend(below target: UInt64) throws(StoreError) {
        try checkpointGate.withLock { _ throws(StoreError) in
            guard isBroken else { return }
            do throws(StoreError) {
                if let fault = settings.fault(.fileSystem) { throw fault }
                try System.synchronizeFileSystem(fileSystem.descriptor)
            } catch {
                monitor.locked { brokenAt = timespec.now }
                throw error
            }
            monitor.locked {
                durableBelow.store(
                    max(target, durableBelow.load(ordering: .relaxed)), ordering: .releasing)
                status = .ready
                monitor.signal(Self.checkpointDue)
                monitor.signal(Self.changed)
            }
        }
    }
}

/// What is written again.
package struct LogMending: Sendable {
    package let segments: [MendedSegment]
    let target: UInt64
}

package struct MendedSegment: Sendable {
    let segment: LogSegment
}

/// A message of the log for one account.
package struct MendedItem: Sendable {
    let unique: UniqueName
    let entry: LogEntry
}

extension MailRoot {
    /// Nil if there is nothing to mend, or it was tried just now.
    package func beginMending() -> LogMending? {
        guard log.isMendingDue else { return nil }
        let (segments, target) = log.unforgotten
        return LogMending(segments: segments.map { MendedSegment(segment: $0) }, target: target)
    }

    /// The messages of a segment that are not durable as mail, by account; nil if it cannot be read.
    package func items(of mended: MendedSegment) -> [EmailAddress: [MendedItem]]? {
        var accounts: [EmailAddress: [MendedItem]] = [:]
        let below = log.lowWater.rawValue
        do throws(StoreError) {
            guard let page = try mended.segment.firstPage() else { return nil }
            try mended.segment.records(from: page.first) { header, octets, offset in
                guard header.kind == 1, header.position >= below,
                    case .message(let entry) = LogRecord.read(header, from: octets, at: offset)
                else { return }
                for target in entry.targets {
                    accounts[target.address, default: []].append(
                        MendedItem(unique: target.unique, entry: entry))
                }
            }
        } catch {
            notice(StoreNotice(.logFailed, account: "", subject: "mend: \(error)"))
            return nil
        }
        return accounts
    }

    package func finishMending(_ mending: LogMending) {
        do throws(StoreError) {
            try log.mend(below: mending.target)
            notice(StoreNotice(.logMended, account: "", count: mending.segments.count))
        } catch {
            notice(StoreNotice(.logFailed, account: "", subject: "mend: \(error)"))
        }
    }
}

extension AccountStore {
    /// Files that are there get their octets again, and pages of the index that only its log has
    /// are written into it: the kernel takes all of them to the disk once more.
    package func writeAgain(_ items: [MendedItem]) throws(StoreError) {
        try guarded { () throws(StoreError) in
            var wanted: [PathOctets: LogEntry] = [:]
            for item in items { wanted[item.unique.octets] = item.entry }
            try root.repairFiles(address, wanted, isInUse: true)
            try index.checkpoint()
        }
    }
}
