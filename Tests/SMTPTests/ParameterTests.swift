// SPDX-License-Identifier: Apache-2.0
//
// The parameters of MAIL and RCPT, one table for each RFC.

import Bytes
import Mail
import SMTP
import Testing

private func terms(_ parameters: String) throws -> EnvelopeTerms {
    guard case .mail(_, let found) = try parse("MAIL FROM:<a@b.test> " + parameters) else {
        throw CommandError.unrecognized
    }
    return found.terms
}

private func recipientTerms(_ parameters: String) throws -> RecipientTerms {
    guard case .rcpt(_, let found) = try parse("RCPT TO:<a@b.test> " + parameters) else {
        throw CommandError.unrecognized
    }
    return found.terms
}

private func written(_ parameters: [[UInt8]]) -> String {
    String(decoding: Array(parameters.joined(separator: [.space])), as: UTF8.self)
}

@Suite("Parameters of MAIL and RCPT")
struct ParameterTests {
    @Test(arguments: [
        // RFC 3461 §4.3, §4.4
        "RET=FULL", "RET=HDRS", "ENVID=QQ314159", "ENVID=a+2Bb+3Dc+20d",
        // RFC 6152, RFC 6531, RFC 8689
        "BODY=8BITMIME", "BODY=BINARYMIME", "SMTPUTF8", "REQUIRETLS",
        // RFC 6710 §8
        "MT-PRIORITY=0", "MT-PRIORITY=9", "MT-PRIORITY=-9",
        // RFC 2852 §4
        "BY=120;R", "BY=-5;N", "BY=0;NT", "BY=999999999;RT",
        "RET=FULL ENVID=x BODY=8BITMIME SMTPUTF8 REQUIRETLS MT-PRIORITY=-1 BY=1;N",
    ])
    func `parameters of MAIL come back as they were`(parameters: String) throws {
        #expect(written(try terms(parameters).parameters) == parameters)
        let lowered = parameters.replacing(" ", with: "  ").lowercased()
        #expect(try terms(lowered).parameters.count == terms(parameters).parameters.count)
    }

    @Test(arguments: [
        // RFC 3461 §4.1, §4.2
        "NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=SUCCESS,FAILURE,DELAY",
        "ORCPT=rfc822;Bob@Example.Test", "NOTIFY=FAILURE ORCPT=rfc822;a+2Bb@c.test",
        // RFC 6533 §3
        "ORCPT=utf-8;jos\u{e9}@b.test", "ORCPT=x400;/G=Bob/S=Smith/",
    ])
    func `parameters of RCPT come back as they were`(parameters: String) throws {
        let shown = parameters.replacing("/G=", with: "/G+3D").replacing("/S=", with: "/S+3D")
        #expect(written(try recipientTerms(shown).parameters) == shown)
    }

    @Test func `values are decoded`() throws {
        #expect(try terms("ENVID=a+2Bb+20c").envelopeID == Array("a+b c"))
        let terms = try recipientTerms("NOTIFY=delay,Success ORCPT=rfc822;a+2Bb+40c")
        #expect(terms.notify == [.delay, .success])
        #expect(terms.original == OriginalRecipient(type: Array("rfc822"), address: Array("a+b@c")))
        #expect(try recipientTerms("NOTIFY=NEVER").notify == .some([]))
        #expect(try recipientTerms("").isPlain)
    }

    @Test(arguments: [
        "RET=BAD", "RET", "RET=", "RET=FULL RET=HDRS", "ENVID=", "ENVID", "ENVID=a+b", "ENVID=+2",
        "ENVID=a+0Ab", "ENVID=a+00", "ENVID=caf\u{e9}", "ENVID=a=b", "ENVID=a ENVID=b",
        "REQUIRETLS=1", "REQUIRETLS REQUIRETLS", "MT-PRIORITY", "MT-PRIORITY=", "MT-PRIORITY=10",
        "MT-PRIORITY=-0", "MT-PRIORITY=+1", "MT-PRIORITY=-10", "MT-PRIORITY=x", "BY", "BY=", "BY=1",
        "BY=1;", "BY=;R", "BY=1;X", "BY=1;RX", "BY=1;RTT", "BY=1;R;T", "BY=0;R", "BY=-1;R",
        "BY=1234567890;N", "BY=--1;N", "BODY=BINARY", "SMTPUTF8 SMTPUTF8", "AUTH=", "AUTH",
    ])
    func `a bad value of MAIL is 501 5_5_4`(parameters: String) {
        #expect(failure("MAIL FROM:<a@b.test> " + parameters) == .badParameter)
    }

