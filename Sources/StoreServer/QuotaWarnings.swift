// SPDX-License-Identifier: Apache-2.0
//
// Mail to people whose account fills up: once for each mark that it comes over, until it falls
// below it again. Messages as RFC 5322 has them, marked as automatic (RFC 3834).

import Bytes
import Config
import MIME
import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// Who is to be told. Lanes note it, the housekeeping writes the mail.
final class QuotaWarnings: Sendable {
    struct Warning: Sendable, Equatable {
        var account: EmailAddress
        /// The highest mark that was reached.
        var percent: Int
        var usage: MailUsage
        var limits: QuotaLimits
    }

    private struct State {
        var marks: [Int] = []
        var host: [UInt8] = []
        var waiting: [EmailAddress: Warning] = [:]
        /// When an account was told that it is full, until it keeps less.
        var full: [EmailAddress: MonotonicInstant] = [:]
    }

    /// Accounts that wait to be told; more are told when they fill up again.
    private static let limit = 10_000
    /// Who is full, removes a message and is full again is not told at once.
    private static let patience = Duration.seconds(86_400)
    /// Per cent.
    private static let nearlyFull = 90

    private let state = Mutex(State())

    func apply(_ suite: Suite) {
        let marks = suite.msgstored.quotaMail.compactMap { Int($0) }.sorted()
        state.withLock { state in
            state.marks = marks
            state.host = Array(suite.server.hostname)
            if marks.isEmpty { state.waiting = [:] }
        }
    }

    /// The account kept `before` and keeps `after` now.
    func note(
        _ account: EmailAddress, _ limits: QuotaLimits, from before: MailUsage, to after: MailUsage
    ) {
        guard !limits.isUnlimited else { return }
        state.withLock { state in
            if let mark = state.marks.last(where: {
                limits.isWarning($0, from: before, to: after)
            }) {
                Self.add(
                    Warning(
                        account: account, percent: mark, usage: after, limits: limits), &state)
            } else if let waiting = state.waiting[account],
                !limits.reaches(waiting.percent, after)
            {
                state.waiting[account] = nil
            }
        }
    }

    /// Something was refused because the account is full.
    func noteRefused(_ account: EmailAddress, _ limits: QuotaLimits, _ usage: MailUsage) {
        // A message that is larger than all that there is room for says nothing about the account.
        guard limits.reaches(Self.nearlyFull, usage) else { return }
        let now = MonotonicInstant.now
        state.withLock { state in
            guard state.marks.last == 100 else { return }
            if let told = state.full[account], told.duration(to: now) < Self.patience { return }
            if state.full.count >= Self.limit {
                state.full = state.full.filter { $0.value.duration(to: now) < Self.patience }
                guard state.full.count < Self.limit else { return }
            }
            state.full[account] = now
            Self.add(Warning(account: account, percent: 100, usage: usage, limits: limits), &state)
        }
    }

    private static func add(_ warning: Warning, _ state: inout State) {
        guard state.waiting.count < limit || state.waiting[warning.account] != nil else { return }
        state.waiting[warning.account] = warning
    }

    func take() -> [Warning] {
        state.withLock { state in
            guard !state.waiting.isEmpty else { return [] }
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
    }

    // MARK: - The message

    func message(_ warning: Warning, at time: SecondsSince1970, number: UInt64) -> [UInt8] {
        let host = state.withLock { $0.host }
        let isFull = warning.percent >= 100
        var text = Array("Return-Path: <>\r\nDate: \(Self.date(time))\r\n")
        text += Array("From: Mail system <postmaster@") + host + Array(">\r\nTo: <")
        text += warning.account.octets + Array(">\r\nSubject: ")
        text += Array(
            isFull ? "Your mailbox is full" : "Your mailbox is \(warning.percent)% full")
        text += Array("\r\nMessage-ID: <quota.\(time).\(String(number, radix: 36))@") + host
        text += Array(">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n")
        text += Array(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
        text += Array("The mailbox ") + warning.account.octets
        text += Array(isFull ? " is full:\r\n\r\n" : " is filling up:\r\n\r\n")
        if warning.limits.octets > 0 {
            text += Array(
                "    \(Self.size(warning.usage.octets)) of \(Self.size(warning.limits.octets))\r\n")
        }
        if warning.limits.messages > 0 {
            text += Array(
                "    \(warning.usage.messages) of \(warning.limits.messages) messages\r\n")
        }
        text += Array(
            isFull
                ? """
                \r\nNew mail is refused, and those who wrote are told so. Delete messages that you\r
                do not need any more, and empty the trash; mail comes again at once.\r\n
                """
                : """
                \r\nWhen it is full, new mail will be refused. Delete messages that you do not need\r
                any more, and empty the trash.\r\n
                """)
        text += Array("\r\nThis message was written by the mail server.\r\n")
        return text
    }

    /// RFC 5322 §3.3, in UTC.
    static func date(_ time: SecondsSince1970) -> String {
        let days = Int(time / 86_400)
        let (year, month, day) = Calendar.date(days: days)
        let names = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let clock = [time / 3_600 % 24, time / 60 % 60, time % 60].map(two)
        return "\(names[days % 7]), \(day) \(Calendar.name(month: month)) \(year) "
            + clock.joined(separator: ":") + " +0000"
    }

    private static func size(_ octets: UInt64) -> String {
        for (unit, name) in [(UInt64(1) << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        where octets >= unit {
            let tenths = octets * 10 / unit
            return "\(tenths / 10).\(tenths % 10) \(name)"
        }
        return "\(octets) octets"
    }
}

extension QuotaLimits {
    /// Whether `percent` of a limit is kept.
    func reaches(_ percent: Int, _ usage: MailUsage) -> Bool {
        isWarning(percent, from: MailUsage(octets: 0, messages: 0, mailboxes: 0), to: usage)
    }
}

extension StoreCore {
    /// Mails what `quotaWarnings` has. These messages may go beyond the quota.
    func mailQuotaWarnings() async {
        for warning in quotaWarnings.take() {
            let account = AccountRef(
                address: warning.account,
                generation: addresses.generation(of: warning.account))
            let octets = quotaWarnings.message(
                warning, at: SecondsSince1970(WallClock.seconds()),
                number: .random(in: 1 ... .max))
            let outcome = await perform(account) { store throws(StoreError) in
                // Its own limits are back with the next operation. Nothing is near no limit, so
                // this message is never the reason for another one.
                store.limits = QuotaLimits()
                return try store.append(PendingAppend(mailbox: .inbox, source: .octets(octets)))
            }
            switch outcome {
            case .success:
                metrics.quotaMails.increment()
                Log.info(
                    "quota warning mailed",
                    [
                        LogField("account", warning.account.octets),
                        LogField("count", warning.percent),
                    ])
            case .failure(.noSuchAccount): break
            case .failure(let error):
                Log.warn(
                    "quota warning not mailed",
                    [
                        LogField("account", warning.account.octets),
                        LogField("reason", "\(error)"),
                    ])
            }
        }
    }
}
