// SPDX-License-Identifier: Apache-2.0
//
// Which accounts a lane keeps open, and how much memory their snapshots take.

import Bytes
import Glibc
import Mail
import Store
import Testing

@testable import StoreServer

@Suite("open accounts")
struct OpenAccountsTests {
    private let path = "/tmp/martlet-open-\(getpid())-\(UInt64.random(in: 0 ... .max))"

    private func with(_ body: (MailRoot) throws -> Void) throws {
        mkdir(path, 0o700)
        defer { removeTree(path) }
        try body(try MailRoot.open(path: path + "/mail", host: "mx.test") { _ in })
    }

    private func address(_ number: Int) -> EmailAddress {
        EmailAddress(local: Array("u\(number)"), domain: Array("example.test"))
    }

    /// With a snapshot of `messages` in memory.
    private func open(_ root: MailRoot, _ number: Int, messages: Int = 0) throws -> AccountStore {
        let store = try root.openAccount(address(number))
        for message in 0..<messages {
            _ = try store.append(
                PendingAppend(
                    mailbox: .inbox, source: .octets(Array("Subject: \(message)\r\n\r\n"))))
        }
        if messages > 0 { _ = try store.snapshot(.inbox) }
        return store
    }

    @Test func `the account unused for longest is the oldest, whatever was removed between`() throws
    {
        try with { root in
            let budget = SnapshotBudget()
            var accounts = OpenAccounts()
            #expect(accounts.oldest == nil)
            for number in 0..<5 { accounts.insert(try open(root, number), address(number)) }
            var found = [accounts.use(address(0)), accounts.use(address(9))]
            found += [accounts.remove(address(2), budget), accounts.remove(address(2), budget)]
            found.append(accounts.use(address(1)))
            #expect(found.map { $0 != nil } == [true, false, true, false, true])
            var order: [EmailAddress] = []
            while let oldest = accounts.oldest {
                order.append(oldest.address)
                let removed = accounts.remove(oldest.address, budget)
                try removed?.close()
            }
            #expect(order == [address(3), address(4), address(0), address(1)])
            #expect(accounts.count == 0)
            accounts.insert(try open(root, 7), address(7))
            #expect(accounts.oldest?.address == address(7))
            try accounts.remove(address(7), budget)?.close()
        }
    }

    @Test func `snapshots over the budget go, those of the longest unused accounts first`() throws {
        try with { root in
            let entry = MemoryLayout<MessageEntry>.stride
            let budget = SnapshotBudget(limit: 25 * entry, share: 15 * entry)
            var accounts = OpenAccounts()
            for number in 0..<3 {
                accounts.insert(try open(root, number, messages: 10), address(number))
                accounts.weigh(budget)
            }
            #expect(
                accounts.all.map(\.store.snapshotOctets).sorted() == [0, 10 * entry, 10 * entry])
            #expect(accounts.oldest?.store.snapshotOctets == 0)
            #expect(budget.octets == 20 * entry)
            // One's own stays up to the share of a lane, others or not.
            budget.add(100 * entry)
            accounts.weigh(budget)
            #expect(budget.octets == 110 * entry)
            let newest = accounts.use(address(2))
            #expect(newest?.snapshotOctets == 10 * entry)
            accounts.insert(try open(root, 3, messages: 20), address(3))
            accounts.weigh(budget)
            #expect(budget.octets == 100 * entry)
            // And everything is there when it is asked for again.
            let first = accounts.use(address(0))
            #expect(try first?.snapshot(.inbox).entries.count == 10)
            for account in accounts.all {
                accounts.trim(account, budget)
                #expect(try account.store.snapshot(.inbox).entries.count >= 10)
                try accounts.remove(account.address, budget)?.close()
            }
            #expect(budget.octets == 100 * entry)
        }
    }

    @Test func `only the accounts used last are warm, in whatever order they are used`() throws {
        try with { root in
            let budget = SnapshotBudget()
            var accounts = OpenAccounts(warmLimit: 3)
            for number in 0..<6 { accounts.insert(try open(root, number), address(number)) }
            var random = SystemRandomNumberGenerator()
            var order = (0..<6).map { $0 }
            for step in 0..<400 {
                let number = Int.random(in: 0..<6, using: &random)
                if step % 7 == 3, order.contains(number) {
                    let removed = accounts.remove(address(number), budget)
                    try removed?.close()
                    order.removeAll { $0 == number }
                } else if let found = accounts.use(address(number)) {
                    _ = try found.status(.inbox)
                    order.removeAll { $0 == number }
                    order.append(number)
                } else {
                    accounts.insert(try open(root, number), address(number))
                    order.append(number)
                }
                let warm = Set(accounts.all.filter(\.isWarm).map(\.address))
                #expect(warm.isSubset(of: order.suffix(3).map(address)))
                #expect(warm.contains(address(order.last ?? -1)) || order.isEmpty || step % 7 == 3)
                #expect(accounts.oldest?.address == order.first.map(address))
            }
            for number in order {
                let removed = accounts.remove(address(number), budget)
                try removed?.close()
            }
        }
    }
}
