// SPDX-License-Identifier: Apache-2.0
//
// RFC 5321 and its extensions, section by section: what the client says, what the server must
// answer. `>` is said with CRLF, `<` is the beginning of the next reply, `<*` is the end of the
// connection, `*` something that a reply contains.

import Bytes
import Config
import Mail
import Testing

@testable import SMTPServer

struct Dialogue: Sendable, CustomTestStringConvertible {
    var section: String
    var text: String

    init(_ section: String, _ text: String) {
        self.section = section
        self.text = text
    }

    var testDescription: String { section }
}

/// alice has logged in.
private let login = "> AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=\n< 235 2.7.0\n"
private let begun = "> EHLO c\n< 250-\n> MAIL FROM:<a@b.test>\n< 250 2.1.0\n"
private let ready = begun + "> RCPT TO:<alice@example.test>\n< 250 2.1.5\n"

private let core: [Dialogue] = [
    Dialogue(
        "2.3.5: a domain as sender's name", "> EHLO mx.example.org\n< 250-mx.example.test Hello"),
    Dialogue(
        "2.4: verbs in any case", "> ehlo c\n< 250-\n> nOoP\n< 250 2.0.0\n> Quit\n< 221 2.0.0\n<*"),
    Dialogue(
        "2.4: the local-part keeps its case, Postmaster has none",
        begun + "> RCPT TO:<Alice@example.test>\n< 550 5.1.1\n> rcpt to:<POSTMASTER>\n< 250 2.1.5"),
    Dialogue("3.1: EHLO after the greeting, again and again", "> EHLO a\n< 250-\n> EHLO b\n< 250-"),
    Dialogue(
        "3.2: HELO is enough",
        "> HELO c\n< 250 mx.example.test Hello c\n> MAIL FROM:<>\n< 250 2.1.0"),
    Dialogue(
        "3.3: a transaction", ready + "> DATA\n< 354 \n> Subject: x\n> \n> text\n> .\n< 250 2.0.0"),
    Dialogue("3.3: MAIL without brackets", "> EHLO c\n< 250-\n> MAIL FROM:a@b.test\n< 501 5.1.7"),
    Dialogue("3.3: RCPT without brackets", begun + "> RCPT TO:alice@example.test\n< 501 5.1.3"),
    Dialogue(
        "3.3: DATA without a valid recipient",
        begun + "> RCPT TO:<no@example.test>\n< 550 5.1.1\n> DATA\n< 503 5.5.1"),
    Dialogue(
        "3.5: VRFY tells nothing", "> EHLO c\n< 250-\n> VRFY alice\n< 252 2.\n> VRFY\n< 501 5.5.4"),
    Dialogue("3.5.2: EXPN is not offered", "> EHLO c\n< 250-\n> EXPN list\n< 502 5.5.1"),
    Dialogue(
        "3.6.1, C: source routes are read and ignored",
        begun + "> RCPT TO:<@x.test,@y.test:alice@example.test>\n< 250 2.1.5"),
    Dialogue(
        "3.6.2: no relaying for strangers", begun + "> RCPT TO:<x@elsewhere.test>\n< 554 5.7.1"),
    Dialogue("3.8: QUIT closes", "> QUIT\n< 221 2.0.0\n<*"),
    Dialogue("3.8: QUIT in the middle of a transaction", ready + "> QUIT\n< 221 2.0.0\n<*"),
    Dialogue("4.1.1: no arguments where none belong", "> EHLO c\n< 250-\n> RSET now\n< 501 5.5.4"),
    Dialogue("4.1.1: white space behind a command", "> EHLO c  \n< 250-\n> NOOP\t \n< 250 2.0.0"),
    Dialogue("4.1.1.1: EHLO needs a name", "> EHLO\n< 501 5.5.4\n> HELO\n< 501 5.5.4"),
    Dialogue("4.1.1.1: EHLO ends a transaction", ready + "> EHLO c\n< 250-\n> DATA\n< 503 5.5.1"),
    Dialogue("4.1.1.1: an address literal is a name", "> EHLO [127.0.0.1]\n< 250-"),
    Dialogue("4.1.1.2: MAIL inside a transaction", begun + "> MAIL FROM:<c@d.test>\n< 503 5.5.1"),
    Dialogue("4.1.1.2: the null path", "> EHLO c\n< 250-\n> MAIL FROM:<>\n< 250 2.1.0"),
    Dialogue(
        "4.1.1.3: RCPT before MAIL", "> EHLO c\n< 250-\n> RCPT TO:<alice@example.test>\n< 503 5.5.1"
    ),
    Dialogue("4.1.1.3: the null path is no recipient", begun + "> RCPT TO:<>\n< 501 5.1.3"),
    Dialogue("4.1.1.4: DATA before MAIL", "> EHLO c\n< 250-\n> DATA\n< 503 5.5.1"),
    Dialogue(
        "4.1.1.4: after DATA all is forgotten",
        ready + "> DATA\n< 354 \n> x\n> .\n< 250 2.0.0\n> DATA\n< 503 5.5.1"),
    Dialogue("4.1.1.5: RSET", ready + "> RSET\n< 250 2.0.0\n> DATA\n< 503 5.5.1"),
    Dialogue("4.1.1.5: RSET before EHLO", "> RSET\n< 250 2.0.0"),
    Dialogue("4.1.1.8: HELP in several lines", "> HELP\n< 214-2.0.0 Commands: EHLO\n"),
    Dialogue(
        "4.1.1.8: HELP about one",
        "> HELP rcpt\n< 214-2.0.0 RCPT TO:<address>\n> HELP QUIT\n< 214-2.0.0"),
    Dialogue("4.1.1.8: HELP about none", "> HELP FOO\n< 504 5.5.4\n> HELP a b\n< 504 5.5.4"),
    Dialogue("4.1.1.9: NOOP changes nothing", ready + "> NOOP x y\n< 250 2.0.0\n> DATA\n< 354 "),
    Dialogue("4.1.1.10: QUIT takes no argument", "> QUIT now\n< 501 5.5.4"),
    Dialogue(
        "4.1.2: quoted local-parts",
        begun
            + "> RCPT TO:<\"alice\"@example.test>\n< 250 2.1.5\n> RCPT TO:<\"a\"b@example.test>\n< 501 5.1.3"
    ),
    Dialogue(
        "4.1.3: address literals", "> EHLO c\n< 250-\n> MAIL FROM:<a@[192.0.2.1]>\n< 250 2.1.0"),
    Dialogue(
        "4.1.3: literals that are none",
        "> EHLO c\n< 250-\n> MAIL FROM:<a@[192.0.2.256]>\n< 501 5.1.7"),
    Dialogue(
        "4.1.4: what may stand before EHLO",
        "> NOOP\n< 250 2.0.0\n> HELP\n< 214-\n> VRFY x\n< 252 \n> MAIL FROM:<>\n< 503 5.5.1"),
    Dialogue("4.2.4: unknown commands", "> FOO\n< 500 5.5.2\n> \n< 500 5.5.2\n> TURN\n< 502 5.5.1"),
    Dialogue("4.2.4: ETRN and ATRN are not there", "> ETRN x\n< 502 5.5.1\n> ATRN x\n< 500 5.5.2"),
    Dialogue(
        "4.5.2: dots are undone", ready + "> DATA\n< 354 \n> ..x\n> ...\n> .\n< 250 2.0.0"),
    Dialogue(
        "4.5.3.1: a line of text of 5,000 octets",
        ready + "> DATA\n< 354 \n> " + String(repeating: "x", count: 5_000) + "\n> .\n< 250 2.0.0"),
    Dialogue(
        "4.5.3.1.4: a command of 510 octets, and one more",
        "> NOOP " + String(repeating: "x", count: 505) + "\n< 250 2.0.0\n> NOOP "
            + String(repeating: "x", count: 506) + "\n< 500 5.5.2"),
    Dialogue(
        "7.8: many errors end it",
        String(repeating: "> X\n< 500 5.5.2\n", count: 19) + "> X\n< 421 4.7.0\n<*"),
]

