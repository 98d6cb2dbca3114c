// SPDX-License-Identifier: Apache-2.0
//
// Fuzzing what imports read: mbox files and the responses of IMAP servers.

import Bytes
import Interchange
import Mail

/// One input: as an mbox file in every quoting, then as what a server says.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let octets = Array(UnsafeBufferPointer(start: pointer, count: count))
    for quoting in MboxQuoting.allCases { readFile(octets, quoting) }
    readServer(octets)
    if let name = MaildirName(octets) { _ = name.flags([Array("a"), Array("b")]) }
    _ = MaildirKeywords.parse(octets)
    return 0
}

private func readFile(_ octets: [UInt8], _ quoting: MboxQuoting) {
    var reader = MboxReader<Never>(size: Int64(octets.count), quoting: quoting, chunk: 1) {
        offset, count in
        Array(octets.dropFirst(Int(offset)).prefix(min(count, 4_100)))
    }
    var place: Int64 = 0
    while let message = reader.next() {
        guard message.start >= place, message.end > message.start,
            message.body.lowerBound >= message.start, message.body.upperBound <= message.end
        else { fatalError("messages overlap") }
        place = message.end
        reader.content(of: message) { piece in
            var last: UInt8 = 0
            for octet in piece.dropFirst() {
                if octet == 0x0A, last != 0x0D, last != 0 { fatalError("a bare LF") }
                last = octet
            }
        }
    }
}

private func readServer(_ octets: [UInt8]) {
    var assembler = ResponseAssembler()
    var rest = octets[...]
    while let end = rest.firstIndex(of: 0x0A) {
        var line = Array(rest[..<end])
        if line.last == 0x0D { line.removeLast() }
        rest = rest[(end + 1)...]
        guard let step = try? assembler.take(line: line) else { return }
        switch step {
        case .literal(let size):
            let literal = Array(rest.prefix(size))
            rest = rest.dropFirst(literal.count)
            let value: ResponseValue = size > 64 ? .spilled(size) : .text(literal)
            guard (try? assembler.take(literal: value)) != nil else { return }
        case .response(let response):
            _ = FetchedMessage(response)
            _ = ListedMailbox(response)?.name(prefix: Array("INBOX."))
            _ = ListedStatus(response)
            _ = response.personalPrefix
        }
    }
}
