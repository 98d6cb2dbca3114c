// SPDX-License-Identifier: Apache-2.0
//
// Command lines, RFC 5321 §4.1, with the extensions that are offered.

import Bytes
import Mail
import SMTP
import Testing

func parse(_ line: String) throws(CommandError) -> Command {
    try Command(Array(line).span)
}

func failure(_ line: [UInt8]) -> CommandError? {
    do throws(CommandError) {
        _ = try Command(line.span)
        return nil
    } catch {
        return error
    }
}

func failure(_ line: String) -> CommandError? { failure(Array(line)) }

let alice = EmailAddress(local: Array("alice"), domain: Array("example.test"))
let bob = EmailAddress(local: Array("bob"), domain: Array("example.test"))

@Suite("Command lines, RFC 5321 §4.1.1")
struct CommandTests {
    @Test(arguments: [
        ("EHLO mx.example.org", Command.hello(name: Array("mx.example.org"), isExtended: true)),
        ("helo [192.0.2.1]", .hello(name: Array("[192.0.2.1]"), isExtended: false)),
        ("eHlO x  ", .hello(name: Array("x"), isExtended: true)),
        ("MAIL FROM:<>", .mail(from: .null, MailParameters())),
        ("mail from:<alice@EXAMPLE.test>", .mail(from: .address(alice), MailParameters())),
        ("MAIL FROM: <alice@example.test> ", .mail(from: .address(alice), MailParameters())),
        (
            "MAIL FROM:<alice@example.test> SIZE=1000 BODY=8BITMIME SMTPUTF8",
            .mail(
                from: .address(alice),
                MailParameters(size: 1_000, isEightBit: true, isInternational: true))
        ),
        (
            "MAIL FROM:<> size=99999999999999999999 body=7bit",
            .mail(from: .null, MailParameters(size: .max))
        ),
        ("MAIL FROM:<> AUTH=<>", .mail(from: .null, MailParameters())),
        ("MAIL FROM:<> AUTH=e+3Dmc2@example.com", .mail(from: .null, MailParameters())),
        ("RCPT TO:<alice@example.test>", .rcpt(to: .address(alice))),
        ("rcpt to: <PostMaster>", .rcpt(to: .postmaster)),
        ("RCPT TO:<@a.test,@b.test:alice@example.test>", .rcpt(to: .address(alice))),
        ("DATA", .data), ("data\t ", .data), ("RSET", .rset), ("QUIT", .quit),
        ("NOOP", .noop), ("NOOP whatever <it> is", .noop),
        ("HELP", .help(topic: "")), ("HELP Mail", .help(topic: "MAIL")),
        ("VRFY alice", .vrfy), ("STARTTLS", .startTLS),
        ("BDAT 0", .bdat(size: 0, isLast: false)),
        ("bdat 1000 last", .bdat(size: 1_000, isLast: true)),
        ("BDAT 18446744073709551615", .bdat(size: .max, isLast: false)),
        ("AUTH PLAIN", .auth(mechanism: Array("PLAIN"), initial: nil)),
        ("AUTH plain AGEAYg==", .auth(mechanism: Array("plain"), initial: Array("AGEAYg=="))),
        ("AUTH LOGIN =", .auth(mechanism: Array("LOGIN"), initial: Array("="))),
    ])
    func `a good line is read`(line: String, command: Command) throws {
        #expect(try parse(line) == command)
    }

