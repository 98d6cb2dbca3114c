// SPDX-License-Identifier: Apache-2.0
//
// FETCH BINARY and BINARY.SIZE: decoded octets go out piece by piece. RFC 3516 §4.2, §4.3.

import Bytes
import IMAP
import MIME
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    /// RFC 3516 §4.3: before anything of the response is written.
    func refuseUnknownEncodings(
        _ command: FetchCommand, _ octets: [UInt8], _ structure: MessageStructure?
    ) throws(Failure) {
        for attribute in command.attributes {
            let part: [UInt32]
            switch attribute {
            case .binary(let fetch): part = fetch.part
            case .binarySize(let wanted): part = wanted
            default: continue
            }
            guard let structure else { throw .store(.unavailable) }
            if case .unknownEncoding = BinaryContent.find(part, in: octets.span, structure) {
                throw .no("[UNKNOWN-CTE] A part has an encoding that is not known")
            }
        }
    }

    func write(
        _ fetch: BinaryFetch, of octets: [UInt8], _ structure: MessageStructure?
    ) async throws(Failure) {
        writer.with { fetch.appendLabel(to: &$0) }
        writer.write(" ")
        guard let structure,
            case .content(let content) = BinaryContent.find(
                fetch.part, in: octets.span, structure)
        else {
            writer.write("NIL")
            return
        }
        let (total, hasNUL) = content.measure(octets.span, fetch.partial)
        let count = fetch.partial?.clamp(0..<total).count ?? total
        // NUL may be in a literal8 only; a client that asks for BINARY knows both
        if hasNUL { writer.write("~") }
        writer.literalHeader(count)
        var reader = content.reader(fetch.partial)
        while writer.with({ reader.next(octets.span, into: &$0) }) { try await drainOutput() }
    }

    func writeSize(
        _ part: [UInt32], of octets: [UInt8], _ structure: MessageStructure?
    ) throws(Failure) {
        writer.write("BINARY.SIZE")
        writer.with { Section(part: part).append(to: &$0) }
        writer.write(" ")
        guard let structure,
            case .content(let content) = BinaryContent.find(part, in: octets.span, structure)
        else {
            writer.write("0")
            return
        }
        writer.write(UInt64(content.measure(octets.span, nil).count))
    }
}
