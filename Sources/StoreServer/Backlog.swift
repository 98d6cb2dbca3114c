// SPDX-License-Identifier: Apache-2.0
//
// Mail that was answered for as soon as the delivery log had it, and that its accounts' threads are
// still to store: how much of it there is, and for whom there may be more. docs/store.md, "The
// delivery log"; RFC 5321 §6.1.

import Mail
import Store
import Transport

/// What is on its way to accounts. Usable from any thread.
///
/// Who reserves here may say 250 when the log has the message; nothing that can be foreseen keeps
/// it from being stored then. Who cannot reserve waits until it is stored.
final class Backlog: @unchecked Sendable {  // safe: all under `monitor`
    /// Octets of messages that may be on their way at once.
    static let octetLimit = 16 << 20
    /// Messages; those for many accounts have an open file each.
    private static let messageLimit = 4_096
    private static let sharedLimit = 512
    /// Messages for one account.
    private static let accountLimit: UInt64 = 512

    /// Of one account.
    private struct Share {
        var octets: UInt64 = 0
        var messages: UInt64 = 0
        /// Of these, not in the account's queue yet.
        var inFlight = 0
        /// Storing failed: nothing more is promised until it works again.
        var isTroubled = false
    }

    /// How long a message waits for others that come to its account, if nobody looks.
    let patience: Duration
    private let limit: Int
    private let hasDiskRoom: @Sendable () -> Bool
    /// What it said last, and when.
    private var diskRoom = (isThere: false, askedAt: MonotonicInstant?.none)
    private static let diskPause = Duration.milliseconds(20)
    private let monitor = Monitor(conditions: 1)
    private var shares: [EmailAddress: Share] = [:]
    /// Accounts that are open: their directories and their indexes work.
    private var opened: Set<EmailAddress> = []
    private var closing: Set<EmailAddress> = []
    private var closingDomains: Set<[UInt8]> = []
    private var octets = 0
    private var messages = 0
    private var shared = 0

    /// - Parameter logSize: a backlog must not fill the log.
    /// - Parameter hasDiskRoom: whether all that may wait can be stored, and much more.
    init(logSize: Int, patience: Duration, hasDiskRoom: @escaping @Sendable () -> Bool) {
        limit = min(Self.octetLimit, logSize / 4)
        self.patience = patience
        self.hasDiskRoom = hasDiskRoom
    }

    // MARK: - Those who deliver

    /// Takes room for a message of `size` octets in each of `accounts`; none of it, or all.
    ///
    /// A sixteenth of a limit is left to those who ask the account itself.
    func reserve(
        _ accounts: [AccountRef], _ size: Int, _ addresses: AddressBook, _ usages: UsageBook
    ) -> Bool {
        var limited: [(account: EmailAddress, limits: QuotaLimits, usage: MailUsage)] = []
        for account in accounts {
            guard let limits = addresses.knownLimits(account.address) else { return false }
            if limits.isUnlimited { continue }
            guard let usage = usages.known(account.address) else { return false }
            limited.append((account.address, limits, usage))
        }
        let isTaken = monitor.locked { () -> Bool in
            guard hasRoomOnDisk, octets + size <= limit, messages < Self.messageLimit,
                accounts.count == 1 || shared < Self.sharedLimit
            else { return false }
            for account in accounts {
                guard opened.contains(account.address), !closing.contains(account.address),
                    !closingDomains.contains(account.address.domain)
                else { return false }
                guard let share = shares[account.address] else { continue }
                guard !share.isTroubled, share.messages < Self.accountLimit else { return false }
            }
            for (account, limits, usage) in limited {
                let share = shares[account] ?? Share()
                guard
                    limits.allow(
                        share.messages + 1 + limits.messages / 16,
                        share.octets + UInt64(size) + limits.octets / 16, beside: usage)
                else { return false }
            }
            for account in accounts {
                shares[account.address, default: Share()].octets += UInt64(size)
                shares[account.address, default: Share()].messages += 1
                shares[account.address, default: Share()].inFlight += 1
            }
            octets += size
            messages += 1
            if accounts.count > 1 { shared += 1 }
            return true
        }
        // Removed since it was looked up: who closes an account has changed this before.
        if isTaken,
            accounts.contains(where: { addresses.generation(of: $0.address) != $0.generation })
        {
            cancel(accounts, size)
            return false
        }
        return isTaken
    }

    /// Inside `monitor`.
    private var hasRoomOnDisk: Bool {
        let now = MonotonicInstant.now
        if let askedAt = diskRoom.askedAt, askedAt.duration(to: now) < Self.diskPause {
            return diskRoom.isThere
        }
        diskRoom = (hasDiskRoom(), now)
        return diskRoom.isThere
    }

    /// The log does not have it.
    func cancel(_ accounts: [AccountRef], _ size: Int) {
        for account in accounts {
            arrived(account)
            stored(account, size)
        }
        finished(size, isShared: accounts.count > 1)
    }

    /// It is in the account's queue.
    func arrived(_ account: AccountRef) {
        monitor.locked {
            shares[account.address]?.inFlight -= 1
            if !closing.isEmpty || !closingDomains.isEmpty { monitor.signal(0) }
        }
    }

    /// One account has it.
    func stored(_ account: AccountRef, _ size: Int) {
        monitor.locked {
            guard var share = shares[account.address] else { return }
            share.octets -= UInt64(size)
            share.messages -= 1
            shares[account.address] = share.messages == 0 ? nil : share
        }
    }

    /// All accounts have it.
    func finished(_ size: Int, isShared: Bool) {
        monitor.locked {
            octets -= size
            messages -= 1
            if isShared { shared -= 1 }
        }
    }

    // MARK: - The accounts' threads

    func setOpen(_ account: EmailAddress, _ isOpen: Bool) {
        monitor.locked {
            if isOpen { opened.insert(account) } else { opened.remove(account) }
        }
    }

    /// What was promised room in the account and is not among its rows yet.
    func reserved(_ account: EmailAddress) -> MailUsage {
        monitor.locked {
            let share = shares[account]
            return MailUsage(
                octets: share?.octets ?? 0, messages: share?.messages ?? 0, mailboxes: 0)
        }
    }

    func setTroubled(_ account: EmailAddress, _ isTroubled: Bool) {
        monitor.locked { shares[account]?.isTroubled = isTroubled }
    }

    /// Nothing is promised for the account until `reopen`; returns when everything that was is in
    /// its queue. The log never waits for an account's thread, so this ends.
    func close(_ account: EmailAddress) {
        monitor.locked {
            closing.insert(account)
            while shares[account]?.inFlight ?? 0 > 0 { monitor.wait(for: 0) }
        }
    }

    func reopen(_ account: EmailAddress) { monitor.locked { _ = closing.remove(account) } }

    /// The same for all accounts of domains.
    func close(domains: [[UInt8]]) {
        monitor.locked {
            closingDomains.formUnion(domains)
            while shares.contains(where: {
                $0.value.inFlight > 0 && domains.contains($0.key.domain)
            }) { monitor.wait(for: 0) }
        }
    }

    func reopen(domains: [[UInt8]]) { monitor.locked { closingDomains.subtract(domains) } }
}
