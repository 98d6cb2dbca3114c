// SPDX-License-Identifier: Apache-2.0
//
// Recipients, staged files and deliveries. A delivery is answered when the message is
// durable for every recipient, or stored for none. RFC 5321 §6.1.

import Bytes
import Mail
import Store
import Synchronization
import Telemetry
import Transport
import Wire

extension DoorConnection {
    // MARK: - Recipients

    func lookup(_ address: EmailAddress) async throws(StoreFailure) -> Lookup {
        let addresses = core.addresses
        if let known = addresses.known(address) { return known }
        let result = await core.run { () -> Result<Lookup, StoreError> in
            do throws(StoreError) {
                return .success(try addresses.lookup(address))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let lookup): return lookup
        case .failure(let error):
            Log.error("directory failed", [LogField("reason", "\(error)")])
            throw StoreFailure(error)
        }
    }

    func maySend(
        _ account: EmailAddress, as sender: EmailAddress
    ) async throws(StoreFailure) -> Bool {
        let addresses = core.addresses
        if account == sender { return true }
        if let known = addresses.knownRight(account, as: sender) { return known }
        return try await onDirectory(changes: false) { _ throws(StoreError) in
            try addresses.maySend(account, as: sender)
        }
    }

    // MARK: - Staged files

    func stage(_ id: UInt32) async throws(StoreFailure) -> Reply? {
        guard staged.count < WireLimit.stagedFiles else { throw .limit }
        let area = core.root.staging
        let made = await core.run { () -> Result<StagedFile, StoreError> in
            do throws(StoreError) {
                return .success(try area.create())
            } catch {
                return .failure(error)
            }
        }
        switch made {
        case .success(let file):
            guard let writer = file.takeWriter() else { throw .unavailable }
            let descriptor = Descriptor(writer)
            guard staged.count < WireLimit.stagedFiles else { throw .limit }
            var token = StageToken(rawValue: .random(in: 1 ... .max))
            while staged[token] != nil { token = StageToken(rawValue: .random(in: 1 ... .max)) }
            staged[token] = file
            send(.staged(token), id, kind: .reply, attaching: descriptor)
            return nil
        case .failure(let error):
            Log.error("no staging file", [LogField("reason", "\(error)")])
            throw StoreFailure(error)
        }
    }

    /// A token is good for one use.
    func takeStaged(_ token: StageToken) throws(StoreFailure) -> StagedFile {
        guard let file = staged.removeValue(forKey: token) else { throw .badStage }
        return file
    }

    /// Makes the file durable; refused while anybody can still write to it.
    func seal(
        _ file: StagedFile, for address: EmailAddress
    ) async throws(StoreFailure) -> StagedMessage {
        let sealed = await core.run(on: core.lane(of: address)) {
            () -> Result<StagedMessage, StoreError> in
            do throws(StoreError) {
                return .success(try file.seal())
            } catch {
                return .failure(error)
            }
        }
        switch sealed {
        case .success(let message): return message
        case .failure(let error):
            if error != .badStage {
                Log.error("message not sealed", [LogField("reason", "\(error)")])
            }
            throw StoreFailure(error)
        }
    }

    // MARK: - Delivering

    func deliver(_ delivery: Delivery) async throws(StoreFailure) {
        let start = context.now
        var size = 0
        var staged: MessageSource?
        do throws(StoreFailure) {
            let targets = try await targets(delivery.recipients)
            let accounts = targets.map(\.account)
            if try await !deliverLogged(delivery.body, accounts, &size) {
                let source = try await source(delivery.body, for: accounts, &size)
                staged = source
                if accounts.count == 1 {
                    let message = PendingAppend(mailbox: .inbox, source: source)
                    if case .failure(let error) = await core.append(accounts[0], message) {
                        throw StoreFailure(error)
                    }
                } else {
                    try await deliverToAll(delivery.id, source, accounts)
                }
            }
            core.deliveries.wrappingAdd(1, ordering: .relaxed)
            core.metrics.deliveries.increment(["stored"])
            core.metrics.deliveredMessages.increment(by: UInt64(accounts.count))
            for target in targets {
                Log.info(
                    "delivered",
                    fields(
                        delivery, size, start, to: target.recipient,
                        [LogField("account", target.account.address.octets)]))
            }
            if delivery.wantsReport {
                await report(on: delivery, header: await header(of: staged, delivery.body))
            }
        } catch {
            core.metrics.deliveries.increment([error == .unavailable ? "failed" : "refused"])
            for recipient in delivery.recipients {
                Log.warn(
                    "not delivered",
                    fields(
                        delivery, size, start, to: recipient, [LogField("reason", "\(error)")]))
            }
            throw error
        }
    }

    /// One line for each recipient; what strangers wrote stands at its end.
    private func fields(
        _ delivery: Delivery, _ size: Int, _ start: MonotonicInstant, to recipient: EmailAddress,
        _ more: [LogField]
    ) -> [LogField] {
        [
            LogField("id", delivery.id.description),
            LogField("session", delivery.session.description),
            LogField("rcpts", delivery.recipients.count), LogField("size", size),
            LogField("took", Int(start.duration(to: context.now) / .milliseconds(1))),
        ] + more + [
            LogField("to", recipient.octets), LogField("from", delivery.sender.bracketed),
        ]
    }