    @Test(arguments: [
        "NOTIFY", "NOTIFY=", "NOTIFY=NEVER,FAILURE", "NOTIFY=SUCCESS,NEVER", "NOTIFY=ALWAYS",
        "NOTIFY=SUCCESS,", "NOTIFY=,DELAY", "NOTIFY=NEVER NOTIFY=DELAY", "ORCPT", "ORCPT=",
        "ORCPT=a@b.test", "ORCPT=;a@b", "ORCPT=rfc822;", "ORCPT=rfc822;a+0D+0Ab", "ORCPT=rf c;a",
        "ORCPT=rfc822;a+", "ORCPT=rfc822;a+C3", "ORCPT=r_c;a", "ORCPT=rfc822;a ORCPT=rfc822;b",
    ])
    func `a bad value of RCPT is 501 5_5_4`(parameters: String) {
        let reason = failure("RCPT TO:<a@b.test> " + parameters)
        #expect(
            reason == .badParameter || parameters.contains(" c;") && reason == .unknownParameter)
    }

    @Test func `lengths are limited`() {
        func text(_ count: Int) -> String { String(repeating: "a", count: count) }
        #expect(failure("MAIL FROM:<> ENVID=" + text(100)) == nil)
        #expect(failure("MAIL FROM:<> ENVID=" + text(101)) == .badParameter)
        #expect(failure("RCPT TO:<a@b> ORCPT=rfc822;" + text(493)) == nil)
        #expect(failure("RCPT TO:<a@b> ORCPT=rfc822;" + text(494)) == .badParameter)
        #expect(failure("RCPT TO:<a@b> ORCPT=" + text(32) + ";a") == nil)
        #expect(failure("RCPT TO:<a@b> ORCPT=" + text(33) + ";a") == .badParameter)
        #expect(failure("MAIL FROM:<> " + text(16) + "=1") == .unknownParameter)
    }

    @Test(arguments: [
        "HOLDFOR=60", "HOLDUNTIL=2026-12-01T00:00:00Z", "NOTIFY=NEVER", "XVERP", "TRANSID=<1@a>",
    ])
    func `what is not offered with MAIL is 555`(parameter: String) {
        #expect(failure("MAIL FROM:<> " + parameter) == .unknownParameter)
    }
}

@Suite("xtext, RFC 3461 §4")
struct XtextTests {
    @Test func `every octet can be written and read`() {
        let all = [UInt8](0...0x7F)
        let text = Xtext.encoded(all)
        #expect(text.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3D })
        #expect(Xtext.decoded(text) == all)
    }

    @Test(arguments: ["+", "+4", "+4G", "a b", "a=b", "a\u{7f}", "a\tb"])
    func `what is not xtext is refused`(text: String) {
        #expect(Xtext.decoded(Array(text)) == nil)
    }
}

@Suite("What is kept of the envelope")
struct EnvelopeFieldTests {
    @Test func `a plain envelope leaves nothing`() throws {
        #expect(TraceFields.envelope(try terms("BODY=8BITMIME SMTPUTF8"), []) == [])
    }

    @Test func `terms stand in the message as parameters`() throws {
        let field = TraceFields.envelope(
            try terms("RET=HDRS ENVID=a+20b REQUIRETLS"),
            [try recipientTerms("NOTIFY=SUCCESS ORCPT=rfc822;Bob+2Bx@c.test")])
        #expect(
            String(decoding: field, as: UTF8.self) == """
                X-Martlet-Envelope: RET=HDRS\r
                \tENVID=a+20b\r
                \tREQUIRETLS\r
                \tNOTIFY=SUCCESS\r
                \tORCPT=rfc822;Bob+2Bx@c.test\r
                Original-Recipient: rfc822;Bob+x@c.test\r\n
                """)
    }

    @Test func `nobody learns what was asked for others`() throws {
        let bob = try recipientTerms("NOTIFY=SUCCESS ORCPT=rfc822;bob@c.test")
        #expect(TraceFields.envelope(EnvelopeTerms(), [bob, bob]) == [])
    }
}
