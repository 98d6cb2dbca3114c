// SPDX-License-Identifier: Apache-2.0
//
// The first words of messages. RFC 8970 §3.

import Bytes
import Testing

@testable import MIME

private func preview(_ message: String) -> String {
    let lines = message.replacing("\n", with: "\r\n")
    return String(decoding: MessagePreview.text(of: Array(lines.utf8).span), as: UTF8.self)
}

@Suite("previews")
struct MessagePreviewTests {
    @Test(arguments: [
        ("Subject: x\n\nHello  there,\n\n\tyou.\n", "Hello there, you."),
        ("Subject: x\n\n", ""),
        ("Subject: x\nContent-Type: image/png\n\nabc\n", ""),
        ("Subject: x\n\n> what you said\n> and more\nI agree.\n> again\n", "I agree."),
        ("Subject: x\n\n> only\n> quoted\n", "> only > quoted"),
        (
            "Content-Type: text/html; charset=utf-8\n\n<html><head><style>p{}</style></head>"
                + "<p>Gr&uuml;&szlig;e&nbsp;an <b>alle</b></p></html>\n",
            "Grüße an alle"
        ),
        (
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
                + "quoted-printable\n\nGr=FC=\n=DFe\n", "Grüße"
        ),
        (
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
                + "R3LDvMOfZQ==\n", "Grüße"
        ),
        (
            "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n"
                + "<p>rich</p>\n--b\nContent-Type: text/plain\n\npoor\n--b--\n", "poor"
        ),
        (
            "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n"
                + "\n--b\nContent-Type: text/html\n\n<p>rich</p>\n--b--\n", "rich"
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n"
                + "Content-Disposition: attachment; filename=a\n\nnot this\n--b\n\nthis\n--b--\n",
            "this"
        ),
        ("Subject: x\n\na\u{200B}\u{00AD}b\u{00A0}c\u{0007}d\n", "ab c d"),
    ])
    func `it is what a reader sees first`(_ message: String, _ expected: String) {
        #expect(preview(message) == expected)
    }

    @Test func `it has 200 characters at most, and whole ones`() {
        let text = preview("Subject: x\n\n" + String(repeating: "ä€😀", count: 500) + "\n")
        #expect(text.unicodeScalars.count == 200)
        #expect(text.hasPrefix("ä€😀ä") && !text.unicodeScalars.contains("\u{FFFD}"))
    }

    @Test func `a message cut off anywhere has one`() {
        let whole = Array(
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n"
                + "\r\nGrüße und mehr\r\n--b--\r\n").utf8)
        for count in 0...whole.count {
            let part = Array(whole[..<count])
            let text = MessagePreview.text(of: part.span)
            #expect(text.count < 64)
        }
    }
}
