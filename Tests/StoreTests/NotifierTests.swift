// SPDX-License-Identifier: Apache-2.0
//
// What every driver of Notifier promises, held against each of them.

import Bytes
import Glibc
import Mail
import Synchronization
import Testing

@testable import Store

private final class Ear: ChangeListener {
    struct Heard {
        var highest: [MailboxID: UInt64] = [:]
        var gone: [MailboxID] = []
        var accountsGone: [EmailAddress] = []
    }

    private let heard = Mutex<[EmailAddress: Heard]>([:])

    func mailboxChanged(_ account: EmailAddress, _ change: MailboxChange) {
        heard.withLock {
            let before = $0[account, default: Heard()].highest[change.mailbox] ?? 0
            $0[account, default: Heard()].highest[change.mailbox] = max(
                before, change.highestModSeq)
            if change.isGone { $0[account]?.gone.append(change.mailbox) }
        }
    }

    func accountGone(_ account: EmailAddress) {
        heard.withLock { $0[account, default: Heard()].accountsGone.append(account) }
    }

    func of(_ account: EmailAddress) -> Heard { heard.withLock { $0[account] ?? Heard() } }
}

enum NotifierDriver: String, CaseIterable, Sendable {
    case local

    func make() -> any Notifier {
        switch self {
        case .local: LocalNotifier()
        }
    }
}

@Suite("notification")
struct NotifierTests {
    private func change(_ id: Int64, _ modSeq: UInt64, isGone: Bool = false) -> MailboxChange {
        MailboxChange(
            mailbox: MailboxID(rawValue: id), highestModSeq: modSeq, isGone: isGone)
    }

    @Test(arguments: NotifierDriver.allCases)
    func `every listener has heard when publish returns`(_ driver: NotifierDriver) {
        let notifier = driver.make()
        let ears = [Ear(), Ear(), Ear()]
        for ear in ears { notifier.listen(ear) }
        notifier.publish(Sandbox.alice, [change(1, 10), change(2, 20)])
        notifier.publish(Sandbox.alice, [change(1, 11), change(3, 30, isGone: true)])
        notifier.publish(Sandbox.alice, [])
        for ear in ears {
            let heard = ear.of(Sandbox.alice)
            #expect(
                heard.highest == [
                    MailboxID(rawValue: 1): 11, MailboxID(rawValue: 2): 20,
                    MailboxID(rawValue: 3): 30,
                ])
            #expect(heard.gone == [MailboxID(rawValue: 3)])
            #expect(heard.accountsGone == [])
            #expect(ear.of(Sandbox.bob).highest.isEmpty)
        }
    }

    @Test(arguments: NotifierDriver.allCases)
    func `the removal of an account is heard`(_ driver: NotifierDriver) {
        let notifier = driver.make()
        let ear = Ear()
        notifier.listen(ear)
        notifier.publishRemoval(of: Sandbox.bob)
        #expect(ear.of(Sandbox.bob).accountsGone == [Sandbox.bob])
        #expect(ear.of(Sandbox.alice).accountsGone == [])
    }

    @Test(arguments: NotifierDriver.allCases)
    func `of many threads the greatest MODSEQ arrives`(_ driver: NotifierDriver) {
        let notifier = driver.make()
        let ear = Ear()
        notifier.listen(ear)
        let threads = (0..<8).map { thread in
            startThread {
                for modSeq in 1...2_000 {
                    notifier.publish(
                        thread % 2 == 0 ? Sandbox.alice : Sandbox.bob,
                        [
                            MailboxChange(
                                mailbox: MailboxID(rawValue: Int64(thread)),
                                highestModSeq: UInt64(modSeq), isGone: false)
                        ])
                }
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        for thread in 0..<8 {
            let heard = ear.of(thread % 2 == 0 ? Sandbox.alice : Sandbox.bob)
            #expect(heard.highest[MailboxID(rawValue: Int64(thread))] == 2_000)
        }
    }
}
