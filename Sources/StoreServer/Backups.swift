// SPDX-License-Identifier: Apache-2.0
//
// Backup, restore and undelete, for the control door. Long work goes in slices, so that others are
// served in between. docs/backup.md.

import Bytes
import Config
import Mail
import Store
import Synchronization
import Telemetry
import Transport
import Wire

extension DoorConnection {
    /// Rows of the index read at once.
    private static let sliceRows = 2_048
    private static let filesAtOnce = 32
    private static let headersAtOnce = 128
    private static let undeletedAtOnce = 256

    /// Nil: the answer has been sent already.
    func backup(_ request: BackupRequest, _ id: UInt32) async throws(StoreFailure) -> Reply? {
        switch request {
        case .snapshot(let address, let withMessageIDs):
            return try await snapshot(try await existing(address), withMessageIDs, id)
        case .files(let address, let mailbox, let files):
            return try await sendFiles(try await existing(address), mailbox, files, id)
        case .release(let address):
            let account = try await existing(address).address
            if held.remove(account) != nil { await releaseHold(account) }
            return .done
        case .copyDirectory(let asText):
            try await copyDirectory(asText: asText, id)
            return nil
        case .restoreDirectory(let token, let address):
            return try await restoreDirectory(token, address)
        case .placeAccount(let address, let source):
            try await placeAccount(try await existing(address), source)
            return .done
        case .listRetained(let address):
            return try await listRetained(try await existing(address), id)
        case .undelete(let address, let paths):
            return try await undelete(try await existing(address), paths)
        case .listRemoved:
            let root = core.root
            let found = try await offLane { () throws(StoreError) in try root.removedAccounts() }
            return .backup(.removedAccounts(found))
        case .noteBackup(let time):
            let directory = core.directory
            try await offLane { () throws(StoreError) in try directory.noteBackup(time) }
            core.metrics.lastBackup.set(Double(time))
            return .done
        }
    }

    private func on<R: Sendable>(
        _ account: AccountRef,
        _ body: @escaping @Sendable (AccountStore) throws(StoreError) -> R
    ) async throws(StoreFailure) -> R {
        switch await core.perform(account, body) {
        case .success(let result): return result
        case .failure(let error): throw StoreFailure(error)
        }
    }

    /// Blocking work that touches no open account.
    private func offLane<R: Sendable>(
        _ body: @escaping @Sendable () throws(StoreError) -> R
    ) async throws(StoreFailure) -> R {
        let result = await core.run { () -> Result<R, StoreError> in
            do throws(StoreError) {
                return .success(try body())
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error):
            Log.error("store failed", [LogField("reason", "\(error)")])
            throw StoreFailure(error)
        }
    }

    private func room() async throws(StoreFailure) {
        do {
            try await outputRoom()
        } catch {
            throw .unavailable
        }
    }

    // MARK: - Snapshots

    private func snapshot(
        _ account: AccountRef, _ withMessageIDs: Bool, _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        // Before the first row is read: no file may go away from here on.
        if held.insert(account.address).inserted { core.root.retention.hold(account.address) }
        var progress = try await on(account) { store throws(StoreError) in
            try store.beginSnapshot(withMessageIDs: withMessageIDs)
        }
        while true {
            let before = progress
            let (slice, after) = try await on(account) {
                store throws(StoreError) -> (SnapshotSlice?, SnapshotProgress) in
                var progress = before
                let slice = try store.snapshotSlice(&progress, limit: Self.sliceRows)
                return (slice, progress)
            }
            progress = after
            guard let slice else { break }
            send(slice, id)
            try await room()
        }
        let last = progress
        let (snapshot, folders, slices) = try await on(account) { store throws(StoreError) in
            try store.endSnapshot(last)
        }
        for folder in folders { send(.backup(.folder(folder)), id, kind: .part) }
        for slice in slices {
            send(slice, id)
            try await room()
        }
        return .backup(.snapshot(snapshot))
    }

    private func send(_ slice: SnapshotSlice, _ id: UInt32) {
        var rest = slice.messages[...]
        var isAnew = slice.isAnew
        var gone = slice.gone
        repeat {
            let part = Array(rest.prefix(BackupReply.messagesPerPart))
            rest = rest.dropFirst(part.count)
            send(
                .backup(.messages(slice.mailbox, isAnew: isAnew, part, gone: gone)), id,
                kind: .part)
            (isAnew, gone) = (false, [])
        } while !rest.isEmpty
    }

    private func sendFiles(
        _ account: AccountRef, _ mailbox: MailboxID, _ wanted: [SnapshotFile], _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        guard held.contains(account.address) else { throw .staleHandle }
        var next = 0
        while next < wanted.count {
            let some = Array(wanted[next..<min(next + Self.filesAtOnce, wanted.count)])
            next += some.count
            let found = try await on(account) { store throws(StoreError) in
                var found: [FoundFile] = []
                for file in some {
                    guard let here = try store.snapshotFile(mailbox, file) else { continue }
                    found.append(
                        FoundFile(
                            uid: file.uid, file: here.file, size: here.size, date: here.date))
                }
                return found
            }
            for file in found {
                guard let descriptor = file.file.take() else { continue }
                send(
                    .backup(
                        .file(uid: file.uid, size: UInt64(clamping: file.size), date: file.date)),
                    id, kind: .part, attaching: Descriptor(descriptor))
            }
            try await room()
        }
        return .done
    }