    @Test(arguments: [
        ("", CommandError.unrecognized), (" ", .unrecognized), ("FOO", .unrecognized),
        ("MAILFROM:<a@b.test>", .unrecognized), ("DATA:", .unrecognized),
        ("GET / HTTP/1.1", .unrecognized), ("QUITX", .unrecognized),
        ("EXPN list", .notImplemented), ("XDEBUG 1", .syntax(.xdebug)),
        ("XFORWARD ADDR=1.2.3.4", .notImplemented), ("ETRN x", .notImplemented),
        ("EHLO", .syntax(.extendedHello)), ("HELO ", .syntax(.hello)),
        ("EHLO a b", .syntax(.extendedHello)), ("EHLO \u{e9}", .syntax(.extendedHello)),
        ("MAIL", .syntax(.mail)), ("MAIL TO:<a@b.test>", .syntax(.mail)),
        ("MAIL FROM", .syntax(.mail)), ("MAIL FROM:", .senderSyntax),
        ("MAIL FROM:alice@example.test", .senderSyntax),
        ("MAIL FROM:<alice@example.test", .senderSyntax),
        ("MAIL FROM:<postmaster>", .senderSyntax),
        ("MAIL FROM:<alice@example.test>SIZE=1", .senderSyntax),
        ("MAIL FROM:<> SIZE=", .badParameter), ("MAIL FROM:<> SIZE", .badParameter),
        ("MAIL FROM:<> SIZE=-1", .badParameter), ("MAIL FROM:<> SIZE=1 SIZE=2", .badParameter),
        ("MAIL FROM:<> SIZE=123456789012345678901", .badParameter),
        ("MAIL FROM:<> BODY=9BIT", .badParameter), ("MAIL FROM:<> BODY", .badParameter),
        ("MAIL FROM:<> BODY=7BIT BODY=7BIT", .badParameter),
        ("MAIL FROM:<> SMTPUTF8=1", .badParameter), ("MAIL FROM:<> AUTH=+2", .badParameter),
        ("MAIL FROM:<> HOLDFOR=10", .unknownParameter), ("MAIL FROM:<> =", .unknownParameter),
        ("RCPT", .syntax(.rcpt)), ("RCPT FROM:<a@b.test>", .syntax(.rcpt)),
        ("RCPT TO:<>", .recipientSyntax), ("RCPT TO:<alice>", .recipientSyntax),
        ("RCPT TO:<alice@example.test> SIZE=1", .unknownParameter),
        ("RCPT TO:<alice@example.test>x", .recipientSyntax),
        ("DATA now", .syntax(.data)), ("RSET x", .syntax(.rset)), ("QUIT x", .syntax(.quit)),
        ("STARTTLS x", .syntax(.startTLS)), ("VRFY", .syntax(.vrfy)),
        ("BDAT", .chunkSize), ("BDAT x", .chunkSize), ("BDAT -1", .chunkSize),
        ("BDAT 1 FIRST", .chunkSize), ("BDAT 1LAST", .chunkSize), ("BDAT 1 LAST x", .chunkSize),
        ("BDAT 18446744073709551616", .chunkSize),
        ("AUTH", .syntax(.auth)), ("AUTH PLAIN a b", .syntax(.auth)), ("AUTH !", .syntax(.auth)),
    ])
    func `a bad line is refused for its own reason`(line: String, reason: CommandError) {
        #expect(failure(line) == reason)
    }

    @Test(arguments: [
        "NOOP \0", "NOOP \r", "NOOP a\nMAIL FROM:<>", "MAIL FROM:<a\tb@c.test>", "NOOP \u{7f}",
        "MAIL FROM:<a\r\nb@c.test>", "EHLO a\0b",
    ])
    func `control characters are refused wherever they stand`(line: String) {
        #expect(failure(line) == .illegalOctet)
    }

    @Test func `octets that are not UTF-8 are refused`() {
        #expect(failure(Array("NOOP ") + [0xFF]) == .illegalOctet)
        #expect(failure(Array("MAIL FROM:<") + [0xC3] + Array("@example.test>")) == .illegalOctet)
    }

    @Test func `lines are limited by their verb`() throws {
        func line(_ verb: String, _ count: Int) -> [UInt8] {
            Array(verb) + [UInt8](repeating: 0x61, count: count - verb.utf8.count)
        }
        #expect(failure(line("NOOP ", 510)) == nil)
        #expect(failure(line("NOOP ", 511)) == .lineTooLong)
        #expect(failure(line("MAIL FROM:<> X", 1_511)) == .lineTooLong)
        #expect(failure(line("MAIL FROM:<> X", 1_510)) == .unknownParameter)
        #expect(failure(line("AUTH PLAIN ", 12_286)) == nil)
        #expect(failure(line("AUTH PLAIN ", 12_287)) == .lineTooLong)
    }

    @Test(arguments: [
        "EHLO mx.example.org", "MAIL FROM:<\"a b\"@[IPv6:2001:db8::1]> SIZE=10 AUTH=<> SMTPUTF8",
        "RCPT TO:<@a.test:alice@example.test>", "BDAT 100 LAST", "AUTH PLAIN AGEAYg==",
        "MAIL FROM:<jos\u{e9}@b\u{fc}cher.test> SMTPUTF8",
    ])
    func `no prefix of a good line traps`(line: String) {
        let octets = Array(line)
        for length in 0...octets.count { _ = failure(Array(octets[..<length])) }
        #expect(failure(octets) == nil)
    }
}

@Suite("Paths, RFC 5321 §4.1.2 and §4.1.3")
struct PathTests {
    private func recipient(_ path: String) -> Recipient? {
        guard case .rcpt(let to, _) = try? parse("RCPT TO:" + path) else { return nil }
        return to
    }