private let extensions: [Dialogue] = [
    Dialogue(
        "1870 6.1: too much declared", "> EHLO c\n< 250-\n> MAIL FROM:<> SIZE=100001\n< 552 5.3.4"),
    Dialogue(
        "1870 6.1: just enough declared",
        "> EHLO c\n< 250-\n> MAIL FROM:<> SIZE=100000\n< 250 2.1.0"),
    Dialogue(
        "1870 6.3: SIZE without a number", "> EHLO c\n< 250-\n> MAIL FROM:<> SIZE=x\n< 501 5.5.4"),
    Dialogue(
        "6152 2: 8-bit text with and without BODY",
        ready
            + "> DATA\n< 354 \n> caf\u{e9}\n> .\n< 250 2.0.0\n> MAIL FROM:<> BODY=8BITMIME\n< 250 2.1.0"
    ),
    Dialogue("6152 2: an unknown body", "> EHLO c\n< 250-\n> MAIL FROM:<> BODY=9BIT\n< 501 5.5.4"),
    Dialogue("3030 2: BDAT before RCPT", begun + "> BDAT 3\n> a\n< 503 5.5.1\n> NOOP\n< 250 2.0.0"),
    Dialogue("3030 2: BDAT 0 LAST", ready + "> BDAT 0 LAST\n< 250 2.0.0 Message accepted"),
    Dialogue(
        "3030 2: chunks, then BDAT 0 LAST",
        ready + "> BDAT 3\n> a\n< 250 2.0.0 3 octets\n> BDAT 0 LAST\n< 250 2.0.0 Message"),
    Dialogue(
        "3030 2: DATA, MAIL and RCPT between chunks",
        ready + "> BDAT 3\n> a\n< 250 \n> DATA\n< 503 5.5.1\n> MAIL FROM:<>\n< 503 5.5.1\n"
            + "> RCPT TO:<bob@example.test>\n< 503 5.5.1\n> BDAT 0 LAST\n< 250 2.0.0"),
    Dialogue(
        "3030 2: BDAT behind DATA needs a new transaction",
        ready + "> DATA\n< 354 \n> x\n> .\n< 250 2.0.0\n> BDAT 3 LAST\n> a\n< 503 5.5.1"),
    Dialogue(
        "3030 2: RSET between chunks",
        ready + "> BDAT 3\n> a\n< 250 \n> RSET\n< 250 2.0.0\n> BDAT 0 LAST\n< 503 5.5.1"),
    Dialogue(
        "3030 2: an error in the middle makes the rest fail, in step",
        ready
            + "> BDAT 7\n> a\rb\n> \n< 550 5.6.11\n> BDAT 3 LAST\n> x\n< 503 5.5.1\n> NOOP\n< 250 "),
    Dialogue(
        "3030 2: a chunk over the size", ready + "> BDAT 99999999999 LAST\n< 552 5.3.4\n<*"),
    Dialogue("3030 2: BDAT without a size cannot go on", ready + "> BDAT\n< 501 5.5.4\n<*"),
    Dialogue(
        "3030 3: BINARYMIME is for TLS only",
        "> EHLO c\n< 250-\n> MAIL FROM:<> BODY=BINARYMIME\n< 555 5.5.4"),
    Dialogue(
        "3461 4.3: RET",
        "> EHLO c\n< 250-\n> MAIL FROM:<> RET=BAD\n< 501 5.5.4\n> MAIL FROM:<> RET=HDRS\n< 250 "),
    Dialogue(
        "3461 4.4: ENVID",
        "> EHLO c\n< 250-\n> MAIL FROM:<> ENVID=+2\n< 501 5.5.4\n> MAIL FROM:<> ENVID=x+2B\n< 250 "),
    Dialogue(
        "3461 4.1: NOTIFY",
        begun + "> RCPT TO:<alice@example.test> NOTIFY=NEVER,FAILURE\n< 501 5.5.4\n"
            + "> RCPT TO:<alice@example.test> NOTIFY=NEVER\n< 250 2.1.5"),
    Dialogue(
        "3461 4.2: ORCPT",
        begun + "> RCPT TO:<alice@example.test> ORCPT=alice\n< 501 5.5.4\n"
            + "> RCPT TO:<alice@example.test> ORCPT=rfc822;a@b\n< 250 2.1.5"),
    Dialogue(
        "6531 3.4: UTF-8 needs SMTPUTF8",
        begun
            + "> RCPT TO:<jos\u{e9}@example.test>\n< 553 5.6.7\n> RCPT TO:<alice@b\u{fc}cher.test>\n< 553 5.6.7"
    ),
    Dialogue(
        "6531 3.4: with it addresses are looked up",
        "> EHLO c\n< 250-\n> MAIL FROM:<jos\u{e9}@b\u{fc}cher.test> SMTPUTF8\n< 250 2.1.0\n"
            + "> RCPT TO:<jos\u{e9}@example.test>\n< 550 5.1.1"),
    Dialogue(
        "8689 4.1: REQUIRETLS is for TLS only",
        "> EHLO c\n< 250-\n> MAIL FROM:<> REQUIRETLS\n< 530 5.7.4 REQUIRETLS needs TLS"),
    Dialogue(
        "4865: FUTURERELEASE is not offered",
        "> EHLO c\n< 250-\n> MAIL FROM:<> HOLDFOR=9\n< 555 5.5.4"),
    Dialogue(
        "2852, 6710: strangers have neither",
        "> EHLO c\n< 250-\n> MAIL FROM:<> BY=9;R\n< 555 5.5.4\n> MAIL FROM:<> MT-PRIORITY=1\n< 555 5.5.4"
    ),
    Dialogue(
        "2852 4: who logged in has both",
        "> EHLO c\n< 250-\n" + login + "> EHLO c\n< 250-\n"
            + "> MAIL FROM:<alice@example.test> BY=0;R\n< 501 5.5.4\n"
            + "> MAIL FROM:<alice@example.test> BY=60;RT MT-PRIORITY=-4\n< 250 2.1.0"),
    Dialogue("4954 4: AUTH once", "> EHLO c\n< 250-\n" + login + "> AUTH PLAIN =\n< 503 5.5.1"),
    Dialogue("4954 5: AUTH= of MAIL is read", "> EHLO c\n< 250-\n> MAIL FROM:<> AUTH=<>\n< 250 \n"),
]

