// SPDX-License-Identifier: Apache-2.0
//
// After the start: which accounts may have mail that their search index does not know? Times of
// files tell, so no account is opened for it; those found go to the indexer a few at a time.

import Mail
import Store
import Telemetry
import Transport

extension StoreCore {
    /// Accounts whose files are looked at in one hop to a thread.
    private static let sweptAtOnce = 64
    /// Accounts that may wait for the indexer because of the sweep.
    private static let sweptWaiting = 16
    private static let sweepDelay = Duration.seconds(5)
    private static let sweepStep = Duration.milliseconds(20)

    /// Once, in the background; ends when every account was looked at.
    func sweepSearch(_ context: LoopContext) async {
        await context.sleep(Self.sweepDelay)
        let directory = directory
        let listed = await run { () -> [DirectoryRow] in
            do throws(StoreError) {
                return try directory.rows(in: nil)
            } catch {
                Log.warn("search indexes not looked at", [LogField("reason", "\(error)")])
                return []
            }
        }
        let accounts = listed.filter { $0.usage?.messages != 0 }.map(\.account.address)
        let root = root
        var (next, found) = (0, 0)
        while next < accounts.count, !context.isDraining, indexer.isEnabled {
            metrics.searchSweep.set(Double(accounts.count - next))
            let some = Array(accounts[next..<min(next + Self.sweptAtOnce, accounts.count)])
            next += some.count
            let behind = await run {
                some.filter { address in
                    do throws(StoreError) {
                        return try root.mayLackSearch(address)
                    } catch {
                        return true  // the indexer meets it, and says what it is
                    }
                }
            }
            for address in behind {
                while indexer.waitingCount >= Self.sweptWaiting, !context.isDraining {
                    await context.sleep(Self.sweepStep)
                }
                let account = AccountRef(
                    address: address, generation: addresses.generation(of: address))
                indexer.noteSwept(account)
                found += 1
            }
            await context.sleep(Self.sweepStep)
        }
        metrics.searchSweep.set(0)
        Log.info(
            "search indexes looked at",
            [LogField("count", accounts.count), LogField("findings", found)])
    }
}
