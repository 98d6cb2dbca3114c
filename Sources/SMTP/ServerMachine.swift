// SPDX-License-Identifier: Apache-2.0
//
// The server's side of an SMTP session as a state machine: events in, one action out. RFC 5321
// §4.1.4, §4.3; RFC 3030 (BDAT); RFC 3207 (STARTTLS); RFC 4954 (AUTH); RFC 6409 (submission). No
// I/O: the session performs the actions and reports what came of them.

import Bytes
import Mail

/// Who sends what to whom.
package struct Envelope: Equatable, Sendable {
    package var from: ReversePath
    package var parameters: MailParameters
    /// Accepted ones, each once, in order.
    package var recipients: [EmailAddress] = []
    /// What RCPT asked for with each of them; empty if with none.
    package private(set) var recipientTerms: [RecipientTerms] = []
    /// Octets that it takes in memory, about: text, and what the arrays around it cost.
    package private(set) var weight = 0

    /// Two heap blocks, their headers and slots.
    private static let recipientWeight = 128

    package init(
        from: ReversePath, parameters: MailParameters, recipients: [EmailAddress] = []
    ) {
        self.from = from
        self.parameters = parameters
        self.recipients = recipients
    }

    /// Adds a recipient; one that is there already gets the new terms.
    mutating func add(_ address: EmailAddress, _ terms: RecipientTerms) {
        let known = recipients.firstIndex(of: address)
        if known == nil {
            recipients.append(address)
            weight += Self.recipientWeight + address.domain.count + address.local.count
        }
        if let original = terms.original {
            weight += Self.recipientWeight + original.type.count + original.address.count
        }
        guard !terms.isPlain || !recipientTerms.isEmpty else { return }
        let missing = recipients.count - recipientTerms.count
        recipientTerms += repeatElement(RecipientTerms(), count: missing)
        recipientTerms[known ?? recipients.count - 1] = terms
    }
}

