// SPDX-License-Identifier: Apache-2.0
//
// What smtpd asks of msgstored, through the door `deliver`.

import Mail
import SASL
import Transport
import Wire

/// Recipients, submitters and deliveries. One per loop.
package final class DeliveryClient {
    private let link: StoreLink

    package init(_ link: StoreLink) { self.link = link }

    /// Whether the store answers now.
    package func isReachable() async -> Bool { await link.isReachable() }

    /// Whether mail for `address` can be delivered here.
    ///
    /// - Parameter size: octets that the message will have, if the client has said so.
    package func recipient(
        _ address: EmailAddress, size: UInt64 = 0
    ) async throws(StoreFailure) -> RecipientStatus {
        let request: Request =
            size == 0 ? .checkRecipient(address) : .checkMail(address, size: size)
        guard case .recipient(let status) = try await link.ask(request) else {
            throw .unavailable
        }
        return status
    }

    /// Checks a password. Give the handle back with `logout` when the client has gone.
    package func authenticate(
        _ credentials: Credentials
    ) async throws(StoreFailure) -> (SessionHandle, EmailAddress) {
        switch try await link.ask(.authenticate(credentials)) {
        case .authenticated(let session, let account): return (session, account)
        case .access(.refused): throw .badCredentials
        default: throw .unavailable
        }
    }

    /// A name and password without an exchange, or an exchange.
    package func logIn(
        _ response: PlainResponse, _ client: LoginClient
    ) async -> LoginOutcome<(SessionHandle, EmailAddress)> {
        await link.logIn(response, client).map { ($0.handle, $0.account) }
    }

    package func logIn<E: Error>(
        _ attempt: LoginAttempt, answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<(SessionHandle, EmailAddress)> {
        try await link.logIn(attempt, answer: answer).map { ($0.handle, $0.account) }
    }

    /// The session is over. Does not wait.
    package func logout(_ session: SessionHandle) { link.tell(.logout(session)) }

    /// Whether this submitter may use `address` as sender.
    package func maySend(
        _ session: SessionHandle, as address: EmailAddress
    ) async throws(StoreFailure) -> Bool {
        guard case .permission(let granted) = try await link.call(.maySend(session, as: address))
        else { throw .unavailable }
        return granted
    }

    /// An empty file to write a long message to. Close it before `deliver` names its token.
    package func stage() async throws(StoreFailure) -> StagedFile {
        try await link.stage()
    }

    /// Forgets a staged file that is not wanted any more. Does not wait.
    package func unstage(_ token: StageToken) { link.tell(.unstage(token)) }

    /// Returns when the message is durable for every recipient.
    ///
    /// - Throws: nothing was stored for anybody; but after `.unavailable` it is unknown.
    package func deliver(_ delivery: Delivery) async throws(StoreFailure) {
        // Longer than other calls: 1,000 recipients on a slow disk are not a failure.
        guard case .delivered = try await link.call(.deliver(delivery), within: .seconds(240))
        else { throw .unavailable }
    }
}

/// A file that the store lent out, open for writing. Close it (let `file` go) before naming `token`.
package struct StagedFile: ~Copyable {
    package let token: StageToken
    package let file: Descriptor

    package init(token: StageToken, file: consuming Descriptor) {
        self.token = token
        self.file = file
    }
}

extension StoreLink {
    func stage() async throws(StoreFailure) -> StagedFile {
        let call = PendingCall(deadline: now.advanced(by: .seconds(60)))
        guard case .staged(let token) = try await perform(.stage, call),
            let descriptor = call.takeDescriptor()
        else { throw .unavailable }
        return StagedFile(token: token, file: descriptor)
    }
}
