// SPDX-License-Identifier: Apache-2.0

import Bytes
import IMAP
import MIME
import Testing

@Suite("text keys of SEARCH, RFC 3501 section 6.4.4")
struct SearchTextTests {
    private static let message: [UInt8] =
        mailOctets(
            """
            Subject: =?iso-8859-1?Q?Gr=FC=DFe_aus?=
             =?utf-8?B?IEvDtmxu?=
            From: "Joe Q. Public" <joe@example.org>
            Received: one
            Received: two
            Date: Mon, 1 Jan 2024 23:30:00 -0500
            Content-Type: multipart/mixed; boundary=b

            preamble text
            --b
            Content-Type: text/plain; charset=koi8-r
            Content-Transfer-Encoding: base64

            8NLJ18XULCDNydIh
            --b
            Content-Type: text/html; charset=utf-8
            Content-Transfer-Encoding: quoted-printable

            <p>Stra=C3=9Fe in=
             M=C3=BCnchen</p>
            --b
            Content-Type: application/octet-stream; name=needle.bin

            attached needle
            --b
            Content-Type: message/rfc822

            Subject: =?utf-8?q?weiter=C3=84?=

            Inner TEXT
            --b
            Content-Type: text/plain; charset="iso-8859-1"


            """) + [0x63, 0x61, 0x66, 0xE9] + mailOctets("\n--b--\nepilogue text\n")

    private func inField(_ name: String, _ needle: String) -> Bool {
        SearchText(Array(needle.utf8)).isIn(
            field: Array(name.utf8), ofHeader: Self.message.span)
    }

    @Test(arguments: [
        ("subject", "grüße aus köln"), ("SUBJECT", "KÖLN"), ("from", "joe@EXAMPLE"),
        ("from", "Q. Public\" <"), ("received", "TWO"), ("Received", ""), ("subject", ""),
    ])
    func `fields are searched decoded`(_ name: String, _ needle: String) {
        #expect(inField(name, needle))
    }

    @Test(arguments: [
        ("subject", "=?"), ("to", ""), ("from", "sue"), ("received", "one\r\n"), ("", ""),
    ])
    func `what is not in the field is not found`(_ name: String, _ needle: String) {
        #expect(!inField(name, needle))
    }

    private func sentDay(_ header: [UInt8]) -> Int? { SearchText.sentDay(ofHeader: header.span) }

    private func isIn(_ message: [UInt8], _ needle: String) -> Bool {
        SearchText(Array(needle.utf8)).isInBody(of: message.span, MessageStructure(message.span))
    }

    private func isFound(_ needle: String) -> (body: Bool, text: Bool) {
        let structure = MessageStructure(Self.message.span)
        let search = SearchText(Array(needle.utf8))
        return (
            search.isInBody(of: Self.message.span, structure),
            search.isInText(of: Self.message.span, structure)
        )
    }

    @Test(arguments: [
        "привет, МИР!", "STRAßE IN MÜNCHEN",
        "inner text",
        "weiterä", "CAFÉ", "", "МИР!",
    ])
    func `bodies are searched decoded`(_ needle: String) {
        #expect(isFound(needle) == (true, true))
    }

    @Test(arguments: ["köln", "Joe Q.", "received: two", "Date: mon"])
    func `TEXT is in the header too`(_ needle: String) {
        #expect(isFound(needle) == (false, true))
    }

    @Test(arguments: [
        "8NLJ18", "=C3=9F", "attached needle", "preamble text", "epilogue text", "--b", "zebra",
        "<p>", "münchen</p>",
    ])
    func `encodings, attachments and what is between parts are not searched`(_ needle: String) {
        #expect(isFound(needle) == (false, false))
    }

    @Test func `a needle is found across the pieces in which bodies are decoded`() {
        for shift in 0..<12 {
            for encoding in ["8bit", "quoted-printable"] {
                let message = mailOctets(
                    "Content-Type: text/plain; charset=utf-8\n"
                        + "Content-Transfer-Encoding: \(encoding)\n\n"
                        + String(repeating: "x", count: 16_384 - shift) + "nädel ASCII-needle\n")
                for needle in ["NÄDEL", "ascii-needle"] {
                    #expect(isIn(message, needle))
                }
            }
        }
    }

    @Test func `UTF-16 is searched by characters`() {
        var message = mailOctets(
            "Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64\n\n")
        message += mailOctets("SADkAGwAbABvAA==\n")  // Hällo
        #expect(isIn(message, "llo"))
        #expect(isIn(message, "hÄ"))
        #expect(!isIn(message, "l\u{0}l"))
    }

    @Test func `the day of SENTON is the one that was written`() {
        #expect(sentDay(Self.message) == 19_723)
        #expect(sentDay(mailOctets("Date: never\n\n")) == nil)
        #expect(sentDay(mailOctets("X: y\n\n")) == nil)
    }
}
