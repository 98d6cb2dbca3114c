// SPDX-License-Identifier: Apache-2.0
//
// CATENATE: parts of messages that are here already. RFC 4469, RFC 5550 §3.1 (URL-PARTIAL).

import Bytes
import Glibc
import IMAP
import MIME
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    /// Appends what a URL means to the message in `spool`.
    func append(_ text: [UInt8], to spool: MessageSpool) async throws(Failure) {
        guard let url = MessageURL(text), let store, isHere(url, store),
            let name = try mailbox(of: url)
        else { throw badURL(text) }
        let reader = store.read(name, uidValidity: url.uidValidity, uid: url.uid)
        guard let message = try await found(reader) else { throw badURL(text) }
        guard try await append(url, of: message, to: spool) else { throw badURL(text) }
    }

    /// - Returns: false if the message has no such part.
    private func append(
        _ url: MessageURL, of message: borrowing StoredMessage, to spool: MessageSpool
    ) async throws(Failure) -> Bool {
        let size = Int(message.size)
        switch message.body {
        case .inline(let octets):
            return try await append(url, of: octets, structure: nil, to: spool)
        case .file(let file):
            if url.section.isWholeMessage {
                let range = url.partial?.clamp(0..<size) ?? 0..<size
                try checkRoom(for: range.count, spool)
                try await copy(file, range, to: spool)
                return true
            }
            guard let read = await load(file, size: size, parsed: url.section.needsStructure)
            else { throw .store(.unavailable) }
            return try await append(url, of: read.octets, structure: read.structure, to: spool)
        }
    }

    private func found(_ reader: MessageReader) async throws(Failure) -> StoredMessage? {
        do throws(StoreFailure) {
            return try await reader.next()
        } catch {
            if error == .noSuchMailbox { return nil }
            throw .store(error)
        }
    }

    /// RFC 4469 §4: BADURL repeats the URL.
    private func badURL(_ text: [UInt8]) -> Failure {
        let shown = text.filter {
            $0 > .space && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C && $0 != 0x5D
        }
        let url = String(decoding: shown.prefix(MessageURL.limit), as: UTF8.self)
        return .no("[BADURL \"\(url)\"] Nothing is there")
    }

    /// Only this server's messages, and only the user's own.
    private func isHere(_ url: MessageURL, _ store: MailboxSession) -> Bool {
        guard let host = url.host else { return true }
        guard host == Array(service.hostname.utf8).asciiLowercased else { return false }
        return url.user.map { $0.asciiLowercased == store.account.octets.asciiLowercased } ?? true
    }

    private func mailbox(of url: MessageURL) throws(Failure) -> MailboxName? {
        if let octets = url.mailbox { return MailboxName(octets) }
        guard case .selected(_, let selection) = state else { return nil }
        return selection.name
    }

    private func append(
        _ url: MessageURL, of octets: [UInt8], structure: MessageStructure?, to spool: MessageSpool
    ) async throws(Failure) -> Bool {
        var content = url.section.resolve(in: octets.span, structure: structure)
        if let partial = url.partial { content = content.cut(to: partial) }
        var rest: ArraySlice<UInt8>
        switch content {
        case .range(let range): rest = octets[range]
        case .composed(let text): rest = text[...]
        case .missing: return false
        }
        try checkRoom(for: rest.count, spool)
        while !rest.isEmpty {
            let chunk = rest.prefix(MessageSpool.chunk)
            rest = rest.dropFirst(chunk.count)
            await spool.write(Array(chunk))
        }
        return true
    }

    /// A chunk at a time.
    private func copy(
        _ file: borrowing Descriptor, _ range: Range<Int>, to spool: MessageSpool
    ) async throws(Failure) {
        let descriptor = file.rawValue
        var start = range.lowerBound
        while start < range.upperBound {
            let (offset, count) = (start, min(MessageSpool.chunk, range.upperBound - start))
            guard
                let chunk = await service.context.workers.run({
                    readFile(descriptor, from: offset, count: count)
                })
            else { throw .store(.unavailable) }
            await spool.write(chunk)
            start += count
        }
    }
}
