// SPDX-License-Identifier: Apache-2.0
//
// Work on one account that takes long (its index made anew, brought forward or made small) on a
// thread of its own: the account is away from its lane meanwhile, and what is asked of it waits, in
// order. The other accounts of the lane are served. docs/architecture.md.

import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// An account's store on its way between threads.
private struct Carried: @unchecked Sendable {  // safe: one thread at a time has it
    let store: AccountStore
}

extension Lane {
    /// Runs `body` now, or when the account is back: always on the lane's thread, in order.
    func whenHere(_ account: AccountRef, _ body: @escaping @Sendable () -> Void) {
        let address = account.address
        if away[address] != nil {
            away[address]?.append(body)
            return
        }
        if !isOpen(address), mayOpen(account), root.mayOpenSlowly(address) {
            let root = root
            away[address] = [body]
            sendAside(account) { () throws(StoreError) in try root.openAccount(address) }
            return
        }
        body()
    }

    /// Takes the account away for as long as `work` takes; `done` is called on the lane, before
    /// anything else that waits for the account. To be called from within `whenHere`. What was
    /// answered for is stored before; what is answered for meanwhile, when the account is back.
    func performAside<R: Sendable>(
        _ account: AccountRef,
        _ work: @escaping @Sendable (AccountStore) throws(StoreError) -> R,
        _ done: @escaping @Sendable (Result<R, StoreError>) -> Void
    ) {
        let carried: Carried
        if answered.load(ordering: .acquiring) > 0 { storeAnswered(account) }
        do throws(StoreError) {
            carried = Carried(store: try store(account))
        } catch {
            done(.failure(error))
            return
        }
        takeOut(account.address)
        away[account.address] = []
        let home = workers
        let index = index
        aside.post(lane: index) {
            let outcome: Result<R, StoreError>
            do throws(StoreError) {
                outcome = .success(try work(carried.store))
            } catch {
                outcome = .failure(error)
            }
            home.post(lane: index) {
                self.takeBack(carried.store, account)
                self.publish(carried.store)
                if case .failure(let error) = outcome { self.note(error, account.address) }
                done(outcome)
                self.catchUp(account.address)
            }
        }
    }

    /// Opens the account on another thread.
    private func sendAside(
        _ account: AccountRef, _ open: @escaping @Sendable () throws(StoreError) -> AccountStore
    ) {
        let home = workers
        let index = index
        aside.post(lane: index) {
            let outcome: Result<Carried, StoreError>
            do throws(StoreError) {
                outcome = .success(Carried(store: try open()))
            } catch {
                outcome = .failure(error)
            }
            home.post(lane: index) {
                switch outcome {
                case .success(let carried): self.takeBack(carried.store, account)
                case .failure(let error): self.note(error, account.address)
                }
                self.catchUp(account.address)
            }
        }
    }

    /// What waited, until the account goes away again.
    private func catchUp(_ address: EmailAddress) {
        guard let waiting = away.removeValue(forKey: address) else { return }
        var next = 0
        while next < waiting.count {
            waiting[next]()
            next += 1
            if away[address] != nil {
                // Behind those that wait now would be too late.
                away[address]?.insert(contentsOf: waiting[next...], at: 0)
                return
            }
        }
    }
}

extension StoreCore {
    /// As `run`, for what concerns one account.
    func runWhenHere<R: Sendable>(
        _ account: AccountRef, _ body: @escaping @Sendable (Lane) -> R
    ) async -> R {
        await unsafe withUnsafeContinuation { (continuation: UnsafeContinuation<R, Never>) in
            postWhenHere(account) { unsafe continuation.resume(returning: body($0)) }
        }
    }

    /// As `post`, for what concerns one account.
    func postWhenHere(_ account: AccountRef, _ body: @escaping @Sendable (Lane) -> Void) {
        let lane = lane(of: account.address)
        post(on: lane) { lane.whenHere(account) { body(lane) } }
    }

    /// One long operation on an account's store, beside its lane.
    func performAside<R: Sendable>(
        _ account: AccountRef,
        _ body: @escaping @Sendable (AccountStore) throws(StoreError) -> R
    ) async -> Result<R, StoreError> {
        await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<Result<R, StoreError>, Never>) in
            postWhenHere(account) { lane in
                lane.performAside(account, body) { unsafe continuation.resume(returning: $0) }
            }
        }
    }
}