    private func releaseHold(_ address: EmailAddress) async {
        guard core.root.retention.release(address) else { return }
        let account = AccountRef(
            address: address, generation: core.addresses.generation(of: address))
        let outcome = await core.perform(account) { store throws(StoreError) in
            try store.dropHeld()
        }
        if case .failure(let error) = outcome, error != .noSuchAccount {
            Log.warn(
                "held files not removed",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
        }
    }

    /// At the end of the connection.
    func releaseHolds() async {
        let accounts = held
        held = []
        for account in accounts { await releaseHold(account) }
    }

    // MARK: - The directory

    private func copyDirectory(asText: Bool, _ id: UInt32) async throws(StoreFailure) {
        let area = core.root.staging
        let found = try await onDirectory { directory throws(StoreError) in
            let file =
                asText
                ? try area.file(with: try directory.text()) : try directory.copy()
            return FoundFile(uid: 0, file: file, size: try file.size(), date: 0)
        }
        guard let descriptor = found.file.take() else { throw .unavailable }
        send(
            .backup(.file(uid: 0, size: UInt64(clamping: found.size), date: 0)), id, kind: .reply,
            attaching: Descriptor(descriptor))
    }

    private func restoreDirectory(
        _ token: StageToken, _ account: EmailAddress?
    ) async throws(StoreFailure) -> Reply {
        let file = try takeStaged(token)
        let addresses = core.addresses
        let restored = try await onDirectory { directory throws(StoreError) in
            let restored = try directory.restore(from: try file.seal(), account: account)
            try addresses.loadBlocked()
            return restored
        }
        Log.info("directory restored", [LogField("count", "\(restored.rows)")])
        return .backup(
            .directoryRestored(
                domains: restored.domains, accounts: restored.accounts, rows: restored.rows))
    }

    /// Sessions of the account end, as if it had been removed and made again.
    private func placeAccount(
        _ account: AccountRef, _ source: [UInt8]
    ) async throws(StoreFailure) {
        core.addresses.directoryChanged(removed: account.address)
        core.notifier.publishRemoval(of: account.address)
        let root = core.root
        let outcome = await core.runWhenHere(account) { lane in
            lane.withClosed(account.address) { () throws(StoreError) in
                try root.placeAccount(account.address, from: source)
            }
        }
        if case .failure(let error) = outcome { throw StoreFailure(error) }
        Log.info("account put in place", [LogField("account", account.address.octets)])
    }

    // MARK: - Undelete

    private func listRetained(
        _ account: AccountRef, _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        let places = try await on(account) { store throws(StoreError) in
            try store.retainedPlaces()
        }
        for place in places {
            var next = 0
            while next < place.names.count {
                let range = next..<min(next + Self.headersAtOnce, place.names.count)
                next = range.upperBound
                let found = try await on(account) { store throws(StoreError) in
                    try store.retainedMessages(place, range)
                }
                send(.backup(.retained(found)), id, kind: .part)
                try await room()
            }
        }
        return .done
    }

    private func undelete(
        _ account: AccountRef, _ paths: [[UInt8]]
    ) async throws(StoreFailure) -> Reply {
        var total = UndeletedMessages()
        var next = 0
        while next < paths.count {
            let some = Array(paths[next..<min(next + Self.undeletedAtOnce, paths.count)])
            next += some.count
            let result = try await on(account) { store throws(StoreError) in
                try store.undelete(some)
            }
            total.restored += result.restored
            total.present += result.present
            total.missing += result.missing
        }
        Log.info(
            "messages undeleted",
            [
                LogField("account", account.address.octets),
                LogField("count", "\(total.restored)"),
            ])
        return .backup(
            .undeleted(restored: total.restored, present: total.present, missing: total.missing))
    }
}

private struct FoundFile: Sendable {
    var uid: UInt32
    var file: SharedDescriptor
    var size: Int64
    var date: SecondsSince1970
}

extension Retention {
    func apply(_ suite: Suite) {
        set(
            seconds: suite.msgstored.retention.components.seconds,
            octetLimit: Int64(suite.msgstored.retentionSize))
    }
}

extension StoreCore {
    private static let sweepPause: Int64 = 3_600
    /// Accounts looked at in one hop to a thread.
    private static let accountsAtOnce = 256

    /// Removes what is over its retention time: once an hour, soon after the start first.
    func sweepRetained() async {
        let now = SecondsSince1970(WallClock.seconds())
        guard now - lastSweep.load(ordering: .relaxed) >= Self.sweepPause else { return }
        lastSweep.store(now, ordering: .relaxed)
        let root = root
        let found = await run { () -> [(PathOctets, PathOctets)] in
            do throws(StoreError) {
                try root.sweepRemoved()
                return try root.accountDirectories()
            } catch {
                Log.warn("retention not swept", [LogField("reason", "\(error)")])
                return []
            }
        }
        var next = 0
        var (messages, octets) = (0, Int64(0))
        while next < found.count {
            let some = found[next..<min(next + Self.accountsAtOnce, found.count)]
            next = some.endIndex
            let kept = await run { () -> (Int, Int64) in
                var kept = (0, Int64(0))
                for (domain, user) in some {
                    do throws(StoreError) {
                        let swept = try root.sweepExpunged(domain, user)
                        kept = (kept.0 + swept.kept, kept.1 + swept.keptOctets)
                        guard swept.files + swept.days > 0 else { continue }
                        Log.info(
                            "expunged messages removed",
                            [
                                LogField("account", user + [0x40] + domain),
                                LogField("count", swept.files + swept.days),
                            ])
                    } catch {
                        Log.warn(
                            "expunged messages not removed",
                            [
                                LogField("account", user + [0x40] + domain),
                                LogField("reason", "\(error)"),
                            ])
                    }
                }
                return kept
            }
            (messages, octets) = (messages + kept.0, octets + kept.1)
        }
        metrics.retainedMessages.set(Double(messages))
        metrics.retainedOctets.set(Double(octets))
    }
}
