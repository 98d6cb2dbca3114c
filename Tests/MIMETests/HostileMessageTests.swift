// SPDX-License-Identifier: Apache-2.0
//
// Messages made to hurt: each must be read in linear time. CVE-2020-12100 (nesting), CVE-2024-23184
// (addresses), CVE-2024-23185 (huge headers) and their like in other servers.

import Bytes
import MIME
import Testing

@Suite("hostile messages")
struct HostileMessageTests {
    /// Generous for a debug build on a busy machine; what is quadratic takes minutes.
    private static let patience = Duration.seconds(5)

    private func repeated(_ text: String, _ count: Int) -> [UInt8] {
        let octets = crlf(text)
        var all: [UInt8] = []
        all.reserveCapacity(octets.count * count)
        for _ in 0..<count { all.append(contentsOf: octets) }
        return all
    }

    /// Parses `message` and does with every header what FETCH and SEARCH would do.
    private func chew(_ message: [UInt8]) -> MessageStructure {
        let structure = MessageStructure(message.span)
        for part in structure.parts {
            let fields = ContentFields(message.span, header: part.header)
            for body in [fields.type, fields.disposition] {
                if let body, let field = ParameterizedField(message.span, body) {
                    #expect(Parameter.all(message.span, field.parameters).count <= 500)
                }
            }
        }
        var list = AddressList()
        var decoded: [UInt8] = []
        var reader = HeaderReader(structure.parts[0].header)
        while let field = reader.next(message.span) {
            list.removeAll()
            list.append(message.span, field.body)
            decoded.removeAll()
            HeaderText.append(message.span, field.body, to: &decoded)
            _ = MessageDate(message.span, field.body)
        }
        _ = HeaderSummary(header: message.span)
        return structure
    }

    private func chew(_ message: [UInt8], parts: Int) {
        var count = 0
        let took = ContinuousClock().measure { count = chew(message).parts.count }
        #expect(took < Self.patience)
        #expect(count == parts)
    }

    @Test func `a thousand nested multiparts`() {
        var message: [UInt8] = []
        for level in 0..<1_000 {
            message += crlf("Content-Type: multipart/mixed; boundary=b\(level)\n\n--b\(level)\n")
        }
        chew(message, parts: 65)
    }

    @Test func `ten thousand nested messages`() {
        chew(repeated("Content-Type: message/rfc822\n\n", 10_000), parts: 65)
    }

    @Test func `a hundred thousand parts`() {
        chew(
            crlf("Content-Type: multipart/mixed; boundary=a\n\n") + repeated("--a\n\n\n", 100_000),
            parts: 10_000)
    }

    @Test func `64 boundaries with one long beginning, and lines that nearly match`() {
        let long = String(repeating: "b", count: 60)
        var message: [UInt8] = []
        for level in 0..<63 {
            let boundary = long + (level < 10 ? "0" : "") + "\(level)"
            message += crlf(
                "Content-Type: multipart/mixed; boundary=\(boundary)\n\n--\(boundary)\n")
        }
        chew(message + crlf("\n") + repeated("--\(long)xx\n", 5_000), parts: 64)
    }

    @Test func `every message inside claims the boundary outside`() {
        let message =
            crlf("Content-Type: multipart/mixed; boundary=a\n\n")
            + repeated("--a\nContent-Type: multipart/mixed; boundary=a\n\n", 20_000)
        chew(message, parts: 10_000)
    }

    @Test func `one header line of two megabytes`() {
        chew(crlf("Subject: ") + [UInt8](repeating: 0x78, count: 2_000_000), parts: 1)
    }

    @Test func `fifty thousand References in one field and one by one`() {
        chew(crlf("References:") + repeated("\n <a@b>", 50_000) + crlf("\n\n"), parts: 1)
        chew(repeated("References: <a@b>\n", 50_000) + crlf("\n"), parts: 1)
    }

    @Test(arguments: [
        "(", ")", "((", "<@(,", "<a@b (, ", "a@b (", "<@a,", "\"", "\\", "a:", ";", "@", "<", "<@",
        "a (b) ", "[", "a.", "=?a?q?", "=?", "?=", "=?a?q?b?= ", ",", "a@[", "1 Jan ", "a@b c",
    ])
    func `a field that repeats one piece`(_ piece: String) {
        let count = 100_000 / piece.utf8.count
        chew(crlf("From: ") + repeated(piece, count) + crlf(" x\n\n"), parts: 1)
    }

    @Test func `comments nested a hundred thousand deep`() {
        chew(
            crlf("From: ") + repeated("(", 100_000) + repeated(")", 100_000) + crlf("a@b\n\n"),
            parts: 1)
    }

    @Test(arguments: [
        "; x*0=a", "; x*0*=a''%41", "; x*999=a", "; *=", "; ", ";a(", ";\"", "; x=\"", "; a b c",
        "; x*1*=%", "=;", "; x**0=", "/", " ",
    ])
    func `parameters that repeat one piece`(_ piece: String) {
        let count = 100_000 / piece.utf8.count
        chew(
            crlf("Content-Type: a/b") + repeated(piece, count) + crlf("\nContent-Disposition: a")
                + repeated(piece, count) + crlf("\n\n"), parts: 1)
    }

    @Test func `noise of MIME pieces never traps`() {
        let pieces = [
            "Content-Type: ", "multipart/mixed; ", "boundary=a", "boundary=\"ab\"", "\r\n",
            "\r\n\r\n",
            "--a", "--ab", "--", "message/rfc822", "\n", "\r", "text/plain", ";", "=", "*0*=",
            "%41",
            "\"", "(", ")", "From: ", "<", ">", "@", ",", ":", "=?utf-8?q?", "?=", " ", "\u{E4}",
            "Date: 1 Jan 2024 10:00", "Content-Transfer-Encoding: base64", "multipart/digest; ",
        ].map { Array($0.utf8) }
        var noise = Noise(42)
        for _ in 0..<3_000 {
            var message: [UInt8] = []
            for _ in 0..<(noise.next() % 40) {
                message += pieces[Int(noise.next() % UInt64(pieces.count))]
            }
            let structure = chew(message)
            #expect(structure.parts.allSatisfy { $0.body.upperBound <= message.count })
        }
    }
}
