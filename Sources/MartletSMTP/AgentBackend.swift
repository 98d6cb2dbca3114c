// SPDX-License-Identifier: Apache-2.0
//
// The embedding program in the place of msgstored: what sessions ask becomes calls of its agent, its
// provider and its filters, and their verdicts become replies.

import Bytes
import Glibc
import Mail
import SASL
import SMTP
import SMTPServer
import StoreClient
import Telemetry
import Transport
import Wire

/// What the program has brought along.
struct Parts: Sendable {
    var agent: any DeliveryAgent
    var provider: (any AuthProvider)?
    var filters: [any Filter]
    var executor: any TaskExecutor
    /// For one call.
    var patience: Duration
    /// Where long messages wait.
    var directory: String
}

/// One per loop.
final class AgentBackend: Backend {
    private let context: LoopContext
    private let parts: Parts
    fileprivate let handlers: Handlers
    fileprivate var accounts: [UInt64: Account] = [:]
    private var files: [UInt64: MessageFile] = [:]
    private var lastNumber: UInt64 = 0

    init(_ context: LoopContext, _ parts: Parts) {
        self.context = context
        self.parts = parts
        handlers = Handlers(context, executor: parts.executor, patience: parts.patience)
    }

    /// The server stops and has waited long enough.
    func giveUp() { handlers.giveUp() }

    private func client(_ session: Session) -> Client {
        let visitor = session.visitor
        return Client(visitor, visitor.handle.flatMap { accounts[$0.rawValue] })
    }

    fileprivate func nextNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    // MARK: Clients, senders, recipients

    func connected(_ session: Session) async -> SMTP.Reply? {
        guard !parts.filters.isEmpty else { return nil }
        let filters = parts.filters
        let client = client(session)
        return await verdict("connect") {
            try await filters.ask { filter in try await filter.connected(client) }
        }
    }

    func sender(_ sender: ReversePath, size: Int?, _ session: Session) async -> SMTP.Reply? {
        guard !parts.filters.isEmpty else { return nil }
        let filters = parts.filters
        let transaction = Transaction(client(session), sender: sender, size: size, recipients: [])
        return await verdict("sender") {
            try await filters.ask { filter in try await filter.sender(transaction) }
        }
    }

    func recipient(
        _ address: EmailAddress, size: UInt64, _ session: Session
    ) async throws(StoreFailure) -> RecipientVerdict {
        guard let envelope = session.envelope else {
            preconditionFailure("RCPT without a transaction")
        }
        let (filters, agent) = (parts.filters, parts.agent)
        let transaction = Transaction(
            client(session), sender: envelope.from, size: envelope.parameters.size,
            recipients: envelope.recipients)
        let recipient = Address(address)
        let refusal = await verdict("recipient") {
            let verdict = try await filters.ask { filter in
                try await filter.recipient(recipient, transaction)
            }
            guard verdict == .accept else { return verdict }
            return try await agent.recipient(recipient, transaction)
        }
        return refusal.map { .refused($0) } ?? .status(.accepted)
    }

    /// Nil: accepted. What fails is refused for now.
    private func verdict(
        _ what: StaticString, _ body: @escaping @Sendable () async throws -> Verdict
    ) async -> SMTP.Reply? {
        guard let verdict = await handlers.run(what, body) else { return .tryAgain }
        return verdict.reply
    }

    // MARK: Logins

