// SPDX-License-Identifier: Apache-2.0
//
// Where the messages of an APPEND are until the store gets them: in memory while they are short, then
// in one file that the store lent, one message behind the other. Never all of a long one in memory.

import Bytes
import Glibc
import IMAP
import MIME
import Mail
import StoreClient
import Transport
import Wire

/// The messages of one command. Lives on its loop.
final class MessageSpool {
    /// Octets in memory at a time.
    static let chunk = 256 << 10
    /// More in all goes to a file.
    private static let inlineLimit = MessageBody.inlineLimit

    private let store: MailboxSession
    private let context: LoopContext
    private var inline: [UInt8] = []
    private var staged: StagedFile?
    /// Of all messages.
    private(set) var count = 0
    private(set) var messages: [GroupedMessage] = []
    private var start = 0
    private var endings = LineEndings()
    private var flags = NamedFlags()
    private var date: SecondsSince1970?
    /// A failure to write does not stop the reading: the client must be able to go on afterwards.
    private(set) var failure: StoreFailure?

    init(_ store: MailboxSession, _ context: LoopContext) {
        self.store = store
        self.context = context
    }

    /// Octets of the message that is being written.
    var messageCount: Int { count - start }

    func begin(_ flags: NamedFlags, _ date: SecondsSince1970?) {
        (self.flags, self.date) = (flags, date)
        start = count
        endings = LineEndings()
    }

    func end() {
        messages.append(
            GroupedMessage(flags: flags, date: date, size: UInt32(clamping: messageCount)))
    }

    /// Octets as the client sent them: lone line feeds become line ends.
    func append(_ octets: Span<UInt8>, to chunk: inout [UInt8]) {
        endings.append(octets, to: &chunk)
    }

    func write(_ octets: [UInt8]) async {
        count += octets.count
        guard failure == nil, !octets.isEmpty else { return }
        if staged == nil, count <= Self.inlineLimit {
            inline += octets
            return
        }
        if staged == nil {
            do throws(StoreFailure) {
                staged = try await store.stage()
            } catch {
                failure = error
                return
            }
            let first = inline
            inline = []
            await writeFile(first)
        }
        await writeFile(octets)
    }

    private func writeFile(_ octets: [UInt8]) async {
        guard let descriptor = staged?.file.rawValue else { return }
        let isWritten = await context.workers.run { writeAll(octets, to: descriptor) }
        if !isWritten { failure = .unavailable }
    }

    /// The descriptor is closed here, before the store is told.
    func takeBody() -> MessageBody {
        guard let token = staged?.token else { return .inline(inline) }
        staged = nil
        return .staged(token)
    }

    /// Nothing comes of it.
    func discard() {
        if let token = staged?.token { store.unstage(token) }
        staged = nil
        inline = []
    }
}

/// Writes everything. False on an error: disk full, mostly.
private func writeAll(_ octets: [UInt8], to descriptor: Int32) -> Bool {
    var done = 0
    while done < octets.count {
        let written = unsafe octets.withUnsafeBytes { buffer in
            unsafe Glibc.write(
                descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
        }
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { return false }
        done += written
    }
    return true
}
