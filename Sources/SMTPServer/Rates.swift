// SPDX-License-Identifier: Apache-2.0
//
// How fast messages may come, over all loops of the process: `[smtpd.limits]`. A limit that is
// reached is a 450, which every mail server and program takes as "later".

import Bytes
import Mail
import Network
import SMTP
import Settings
import Synchronization

/// Which rate was exceeded.
enum RateLimit: Equatable, Sendable, CaseIterable {
    case messagesOfAddress, messagesOfSender, recipientsOfSender, messagesOfRemoteSender
    case messagesOfRecipientDomain

    /// For logs and metrics.
    var reason: StaticString {
        switch self {
        case .messagesOfAddress: "messages-per-ip"
        case .messagesOfSender: "messages-per-sender"
        case .recipientsOfSender: "recipients-per-sender"
        case .messagesOfRemoteSender: "messages-per-remote-sender"
        case .messagesOfRecipientDomain: "messages-per-recipient-domain"
        }
    }

    var reply: SMTP.Reply {
        let what =
            switch self {
            case .messagesOfAddress: "messages from your address"
            case .messagesOfSender, .messagesOfRemoteSender: "messages from this sender"
            case .recipientsOfSender: "recipients from this sender"
            case .messagesOfRecipientDomain: "messages for this domain"
            }
        return SMTP.Reply(450, (4, 7, 1), "Too many \(what), try again later")
    }
}

/// The buckets. One for the process.
package final class Rates: Sendable {
    private static let hour: UInt64 = 3_600_000_000_000
    private static let day = 24 * hour

    private struct Tables {
        var addresses = RateTable<IPAddress>()
        var senders = RateTable<[UInt8]>()
        var recipients = RateTable<[UInt8]>()
        var remoteSenders = RateTable<[UInt8]>()
        var domains = RateTable<[UInt8]>()
    }

    private let tables = Mutex(Tables())

    package init() {}

    /// A transaction begins.
    ///
    /// - Parameters:
    ///   - address: nil if it is exempt.
    ///   - account: who logged in.
    ///   - now: nanoseconds of a clock that does not go back.
    func message(
        address: IPAddress?, account: EmailAddress?, sender: EmailAddress?, _ limits: SMTPLimits,
        now: UInt64
    ) -> RateLimit? {
        tables.withLock { tables in
            let host = address?.host
            if let host, limits.messagesPerAddress > 0,
                !tables.addresses.take(
                    host, limit: limits.messagesPerAddress, period: Self.hour, now: now)
            {
                return .messagesOfAddress
            }
            var exceeded: RateLimit?
            if let account {
                if limits.messagesPerSender > 0,
                    !tables.senders.take(
                        account.octets.asciiLowercased, limit: limits.messagesPerSender,
                        period: Self.hour, now: now)
                {
                    exceeded = .messagesOfSender
                }
            } else if let sender, limits.messagesPerRemoteSender > 0,
                !tables.remoteSenders.take(
                    sender.octets.asciiLowercased, limit: limits.messagesPerRemoteSender,
                    period: Self.hour, now: now)
            {
                exceeded = .messagesOfRemoteSender
            }
            if exceeded != nil, let host, limits.messagesPerAddress > 0 {
                // Not sent, so not counted against others who share the address.
                tables.addresses.putBack(
                    host, limit: limits.messagesPerAddress, period: Self.hour)
            }
            return exceeded
        }
    }

    /// A recipient is to be added.
    ///
    /// - Parameter isNewDomain: the message had none of this domain yet.
    func recipient(
        account: EmailAddress?, domain: [UInt8], isNewDomain: Bool, _ limits: SMTPLimits,
        now: UInt64
    ) -> RateLimit? {
        tables.withLock { tables in
            if isNewDomain, limits.messagesPerRecipientDomain > 0,
                !tables.domains.take(
                    domain.asciiLowercased, limit: limits.messagesPerRecipientDomain,
                    period: Self.hour, now: now)
            {
                return .messagesOfRecipientDomain
            }
            if let account, limits.recipientsPerSender > 0,
                !tables.recipients.take(
                    account.octets.asciiLowercased, limit: limits.recipientsPerSender,
                    period: Self.day, now: now)
            {
                return .recipientsOfSender
            }
            return nil
        }
    }
}