    func logIn<E: Error>(
        _ attempt: LoginAttempt, _ session: Session,
        answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<(SessionHandle, EmailAddress)> {
        let door = AgentLogin(self, parts.provider, client(session), context)
        return try await door.logIn(attempt, answer: answer).map { ($0.handle, $0.account) }
    }

    func logout(_ session: SessionHandle) { accounts[session.rawValue] = nil }

    func maySend(
        _ session: SessionHandle, as address: EmailAddress
    ) async throws(StoreFailure) -> Bool {
        guard let account = accounts[session.rawValue], let provider = parts.provider else {
            throw .staleHandle
        }
        let sender = Address(address)
        let answer = await handlers.run("may-send") {
            try await provider.maySend(account, as: sender)
        }
        guard let answer else { throw .unavailable }
        return answer
    }

    // MARK: Messages

    func stage() async throws(StoreFailure) -> StagedFile {
        let directory = parts.directory
        let made = await context.workers.run { () -> Result<MessageFile, Message.ReadError> in
            guard let file = MessageFile(directory: directory) else {
                return .failure(Message.ReadError(number: errno))
            }
            return .success(file)
        }
        switch made {
        case .failure(let error):
            Log.error(
                "no temporary file",
                [LogField("file", directory), LogField("reason", error.description)])
            throw .unavailable
        case .success(let file):
            let number = file.duplicate()
            guard number >= 0 else { throw .unavailable }
            let token = nextNumber()
            files[token] = file
            return StagedFile(token: StageToken(rawValue: token), file: Descriptor(number))
        }
    }

    func unstage(_ token: StageToken) { files[token.rawValue] = nil }

    func deliver(
        _ delivery: Delivery, _ session: Session
    ) async throws(StoreFailure) -> SMTP.Reply? {
        let message = try message(delivery, client(session))
        let (filters, agent) = (parts.filters, parts.agent)
        return await verdict("deliver") {
            let verdict = try await filters.ask { filter in try await filter.message(message) }
            guard verdict == .accept else { return verdict }
            return try await agent.deliver(message)
        }
    }

    private func message(
        _ delivery: Delivery, _ client: Client
    ) throws(StoreFailure) -> Message {
        let body: Message.Body
        let size: Int
        switch delivery.body {
        case .inline(let octets): (body, size) = (.memory(octets), octets.count)
        case .staged(let token):
            guard let file = files.removeValue(forKey: token.rawValue) else { throw .badStage }
            (body, size) = (.file(file), file.size)
        }
        var sender: Address?
        if case .address(let address) = delivery.sender { sender = Address(address) }
        return Message(
            id: delivery.id.description, client: client, sender: sender,
            recipients: delivery.recipients.indices.map { index in
                Recipient(delivery.recipients[index], delivery.terms(of: index))
            }, terms: Terms(wire: delivery.terms), size: size, body: body)
    }
}

extension [any Filter] {
    /// The first refusal of them in their order.
    fileprivate func ask(
        _ question: (any Filter) async throws -> Verdict
    ) async throws -> Verdict {
        for filter in self {
            let verdict = try await question(filter)
            guard verdict == .accept else { return verdict }
        }
        return .accept
    }
}

/// The provider in the place of the store, for one login: names and passwords only.
private final class AgentLogin: LoginDoor {
    private let backend: AgentBackend
    private let provider: (any AuthProvider)?
    private let client: Client
    private let context: LoopContext

    init(
        _ backend: AgentBackend, _ provider: (any AuthProvider)?, _ client: Client,
        _ context: LoopContext
    ) {
        self.backend = backend
        self.provider = provider
        self.client = client
        self.context = context
    }

    var now: MonotonicInstant { context.now }

    func pause(_ duration: Duration) async { await context.sleep(duration) }

    func ask(_ request: Request) async throws(StoreFailure) -> Wire.Reply {
        guard case .authenticate(let given) = request, let provider else { throw .unavailable }
        let name = String(decoding: given.authenticationID, as: UTF8.self)
        let other = String(decoding: given.authorizationID, as: UTF8.self)
        let credentials = Credentials(
            name: name, password: String(decoding: given.password, as: UTF8.self),
            authorization: other.isEmpty || other == name ? nil : other, client: client)
        let answer = await backend.handlers.run("authenticate") {
            try await provider.authenticate(credentials)
        }
        guard let answer else { throw .unavailable }
        guard let account = answer else { throw .badCredentials }
        // A provider that does not look at `authorization` must not give one account for another.
        if let wanted = credentials.authorization {
            guard Address(wanted) == account.address else { throw .badCredentials }
        }
        let handle = backend.nextNumber()
        backend.accounts[handle] = account
        return .authenticated(SessionHandle(rawValue: handle), account.address.wire)
    }

    func tell(_ request: Request) {
        if case .logout(let session) = request { backend.logout(session) }
    }
}
