// SPDX-License-Identifier: Apache-2.0
//
// APPEND: a message from the client to the store, in a frame if it is short, through a staged file
// if it is long; never all of a long one in memory. RFC 3501 §6.3.11, RFC 4315 §3.

import Bytes
import Config
import Glibc
import IMAP
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// Octets in memory at a time.
    private static let chunk = 256 << 10
    /// A message up to here fits a frame even if every line end grows; see `MessageBody.inlineLimit`.
    private static let inlineFrom = MessageBody.inlineLimit / 2

    func append(
        _ command: AppendCommand, _ literal: CommandAssembler.Literal
    ) async throws(Failure) {
        guard let store, let name = MailboxName(wire: command.mailbox), literal.count > 0 else {
            if !literal.isSynchronizing { try await skipMessage(literal.count) }
            guard store != nil else { throw .bad("Log in first") }
            throw .no(literal.count == 0 ? "[CANNOT] Message is empty" : "[TRYCREATE] Not a name")
        }
        if literal.count > Self.chunk, literal.isSynchronizing {
            // Better now than after megabytes
            do throws(StoreFailure) {
                _ = try await store.status(name)
            } catch {
                throw appendFailure(error)
            }
        }
        if literal.isSynchronizing { connection.write("+ Ready for the message\r\n") }
        let body =
            literal.count <= Self.inlineFrom
            ? try await readInline(literal.count) : try await readStaged(literal.count, store)
        guard try await endsHere() else {
            if case .staged(let token) = body { store.unstage(token) }
            throw .bad("One message per APPEND")
        }
        let appended: (uidValidity: UInt32, uid: UInt32)
        do throws(StoreFailure) {
            appended = try await store.append(
                name, flags: command.flags, date: command.date, body: body)
        } catch {
            throw appendFailure(error)
        }
        service.metrics.messagesAppended.increment()
        viewIsBehind()
        if case .selected(_, let selection) = state, selection.name == name {
            try await synchronize(expunges: true)
        }
        writer.write(command.tag)
        writer.write(" OK [APPENDUID ")
        writer.write(appended.uidValidity)
        writer.write(" ")
        writer.write(appended.uid)
        writer.write("] APPEND completed\r\n")
    }

    private func appendFailure(_ failure: StoreFailure) -> Failure {
        failure == .noSuchMailbox ? .no("[TRYCREATE] No such mailbox") : .store(failure)
    }

    private func skipMessage(_ count: Int) async throws(Failure) {
        try await reading { () async throws(End) in try await skip(count) }
    }

    /// True if nothing follows the message on its line.
    private func endsHere() async throws(Failure) -> Bool {
        try await reading { () async throws(End) in
            switch try await readLine(limit: Self.commandLimit) {
            case .line: break
            case .tooLong, .bareLineFeed: throw .tooLong
            case .closed: throw .closed
            case .draining: throw .draining
            }
            let rest = connection.withLine { [UInt8](copying: $0) }
            if rest.allSatisfy({ $0 == .space }) { return true }
            if let more = CommandAssembler.literal(atEndOf: rest), !more.waits {
                try await skip(more.count ?? .max)
            }
            return false
        }
    }

    private func readInline(_ count: Int) async throws(Failure) -> MessageBody {
        try await reading { () async throws(End) in
            var message: [UInt8] = []
            var endings = LineEndings()
            try await receive(count) { endings.append($0, to: &message) }
            return .inline(message)
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

    /// Writes the message to a file that the store lent, on a worker, a chunk at a time.
    ///
    /// A failure to write does not stop the reading: the client must be able to go on afterwards.
    private func readStaged(
        _ count: Int, _ store: MailboxSession
    ) async throws(Failure) -> MessageBody {
        let staged: StagedFile
        do throws(StoreFailure) {
            staged = try await store.stage()
        } catch {
            try await skipMessage(count)
            throw .store(error)
        }
        let token = staged.token
        let descriptor = staged.file.rawValue
        var isWritten = true
        var left = count
        var endings = LineEndings()
        do throws(Failure) {
            while left > 0 {
                let part = min(left, Self.chunk)
                var chunk: [UInt8] = []
                try await reading { () async throws(End) in
                    try await receive(part) { endings.append($0, to: &chunk) }
                }
                left -= part
                guard isWritten else { continue }
                let octets = chunk
                isWritten = await service.context.workers.run { writeAll(octets, to: descriptor) }
            }
        } catch {
            store.unstage(token)
            throw error
        }
        guard isWritten else {
            store.unstage(token)
            _ = try await endsHere()
            throw .store(.unavailable)
        }
        return .staged(token)  // the descriptor is closed here, before the store is told
    }
}

/// Writes everything. False on an error: disk full, mostly.
private func writeAll(_ octets: [UInt8], to descriptor: Int32) -> Bool {
    var done = 0
    while done < octets.count {
        let written = unsafe octets.withUnsafeBytes { buffer in
            unsafe write(
                descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
        }
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { return false }
        done += written
    }
    return true
}
