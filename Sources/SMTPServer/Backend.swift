// SPDX-License-Identifier: Apache-2.0
//
// What sessions ask of whoever owns the mail: recipients, logins, and to take a message. smtpd has
// msgstored behind it; a program that embeds the server has code of its own (MartletSMTP).

import Mail
import Network
import SASL
import SMTP
import StoreClient
import Transport
import Wire

/// What is known of a client at some moment.
package struct Visitor: Sendable {
    package var session: TraceID
    package var listener: String
    package var peer: PeerAddress
    /// What it said with EHLO or HELO.
    package var name: [UInt8]
    /// Nil: in clear.
    package var tlsVersion: String?
    package var account: EmailAddress?
    package var handle: SessionHandle?
}

/// What RCPT is answered with.
package enum RecipientVerdict: Sendable {
    case status(RecipientStatus)
    /// In words of the backend's own: 4xx or 5xx.
    case refused(SMTP.Reply)
}

/// One per loop, and never leaves it. Answers that are replies are nil if all is well, else 4xx or
/// 5xx.
package protocol Backend: AnyObject {
    /// A client is there, and has not been greeted.
    func connected(_ session: Session) async -> SMTP.Reply?

    /// MAIL, before it is known whether the account may use the address.
    func sender(_ sender: ReversePath, size: Int?, _ session: Session) async -> SMTP.Reply?

    /// - Parameter size: octets that the message will have, if the client has said so.
    func recipient(
        _ address: EmailAddress, size: UInt64, _ session: Session
    ) async throws(StoreFailure) -> RecipientVerdict

    /// Runs an exchange. `answer` sends a challenge and reads the line that answers it.
    func logIn<E: Error>(
        _ attempt: LoginAttempt, _ session: Session,
        answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<(SessionHandle, EmailAddress)>

    /// Does not wait.
    func logout(_ session: SessionHandle)

    /// Whether this submitter may use `address` as sender.
    func maySend(
        _ session: SessionHandle, as address: EmailAddress
    ) async throws(StoreFailure) -> Bool

    /// An empty file to write a long message to. Close it before `deliver` names its token.
    func stage() async throws(StoreFailure) -> StagedFile

    /// Forgets a staged file that is not wanted any more. Does not wait.
    func unstage(_ token: StageToken)

    /// Returns nil when the message is safe for every recipient: the client hears 250 then.
    ///
    /// - Throws: it is not stored for anybody; but after `.unavailable` it is unknown.
    func deliver(
        _ delivery: Delivery, _ session: Session
    ) async throws(StoreFailure) -> SMTP.Reply?
}

/// msgstored, which has no opinion on clients and senders.
extension DeliveryClient: Backend {
    package func connected(_ session: Session) async -> SMTP.Reply? { nil }

    package func sender(
        _ sender: ReversePath, size: Int?, _ session: Session
    ) async -> SMTP.Reply? { nil }

    package func recipient(
        _ address: EmailAddress, size: UInt64, _ session: Session
    ) async throws(StoreFailure) -> RecipientVerdict {
        .status(try await recipient(address, size: size))
    }

    package func logIn<E: Error>(
        _ attempt: LoginAttempt, _ session: Session,
        answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<(SessionHandle, EmailAddress)> {
        try await logIn(attempt, answer: answer)
    }

    package func deliver(
        _ delivery: Delivery, _ session: Session
    ) async throws(StoreFailure) -> SMTP.Reply? {
        try await deliver(delivery)
        return nil
    }
}

extension Session {
    package var visitor: Visitor {
        Visitor(
            session: id, listener: connection.listener, peer: connection.peer,
            name: machine.clientName, tlsVersion: connection.tlsDescription,
            account: machine.account, handle: handle)
    }

    /// The transaction under way, if there is one.
    package var envelope: Envelope? { machine.envelope }
}
