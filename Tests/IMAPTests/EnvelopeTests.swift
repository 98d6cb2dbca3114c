// SPDX-License-Identifier: Apache-2.0

import Bytes
import IMAP
import Testing

/// The octets of `text`, its line feeds as CRLF.
func mailOctets(_ text: String) -> [UInt8] {
    var octets: [UInt8] = []
    for octet in text.utf8 {
        if octet == .lf { octets.append(.cr) }
        octets.append(octet)
    }
    return octets
}

@Suite("ENVELOPE, RFC 3501 section 7.4.2")
struct EnvelopeTests {
    private func envelope(_ header: String) -> String {
        let octets = mailOctets(header)
        var output: [UInt8] = []
        Envelope.append(header: octets.span, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    /// The message of RFC 3501 §8, and the envelope that is shown for it there.
    @Test func `the example of the RFC`() {
        let header = """
            Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
            From: Terry Gray <gray@cac.washington.edu>
            Subject: IMAP4rev1 WG mtg summary and minutes
            To: imap@cac.washington.edu
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
            Message-Id: <B27397-0100000@cac.washington.edu>
            MIME-Version: 1.0
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII


            """
        #expect(
            envelope(header)
                == "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" "
                + "\"IMAP4rev1 WG mtg summary and minutes\" "
                + "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                + "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                + "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                + "((NIL NIL \"imap\" \"cac.washington.edu\")) "
                + "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
                + "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
                + "\"<B27397-0100000@cac.washington.edu>\")")
    }

    @Test func `nothing is NIL`() {
        #expect(envelope("\n") == "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)")
        #expect(envelope("") == "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)")
    }

    @Test func `a field that is present but empty is an empty string`() {
        #expect(
            envelope("Subject:\nFrom: \nMessage-ID: \n\n")
                == "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL \"\")")
    }

    @Test func `Sender and Reply-To stand for themselves if they have addresses`() {
        #expect(
            envelope("From: a@b\nSender: c@d\nReply-To: (none)\n\n")
                == "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) "
                + "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)")
    }

    @Test func `groups have a start and an end`() {
        #expect(
            envelope("To: g:a@b, \"c\" <d@e>;, x@y\n\n")
                == "(NIL NIL NIL NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")"
                + "(\"c\" NIL \"d\" \"e\")(NIL NIL NIL NIL)(NIL NIL \"x\" \"y\")) NIL NIL NIL NIL)")
    }

    @Test func `routes are kept, missing halves are empty and never NIL`() {
        #expect(
            envelope("To: <@a,@b:c@d>, root, <>\n\n")
                == "(NIL NIL NIL NIL NIL ((NIL \"@a,@b\" \"c\" \"d\")(NIL NIL \"root\" \"\")"
                + "(NIL NIL \"\" \"\")) NIL NIL NIL NIL)")
    }

    @Test func `8-bit octets travel in literals, quotes are escaped`() {
        #expect(
            envelope("Subject: caf\u{E9} \"x\"\nIn-Reply-To: \"a\\b\"\n\n")
                == "(NIL {9}\r\ncaf\u{E9} \"x\" NIL NIL NIL NIL NIL NIL \"\\\"a\\\\b\\\"\" NIL)")
    }

    @Test func `folds are taken out and encoded words left in`() {
        #expect(
            envelope("Subject: =?utf-8?q?a?=\n =?utf-8?q?b?=\n\n")
                == "(NIL \"=?utf-8?q?a?= =?utf-8?q?b?=\" NIL NIL NIL NIL NIL NIL NIL NIL)")
    }

    @Test func `repeated address fields add up, of other fields the first counts`() {
        #expect(
            envelope("To: a@b\nSubject: 1\nTo: c@d\nSubject: 2\n\nSubject: 3\n")
                == "(NIL \"1\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) "
                + "NIL NIL NIL NIL)")
    }

    @Test func `NUL, CR and LF never come out`() {
        var output: [UInt8] = []
        let header: [UInt8] = Array(
            "Subject: a\u{0}b\rc\r\n d\r\nTo: \"x\u{0}\r\n y\"@z\r\n\r\n".utf8)
        Envelope.append(header: header.span, to: &output)
        #expect(
            String(decoding: output, as: UTF8.self)
                == "(NIL \"abc d\" NIL NIL NIL ((NIL NIL \"x y\" \"z\")) NIL NIL NIL NIL)")
    }
}
