// SPDX-License-Identifier: Apache-2.0
//
// What the store says, in SMTP's words. RFC 5321 §4.2.2, RFC 3463, RFC 4954 §6. Temporary unless
// proven permanent: a store that does not answer costs nobody a message.

import Mail
import SASL
import SMTP
import Serving
import Wire

extension SMTP.Reply {
    /// A mailbox of ours can take mail, or why not.
    static func recipient(_ status: RecipientStatus, isFullTemporary: Bool) -> SMTP.Reply {
        switch status {
        case .accepted: .recipientOK
        case .unknownAccount: .noSuchUser
        case .overQuota: isFullTemporary ? .mailboxFullNow : .mailboxFull
        case .disabled: .mailboxDisabled
        case .notLocal: .relayingDenied
        }
    }

    /// Why a message was not stored. With several recipients nobody got it, and the one reply must
    /// not speak of one of them for all: the client tries again, and RCPT tells them apart then.
    static func delivery(
        _ failure: StoreFailure, isFullTemporary: Bool, recipients: Int
    ) -> SMTP.Reply {
        switch failure {
        case .overQuota: isFullTemporary || recipients > 1 ? .mailboxFullNow : .mailboxFull
        case .noSuchAccount, .noSuchDomain: recipients > 1 ? .recipientsChanged : .noSuchUser
        case .limit: .tooManyRecipients
        default: .tryAgain
        }
    }

    /// Why an exchange was not one. RFC 4954 §4, §6.
    static func exchange(_ error: SASLError) -> SMTP.Reply {
        switch error {
        case .cancelled: SMTP.Reply(501, (5, 7, 0), "Authentication cancelled")
        case .encoding: SMTP.Reply(501, (5, 5, 2), "Cannot decode Base64")
        case .tooLong: SMTP.Reply(500, (5, 5, 6), "Authentication exchange line is too long")
        case .malformed: .badCredentials
        }
    }

    static func accepted(_ id: TraceID) -> SMTP.Reply {
        SMTP.Reply(250, (2, 0, 0), "Message accepted for delivery id=\(id)")
    }

    static let noSuchUser = SMTP.Reply(550, (5, 1, 1), "No such user here")
    static let mailboxFull = SMTP.Reply(552, (5, 2, 2), "Mailbox full")
    static let mailboxFullNow = SMTP.Reply(452, (4, 2, 2), "Mailbox full, try again later")
    static let recipientsChanged = SMTP.Reply(
        451, (4, 3, 0), "Recipients changed meanwhile, try again")
    static let headerTooLong = SMTP.Reply(552, (5, 3, 4), "Message header exceeds the limit")
    static let badAuthor = SMTP.Reply(
        550, (5, 6, 0), "From or Sender is not an address")
    static let notYourAuthor = SMTP.Reply(
        550, (5, 7, 1), "From or Sender not owned by the authenticated user")
    static let mailboxDisabled = SMTP.Reply(550, (5, 2, 1), "Mailbox disabled")
    package static let tryAgain = SMTP.Reply(451, (4, 3, 0), "Mail system temporarily unavailable")
    static let relayingDenied = SMTP.Reply(
        554, (5, 7, 1), "Client host rejected: Access denied")
    /// For those who may relay: there is no queue yet, and mail is never taken that cannot be sent.
    static let noOutbound = SMTP.Reply(
        550, (5, 7, 1), "This server does not send mail to other domains yet")
    static let notYourAddress = SMTP.Reply(
        553, (5, 7, 1), "Sender address not owned by the authenticated user")
    static let badCredentials = SMTP.Reply(535, (5, 7, 8), "Authentication credentials invalid")
    static let authUnavailable = SMTP.Reply(
        454, (4, 7, 0), "Temporary authentication failure")
    static let banned = SMTP.Reply(
        421, (4, 7, 0), "Too many failed logins from your address, try again later")
    static let sessionLost = SMTP.Reply(
        421, (4, 3, 0), "Mail system was restarted: connect and authenticate again")
    static let shuttingDown = SMTP.Reply(421, (4, 3, 2), "Service shutting down")
    static let tooManyClients = SMTP.Reply(421, (4, 3, 2), "Too many connections, try again later")

    /// A connection that is one too many.
    static func refused(_ refusal: Refusal) -> SMTP.Reply {
        switch refusal {
        case .clients: .tooManyClients
        case .clientsOfAddress:
            SMTP.Reply(421, (4, 7, 0), "Too many connections from your address, try again later")
        case .clientsOfNetwork:
            SMTP.Reply(421, (4, 7, 0), "Too many connections from your network, try again later")
        case .rate:
            SMTP.Reply(421, (4, 7, 0), "Too many new connections from your address, slow down")
        }
    }

    static let idleTooLong = SMTP.Reply(421, (4, 4, 2), "Timeout, closing connection")
    static let tooEarly = SMTP.Reply(554, (5, 5, 1), "You talked before the greeting")
    static let readAhead = SMTP.Reply(554, (5, 5, 1), "Commands behind STARTTLS are not allowed")
}
