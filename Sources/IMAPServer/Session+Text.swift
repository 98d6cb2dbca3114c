// SPDX-License-Identifier: Apache-2.0
//
// The text of one message in one FETCH response: from memory if it is small, straight from its
// file if all of it is wanted, from memory on a worker's reading otherwise. RFC 3501 §7.4.2.

import Bytes
import Glibc
import IMAP
import MIME
import Mail
import StoreClient
import Transport
import Wire

/// A large message that a client reads piece by piece; kept so that each piece is not another
/// reading of the file.
final class LargeMessage {
    let owner: Session
    let mailbox: MailboxID
    let uid: UInt32
    let octets: [UInt8]
    let structure: MessageStructure?

    init(
        owner: Session, mailbox: MailboxID, uid: UInt32, octets: [UInt8],
        structure: MessageStructure?
    ) {
        self.owner = owner
        self.mailbox = mailbox
        self.uid = uid
        self.octets = octets
        self.structure = structure
    }
}

extension Session {
    /// Longer messages are parsed on a worker.
    private static let parseHere = 64 << 10
    /// Messages from here on are kept while the client reads pieces of them.
    private static let keepFrom = 256 << 10

    func send(
        _ message: borrowing StoredMessage, _ answer: FetchAnswer, mailbox: MailboxID
    ) async throws(Failure) {
        let uid = message.uid
        let size = Int(message.size)
        switch message.body {
        case .inline(let octets):
            try await write(answer, octets, structure: nil)
        case .file(let file):
            if answer.isWholeFile {
                try await stream(file, size: size, answer)
                return
            }
            let kept = service.largeMessage
            if let kept, kept.owner === self, kept.mailbox == mailbox, kept.uid == uid {
                try await write(answer, kept.octets, structure: kept.structure)
                return
            }
            let needsStructure = answer.needsStructure
            guard let read = await load(file, size: size, parsed: needsStructure) else {
                throw .store(.unavailable)
            }
            if size >= Self.keepFrom {
                service.largeMessage = LargeMessage(
                    owner: self, mailbox: mailbox, uid: uid, octets: read.octets,
                    structure: read.structure)
            }
            try await write(answer, read.octets, structure: read.structure)
        }
    }

    /// Reads a message on a worker. Nil if the file cannot be read to its end.
    func load(
        _ file: borrowing Descriptor, size: Int, parsed: Bool
    ) async -> (octets: [UInt8], structure: MessageStructure?)? {
        let descriptor = file.rawValue
        return await service.context.workers.run {
            guard let octets = readFile(descriptor, count: size) else { return nil }
            return (octets, parsed ? MessageStructure(octets.span) : nil)
        }
    }

    // MARK: - From memory

    private func write(
        _ answer: FetchAnswer, _ octets: [UInt8], structure made: MessageStructure?
    ) async throws(Failure) {
        var structure = made
        if structure == nil, answer.needsStructure {
            structure =
                octets.count <= Self.parseHere
                ? MessageStructure(octets.span)
                : await service.context.workers.run { MessageStructure(octets.span) }
        }
        try refuseUnknownEncodings(answer.command, octets, structure)
        writer.startFetch(number: answer.number)
        for (index, attribute) in answer.attributes.enumerated() {
            if index > 0 { writer.write(" ") }
            if writer.item(attribute, of: answer.entry, keywords: answer.keywords) { continue }
            if writer.detail(attribute, answer.detail, of: answer.entry) { continue }
            switch attribute {
            case .envelope:
                writer.write("ENVELOPE ")
                writer.with { Envelope.append(header: octets.span, to: &$0) }
            case .structure(let extended):
                writer.write(extended ? "BODYSTRUCTURE " : "BODY ")
                if let structure {
                    writer.with {
                        BodyStructure.append(
                            structure, of: octets.span, form: extended ? .bodyStructure : .body,
                            to: &$0)
                    }
                }
            case .section(let fetch):
                writer.with { fetch.appendLabel(to: &$0) }
                writer.write(" ")
                write(fetch, of: octets, structure)
            case .binary(let fetch): try await write(fetch, of: octets, structure)
            case .binarySize(let part): try writeSize(part, of: octets, structure)
            default: break
            }
        }
        writer.write(")\r\n")
    }

    private func write(
        _ fetch: SectionFetch, of octets: [UInt8], _ structure: MessageStructure?
    ) {
        var content = fetch.section.resolve(in: octets.span, structure: structure)
        if let partial = fetch.partial { content = content.cut(to: partial) }
        switch content {
        case .range(let range):
            writer.literalHeader(range.count)
            writer.write(octets[range])
        case .composed(let text):
            writer.literalHeader(text.count)
            writer.write(text)
        case .missing: writer.write("NIL")
        }
    }

    // MARK: - From the file

    /// The octets go from the file to the client without being in memory.
    private func stream(
        _ file: borrowing Descriptor, size: Int, _ answer: FetchAnswer
    ) async throws(Failure) {
        writer.startFetch(number: answer.number)
        for (index, attribute) in answer.attributes.enumerated() {
            if index > 0 { writer.write(" ") }
            if writer.item(attribute, of: answer.entry, keywords: answer.keywords) { continue }
            if writer.detail(attribute, answer.detail, of: answer.entry) { continue }
            guard case .section(let fetch) = attribute else { continue }
            let range = fetch.partial?.clamp(0..<size) ?? 0..<size
            writer.with { fetch.appendLabel(to: &$0) }
            writer.write(" ")
            writer.literalHeader(range.count)
            emit()
            sentOctets += range.count
            guard !range.isEmpty else { continue }
            do throws(ConnectionError) {
                try await connection.sendFile(
                    file, offset: range.lowerBound, count: range.count, within: Self.patience)
            } catch {
                throw .connection(error)
            }
        }
        writer.write(")\r\n")
    }
}

extension FetchAnswer {
    /// What was asked, and FLAGS if this command changed them.
    var attributes: [FetchAttribute] {
        guard flagsAreNew else { return command.attributes }
        let news: [FetchAttribute] = tellsModSeq ? [.flags, .modSeq] : [.flags]
        return command.attributes + news.filter { !command.attributes.contains($0) }
    }

    /// Every item is known by the view or is the file itself.
    var isWholeFile: Bool {
        command.attributes.allSatisfy {
            switch $0 {
            case .section(let fetch): fetch.section.isWholeMessage
            case .envelope, .structure, .binary, .binarySize: false
            default: true
            }
        }
    }

    var needsStructure: Bool {
        command.attributes.contains {
            switch $0 {
            case .section(let fetch): fetch.section.needsStructure
            case .structure, .binary, .binarySize: true
            default: false
            }
        }
    }
}

/// Reads `count` octets of a file. Nil if there are fewer, or on an error.
func readFile(_ descriptor: Int32, from offset: Int = 0, count: Int) -> [UInt8]? {
    let octets = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        while filled < count {
            let read = unsafe pread(
                descriptor, buffer.baseAddress?.advanced(by: filled), count - filled,
                offset + filled)
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { break }
            filled += read
        }
    }
    return octets.count == count ? octets : nil
}