@Suite("RFC 5321 and extensions by section", .timeLimit(.minutes(1)))
struct SectionTests {
    @Test(arguments: core + extensions)
    func `the server answers as the section says`(dialogue: Dialogue) throws {
        let daemon = try TestDaemon(FakeStore()) { suite in
            suite.server.devMode = true
            suite.smtpd.allowedRelays = []
            suite.smtpd.maxMessageSize = 100_000
        }
        let client = try daemon.connect()
        #expect(client.reply().hasPrefix("220 mx.example.test ESMTP"))
        var last = ""
        for line in dialogue.text.split(separator: "\n", omittingEmptySubsequences: true) {
            if line.hasPrefix("> ") {
                client.send(line.dropFirst(2) + "\r\n")
            } else if line == "<*" {
                #expect(client.line() == "", "\(dialogue.section)")
            } else {
                last = client.reply()
                #expect(last.hasPrefix(line.dropFirst(2)), "\(dialogue.section): \(line): \(last)")
            }
        }
        #expect(!last.isEmpty)
    }
}

/// Every reply of the tables above, but greetings and 3yz, has an enhanced code of its own class.
@Suite("Enhanced codes, RFC 2034 §4", .timeLimit(.minutes(1)))
struct EnhancedCodeTests {
    @Test func `every reply behind EHLO has one`() throws {
        let client = try TestDaemon(FakeStore()).ready()
        for line in [
            "NOOP", "HELP", "VRFY x", "EXPN x", "FOO", "HELP FOO", "MAIL FROM:<>", "RCPT TO:<>",
            "RCPT TO:<x@y.test>", "RCPT TO:<full@example.test>", "RCPT TO:<off@example.test>",
            "RCPT TO:<away@example.test>", "BDAT 0", "RSET", "STARTTLS", "AUTH PLAIN", "QUIT",
        ] {
            for part in client.command(line).split(separator: "\r\n") {
                let code = part.dropFirst(4)
                #expect(
                    code.first == part.first && code.dropFirst().first == ".", "\(line): \(part)")
            }
        }
    }
}
