// SPDX-License-Identifier: Apache-2.0

import Bytes
import IMAP
import MIME
import Testing

@Suite("BODY and BODYSTRUCTURE, RFC 3501 section 7.4.2")
struct BodyStructureTests {
    private func structure(_ message: String, _ form: BodyStructure.Form) -> String {
        let octets = mailOctets(message)
        var output: [UInt8] = []
        BodyStructure.append(
            MessageStructure(octets.span), of: octets.span, form: form, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    /// RFC 3501 §8: `BODY ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)`.
    @Test func `the single part of the RFC's example`() {
        var message = """
            MIME-Version: 1.0
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII
            Content-Transfer-Encoding: 7BIT


            """
        for _ in 0..<91 { message += String(repeating: "x", count: 31) + "\n" }
        message += String(repeating: "y", count: 23) + "\n"
        #expect(
            structure(message, .body)
                == "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92)")
        #expect(
            structure(message, .bodyStructure)
                == "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92 "
                + "NIL NIL NIL NIL)")
    }

    /// The two-part example of RFC 3501 §7.4.2 (BODYSTRUCTURE), with its 1152 and 4554 octets.
    @Test func `the text and attachment of the RFC's example`() {
        var message = """
            Content-Type: MULTIPART/MIXED; BOUNDARY=b

            --b
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII
            Content-Transfer-Encoding: 7BIT


            """
        for _ in 0..<22 { message += String(repeating: "x", count: 48) + "\n" }
        message += String(repeating: "y", count: 50) + "\n\n--b\n"
        message += """
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME="cc.diff"
            Content-ID: <960723163407.20117h@cac.washington.edu>
            Content-Description: Compiler diff
            Content-Transfer-Encoding: BASE64


            """
        for _ in 0..<72 { message += String(repeating: "x", count: 60) + "\n" }
        message += String(repeating: "y", count: 88) + "\n\n--b--\n"
        #expect(
            structure(message, .body)
                == "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 23)"
                + "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") "
                + "\"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" "
                + "\"BASE64\" 4554 73) \"MIXED\")")
    }

    @Test func `extension data has its places`() {
        #expect(
            structure(
                """
                Content-Type: multipart/mixed; boundary=b; x=y
                Content-Disposition: inline
                Content-Language: en
                Content-Location: http://example.org/

                --b
                Content-Type: image/png; name="a b.png"
                Content-ID: <1@x>
                Content-Transfer-Encoding: base64
                Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
                Content-Disposition: attachment; filename="a b.png"; size=3
                Content-Language: en, de (German)

                Zm9v
                --b--
                """, .bodyStructure)
                == "((\"image\" \"png\" (\"name\" \"a b.png\") \"<1@x>\" NIL \"base64\" 4 "
                + "\"Q2hlY2sgSW50ZWdyaXR5IQ==\" "
                + "(\"attachment\" (\"filename\" \"a b.png\" \"size\" \"3\")) (\"en\" \"de\") NIL)"
                + " \"mixed\" (\"boundary\" \"b\" \"x\" \"y\") (\"inline\" NIL) \"en\" "
                + "\"http://example.org/\")")
    }

    @Test func `a message inside brings envelope, body and lines`() {
        let message = """
            Content-Type: message/rfc822

            Subject: inner
            From: a@b

            one
            two

            """
        let envelope =
            "(NIL \"inner\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
            + "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)"
        let text = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2"
        #expect(
            structure(message, .body)
                == "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 39 \(envelope) \(text)) 5)")
        #expect(
            structure(message, .bodyStructure)
                == "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 39 \(envelope) "
                + "\(text) NIL NIL NIL NIL) 5 NIL NIL NIL NIL)")
    }

    @Test func `parts of a digest are messages`() {
        #expect(
            structure(
                "Content-Type: multipart/digest; boundary=b\n\n--b\n\nX: y\n\nz\n--b--\n", .body)
                == "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 9 "
                + "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
                + "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2) \"digest\")"
        )
    }

    @Test func `a multipart without parts shows an empty one`() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\nnothing\n"
        let text = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0"
        #expect(structure(message, .body) == "(\(text)) \"mixed\")")
        #expect(
            structure(message, .bodyStructure)
                == "(\(text) NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)")
    }

    @Test(arguments: ["Content-Type: multipart/mixed", "Content-Type: text", "X: y"])
    func `without a usable type it is plain text`(_ field: String) {
        #expect(
            structure(field + "\n\nx\n", .body)
                == "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1)")
    }

    @Test func `parameters in pieces are joined and charsets stay encoded`() {
        #expect(
            structure(
                "Content-Type: a/b; n*0=x; n*1=\"y\\\"z\"; m*0*=utf-8''%C3; m*1*=%A4\n\n", .body)
                == "(\"a\" \"b\" (\"n\" \"xy\\\"z\" \"m*\" \"utf-8''%C3%A4\") NIL NIL \"7bit\" 0)")
    }

    @Test func `8-bit octets travel in literals`() {
        #expect(
            structure("Content-Type: a/b; n=\"\u{E4}\"\nContent-Description: \u{E4}\n\n", .body)
                == "(\"a\" \"b\" (\"n\" {2}\r\n\u{E4}) NIL {2}\r\n\u{E4} \"7bit\" 0)")
    }

    @Test func `what is nested too deep is an attachment`() {
        var message = ""
        for level in 0..<70 {
            message += "Content-Type: multipart/mixed; boundary=b\(level)\n\n--b\(level)\n"
        }
        let octets = mailOctets(message).count
        let header = "Content-Type: multipart/mixed; boundary=b00\r\n\r\n--b00\r\n".utf8.count
        #expect(
            structure(message, .body)
                == String(repeating: "(", count: 64)
                + "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" "
                + "\(octets - (header * 65 - 20) + 7))"
                + String(repeating: " \"mixed\")", count: 64))
    }
}
