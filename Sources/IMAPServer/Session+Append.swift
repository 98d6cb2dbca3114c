// SPDX-License-Identifier: Apache-2.0
//
// APPEND and REPLACE: messages from the client, or made of parts that are here already, to the
// store. RFC 3501 §6.3.11, RFC 4315 §3, RFC 3502, RFC 4469, RFC 3516 §4.4, RFC 6855 §4, RFC 8508.

import Bytes
import Config
import IMAP
import MIME
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// Octets of all messages of one command, as a multiple of what one may have.
    private static let groupFactor = 4

    func append(_ command: AppendCommand) async throws(Failure) {
        var reader = AppendReader(
            command.rest, allowsUTF8: writer.isUTF8, disabled: disabled)
        let target: AppendTarget
        do throws(Failure) {
            target = try await appendTarget(command, reader)
        } catch {
            try await skipRest(of: reader, after: error)
            throw error
        }
        let spool = MessageSpool(target.store, service.context)
        do throws(Failure) {
            try await read(into: spool, &reader)
        } catch {
            spool.discard()
            try await skipRest(of: reader, after: error)
            throw error
        }
        if let failure = spool.failure {
            spool.discard()
            throw .store(failure)
        }
        try await store(spool, command, target)
    }

    /// Where the messages go, and what for.
    private struct AppendTarget {
        var store: MailboxSession
        var name: MailboxName
        var replaced: ReplacedMessage?
    }

    private func appendTarget(
        _ command: AppendCommand, _ reader: AppendReader
    ) async throws(Failure) -> AppendTarget {
        let store = try requireLogin()
        if command.replaced != nil, disabled.contains(.replace) { throw .bad("Unknown command") }
        var target = AppendTarget(store: store, name: try appendName(command.mailbox))
        if let replaced = command.replaced {
            let (_, selection) = try requireSelection()
            guard !selection.isReadOnly else { throw .no("[READ-ONLY] Mailbox is read-only") }
            // Numbers are those that the client knows: nothing may move before they are resolved
            let set = SequenceSet([UIDRange(replaced.number, replaced.number)])
            guard let uid = try uids(set, byUID: replaced.byUID, in: selection).first else {
                throw .no("[EXPUNGEISSUED] No such message")
            }
            target.replaced = ReplacedMessage(mailbox: selection.view.id, uid: uid)
        }
        if let literal = CommandAssembler.literal(atEndOf: reader.line), literal.waits,
            (literal.count ?? 0) > MessageSpool.chunk
        {
            // Better now than after megabytes
            do throws(StoreFailure) {
                _ = try await store.status(target.name)
            } catch {
                throw appendFailure(error)
            }
        }
        return target
    }

    private func appendName(_ wire: [UInt8]) throws(Failure) -> MailboxName {
        do throws(Failure) {
            return try mailboxName(wire)
        } catch {
            throw .no("[TRYCREATE] Not a name")
        }
    }

    private func appendFailure(_ failure: StoreFailure) -> Failure {
        failure == .noSuchMailbox ? .no("[TRYCREATE] No such mailbox") : .store(failure)
    }

    /// The client sends what it announced without waiting, whatever became of the command.
    private func skipRest(of reader: AppendReader, after failure: Failure) async throws(Failure) {
        switch failure {
        case .connection, .over: return
        case .store, .no, .bad: break
        }
        guard let literal = CommandAssembler.literal(atEndOf: reader.line), !literal.waits else {
            return
        }
        try await reading { () async throws(End) in try await skip(literal.count ?? .max) }
    }

    // MARK: - Reading

    /// Reads the whole command. When it throws, the literal at the end of `reader.line`, if any,
    /// was not read.
    private func read(
        into spool: MessageSpool, _ reader: inout AppendReader
    ) async throws(Failure) {
        while true {
            switch try step(&reader) {
            case .begin(let flags, let date):
                guard spool.messages.count < WireLimit.groupedMessages else {
                    throw .no("[LIMIT] Too many messages in one command")
                }
                spool.begin(flags, date)
            case .literal(let literal, let isBinary):
                try checkRoom(for: literal.count, spool)
                if literal.isSynchronizing { connection.write("+ Ready for the message\r\n") }
                var fault: Failure?
                if isBinary {
                    fault = try await readBinary(literal.count, into: spool)
                } else {
                    try await readText(literal.count, into: spool)
                }
                reader.add(line: try await appendLine())
                if let fault { throw fault }
            case .urlLiteral(let literal):
                guard literal.count <= MessageURL.limit else {
                    throw .no("[TOOBIG] URL is too long")
                }
                if literal.isSynchronizing { connection.write("+ OK\r\n") }
                reader.add(
                    url: try await reading { () async throws(End) in
                        try await read(exactly: literal.count)
                    })
                reader.add(line: try await appendLine())
            case .url(let url): try await append(url, to: spool)
            case .end:
                guard spool.messageCount > 0 else { throw .no("[CANNOT] Message is empty") }
                spool.end()
            case .done: return
            }
        }
    }

    private func step(_ reader: inout AppendReader) throws(Failure) -> AppendReader.Step {
        do throws(CommandError) {
            return try reader.next()
        } catch {
            throw .bad(Failure.text(error))
        }
    }

    /// RFC 4469 §4: TOOBIG.
    func checkRoom(for count: Int, _ spool: MessageSpool) throws(Failure) {
        let limit = service.maxMessageSize
        guard count <= limit, spool.messageCount + count <= limit else {
            throw .no("[TOOBIG] Message is too long")
        }
        guard spool.count + count <= limit * Self.groupFactor else {
            throw .no("[LIMIT] Too much in one command")
        }
    }

    private func appendLine() async throws(Failure) -> [UInt8] {
        try await reading { () async throws(End) in
            switch try await readLine(limit: Self.commandLimit) {
            case .line: break
            case .tooLong, .bareLineFeed: throw .tooLong
            case .closed: throw .closed
            case .draining: throw .draining
            }
            return connection.withLine { [UInt8](copying: $0) }
        }
    }

    private func readText(_ count: Int, into spool: MessageSpool) async throws(Failure) {
        var left = count
        while left > 0 {
            let part = min(left, MessageSpool.chunk)
            var chunk: [UInt8] = []
            try await reading { () async throws(End) in
                try await receive(part) { spool.append($0, to: &chunk) }
            }
            left -= part
            await spool.write(chunk)
        }
    }

    /// RFC 3516 §4.4: parts that are binary become base64, so that every client can read them.
    ///
    /// - Returns: why the message cannot be kept.
    private func readBinary(
        _ count: Int, into spool: MessageSpool
    ) async throws(Failure) -> Failure? {
        var recoder = BinaryRecoder()
        var left = count
        while left > 0 {
            let part = min(left, MessageSpool.chunk)
            var chunk: [UInt8] = []
            try await reading { () async throws(End) in
                try await receive(part) { recoder.recode($0, into: &chunk) }
            }
            left -= part
            await spool.write(chunk)
        }
        var rest: [UInt8] = []
        recoder.finish(into: &rest)
        await spool.write(rest)
        switch recoder.fault {
        case nil: return nil
        case .notText: return .no("[UNKNOWN-CTE] NUL or a lone CR or LF in what is not binary")
        case .tooComplex: return .no("[LIMIT] Message is too complex")
        }
    }

    /// Hands `count` octets of input to `body`, piece by piece.
    private func receive(_ count: Int, _ body: (Span<UInt8>) -> Void) async throws(End) {
        var left = count
        while left > 0 {
            if connection.buffered == 0 { try await fill() }
            let part = min(left, connection.buffered)
            connection.withInput { body($0.extracting(0..<part)) }
            connection.consume(part)
            inputPosition += part
            left -= part
        }
    }

    private func fill() async throws(End) {
        let more: Bool
        do throws(ConnectionError) {
            more = try await connection.fill(within: service.settings.idleTimeout)
        } catch {
            throw End(error)
        }
        guard more else { throw .closed }
    }

    // MARK: - Storing

    private func store(
        _ spool: MessageSpool, _ command: AppendCommand, _ target: AppendTarget
    ) async throws(Failure) {
        let (store, name) = (target.store, target.name)
        let messages = spool.messages
        let body = spool.takeBody()
        let uidValidity: UInt32
        var uids: [UInt32] = []
        do throws(StoreFailure) {
            if messages.count == 1, target.replaced == nil {
                let appended = try await store.append(
                    name, flags: messages[0].flags, date: messages[0].date, body: body)
                (uidValidity, uids) = (appended.uidValidity, [appended.uid])
            } else {
                let appended = try await store.append(
                    name, messages, body, replacing: target.replaced)
                (uidValidity, uids) = (appended.uidValidity, appended.uids)
            }
        } catch {
            if error == .badStage, target.replaced != nil {
                throw .no("[EXPUNGEISSUED] The message is gone")
            }
            throw appendFailure(error)
        }
        service.metrics.messagesAppended.increment(by: UInt64(uids.count))
        viewIsBehind()
        if target.replaced != nil {
            // RFC 8508 §4: told before the old one is seen to go
            writer.write("* OK ")
            writeAppended(uidValidity, uids)
            writer.write("Replacement is here\r\n")
            try await synchronize(expunges: true)
            writer.line(command.tag, "OK REPLACE completed")
            return
        }
        if case .selected(_, let selection) = state, selection.name == name {
            try await synchronize(expunges: true)
        }
        writer.write(command.tag)
        writer.write(" OK ")
        writeAppended(uidValidity, uids)
        writer.write("APPEND completed\r\n")
    }

    private func writeAppended(_ uidValidity: UInt32, _ uids: [UInt32]) {
        writer.write("[APPENDUID ")
        writer.write(uidValidity)
        writer.write(" ")
        writer.with { SequenceSet.append(inOrder: uids, to: &$0) }
        writer.write("] ")
    }
}
