// SPDX-License-Identifier: Apache-2.0
//
// Another name for a whole domain: its accounts are closed on all lanes and stay closed until mail
// and directory have the new name. docs/store.md, "The directory".

import Bytes
import Mail
import Store
import Telemetry
import Transport
import Wire

extension DoorConnection {
    /// Its sessions end. What is asked of its accounts meanwhile is refused for now.
    func renameDomain(
        _ old: [UInt8], to new: [UInt8], keepAlias: Bool
    ) async throws(StoreFailure) -> Reply {
        let (root, directory, addresses) = (core.root, core.directory, core.addresses)
        guard !addresses.isHeld(old), !addresses.isHeld(new) else { throw .unavailable }
        let accounts = try await onDirectory(changes: false) { directory throws(StoreError) in
            guard try directory.hasDomain(old) else { throw .noSuchDomain }
            return try directory.accounts(in: old).map(\.address)
        }
        let backlog = core.backlog
        await core.run { backlog.close(domains: [old, new]) }
        defer { backlog.reopen(domains: [old, new]) }
        for lane in core.lanes {
            // What was answered for is in the mail that gets the new name
            var outcome: Result<Void, StoreError>?
            while outcome == nil {
                outcome = await core.run(on: lane) { lane.storeRest(of: [old, new]) }
                if outcome == nil { await context.sleep(.milliseconds(20)) }
            }
            if case .failure(let error) = outcome { throw StoreFailure(error) }
        }
        for domain in [old, new] { addresses.hold(domain) }
        for lane in core.lanes {
            while await !core.run(on: lane, { lane.shut(domains: [old, new]) }) {
                await context.sleep(.milliseconds(20))
            }
        }
        let outcome = await core.run { () -> Result<Void, StoreError> in
            do throws(StoreError) {
                try root.forgetDeliveries(accounts)
                try directory.renameDomain(old, to: new, keepAlias: keepAlias) {
                    () throws(StoreError) in
                    try root.renameDomain(old, to: new)
                }
                addresses.directoryChanged(removed: accounts)
                try addresses.loadBlocked()
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        switch outcome {
        case .success: break
        case .failure(.address), .failure(.alreadyExists), .failure(.noSuchDomain):
            // Nothing was changed.
            for domain in [old, new] { addresses.release(domain) }
            if case .failure(.address(let problem)) = outcome { return Self.reply(problem) }
            if case .failure(.alreadyExists) = outcome {
                // Mail that was left behind by accounts of that domain.
                return Self.reply(
                    AddressProblem(.exists, EmailAddress(local: [], domain: new)))
            }
            throw .noSuchDomain
        case .failure(let error):
            // Where the mail is now is known after the next start only, which finishes it.
            Log.error(
                "domain not renamed; restart msgstored to finish it",
                [LogField("account", old), LogField("reason", "\(error)")])
            throw StoreFailure(error)
        }
        for domain in [old, new] { addresses.release(domain) }
        for account in accounts { core.notifier.publishRemoval(of: account) }
        Log.info(
            "domain renamed",
            [
                LogField("account", old), LogField("to", new),
                LogField("count", accounts.count),
            ])
        return .done
    }
}
