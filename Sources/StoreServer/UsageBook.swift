// SPDX-License-Identifier: Apache-2.0
//
// What every account keeps, as far as it is known, so that RCPT and lists need not open accounts.
// A refusal is never decided on these numbers alone: the account's own index is asked before.

import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// Totals by account; those that changed are written into the directory now and then.
final class UsageBook: Sendable {
    /// Seconds for which a total in the directory may be old.
    private static let flushPause = Duration.seconds(30)
    /// Accounts in one transaction, which others wait for.
    private static let flushLimit = 2_000

    private struct State {
        var known: [EmailAddress: MailUsage] = [:]
        var unwritten: Set<EmailAddress> = []
        var lastFlush = MonotonicInstant.now
    }

    private let state = Mutex(State())

    func known(_ account: EmailAddress) -> MailUsage? { state.withLock { $0.known[account] } }

    /// From the directory: counts only if nothing newer is known.
    func seed(_ account: EmailAddress, _ usage: MailUsage) {
        state.withLock { state in
            if state.known[account] == nil { state.known[account] = usage }
        }
    }

    /// From the account itself.
    /// - Returns: what was known before.
    @discardableResult
    func note(_ account: EmailAddress, _ usage: MailUsage) -> MailUsage? {
        state.withLock { state in
            let before = state.known.updateValue(usage, forKey: account)
            if before != usage { state.unwritten.insert(account) }
            return before
        }
    }

    func forget(_ account: EmailAddress) {
        state.withLock { state in
            state.known[account] = nil
            state.unwritten.remove(account)
        }
    }

    /// Some of what the directory does not have yet; with `force` also if it is quite new.
    func takeUnwritten(force: Bool) -> [EmailAddress: MailUsage] {
        state.withLock { state in
            let now = MonotonicInstant.now
            guard !state.unwritten.isEmpty,
                force || state.lastFlush.duration(to: now) >= Self.flushPause
            else { return [:] }
            var rows: [EmailAddress: MailUsage] = [:]
            for account in state.unwritten.prefix(Self.flushLimit) {
                rows[account] = state.known[account]
            }
            state.unwritten.subtract(rows.keys)
            if state.unwritten.isEmpty { state.lastFlush = now }
            return rows
        }
    }

    /// Writes what `takeUnwritten` gives; after a failure it is tried again later. Blocks.
    /// - Returns: whether there was anything.
    @discardableResult
    func flush(_ directory: Directory, force: Bool) -> Bool {
        var wrote = false
        while true {
            let rows = takeUnwritten(force: force)
            guard !rows.isEmpty else { return wrote }
            do throws(StoreError) {
                try directory.setUsage(rows)
                wrote = true
            } catch {
                Log.warn("totals not written", [LogField("reason", "\(error)")])
                state.withLock { state in
                    state.unwritten.formUnion(rows.keys)
                    state.lastFlush = .now
                }
                return wrote
            }
        }
    }
}

extension QuotaLimits {
    /// Whether the step from `before` to `after` crosses `percent` of a limit.
    func isWarning(_ percent: Int, from before: MailUsage, to after: MailUsage) -> Bool {
        func crosses(_ limit: UInt64, _ before: UInt64, _ after: UInt64) -> Bool {
            guard limit > 0, percent > 0 else { return false }
            let mark = Double(limit) * Double(percent) / 100
            return Double(before) < mark && Double(after) >= mark
        }
        return crosses(octets, before.octets, after.octets)
            || crosses(messages, before.messages, after.messages)
    }
}
