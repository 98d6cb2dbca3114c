// SPDX-License-Identifier: Apache-2.0
//
// BINARYMIME made into lines: every cut of the input gives the same, and what was binary comes back
// octet for octet.

import Bytes
import MIME
import Testing

private func recoded(
    _ message: [UInt8], cuts: Int = .max
) -> (octets: [UInt8], fault: BinaryRecoder.Fault?) {
    var recoder = BinaryRecoder()
    var output: [UInt8] = []
    var start = 0
    while start < message.count {
        let end = min(message.count, start + min(cuts, message.count))
        recoder.recode(message.span.extracting(start..<end), into: &output)
        start = end
    }
    recoder.finish(into: &output)
    return (output, recoder.fault)
}

private let octets = [UInt8](0...255) + Array("\r\n--b\r\n.\r\n--bx\r\n") + [0, 13, 10, 10, 13]

@Suite("BINARYMIME, RFC 3030 §3")
struct BinaryRecoderTests {
    private func multipart(_ binary: [UInt8]) -> [UInt8] {
        crlf(
            """
            Subject: x
            MIME-Version: 1.0
            Content-Type: multipart/mixed; boundary="bnd"
            Content-Transfer-Encoding: binary

            preamble
            --bnd
            Content-Type: text/plain

            hello
            --bnd
            Content-Type: application/octet-stream
            content-transfer-encoding: (so it is) BINARY


            """) + binary + crlf("\n--bnd--  \nend\n")
    }

    @Test func `a binary part becomes base64 and nothing else changes`() throws {
        let result = recoded(multipart(octets))
        #expect(result.fault == nil)
        let message = result.octets
        let structure = MessageStructure(message.span)
        #expect(structure.parts.count == 3)
        let part = try #require(structure.parts.last)
        #expect(part.encoding == .base64)
        var decoder = TransferDecoder(.base64)
        var decoded: [UInt8] = []
        decoder.decode(message.span.extracting(part.body), into: &decoded)
        decoder.finish(into: &decoded)
        #expect(decoded == octets)
        #expect(text(message).contains("Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n"))
        #expect(text(message).contains("content-transfer-encoding: (so it is) base64\r\n\r\n"))
        #expect(text(message).hasSuffix("\r\n--bnd--  \r\nend\r\n"))
        #expect(text(message).contains("\r\n\r\nhello\r\n--bnd\r\n"))
    }

    @Test(arguments: [1, 2, 3, 5, 7, 64, 100])
    func `any cut gives the same`(cuts: Int) {
        for binary in [octets, [], [13], [13, 10], Array("--bnd"), Array("\r\n--bn")] {
            let message = multipart(binary)
            #expect(recoded(message, cuts: cuts).octets == recoded(message).octets)
        }
    }

    @Test(arguments: [0, 1, 56, 57, 58, 114, 1_000, 100_000])
    func `a message that is one binary body is kept to the octet`(size: Int) throws {
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let message =
            crlf("Content-Type: image/png\nContent-Transfer-Encoding: binary\n\n") + body
        let result = recoded(message, cuts: 4_096)
        #expect(result.fault == nil)
        let structure = MessageStructure(result.octets.span)
        let part = try #require(structure.parts.first)
        var decoder = TransferDecoder(part.encoding)
        var decoded: [UInt8] = []
        decoder.decode(result.octets.span.extracting(part.body), into: &decoded)
        decoder.finish(into: &decoded)
        #expect(decoded == body)
        let lines = text(result.octets).split(separator: "\r\n")
        #expect(lines.allSatisfy { $0.utf8.count <= 76 })
    }

    @Test func `a binary part inside a message inside a multipart is found`() {
        let inner = multipart(octets)
        let message =
            crlf(
                """
                Content-Type: multipart/mixed; boundary=outer

                --outer
                Content-Type: message/rfc822
                Content-Transfer-Encoding: binary


                """) + inner + crlf("\n--outer--\n")
        let result = recoded(message)
        #expect(result.fault == nil)
        #expect(MessageStructure(result.octets.span).parts.count == 5)
        #expect(text(result.octets).contains("(so it is) base64"))
    }

    @Test(arguments: [
        "Subject: x\r\n\r\na\nb\r\n", "Subject: x\r\n\r\na\0b\r\n", "Subject: x\n\nabc",
        "Sub\0ject: x\r\n\r\nabc", "Subject: x\r\n\r\nabc\r", "a\rb: c\r\n\r\n",
        "Content-Transfer-Encoding: 8bit\r\n\r\nx\ry\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\ny\r\n--b--\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b \r \r\n\r\nx\r\n--b--\r\n",
    ])
    func `what was not declared binary must be lines`(message: String) {
        #expect(recoded(Array(message)).fault == .notText)
    }

    @Test func `a header without end and endless nesting are refused`() {
        let endless = Array("Subject: x\r\n") + [UInt8](repeating: 0x61, count: 300_000)
        #expect(recoded(endless, cuts: 10_000).fault == .tooComplex)
        var nested: [UInt8] = []
        for level in 0..<100 {
            nested += Array(
                "Content-Type: multipart/mixed; boundary=b\(level)\r\n\r\n--b\(level)\r\n")
        }
        #expect(recoded(nested).fault == .tooComplex)
    }

    @Test func `whatever comes out is lines or there is a fault`() {
        var generator = SystemRandomNumberGenerator()
        let pieces = [
            "\r\n", "\r", "\n", "--b", "--b--", "--c", "\0", "x", "Content-Type: ",
            "multipart/mixed; boundary=b", "multipart/x; boundary=\"c\"", "message/rfc822",
            "Content-Transfer-Encoding: binary\r\n", "\r\n\r\n", " ", "\r\n--b\r\n",
        ].map { Array($0) }
        for _ in 0..<3_000 {
            var message: [UInt8] = []
            for _ in 0..<Int.random(in: 1...30, using: &generator) {
                message += pieces.randomElement(using: &generator) ?? []
            }
            let result = recoded(message, cuts: Int.random(in: 1...9, using: &generator))
            guard result.fault == nil else { continue }
            #expect(!result.octets.contains(0))
            var before: UInt8 = 0
            for octet in result.octets + [0] {
                #expect((before == .cr) == (octet == .lf), "\(message)")
                before = octet
            }
        }
    }
}
