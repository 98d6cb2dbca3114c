// SPDX-License-Identifier: Apache-2.0
//
// What all loops of msgstored share: the mail, the directory, the threads that may block, and who
// watches what. Opened once, before the first connection is accepted.

import Bytes
import Config
import Crypto
import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// The store of one process. Usable from every thread.
package final class StoreCore: Sendable {
    let root: MailRoot
    let directory: Directory
    let addresses: AddressBook
    let usages: UsageBook
    let hashing: Hashing
    let logins: Logins
    let watchers = WatchRegistry()
    let notifier: any Notifier
    /// Of what connections hold; they end with this process.
    let leases: any LeaseStore
    let metrics: StoreMetrics
    let indexer: SearchIndexer
    let quotaWarnings: QuotaWarnings
    let backlog: Backlog
    let startedAt: SecondsSince1970
    let deliveries = Atomic<UInt64>(0)
    /// Messages that were given to the delivery log.
    let logged = Atomic<UInt64>(0)
    /// Of the last sweep of what was expunged; in seconds since 1970.
    let lastSweep = Atomic<Int64>(0)
    let retractions = Mutex<[Retraction]>([])
    /// The name under which reports say that something was delivered.
    private let host = Mutex<[UInt8]>([])
    var reportingHost: [UInt8] { host.withLock { $0 } }
    private let laneWorkers: Workers
    private let asideWorkers: Workers
    let lanes: [Lane]
    /// Of 40 ms, for each lane in one round of housekeeping.
    private static let fillSlices = 25
    /// Of 10 ms.
    private static let retireSlices = 100
    private let services = Atomic<Int>(0)
    private let connectionNumbers = Atomic<UInt64>(0)
    private let inFlight = Atomic<Int>(0)

    private init(
        root: MailRoot, directory: Directory, addresses: AddressBook, usages: UsageBook,
        hashing: Hashing, logins: Logins, metrics: StoreMetrics, laneCount: Int, openAccounts: Int,
        patience: Duration, startedAt: SecondsSince1970,
        notifier: any Notifier = LocalNotifier(), leases: any LeaseStore = LocalLeases()
    ) {
        self.root = root
        self.directory = directory
        self.addresses = addresses
        self.usages = usages
        self.hashing = hashing
        self.logins = logins
        self.metrics = metrics
        self.startedAt = startedAt
        self.notifier = notifier
        self.leases = leases
        notifier.listen(watchers)
        let workers = Workers(count: laneCount, name: "store")
        laneWorkers = workers
        let aside = Workers(count: 2, name: "aside")
        asideWorkers = aside
        let perLane = max(1, openAccounts / laneCount)
        let metrics = metrics
        let indexer = SearchIndexer(metrics: metrics)
        self.indexer = indexer
        let quotaWarnings = QuotaWarnings()
        self.quotaWarnings = quotaWarnings
        let backlog = Backlog(
            logSize: root.log.settings.size, patience: patience,
            hasDiskRoom: { root.hasRoom(octets: 64 << 20, files: 16_384) })
        self.backlog = backlog
        let snapshots = SnapshotBudget()
        lanes = (0..<laneCount).map { index in
            Lane(
                index: index, workers: workers, aside: aside, root: root, limit: perLane,
                addresses: addresses, usages: usages,
                notifier: notifier, snapshots: snapshots, metrics: metrics, indexer: indexer,
                quotaWarnings: quotaWarnings, backlog: backlog)
        }
    }

    /// Opens the mail and the directory, and takes back what a crash left half done. Blocks.
    ///
    /// - Parameter patience: how long mail in the log waits for more that comes to its account, if
    ///   nobody looks.
    package static func open(
        _ suite: Suite, patience: Duration = .seconds(1)
    ) throws(StoreError) -> StoreCore {
        let settings = suite.msgstored
        let metrics = StoreMetrics()
        let notice: NoticeSink = { notice in
            metrics.notices.increment([notice.kind.rawValue])
            log(notice)
        }
        var logging = DeliveryLogSettings(size: settings.deliveryLogSize)
        logging.observer = { metrics.observe($0) }
        let root = try MailRoot.open(
            path: settings.maildirRoot, host: suite.server.hostname, log: logging, notice: notice)
        root.retention.apply(suite)
        try root.rollBackDeliveries()
        let directory = try Directory.open(
            stateDirectory: suite.server.stateDirectory,
            configured: suite.domains.map { Array($0) })
        if let version = directory.migratedFrom {
            Log.info(
                "directory migrated",
                [LogField("reason", "from version \(version); the old file is kept beside it")])
        }
        if directory.isRestored { Log.warn("directory made again from directory.backup") }
        try directory.finishRenames(
            { old, new throws(StoreError) in try root.renameAccount(old, to: new) },
            domain: { old, new throws(StoreError) in try root.renameDomain(old, to: new) })
        let usages = UsageBook()
        let addresses = AddressBook(directory, usages)
        addresses.apply(suite)
        try addresses.loadBlocked()
        // An account is open on one lane, so few open accounts need few lanes.
        let laneCount =
            settings.workers > 0
            ? min(settings.workers, 256, settings.openDatabases)
            : min(32, max(1, settings.openDatabases / 8))
        let parameters = Argon2Parameters(
            memoryKiB: UInt32(clamping: settings.argon2.memoryKiB),
            iterations: UInt32(clamping: settings.argon2.iterations),
            parallelism: UInt32(clamping: settings.argon2.parallelism))
        let hashing: Hashing
        do throws(PasswordHashError) {
            hashing = try Hashing(parameters, atOnce: max(1, settings.maxConcurrentHashes))
        } catch {
            Log.error("argon2 does not work", [LogField("reason", "\(error) \(parameters)")])
            throw .notPermitted
        }
        let core = StoreCore(
            root: root, directory: directory, addresses: addresses, usages: usages,
            hashing: hashing,
            logins: try Logins(directory, addresses, hashing, suite, metrics), metrics: metrics,
            laneCount: laneCount, openAccounts: settings.openDatabases, patience: patience,
            startedAt: SecondsSince1970(WallClock.seconds()))
        core.indexer.apply(settings)
        core.quotaWarnings.apply(suite)
        metrics.lastBackup.set(Double(try directory.lastBackup() ?? 0))
        core.setHost(suite)
        core.countMail()
        return core
    }

    private func setHost(_ suite: Suite) {
        host.withLock { $0 = Array(suite.smtpd.hostname) }
    }

    private static func log(_ notice: StoreNotice) {
        let fields = [
            LogField("reason", notice.kind.rawValue), LogField("account", notice.account),
            LogField("mailbox", notice.subject), LogField("count", notice.count),
        ]
        switch notice.kind {
        case .indexRebuilt, .indexMovedAside, .deliveryRolledBack, .deliveryRedone, .logFailed,
            .logMended, .postponed, .searchUnusable:
            Log.warn("store repaired", fields)
        case .adopted, .vanished, .folderChanged, .ignored, .indexMigrated:
            Log.info("store noticed", fields)
        }
    }

    /// New settings. Called by every loop; doing it again changes nothing.
    func apply(_ suite: Suite) {
        setHost(suite)
        root.retention.apply(suite)
        for name in suite.domains {
            do throws(StoreError) {
                try directory.addDomain(Array(name))
            } catch {
                if error != .alreadyExists {
                    Log.error(
                        "domain not added",
                        [LogField("account", name), LogField("reason", "\(error)")])
                }
            }
        }
        addresses.apply(suite)
        logins.apply(suite)
        indexer.apply(suite.msgstored)
        quotaWarnings.apply(suite)
    }

    // MARK: - Blocking work

    func lane(of address: EmailAddress) -> Lane {
        // FNV-1a: the same account always has the same thread.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for octet in address.octets { hash = (hash ^ UInt64(octet)) &* 0x100_0000_01B3 }
        return lanes[Int(hash % UInt64(lanes.count))]
    }

    /// Runs `body` on the lane's thread.
    func run<R: Sendable>(on lane: Lane, _ body: @escaping @Sendable () -> R) async -> R {
        await laneWorkers.run(lane: lane.index, body)
    }

    /// Runs blocking work that belongs to no account on whichever thread is free.
    func run<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
        await laneWorkers.run(body)
    }

    /// Runs one operation on an account's store; whoever watches what it changed is told before
    /// this returns.
    func perform<R: Sendable>(
        _ account: AccountRef,
        _ body: @escaping @Sendable (AccountStore) throws(StoreError) -> R
    ) async -> Result<R, StoreError> {
        await runWhenHere(account) { lane in lane.perform(account, body) }
    }

    /// Runs `body` on the lane's thread; nobody waits for it.
    func post(on lane: Lane, _ body: @escaping @Sendable () -> Void) {
        laneWorkers.post(lane: lane.index, body)
    }

    /// Adds a message, through the delivery log if it is small; concurrent calls share flushes.
    func append(
        _ account: AccountRef, _ message: PendingAppend
    ) async -> Result<AppendedMessage, StoreError> {
        if case .octets(let octets) = message.source, message.wanted == nil, message.unique == nil {
            switch await commit(
                [account], message.mailbox, message.flags, message.date, octets)
            {
            case .stored(let appended):
                if let first = appended.first { return .success(first) }
            case .failed(let error): return .failure(error)
            case .unavailable: break
            }
        }
        let lane = lane(of: account.address)
        let queued = QueuedAppend(message)
        lane.enqueue(queued, for: account)
        return await runWhenHere(account) { lane in
            // Whoever runs first takes all that wait for this account along.
            lane.drain(account, until: queued)
        }
    }

    /// Requests of front daemons that are being answered.
    var requestsInFlight: Int { inFlight.load(ordering: .relaxed) }

    func requestStarted() { inFlight.wrappingAdd(1, ordering: .relaxed) }

    func requestEnded() { inFlight.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: - Life

    func nextConnectionNumber() -> UInt64 {
        connectionNumbers.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// True for the first service only: it does the housekeeping.
    func serviceStarted() -> Bool {
        services.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 0
    }

    /// The last service closes the store.
    func serviceEnded() async {
        guard services.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 else {
            return
        }
        await close()
    }

    /// Blocks.
    private func countMail() {
        do throws(StoreError) {
            metrics.mailOctets.set(Double(try directory.mailOctets()))
        } catch {
            Log.warn("mail not counted", [LogField("reason", "\(error)")])
        }
    }

    /// Writes file names behind and closes idle accounts.
    func housekeep() async {
        logins.countBans()
        let copied = directory
        await run { Self.writeCopy(of: copied) }
        for folder in watchers.unwatched { await lookAt(folder.account, folder.mailbox) }
        for lane in lanes where lane.hasWork {
            await run(on: lane) { lane.housekeep() }
            var slices = 0
            while slices < Self.retireSlices, await run(on: lane, { lane.retire() }) {
                slices += 1
            }
        }
        let (usages, directory) = (usages, directory)
        let wrote = await run { usages.flush(directory, force: false) }
        if wrote { await run { [self] in countMail() } }
        await retryDeliveries()
        await mailQuotaWarnings()
        let load = root.log.load
        metrics.logOccupied.set(Double(load.octets))
        metrics.checkpointAge.set(load.age)
        metrics.searchWaiting.set(Double(indexer.waitingCount))
        // In slices, so that whoever waits for the lane is served in between
        for lane in lanes where lane.hasWork {
            var slices = 0
            while slices < Self.fillSlices, await run(on: lane, { lane.fillSummaries() }) {
                slices += 1
            }
        }
        await sweepRetained()
    }

    /// Takes in what other programs did to an open mailbox.
    func lookAt(
        _ account: AccountRef, _ mailbox: MailboxID, _ events: FolderEvents = FolderEvents()
    ) async {
        // What fails is in the log already; the next request of a session meets it again.
        _ = await perform(account) { store throws(StoreError) in
            try store.noticed(mailbox, events)
        }
    }

    private static func writeCopy(of directory: Directory) {
        do throws(StoreError) {
            try directory.writeCopy()
        } catch {
            Log.warn("directory.backup not written", [LogField("reason", "\(error)")])
        }
    }

    /// Closes every account and the directory.
    package func close() async {
        for lane in lanes {
            // What is away comes back before: its thread has it done when this is its turn.
            while await !run(on: lane, { lane.closeAll() }) {
                await asideWorkers.run(lane: lane.index) {}
            }
        }
        let (usages, directory) = (usages, directory)
        await run {
            usages.flush(directory, force: true)
            Self.writeCopy(of: directory)
        }
        let log = root.log
        await run { log.close(checkpointing: true) }
        directory.close()
    }

    var openAccounts: Int { lanes.reduce(0) { $0 + $1.openCount } }
}
