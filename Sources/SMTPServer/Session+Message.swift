// SPDX-License-Identifier: Apache-2.0
//
// Messages: DATA and BDAT from the client, through the collector, to the store. RFC 5321 §4.1.1.4,
// §4.4, §6.1, §6.3; RFC 3030; RFC 6409 §8. 250 is only ever said after the store has said so.

import Bytes
import MIME
import Mail
import SMTP
import Settings
import StoreClient
import Telemetry
import Transport
import Wire

/// A message that comes in chunks. A class, so that tiny chunks copy nothing.
final class ChunkedMessage {
    let id: TraceID
    let collector: MessageCollector
    private var check = LineEndCheck()
    /// For a message that was declared BINARYMIME.
    private var recoder: BinaryRecoder?

    init(_ id: TraceID, _ collector: MessageCollector, isBinary: Bool) {
        self.id = id
        self.collector = collector
        if isBinary { recoder = BinaryRecoder() }
    }

    /// Why the message cannot be stored.
    var fault: TextFault? {
        switch recoder?.fault {
        case nil: check.fault
        case .notText: .bareNewline
        case .tooComplex: .tooLarge
        }
    }

    /// Takes the next octets.
    func take(_ piece: Span<UInt8>) {
        if recoder != nil {
            recoder?.recode(piece, into: &collector.buffer)
        } else {
            check.check(piece)
            if check.fault == nil { collector.buffer.append(copying: piece) }
        }
    }

    func finish() {
        if recoder != nil {
            recoder?.finish(into: &collector.buffer)
        } else {
            check.finish()
        }
    }
}

extension Session {
    /// A larger chunk is not even thrown away: the connection is.
    private static let skipLimit: UInt64 = 1 << 30

    // MARK: DATA

    /// Reads text to its end and says what became of it.
    func receiveText() async throws(ConnectionError) -> SMTP.Reply {
        guard let envelope = machine.envelope else { preconditionFailure("DATA without envelope") }
        let messageID = service.context.nextTraceID()
        let collector = collector(messageID, envelope)
        var decoder = DotDecoder(limit: machine.policy.sizeLimit)
        do throws(ConnectionError) {
            while !decoder.isComplete {
                try await needInput()
                let used = connection.withInput { input in
                    decoder.decode(input, into: &collector.buffer)
                }
                connection.consume(used)
                if decoder.fault != nil { collector.discard() }
                await collector.advance()
            }
        } catch {
            collector.abandon()
            logRejected(.tryAgain, reason: "connection-lost", domain: envelope.someDomain)
            throw error
        }
        if let fault = decoder.fault { return refuse(fault, envelope) }
        return await deliver(messageID, envelope, collector)
    }

    private func refuse(_ fault: TextFault, _ envelope: Envelope) -> SMTP.Reply {
        switch fault {
        case .bareNewline: refuse(.bareNewline, "bare-newline", envelope)
        case .tooLarge: refuse(.tooLarge, "size", envelope)
        case .nullByte: refuse(.nullByte, "null-octet", envelope)
        }
    }

    /// Waits until there is something in the input buffer.
    private func needInput() async throws(ConnectionError) {
        guard connection.buffered == 0 else { return }
        guard try await connection.fill(within: dataPatience) else { throw .closed }
    }

    // MARK: BDAT

    /// Reads a chunk; the last one is answered with the fate of the message.
    func receiveChunk(
        _ size: Int, isLast: Bool
    ) async throws(ConnectionError) -> ServerMachine.Action {
        guard let envelope = machine.envelope else { preconditionFailure("BDAT without envelope") }
        let message: ChunkedMessage
        if let chunked {
            message = chunked
        } else {
            let id = service.context.nextTraceID()
            messageBegins()
            message = ChunkedMessage(
                id, collector(id, envelope), isBinary: envelope.parameters.terms.body == .binary)
            chunked = message
        }
        var left = size
        while left > 0 {
            try await needInput()
            let used = connection.withInput { input in
                let piece = input.extracting(0..<min(left, input.count))
                message.take(piece)
                return piece.count
            }
            connection.consume(used)
            left -= used
            if message.fault != nil { message.collector.discard() }
            await message.collector.advance()
        }
        if isLast {
            message.finish()
            if message.fault != nil { message.collector.discard() }
            await message.collector.advance()
        }
        if let fault = message.fault {
            let reply = refuse(fault, envelope)
            return isLast
                ? messageEnded(reply) : machine.chunkReceived(size: size, fault: reply)
        }
        guard isLast else { return machine.chunkReceived(size: size, fault: nil) }
        chunked = nil
        return messageEnded(await deliver(message.id, envelope, message.collector))
    }

    /// Keeps in step with a client whose chunk is not wanted.
    func skipChunk(_ size: UInt64, _ reply: SMTP.Reply) async throws(ConnectionError) -> Next {
        if reply == .tooLarge { logRejected(reply, reason: "size") }
        guard size <= Self.skipLimit else {
            connection.write(reply.octets)
            return .hangUp
        }
        var left = Int(size)
        while left > 0 {
            try await needInput()
            let count = min(left, connection.buffered)
            connection.consume(count)
            left -= count
        }
        connection.write(reply.octets)
        return .command
    }

    // MARK: To the store

