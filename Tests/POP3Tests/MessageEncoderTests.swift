// SPDX-License-Identifier: Apache-2.0
//
// Dot-stuffing and TOP, whole and in pieces of every size.

import POP3
import Testing

/// Encodes `text` in pieces of `piece` octets.
private func encode(_ text: String, lines: Int? = nil, piece: Int = .max) -> String {
    let octets = Array(text.utf8)
    var encoder = MessageEncoder(lines: lines)
    var output: [UInt8] = []
    func emit(_ run: Span<UInt8>) { for index in run.indices { output.append(run[index]) } }
    var start = 0
    while start < octets.count, !encoder.isComplete {
        let end = piece < octets.count - start ? start + piece : octets.count
        encoder.encode(octets.span.extracting(start..<end), emit)
        start = end
    }
    encoder.finish(emit)
    return String(decoding: output, as: UTF8.self)
}

/// What a client does with the answer (RFC 1939 §3): lines until the dot, first dots removed.
private func decode(_ answer: String) -> String? {
    guard
        answer.utf8.elementsEqual(".\r\n".utf8)
            || answer.utf8.suffix(5).elementsEqual("\r\n.\r\n".utf8)
    else { return nil }
    var lines = answer.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).map(Array.init)
    lines.removeLast(2)
    var octets: [UInt8] = []
    for line in lines {
        guard line.last == 0x0D, line != [0x2E, 0x0D] else { return nil }
        octets += (line.first == 0x2E ? Array(line.dropFirst()) : line) + [0x0A]
    }
    return String(decoding: octets, as: UTF8.self)
}

@Suite("Messages as answers, RFC 1939 §3")
struct MessageEncoderTests {
    @Test(
        arguments: [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n.a\r\n", "...\r\n..a\r\n.\r\n"),
            ("a.b\r\n.\r\nc\r\n", "a.b\r\n..\r\nc\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("\n", "\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
            ("a\r.\r\n", "a\r.\r\n.\r\n"),
            ("\r\n\r\n", "\r\n\r\n.\r\n"),
        ])
    func `dots at line starts are doubled and the answer ends in a dot`(
        message: String, answer: String
    ) {
        for piece in [1, 2, 3, .max] { #expect(encode(message, piece: piece) == answer) }
    }

    @Test func `a client gets back exactly the message whatever the pieces`() {
        var message = ""
        for number in 0..<400 {
            message += String(repeating: ".", count: number % 5)
            message += String(repeating: "x", count: number * 7 % 300) + "\r\n"
        }
        for piece in [1, 7, 511, 512, 513, 1_000, 65_536] {
            #expect(decode(encode(message, piece: piece)) == message)
        }
    }

    @Test func `a run without changes is passed on in one piece`() {
        let octets = Array(String(repeating: "0123456789abcdef\r\n", count: 1_000).utf8)
        var encoder = MessageEncoder()
        var runs = 0
        encoder.encode(octets.span) { run in
            runs += 1
            #expect(run.count == octets.count)
        }
        #expect(runs == 1)
    }

    @Test func `no line inside an answer is a lone dot however line ends are forged`() {
        for forged in ["\n.\r\n", "\r\n.\n", "\n.\n", "\r.\r\n", "\r\r\n.\r\n", "\n\n.\n"] {
            let answer = encode("a" + forged + "DELE 1\r\n")
            for end in ["\r\n.\r\n", "\n.\r\n", "\n.\n"] {
                let inside = Array(answer.utf8.dropLast(5))
                let pattern = Array(end.utf8)
                let isFound = inside.indices.contains { inside[$0...].starts(with: pattern) }
                #expect(!isFound, "\(forged.debugDescription) gives \(end.debugDescription)")
            }
        }
    }

    private static let message = "A: 1\r\nB: 2\r\n\r\none\r\n.two\r\nthree\r\n"

    @Test(
        arguments: [
            (0, "A: 1\r\nB: 2\r\n\r\n.\r\n"),
            (1, "A: 1\r\nB: 2\r\n\r\none\r\n.\r\n"),
            (2, "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n"),
            (3, "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
            (4_294_967_295, "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
        ])
    func `TOP sends the header, the empty line and so many lines`(lines: Int, answer: String) {
        for piece in [1, 2, 5, .max] {
            #expect(encode(Self.message, lines: lines, piece: piece) == answer)
        }
    }

    @Test func `TOP of a message without a body sends the header`() {
        #expect(encode("A: 1\r\n", lines: 5) == "A: 1\r\n.\r\n")
        #expect(encode("\r\nbody\r\nmore\r\n", lines: 1) == "\r\nbody\r\n.\r\n")
    }

    @Test func `a line with only a space does not end the header for TOP`() {
        #expect(
            encode("A: 1\r\n \r\nB: 2\r\n\r\nx\r\n", lines: 0) == "A: 1\r\n \r\nB: 2\r\n\r\n.\r\n")
    }

    @Test func `TOP says when the rest need not be read`() {
        var encoder = MessageEncoder(lines: 1)
        let octets = Array(Self.message.utf8)
        var sent = 0
        encoder.encode(octets.span) { sent += $0.count }
        #expect(encoder.isComplete)
        #expect(sent < octets.count)
        encoder.encode(octets.span) { sent += $0.count }
        #expect(sent == 19)
    }
}
