// SPDX-License-Identifier: Apache-2.0
//
// What IMAP servers say, sound and hostile. RFC 3501 §7.

import Bytes
import Interchange
import Mail
import Testing

/// Feeds lines and literals; the literal that is asked for comes from `literals`.
private func response(
    _ lines: [String], literals: [ResponseValue] = [],
    limits: ResponseAssembler.Limits = ResponseAssembler.Limits()
) throws(ResponseError) -> ServerResponse? {
    var assembler = ResponseAssembler(limits: limits)
    var next = 0
    for line in lines {
        switch try assembler.take(line: Array(line)) {
        case .literal:
            try assembler.take(literal: literals[next])
            next += 1
        case .response(let response): return response
        }
    }
    return nil
}

@Suite struct ResponseTests {
    @Test func `a message with literals`() throws {
        let found = try response(
            [
                "* 12 FETCH (FLAGS (\\Seen $Junk \\Recent) UID 7 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}",
                " RFC822.SIZE 5)",
            ], literals: [.text(Array("a\r\nbc"))])
        let message = try #require(found.flatMap { FetchedMessage($0) })
        #expect(message.uid == 7)
        #expect(message.flags == NamedFlags(system: .seen, keywords: [Array("$Junk")]))
        #expect(message.internalDate == 837_596_665)
        #expect(message.body == .text(Array("a\r\nbc")))
        #expect(message.size == 5)
        let spilled = try response(
            ["* 1 FETCH (BODY[] ~{1000000+}", ")"], literals: [.spilled(1_000_000)])
        #expect(spilled.flatMap { FetchedMessage($0) }?.body == .spilled(1_000_000))
    }

    @Test(arguments: [
        ("* LIST (\\HasNoChildren \\Sent) \".\" \"INBOX.Sent\"", "Sent", SpecialUse.sent),
        ("* LIST () \"/\" INBOX", "INBOX", .none),
        ("* LIST () \"/\" inbox", "INBOX", .none),
        ("* LIST () \".\" \"INBOX.Entw&APw-rfe.x\"", "Entwürfe/x", .none),
        ("* LIST () \".\" \"a/b.c\"", "a_b/c", .none),
        ("* LIST () \"\\\\\" \"a\\\\b\"", "a/b", .none),
        ("* LIST () NIL flat", "flat", .none),
        ("* LSUB () \"/\" \"say \\\"x\\\"\"", "say \"x\"", .none),
    ])
    func `names of mailboxes`(line: String, name: String, use: SpecialUse) throws {
        let found = try #require(try response([line]).flatMap { ListedMailbox($0) })
        #expect(found.name(prefix: Array("INBOX."))?.text == name)
        #expect(found.specialUse == use)
    }

    @Test func `the rest that an import needs`() throws {
        #expect(
            try response(["* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL"])?.personalPrefix
                == Array("INBOX."))
        let status = try response(["* STATUS \"a b\" (MESSAGES 3 UIDNEXT 5 UIDVALIDITY 4294967295)"]
        )
        .flatMap { ListedStatus($0) }
        #expect(status?.name == Array("a b"))
        #expect(status?.uidValidity == 4_294_967_295)
        guard case .tagged(let tag, let condition)? = try response(["a1 NO [TRYCREATE] {5}"])
        else {
            Issue.record("no tagged response")
            return
        }
        #expect(tag == Array("a1"))
        #expect(condition.code == Array("TRYCREATE"))
        guard case .untagged(let ok)? = try response(["* OK [UIDVALIDITY 17] x"]) else {
            Issue.record("no condition")
            return
        }
        #expect(ok.number(of: "uidvalidity") == 17)
        #expect(try response(["+ go on"]) == .proceed(Array("go on")))
        #expect(
            try response(["* 5 EXISTS"]) == .data(number: 5, name: "EXISTS", values: []))
    }

    @Test(arguments: [
        "", "*", "* ", "x", "* 1 FETCH (", "* 1 FETCH )", "* 1 FETCH (BODY[)",
        "* LIST () \"/\" \"x",
        "* OK [x", "* 1 FETCH (\"a\\", "(", "* 1", "a1 FETCH x",
    ])
    func `what is malformed is refused`(line: String) {
        #expect(throws: ResponseError.self) { try response([line]) }
    }

    @Test func `limits hold`() {
        var limits = ResponseAssembler.Limits()
        limits.line = 100
        limits.response = 250
        limits.values = 20
        limits.depth = 5
        limits.literal = 50
        let long = "* X " + String(repeating: "a", count: 100)
        #expect(throws: ResponseError.tooLong) { try response([long], limits: limits) }
        #expect(throws: ResponseError.tooMany) {
            try response(["* X" + String(repeating: " a", count: 21)], limits: limits)
        }
        #expect(throws: ResponseError.tooDeep) {
            try response(["* X " + String(repeating: "(", count: 6)], limits: limits)
        }
        #expect(throws: ResponseError.tooLong) { try response(["* X {51}"], limits: limits) }
        #expect(throws: ResponseError.tooLong) {
            try response(
                ["* X {9}", "{9}", "{9}", "x"],
                literals: Array(repeating: .text(Array(repeating: 0x61, count: 100)), count: 3),
                limits: limits)
        }
        #expect(throws: ResponseError.self) {
            try response(["* X {999999999999999999}"], limits: limits)
        }
    }

    @Test(arguments: 0..<300)
    func `a server that lies harms nobody`(seed: Int) {
        var random = Generator(state: UInt64(seed) &* 31 + 9)
        let alphabet = Array("*+ 1()\"\\{}[]~aNIL.FETCHUDOK\r\u{0}\u{80}")
        var limits = ResponseAssembler.Limits()
        limits.values = 50
        limits.depth = 6
        var assembler = ResponseAssembler(limits: limits)
        for _ in 0..<40 {
            var line = Array(
                ["* 1 FETCH ", "* LIST ", "* ", "a1 ", "* STATUS "][Int(random.next() % 5)])
            for _ in 0..<(random.next() % 30) {
                line.append(alphabet[Int(random.next() % UInt64(alphabet.count))])
            }
            do throws(ResponseError) {
                switch try assembler.take(line: line) {
                case .literal(let size):
                    #expect(size <= limits.literal)
                    try assembler.take(literal: size > 9 ? .spilled(size) : .text([0x61]))
                case .response(let response):
                    _ = FetchedMessage(response)
                    _ = ListedMailbox(response)?.name(prefix: [])
                    _ = ListedStatus(response)
                    _ = response.personalPrefix
                }
            } catch {
                assembler = ResponseAssembler(limits: limits)
            }
        }
    }
}