    private func deliver(
        _ messageID: TraceID, _ envelope: Envelope, _ collector: MessageCollector
    ) async -> SMTP.Reply {
        let began = service.context.now
        let failure: StoreFailure
        do throws(StoreFailure) {
            collector.finishHeader()
            if let reply = try await refusal(envelope, collector) {
                collector.abandon()
                return reply
            }
            let body = try await collector.finish()
            let refusal = try await service.backend.deliver(
                Delivery(
                    id: messageID, session: id, sender: envelope.from,
                    recipients: envelope.recipients, body: body, terms: terms(envelope),
                    recipientTerms: envelope.recipientTerms), self)
            let took = (service.context.now - began).seconds
            if let refusal {
                service.metrics.deliverySeconds.observe(took, ["failure"])
                return refuse(refusal, "policy", envelope)
            }
            service.metrics.deliverySeconds.observe(took, ["success"])
            logAccepted(messageID, envelope, collector, took: took)
            return .accepted(messageID)
        } catch {
            failure = error
        }
        collector.abandon()
        service.metrics.deliverySeconds.observe(
            (service.context.now - began).seconds, ["failure"])
        let reply = SMTP.Reply.delivery(
            failure, isFullTemporary: settings.isFullTemporary,
            recipients: envelope.recipients.count)
        return refuse(reply, failure == .overQuota ? "over-quota" : "store-unavailable", envelope)
    }

    /// Why a message is not even offered to the store.
    private func refusal(
        _ envelope: Envelope, _ collector: MessageCollector
    ) async throws(StoreFailure) -> SMTP.Reply? {
        if collector.isHeaderTooLong { return refuse(.headerTooLong, "header-size", envelope) }
        if collector.scanner.hops > MessageCollector.hopLimit {
            return refuse(.loop, "loop", envelope)
        }
        guard let submission = collector.submission else { return nil }
        guard let handle else { return refuse(.tryAgain, "store-unavailable", envelope) }
        guard !submission.hasBadSender else {
            return refuse(.badAuthor, "author-syntax", envelope)
        }
        for sender in submission.senders
        where try await !service.backend.maySend(handle, as: sender) {
            return refuse(.notYourAuthor, "author-not-owned", envelope)
        }
        return nil
    }

    /// What the store is told that the sender asked for. Only who has logged in gets reports.
    private func terms(_ envelope: Envelope) -> EnvelopeTerms {
        var terms = envelope.parameters.terms
        if terms.body == .binary { terms.body = .eightBit }  // it was made into lines
        terms.mayReport =
            machine.account != nil
            && envelope.recipientTerms.contains { $0.notify?.contains(.success) ?? false }
        return terms
    }

    private func collector(_ messageID: TraceID, _ envelope: Envelope) -> MessageCollector {
        let seconds = Int64(service.context.wallMilliseconds() / 1_000)
        let account = machine.account
        let hidesClient = account != nil && !settings.smtpd.receivedHeaderIP
        var trace = TraceFields(
            clientName: hidesClient ? nil : machine.clientName,
            clientAddress: Array(connection.peer.text), hostname: settings.hostname,
            isExtended: machine.isExtended,
            isInternational: envelope.parameters.isInternational,
            isAuthenticated: account != nil,
            tlsVersion: connection.tlsDescription.map { Array($0) }, id: messageID,
            recipient: envelope.recipients.count == 1 ? envelope.recipients.first : nil,
            secondsSince1970: seconds)
        trace.priority = envelope.parameters.terms.priority
        let hostname = settings.hostname
        let from = envelope.from
        let kept = TraceFields.envelope(
            terms(envelope),
            envelope.recipients.count == 1 ? envelope.recipientTerms : [])
        let received = trace.received
        return MessageCollector(
            store: service.backend, workers: service.context.workers,
            expecting: envelope.parameters.size ?? 4_096, isSubmission: account != nil
        ) { collector in
            let header = collector.scanner
            // What we keep stands above our Received, where no sender can write.
            var front = TraceFields.returnPath(from) + kept + received
            if let account, let submission = collector.submission {
                if !header.hasDate {
                    front += Array("Date: ") + DateText.octets(seconds) + [.cr, .lf]
                }
                if !header.hasMessageID {
                    front += Array("Message-ID: <\(messageID)@") + hostname + Array(">\r\n")
                }
                if !submission.hasFrom {
                    let author: EmailAddress
                    if case .address(let sender) = from {
                        author = sender
                    } else {
                        author = account
                    }
                    front += Array("From: <") + author.quoted + Array(">\r\n")
                }
            }
            if !header.hasHeader { front += [.cr, .lf] }
            return front
        }
    }

    // MARK: Outcomes

    /// A message that was read and is not stored.
    private func refuse(
        _ reply: SMTP.Reply, _ reason: StaticString, _ envelope: Envelope
    ) -> SMTP.Reply {
        logRejected(reply, reason: reason, domain: envelope.someDomain)
        return reply
    }

    private func logAccepted(
        _ messageID: TraceID, _ envelope: Envelope, _ collector: MessageCollector, took: Double
    ) {
        messages += 1
        let size = collector.size
        var claimed = [LogField("from", envelope.from.bracketed)]
        if let name = collector.scanner.messageID { claimed.append(LogField("msgid", name)) }
        let listener = connection.listener
        var domains: [[UInt8]] = []
        for recipient in envelope.recipients where !domains.contains(recipient.domain) {
            domains.append(recipient.domain)
            service.metrics.received.increment([
                listener, String(decoding: recipient.domain, as: UTF8.self),
            ])
        }
        service.metrics.sizes.observe(Double(size), [listener])
        Log.info(
            "accepted",
            [LogField("id", messageID.description)]
                + fields(
                    [
                        LogField("size", size), LogField("rcpts", envelope.recipients.count),
                        LogField("took", Int(took * 1_000)),
                    ],
                    claimed: claimed))
    }
}

extension Envelope {
    /// The domain of the first recipient, which is ours, for the metrics.
    fileprivate var someDomain: [UInt8]? { recipients.first?.domain }
}
