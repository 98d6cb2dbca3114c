// SPDX-License-Identifier: Apache-2.0
//
// What every driver of LeaseStore promises, held against each of them.

import Bytes
import Glibc
import Mail
import Synchronization
import Testing

@testable import Store

private final class Clock: Sendable {
    private let now = Atomic<Int64>(1_800_000_000_000)
    func read() -> Int64 { now.load(ordering: .relaxed) }
    func pass(_ seconds: Int64) { now.add(seconds * 1_000, ordering: .relaxed) }
}

enum LeaseDriver: String, CaseIterable, Sendable {
    case local, sqlite

    fileprivate func make(_ clock: Clock, _ path: String) throws -> any LeaseStore {
        switch self {
        case .local: LocalLeases(clock: { clock.read() })
        case .sqlite: try SQLiteLeases.open(stateDirectory: path, clock: { clock.read() })
        }
    }
}

@Suite("leases")
struct LeaseTests {
    private static func key(_ number: Int) -> LeaseKey {
        LeaseKey(.queueItem, octets("item-\(number)"))
    }

    private func with(
        _ driver: LeaseDriver, _ body: (any LeaseStore, Clock) throws -> Void
    ) throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        let clock = Clock()
        try body(try driver.make(clock, path), clock)
    }

    @Test(arguments: LeaseDriver.allCases)
    func `one holder for a key, any number for different ones`(_ driver: LeaseDriver) throws {
        try with(driver) { leases, _ in
            let first = try #require(try leases.acquire(Self.key(1), for: .seconds(60)))
            #expect(try leases.acquire(Self.key(1), for: .seconds(60)) == nil)
            #expect(try leases.acquire(Self.key(2), for: .seconds(60)) != nil)
            let other = LeaseKey(.maildrop, Self.key(1).name)
            #expect(try leases.acquire(other, for: .seconds(60)) != nil)
            #expect(try leases.isHeld(first))
            leases.release(first)
            #expect(try !leases.isHeld(first))
            let second = try #require(try leases.acquire(Self.key(1), for: .seconds(60)))
            #expect(second.number > first.number)
        }
    }

    @Test(arguments: LeaseDriver.allCases)
    func `a lease that has expired is over for ever`(_ driver: LeaseDriver) throws {
        try with(driver) { leases, clock in
            let late = try #require(try leases.acquire(Self.key(1), for: .seconds(60)))
            clock.pass(59)
            #expect(try leases.isHeld(late))
            #expect(try leases.acquire(Self.key(1), for: .seconds(60)) == nil)
            clock.pass(1)
            #expect(try !leases.isHeld(late))
            #expect(try !leases.renew(late, for: .seconds(60)))
            let next = try #require(try leases.acquire(Self.key(1), for: .seconds(60)))
            #expect(next.number > late.number)
            #expect(try !leases.renew(late, for: .seconds(600)))
            leases.release(late)
            #expect(try leases.isHeld(next))
            #expect(try !leases.isHeld(late))
        }
    }

    @Test(arguments: LeaseDriver.allCases)
    func `renewing counts from now`(_ driver: LeaseDriver) throws {
        try with(driver) { leases, clock in
            let lease = try #require(try leases.acquire(Self.key(1), for: .seconds(60)))
            for _ in 0..<5 {
                clock.pass(50)
                #expect(try leases.renew(lease, for: .seconds(60)))
            }
            clock.pass(59)
            #expect(try leases.isHeld(lease))
            clock.pass(1)
            #expect(try !leases.isHeld(lease))
        }
    }

    @Test(arguments: LeaseDriver.allCases)
    func `a claim takes the first that are free, and no more than wanted`(
        _ driver: LeaseDriver
    ) throws {
        try with(driver) { leases, _ in
            _ = try #require(try leases.acquire(Self.key(2), for: .seconds(60)))
            let keys = (1...6).map(Self.key)
            let claimed = try leases.claim(keys + keys, atMost: 3, for: .seconds(60))
            #expect(claimed.map(\.key) == [Self.key(1), Self.key(3), Self.key(4)])
            let rest = try leases.claim(keys + keys, atMost: 10, for: .seconds(60))
            #expect(rest.map(\.key) == [Self.key(5), Self.key(6)])
            #expect(try leases.claim(keys, atMost: 10, for: .seconds(60)).isEmpty)
            #expect(Set((claimed + rest).map(\.number)).count == 5)
            #expect(try leases.claim([], atMost: 10, for: .seconds(60)).isEmpty)
        }
    }

    @Test(arguments: LeaseDriver.allCases)
    func `threads that claim at the same time share without overlap`(
        _ driver: LeaseDriver
    ) throws {
        try with(driver) { leases, _ in
            let keys = (0..<400).map(Self.key)
            let taken = Mutex<[LeaseKey]>([])
            let threads = (0..<8).map { _ in
                startThread {
                    while true {
                        let claimed = try? leases.claim(keys, atMost: 7, for: .seconds(60))
                        guard let claimed, !claimed.isEmpty else { return }
                        taken.withLock { $0 += claimed.map(\.key) }
                    }
                }
            }
            for thread in threads { pthread_join(thread, nil) }
            let all = taken.withLock { $0 }
            #expect(all.count == 400)
            #expect(Set(all).count == 400)
        }
    }

    @Test func `leases on disk outlive the process, and numbers go on`() throws {
        let path = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", path) }
        let clock = Clock()
        let before = try SQLiteLeases.open(stateDirectory: path, clock: { clock.read() })
        let kept = try #require(try before.acquire(Self.key(1), for: .seconds(60)))
        let short = try #require(try before.acquire(Self.key(2), for: .seconds(5)))
        before.close()
        #expect(throws: StoreError.self) { _ = try before.acquire(Self.key(3), for: .seconds(1)) }
        clock.pass(10)
        let after = try SQLiteLeases.open(stateDirectory: path, clock: { clock.read() })
        #expect(try after.isHeld(kept))
        #expect(try after.acquire(Self.key(1), for: .seconds(60)) == nil)
        let again = try #require(try after.acquire(Self.key(2), for: .seconds(60)))
        #expect(again.number > max(kept.number, short.number))
        after.close()
        // A file that a power cut took back gives no number twice.
        for name in names(path) { unlink("\(path)/\(name)") }
        clock.pass(1)
        let anew = try SQLiteLeases.open(stateDirectory: path, clock: { clock.read() })
        #expect(try #require(try anew.acquire(Self.key(2), for: .seconds(1))).number > again.number)
        anew.close()
    }
}

/// A thread that runs `body` once; to be joined.
func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body)).toOpaque()
    let code = pthread_create(
        &thread, nil,
        { pointer in
            guard let pointer else { return nil }
            Unmanaged<Box>.fromOpaque(pointer).takeRetainedValue().body()
            return nil
        }, box)
    precondition(code == 0, "pthread_create: \(code)")
    return thread
}