    /// The accounts that the recipients mean, each once, with the recipient that meant it.
    private func targets(
        _ recipients: [EmailAddress]
    ) async throws(StoreFailure) -> [(account: AccountRef, recipient: EmailAddress)] {
        var accounts: [(account: AccountRef, recipient: EmailAddress)] = []
        var seen: Set<EmailAddress> = []
        for recipient in recipients {
            let found = try await lookup(recipient).accounts
            guard !found.isEmpty else { throw .noSuchAccount }  // removed since RCPT
            for account in found where seen.insert(account.address).inserted {
                accounts.append((account, recipient))
            }
        }
        return accounts
    }

    /// One durable step for all recipients. False: not this way.
    private func deliverLogged(
        _ body: MessageBody, _ accounts: [AccountRef], _ size: inout Int
    ) async throws(StoreFailure) -> Bool {
        guard case .inline(let octets) = body else { return false }
        size = octets.count
        switch await core.commit(
            accounts, .inbox, NamedFlags(), nil, octets, mayAnswerEarly: true)
        {
        case .stored: return true
        case .failed(let error): throw StoreFailure(error)
        case .unavailable: return false
        }
    }

    private func source(
        _ body: MessageBody, for accounts: [AccountRef], _ size: inout Int
    ) async throws(StoreFailure) -> MessageSource {
        switch body {
        case .inline(let octets):
            size = octets.count
            if accounts.count == 1 { return .octets(octets) }
            let area = core.root.staging
            let staged = await core.run { () -> Result<StagedMessage, StoreError> in
                do throws(StoreError) {
                    return .success(try area.stage(octets))
                } catch {
                    return .failure(error)
                }
            }
            switch staged {
            case .success(let message): return .staged(message)
            case .failure(let error):
                Log.error("message not staged", [LogField("reason", "\(error)")])
                throw StoreFailure(error)
            }
        case .staged(let token):
            let message = try await seal(try takeStaged(token), for: accounts[0].address)
            size = message.size
            return .staged(message)
        }
    }

    /// A durable intent first, so that a crash in the middle can be taken back.
    private func deliverToAll(
        _ id: TraceID, _ source: MessageSource, _ accounts: [AccountRef]
    ) async throws(StoreFailure) {
        let root = core.root
        let targets = accounts.map {
            DeliveryTarget(address: $0.address, unique: root.makeUniqueName())
        }
        try await journal { journal throws(StoreError) in try journal.begin(id, targets) }
        var failure = await appendToAll(source, accounts, targets).map(StoreFailure.init)
        if failure == nil {
            do throws(StoreFailure) {
                try await journal { journal throws(StoreError) in try journal.commit(id) }
            } catch {
                failure = error
            }
        }
        guard let failure else { return }
        if await takeBack(accounts, targets) {
            try await journal { journal throws(StoreError) in try journal.abandon(id) }
        } else {
            // The intent stays: the next start takes the rest back.
            Log.error("delivery not taken back yet", [LogField("id", id.description)])
        }
        throw failure
    }

    private func takeBack(
        _ accounts: [AccountRef], _ targets: [DeliveryTarget]
    ) async -> Bool {
        var isTakenBack = true
        for (account, target) in zip(accounts, targets) {
            let outcome = await core.perform(account) { store throws(StoreError) in
                try store.retract(target.unique)
            }
            // An account that was removed meanwhile has nothing to take back.
            if case .failure(let error) = outcome, error != .noSuchAccount { isTakenBack = false }
        }
        return isTakenBack
    }

    private func journal(
        _ step: @escaping @Sendable (DeliveryJournal) throws(StoreError) -> Void
    ) async throws(StoreFailure) {
        let journal = core.root.journal
        let failure = await core.run { () -> StoreError? in
            do throws(StoreError) {
                try step(journal)
                return nil
            } catch {
                return error
            }
        }
        if let failure {
            Log.error("delivery journal failed", [LogField("reason", "\(failure)")])
            throw .unavailable
        }
    }

    /// All lanes at the same time; the first failure, if any.
    private func appendToAll(
        _ source: MessageSource, _ accounts: [AccountRef], _ targets: [DeliveryTarget]
    ) async -> StoreError? {
        let progress = Progress(accounts.count)
        for (account, target) in zip(accounts, targets) {
            context.spawn {
                let outcome = await self.core.append(
                    account,
                    PendingAppend(mailbox: .inbox, source: source, unique: target.unique))
                if case .failure(let error) = outcome { progress.failure = error }
                progress.finishOne()
            }
        }
        await progress.finished()
        return progress.failure
    }
}

/// Several tasks of one loop, and one that waits for all.
private final class Progress {
    private var open: Int
    private let gate = Gate()
    var failure: StoreError?

    init(_ count: Int) { open = count }

    func finishOne() {
        open -= 1
        if open == 0 { gate.open() }
    }

    func finished() async {
        if open > 0 { await gate.wait() }
    }
}