    @Test(arguments: [
        ("<a@b>", "a", "b"), ("<a.b+c@d-e.test>", "a.b+c", "d-e.test"),
        ("<!#$%&'*+-/=?^_`{|}~@b.test>", "!#$%&'*+-/=?^_`{|}~", "b.test"),
        ("<\"a b\"@c.test>", "a b", "c.test"), ("<\"a@b\"@c.test>", "a@b", "c.test"),
        ("<\"\\\"\\\\\"@c.test>", "\"\\", "c.test"), ("<\"plain\"@c.test>", "plain", "c.test"),
        ("<a@[192.0.2.1]>", "a", "[192.0.2.1]"), ("<a@[IPv6:::1]>", "a", "[ipv6:::1]"),
        ("<a@[IPv6:2001:db8::ffff:192.0.2.1]>", "a", "[ipv6:2001:db8::ffff:192.0.2.1]"),
        ("<a@[IPv6:1:2:3:4:5:6:7:8]>", "a", "[ipv6:1:2:3:4:5:6:7:8]"),
        ("<victim%elsewhere.test@here.test>", "victim%elsewhere.test", "here.test"),
        ("<elsewhere.test!victim@here.test>", "elsewhere.test!victim", "here.test"),
        ("<@here.test:victim@elsewhere.test>", "victim", "elsewhere.test"),
        ("<a@under_score.test>", "a", "under_score.test"),
    ])
    func `a good path gives its mailbox`(path: String, local: String, domain: String) {
        let address = EmailAddress(local: Array(local), domain: Array(domain))
        #expect(recipient(path) == .address(address))
    }

    @Test(arguments: [
        "<@b.test>", "<a@>", "<a@@b.test>", "<a b@c.test>", "<a@b c.test>", "<.a@b.test>",
        "<a.@b.test>", "<a..b@c.test>", "<a@.b.test>", "<a@b..test>", "<a@b.test.>", "<a@-b.test>",
        "<a@b-.test>", "<\"a@b.test>", "<\"\"@b.test>", "<\"a\"b@c.test>", "<\"a\\\"@b.test>",
        "<a@[1.2.3]>", "<a@[1.2.3.4.5]>", "<a@[256.1.1.1]>", "<a@[1.2.3.4>", "<a@1.2.3.4]>",
        "<a@[IPv6:]>", "<a@[IPv6:1::2::3]>", "<a@[IPv6:1:2:3:4:5:6:7]>", "<a@[IPv6::1:2]>",
        "<a@[IPv6:1:2:3:4:5:6:7:8:9]>", "<a@[IPv6:12345::]>", "<a@[IPv6:fe80::1%eth0]>",
        "<a@[x:y]>", "<a@[]>", "<a@b.test>>", "<<a@b.test>", "a@b.test", "<a@b.test", "<>",
        "<@a.test,b@c.test>", "<@a.test:>", "<@:a@b.test>", "<;touch X;@d.test>",
        "<$(reboot)@d.test>", "<a@d.test;x>", "<other>", "<\"other\">",
    ])
    func `a bad path is refused`(path: String) {
        #expect(recipient(path) == nil)
    }

    @Test func `sizes of local-part, domain, label and path are limited`() {
        func text(_ count: Int) -> String { String(repeating: "a", count: count) }
        #expect(recipient("<\(text(64))@b.test>") != nil)
        #expect(recipient("<\(text(65))@b.test>") == nil)
        #expect(recipient("<\"\(text(64))\"@b.test>") != nil)
        #expect(recipient("<\"\(text(65))\"@b.test>") == nil)
        #expect(recipient("<a@\(text(63)).test>") != nil)
        #expect(recipient("<a@\(text(64)).test>") == nil)
        let labels = Array(repeating: text(61), count: 4).joined(separator: ".")  // 247
        #expect(recipient("<abcdef@\(labels)>") != nil)  // 256 with brackets
        #expect(recipient("<abcdefg@\(labels)>") == nil)
    }

    @Test(arguments: [
        ("<jos\u{e9}@b.test>", "jos\u{e9}@b.test", true),
        ("<a@b\u{fc}cher.test>", "a@xn--bcher-kva.test", true),
        ("<a@B\u{dc}CHER.test>", "a@xn--bcher-kva.test", true),
        ("<a@xn--bcher-kva.test>", "a@xn--bcher-kva.test", false),
        ("<a@b.test>", "a@b.test", false),
    ])
    func `UTF-8 is allowed in both parts and marked`(
        path: String, address: String, isInternational: Bool
    ) throws {
        guard case .rcpt(.address(let found), let parameters) = try parse("RCPT TO:" + path) else {
            Issue.record("not a recipient")
            return
        }
        #expect(found.text == address)
        #expect(parameters.hasInternationalPath == isInternational)
    }

    @Test(arguments: ["<a@\u{2f}\u{ff0f}b.test>", "<a@b\u{ff20}c.test>", "<a@\u{200d}.test>"])
    func `a domain that cannot be one is refused`(path: String) {
        #expect(recipient(path) == nil)
    }

    @Test(arguments: ["<a.b@c.test>", "<\"a b\"@c.test>", "<\"\\\"\\\\\"@c.test>", "<\"a@b\"@c>"])
    func `an address is quoted again as it was`(path: String) throws {
        guard case .address(let address) = try #require(recipient(path)) else {
            Issue.record("not an address")
            return
        }
        #expect(Array("<") + address.quoted + Array(">") == Array(path))
    }
}
