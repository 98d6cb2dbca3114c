// SPDX-License-Identifier: Apache-2.0

import Bytes
import MIME
import Testing

@Suite("header fields, RFC 5322 section 2.2")
struct HeaderTests {
    @Test func `fields are split at the colon and folds stay in the body`() {
        let header = crlf("From: a@b\nSubject: one\n two\n\tthree\nX-Empty:\n\nnot: a field\n")
        #expect(
            fields(header) == [
                ["From", " a@b"], ["Subject", " one\r\n two\r\n\tthree"], ["X-Empty", ""],
            ])
    }

    @Test func `whole covers name, folds and line end`() {
        let header = crlf("A: 1\nB: 2\n 3\nC: 4\n\n")
        var reader = HeaderReader(0..<header.count)
        var whole: [String] = []
        while let field = reader.next(header.span) { whole.append(text(header[field.whole])) }
        #expect(whole == ["A: 1\r\n", "B: 2\r\n 3\r\n", "C: 4\r\n"])
    }

    @Test func `a bare LF ends a line too`() {
        #expect(fields(Array("A: 1\nB: 2\n 3\n\nC: 4\n")) == [["A", " 1"], ["B", " 2\n 3"]])
    }

    @Test func `blanks before the colon are allowed`() {
        #expect(fields(crlf("Subject \t: x\n\n")) == [["Subject", " x"]])
    }

    @Test func `a line that is no field is passed over`() {
        let header = crlf("From joe Mon Jan 1\n >folded: x\nA: 1\nrubbish\n : no name\nB: 2\n\n")
        #expect(fields(header) == [["A", " 1"], ["B", " 2"]])
    }

    @Test(arguments: ["", "A", "A:", "A: 1", "A: 1\r", "A: 1\r\n", "A: 1\r\n ", "\r", " "])
    func `a header that is cut off anywhere is read to its end`(_ header: String) {
        let octets = Array(header.utf8)
        #expect(HeaderReader.bodyStart(octets.span, in: 0..<octets.count) == octets.count)
        #expect(fields(octets).count == (header.contains(":") ? 1 : 0))
    }

    @Test(arguments: [
        ("A: 1\r\n\r\nbody", 8), ("A: 1\n\nbody", 6), ("\r\nbody", 2), ("\nbody", 1),
        ("A: 1\r\n \r\n\r\nbody", 11), ("A\r\rB\r\n\r\n", 8), ("A: 1\n\r\nbody", 7),
    ])
    func `the body starts behind the first empty line`(_ message: String, _ start: Int) {
        let octets = Array(message.utf8)
        #expect(HeaderReader.bodyStart(octets.span, in: 0..<octets.count) == start)
    }

    @Test func `no more than 10,000 fields are seen`() {
        let header = [UInt8](repeating: 0, count: 10_500).flatMap { _ in Array("A:\r\n".utf8) }
        #expect(fields(header).count == HeaderReader.fieldLimit)
    }

    @Test func `fields that begin behind one mebibyte are not seen`() {
        let long = crlf("A: ") + [UInt8](repeating: 0x78, count: 1 << 20) + crlf("\nB: 2\n\n")
        #expect(fields(long).map { $0[0] } == ["A"])
    }

    @Test(arguments: [
        ("DATE", KnownField.date), ("to", .to), ("Cc", .cc), ("bCC", .bcc), ("From", .from),
        ("Sender", .sender), ("Subject", .subject), ("Reply-To", .replyTo),
        ("Message-ID", .messageID), ("In-Reply-To", .inReplyTo), ("Content-ID", .contentID),
        ("Content-MD5", .contentMD5), ("Content-Type", .contentType),
        ("Content-Language", .contentLanguage), ("Content-Location", .contentLocation),
        ("Content-Disposition", .contentDisposition),
        ("Content-Description", .contentDescription),
        ("content-transfer-encoding", .contentTransferEncoding),
    ])
    func `known fields are known in any case`(_ name: String, _ field: KnownField) {
        let octets = Array(name.utf8)
        #expect(KnownField(octets.span, 0..<octets.count) == field)
    }

    @Test(arguments: ["", "xx", "Fro", "Frox", "Subjects", "Reply_To", "Content-Typo"])
    func `other names are not known`(_ name: String) {
        let octets = Array(name.utf8)
        #expect(KnownField(octets.span, 0..<octets.count) == nil)
    }
}

@Suite("index summaries of headers")
struct HeaderSummaryTests {
    @Test func `texts are decoded and trimmed`() {
        let header = crlf(
            """
            From: =?iso-8859-1?q?J=F6rg?= <j@example.org>
            To: a@example.org,
             b@example.org
            Subject: =?utf-8?B?w6TDtg==?=
             =?utf-8?q?_x?=
            Message-ID: <1@example.org>
            Subject: second

            Subject: body
            """)
        let summary = HeaderSummary(header: header.span)
        #expect(text(summary.subject) == "äö x")
        #expect(text(summary.from) == "Jörg <j@example.org>")
        #expect(text(summary.to) == "a@example.org, b@example.org")
        #expect(text(summary.messageID) == "<1@example.org>")
    }

    @Test func `a long subject is cut between two characters`() {
        let header = crlf("Subject: x" + String(repeating: "ä", count: 400) + "\n\n")
        let summary = HeaderSummary(header: header.span)
        #expect(summary.subject.count == 511)
        #expect(text(summary.subject) == "x" + String(repeating: "ä", count: 255))
    }
}
