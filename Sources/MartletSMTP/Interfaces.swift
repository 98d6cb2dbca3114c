// SPDX-License-Identifier: Apache-2.0
//
// What an embedding program brings along: who takes the mail, who may log in, what is refused. Each
// as a protocol, and as closures for short programs.

/// Takes messages. The one thing that a server cannot be without.
///
/// Calls come from many sessions at once, on threads of the library's own or of the executor that
/// the server was given: a method may block for as long as the client's patience lasts, and stops
/// nobody but its own session (and as many others as there are no threads for). A method that
/// throws, or does not return within `Limits.handlerTimeout`, is a temporary failure to the client.
public protocol DeliveryAgent: Sendable {
    /// RCPT: whether this agent will take mail for `recipient`.
    ///
    /// There is no default: a server that accepts every address relays for the whole world. Look
    /// at `transaction.client.account` before you accept one that is not yours.
    func recipient(_ recipient: Address, _ transaction: Transaction) async throws -> Verdict

    /// The end of a message. When this returns `accept`, the client hears `250` and forgets the
    /// message: do not return before it is where a power failure cannot take it.
    func deliver(_ message: Message) async throws -> Verdict
}

/// Says who may log in. Runs where `DeliveryAgent` runs.
public protocol AuthProvider: Sendable {
    /// Nil: the name or the password is wrong. An error: it cannot be known now (`454`).
    ///
    /// A refusal is answered a second after the question, whatever was checked; after three of
    /// them the connection is closed. Counting over connections is for this method to do.
    func authenticate(_ credentials: Credentials) async throws -> Account?

    /// Whether `account` may use `sender`, in MAIL and in the From field of a message.
    ///
    /// The default is: if it is the account's own address, the local part in any case.
    func maySend(_ account: Account, as sender: Address) async throws -> Bool
}

extension AuthProvider {
    /// The account's own address only.
    public func maySend(_ account: Account, as sender: Address) async throws -> Bool {
        sender.domain == account.address.domain
            && sender.local.lowercased() == account.address.local.lowercased()
    }
}

/// Looks at clients, senders, recipients and messages before anybody else does. The defaults accept
/// everything. Filters are asked in their order; the first refusal is the answer. An error is a
/// temporary refusal. Runs where `DeliveryAgent` runs.
public protocol Filter: Sendable {
    /// A client has connected. A refusal stands in the place of the greeting, and closes.
    func connected(_ client: Client) async throws -> Verdict

    /// MAIL: the sender, in `transaction.sender`.
    func sender(_ transaction: Transaction) async throws -> Verdict

    /// RCPT, before the agent is asked.
    func recipient(_ recipient: Address, _ transaction: Transaction) async throws -> Verdict

    /// A whole message, before the agent gets it.
    func message(_ message: Message) async throws -> Verdict
}

extension Filter {
    /// Accepts.
    public func connected(_ client: Client) async throws -> Verdict { .accept }

    /// Accepts.
    public func sender(_ transaction: Transaction) async throws -> Verdict { .accept }

    /// Accepts.
    public func recipient(
        _ recipient: Address, _ transaction: Transaction
    ) async throws -> Verdict { .accept }

    /// Accepts.
    public func message(_ message: Message) async throws -> Verdict { .accept }
}

// MARK: - In short

/// An agent made of closures.
public struct DeliveryClosures: DeliveryAgent {
    private let onRecipient: @Sendable (Address, Transaction) async throws -> Verdict
    private let onMessage: @Sendable (Message) async throws -> Verdict

    /// Both of them; see `DeliveryAgent`.
    public init(
        recipient: @escaping @Sendable (Address, Transaction) async throws -> Verdict,
        message: @escaping @Sendable (Message) async throws -> Verdict
    ) {
        onRecipient = recipient
        onMessage = message
    }

    /// Calls the closure.
    public func recipient(
        _ recipient: Address, _ transaction: Transaction
    ) async throws -> Verdict { try await onRecipient(recipient, transaction) }

    /// Calls the closure.
    public func deliver(_ message: Message) async throws -> Verdict { try await onMessage(message) }
}

/// A provider made of a closure, with the default `maySend`.
public struct AuthClosure: AuthProvider {
    private let check: @Sendable (Credentials) async throws -> Account?

    /// See `AuthProvider.authenticate`.
    public init(_ check: @escaping @Sendable (Credentials) async throws -> Account?) {
        self.check = check
    }

    /// Calls the closure.
    public func authenticate(_ credentials: Credentials) async throws -> Account? {
        try await check(credentials)
    }
}

/// A filter made of closures, for what it looks at: `FilterClosures(message: { … })`.
public struct FilterClosures: Filter {
    private let onClient: @Sendable (Client) async throws -> Verdict
    private let onSender: @Sendable (Transaction) async throws -> Verdict
    private let onRecipient: @Sendable (Address, Transaction) async throws -> Verdict
    private let onMessage: @Sendable (Message) async throws -> Verdict

    /// Any of them; what is left out accepts.
    public init(
        connected: @escaping @Sendable (Client) async throws -> Verdict = { _ in .accept },
        sender: @escaping @Sendable (Transaction) async throws -> Verdict = { _ in .accept },
        recipient: @escaping @Sendable (Address, Transaction) async throws -> Verdict = { _, _ in
            .accept
        },
        message: @escaping @Sendable (Message) async throws -> Verdict = { _ in .accept }
    ) {
        onClient = connected
        onSender = sender
        onRecipient = recipient
        onMessage = message
    }

    /// Calls the closure.
    public func connected(_ client: Client) async throws -> Verdict { try await onClient(client) }

    /// Calls the closure.
    public func sender(_ transaction: Transaction) async throws -> Verdict {
        try await onSender(transaction)
    }

    /// Calls the closure.
    public func recipient(
        _ recipient: Address, _ transaction: Transaction
    ) async throws -> Verdict { try await onRecipient(recipient, transaction) }

    /// Calls the closure.
    public func message(_ message: Message) async throws -> Verdict { try await onMessage(message) }
}