package struct ServerMachine: Sendable {
    /// What the session must do next. Exactly one event answers each action that names one.
    package enum Action: Equatable, Sendable {
        /// Send, then report the next line with `received` or `refused`.
        case reply(Reply)
        /// Send and hang up.
        case close(Reply)
        /// Send, run the handshake, then call `tlsStarted`.
        case startTLS(Reply)
        /// Run the exchange, then call `authenticated`, `authenticationFailed` or
        /// `authenticationEnded`. The mechanism is one of the policy's, in capitals.
        case authenticate(mechanism: [UInt8], initial: [UInt8]?)
        /// May the authenticated client send as this address? Then call `senderChecked`.
        case checkSender(EmailAddress)
        /// Ask the store, then call `recipientChecked`.
        case checkRecipient(Recipient)
        /// Send, take dot-terminated text for `envelope`, then call `messageEnded`.
        case receiveText(Reply)
        /// Take this many octets for `envelope`, then call `chunkReceived`.
        case receiveChunk(size: Int, isLast: Bool)
        /// Speak for this client from now on, then call `clientChanged`.
        case speakFor(ClientClaim)
        /// Say what the session knows, then read on.
        case describe
        /// Throw this many octets away, forget any chunks taken before, then send.
        case skipChunk(size: UInt64, Reply)
    }

    private enum State: Equatable {
        /// Before HELO or EHLO.
        case greeted
        case idle
        case checkingSender(Envelope)
        case transaction(Envelope)
        case checking(Recipient, RecipientTerms, Envelope)
        case receivingText(Envelope)
        /// Between two BDATs, or inside one: `received` octets with the one that is under way.
        case chunks(Envelope, received: Int)
        case authenticating
    }

    package private(set) var policy: ServerPolicy
    private var state = State.greeted
    /// The name given with EHLO or HELO; empty before.
    package private(set) var clientName: [UInt8] = []
    /// EHLO was used, not HELO.
    package private(set) var isExtended = false
    package private(set) var isEncrypted: Bool
    package private(set) var account: EmailAddress?
    private var errors = 0
    private var badCommands = 0
    private var idleCommands = 0
    private var authenticationFailures = 0
    private var refusedRecipients = 0

    /// - Parameter isEncrypted: TLS was there before the greeting.
    package init(policy: ServerPolicy, isEncrypted: Bool) {
        self.policy = policy
        self.isEncrypted = isEncrypted
    }

    /// The mail transaction under way, if any.
    package var envelope: Envelope? {
        switch state {
        case .greeted, .idle, .authenticating: nil
        case .checkingSender(let envelope), .transaction(let envelope),
            .checking(_, _, let envelope), .receivingText(let envelope), .chunks(let envelope, _):
            envelope
        }
    }

    private var mayAuthenticate: Bool {
        !policy.mechanisms.isEmpty && (isEncrypted || policy.allowsPlaintextAuthentication)
    }

    // MARK: Events

    /// A line that is no command.
    package mutating func refused(_ error: CommandError) -> Action {
        if error == .chunkSize { return .close(error.reply) }
        switch error {
        case .unrecognized, .lineTooLong, .illegalOctet:
            badCommands += 1
            if badCommands >= policy.badCommandLimit { return .close(.tooManyErrors) }
        default: break
        }
        return failed(error.reply)
    }

    /// A command.
    package mutating func received(_ command: Command) -> Action {
        if policy.requiresEncryption, !isEncrypted {
            switch command {
            case .hello, .noop, .rset, .help, .quit, .startTLS, .xclient, .xdebug: break
            case .bdat(let size, _): return skip(size, .startTLSFirst)
            default: return failed(.startTLSFirst)
            }
        }
        if isOneTooMany(command) { return .close(.tooManyCommands) }
        switch command {
        case .hello(let name, let isExtended): return hello(name, isExtended: isExtended)
        case .mail(let from, let parameters): return mail(from, parameters)
        case .rcpt(let to, let parameters): return rcpt(to, parameters)
        case .data: return data()
        case .bdat(let size, let isLast): return bdat(size, isLast: isLast)
        case .rset:
            reset()
            return .reply(.ok)
        case .noop: return .reply(.ok)
        case .help(let topic):
            guard let help = Reply.help(topic) else { return refused(.noSuchTopic) }
            return .reply(help)
        case .vrfy: return vrfy()
        case .quit: return .close(.bye)
        case .startTLS: return startTLS()
        case .auth(let mechanism, let initial): return auth(mechanism, initial)
        case .xclient(let claim): return xclient(claim)
        case .xdebug:
            return policy.isDevelopment ? .describe : failed(CommandError.notImplemented.reply)
        }
    }

    /// Counts commands that bring no message nearer: a client that sends nothing else only wants us
    /// to be busy.
    private mutating func isOneTooMany(_ command: Command) -> Bool {
        switch command {
        case .hello, .rset, .noop, .help, .vrfy: idleCommands += 1
        default: return false
        }
        return policy.idleCommandLimit > 0 && idleCommands > policy.idleCommandLimit
    }

    /// A limit outside of the protocol stops the transaction that MAIL has just begun.
    package mutating func limited(_ reply: Reply) -> Action {
        reset()
        return .reply(reply)
    }

    /// The session has taken what `speakFor` says: everything begins again, behind the greeting.
    package mutating func clientChanged() -> Action {
        state = .greeted
        clientName = []
        isExtended = false
        return .reply(policy.greeting)
    }

    /// For XDEBUG.
    package var stateName: StaticString {
        switch state {
        case .greeted: "INIT"
        case .idle: "HELO"
        case .checkingSender, .transaction, .checking:
            envelope?.recipients.isEmpty ?? true ? "MAIL" : "RCPT"
        case .receivingText, .chunks: "DATA"
        case .authenticating: "AUTH"
        }
    }

    /// The handshake is done: everything said in clear is forgotten (RFC 3207 §4.2).
    package mutating func tlsStarted() {
        isEncrypted = true
        state = .greeted
        clientName = []
        isExtended = false
    }

    /// What AUTH offers from now on: it can depend on the encryption.
    package mutating func offer(mechanisms: [[UInt8]]) { policy.mechanisms = mechanisms }

    /// The store knows name and password.
    package mutating func authenticated(as account: EmailAddress) -> Action {
        precondition(state == .authenticating, "authenticated without AUTH")
        state = .idle
        self.account = account
        return .reply(.authenticated)
    }

    /// The store does not, or the exchange was not one. `reply` is sent, unless it was once too
    /// often.
    package mutating func authenticationFailed(_ reply: Reply) -> Action {
        precondition(state == .authenticating, "authentication failed without AUTH")
        state = .idle
        authenticationFailures += 1
        if authenticationFailures >= policy.authenticationFailureLimit {
            return .close(.tooManyErrors)
        }
        return failed(reply)
    }

    /// Nobody is to blame: the client cancelled, or the store could not be asked.
    package mutating func authenticationEnded(_ reply: Reply) -> Action {
        precondition(state == .authenticating, "authentication ended without AUTH")
        state = .idle
        return reply.isTemporary ? .reply(reply) : failed(reply)
    }

    /// The answer to `checkSender`: a positive reply begins the transaction.
    package mutating func senderChecked(_ reply: Reply) -> Action {
        guard case .checkingSender(let envelope) = state else {
            preconditionFailure("senderChecked without checkSender")
        }
        state = reply.isPositive ? .transaction(envelope) : .idle
        return .reply(reply)
    }

    /// The answer to `checkRecipient`: a positive reply adds `address` to the envelope.
    package mutating func recipientChecked(_ address: EmailAddress, _ reply: Reply) -> Action {
        guard case .checking(_, let terms, var envelope) = state else {
            preconditionFailure("recipientChecked without checkRecipient")
        }
        state = .idle  // gives up the other reference, so that the append copies nothing
        if reply.isPositive { envelope.add(address, terms) }
        state = .transaction(envelope)
        guard !reply.isPositive, !reply.isTemporary else { return .reply(reply) }
        refusedRecipients += 1
        return refusedRecipients >= policy.refusedRecipientLimit
            ? .close(.tooManyErrors) : .reply(reply)
    }

    /// All text was read: `reply` is what became of it.
    package mutating func messageEnded(_ reply: Reply) -> Action {
        switch state {
        case .receivingText, .chunks: state = .idle
        default: preconditionFailure("messageEnded without a message")
        }
        if reply.isPositive {
            errors = 0
            badCommands = 0
            idleCommands = 0
        }
        return .reply(reply)
    }

    /// A chunk was read. `fault` ends the transaction; a last chunk without one is answered with
    /// `messageEnded`, so do not call this then.
    package mutating func chunkReceived(size: Int, fault: Reply?) -> Action {
        guard case .chunks = state else { preconditionFailure("chunkReceived without BDAT") }
        if let fault {
            state = .idle
            return .reply(fault)
        }
        return .reply(Reply(250, (2, 0, 0), "\(size) octets received"))
    }

    // MARK: Commands

    private mutating func hello(_ name: [UInt8], isExtended: Bool) -> Action {
        reset()  // RFC 5321 §4.1.4
        state = .idle
        clientName = name
        self.isExtended = isExtended
        return .reply(
            policy.hello(
                name, isExtended: isExtended, isEncrypted: isEncrypted,
                offersAuth: mayAuthenticate && account == nil, isAuthenticated: account != nil))
    }

    private mutating func mail(_ from: ReversePath, _ parameters: MailParameters) -> Action {
        if policy.requiresAuthentication, account == nil {
            let needsTLS = policy.offersStartTLS && !isEncrypted && !mayAuthenticate
            return failed(needsTLS ? .startTLSFirst : .authenticationRequired)
        }
        switch state {
        case .idle: break
        case .greeted: return failed(.helloFirst)
        case .chunks: return failed(.insideChunks)
        default: return failed(.nested)
        }
        guard isOffered(parameters.terms) else {
            return failed(
                parameters.terms.requiresTLS && !isEncrypted
                    ? .requireTLSInClear : CommandError.unknownParameter.reply)
        }
        if let size = parameters.size, size > policy.sizeLimit { return .reply(.tooLarge) }
        let envelope = Envelope(from: from, parameters: parameters)
        guard case .address(let address) = from else {
            state = .transaction(envelope)
            return .reply(.senderOK)
        }
        if parameters.hasInternationalPath || Path.address(address).isInternational,
            !parameters.isInternational
        {
            return failed(.notASCII)
        }
        guard account != nil else {
            state = .transaction(envelope)
            return .reply(.senderOK)
        }
        state = .checkingSender(envelope)
        return .checkSender(address)
    }

    /// Whether EHLO would list now what these terms need.
    private func isOffered(_ terms: EnvelopeTerms) -> Bool {
        if terms.requiresTLS || terms.body == .binary, !isEncrypted { return false }
        if terms.deliverBy != nil || terms.priority != nil, account == nil { return false }
        return true
    }

    private mutating func rcpt(_ to: Recipient, _ parameters: RecipientParameters) -> Action {
        guard case .transaction(let envelope) = state else {
            if case .chunks = state { return failed(.insideChunks) }
            return failed(state == .greeted ? .helloFirst : .noMail)
        }
        if parameters.hasInternationalPath || to.isInternational,
            !envelope.parameters.isInternational
        {
            return failed(.notASCII)
        }
        if envelope.recipients.count >= policy.recipientLimit
            || envelope.weight >= policy.envelopeLimit
        {
            return .reply(.tooManyRecipients)
        }
        state = .checking(to, parameters.terms, envelope)
        return .checkRecipient(to)
    }

    private mutating func data() -> Action {
        guard case .transaction(let envelope) = state else {
            if case .chunks = state { return failed(.insideChunks) }
            return failed(state == .greeted ? .helloFirst : .noMail)
        }
        guard !envelope.recipients.isEmpty else { return failed(.noRecipients) }
        // RFC 3030 §3: the transaction goes on, with BDAT.
        guard envelope.parameters.terms.body != .binary else { return failed(.binaryNeedsChunks) }
        state = .receivingText(envelope)
        return .receiveText(.startMail)
    }

    /// Whatever the answer, the octets of the chunk are read (RFC 3030 §2).
    private mutating func bdat(_ size: UInt64, isLast: Bool) -> Action {
        let envelope: Envelope
        let before: Int
        switch state {
        case .transaction(let current):
            guard !current.recipients.isEmpty else { return skip(size, .noRecipients) }
            (envelope, before) = (current, 0)
        case .chunks(let current, let received):
            (envelope, before) = (current, received)
        default:
            return skip(size, state == .greeted ? .helloFirst : .noMail)
        }
        guard size <= UInt64(policy.sizeLimit - before) else {
            state = .idle
            return .skipChunk(size: size, .tooLarge)
        }
        state = .chunks(envelope, received: before + Int(size))
        return .receiveChunk(size: Int(size), isLast: isLast)
    }

    private mutating func skip(_ size: UInt64, _ reply: Reply) -> Action {
        switch failed(reply) {
        case .reply(let reply): .skipChunk(size: size, reply)
        case let action: action
        }
    }

    private mutating func vrfy() -> Action {
        if policy.requiresAuthentication, account == nil { return failed(.authenticationRequired) }
        return .reply(.cannotVerify)
    }

    private mutating func xclient(_ claim: ClientClaim) -> Action {
        guard policy.offersXCLIENT else { return failed(CommandError.notImplemented.reply) }
        guard account == nil, state == .greeted || state == .idle else {
            return failed(.badSequence)
        }
        return .speakFor(claim)
    }

    private mutating func startTLS() -> Action {
        if isEncrypted { return failed(.alreadyTLS) }
        guard policy.offersStartTLS else { return failed(CommandError.notImplemented.reply) }
        switch state {
        case .greeted, .idle: return .startTLS(.readyForTLS)
        default: return failed(.badSequence)
        }
    }

    private mutating func auth(_ mechanism: [UInt8], _ initial: [UInt8]?) -> Action {
        guard !policy.mechanisms.isEmpty else {
            return failed(CommandError.notImplemented.reply)
        }
        guard mayAuthenticate else { return failed(.encryptionRequired) }
        guard account == nil else { return failed(.alreadyAuthenticated) }
        guard state == .idle, isExtended else {
            return failed(state == .greeted ? .helloFirst : .badSequence)
        }
        let name = mechanism.map(\.asciiUppercased)
        guard policy.mechanisms.contains(name) else { return failed(.unknownMechanism) }
        state = .authenticating
        return .authenticate(mechanism: name, initial: initial)
    }

    /// RSET, and what EHLO does besides greeting: no transaction, same greeting state.
    private mutating func reset() {
        if state != .greeted { state = .idle }
    }

    /// A refusal that counts.
    private mutating func failed(_ reply: Reply) -> Action {
        errors += 1
        return errors >= policy.errorLimit ? .close(.tooManyErrors) : .reply(reply)
    }
}
