// SPDX-License-Identifier: Apache-2.0
//
// POP3 command lines: what is accepted, what is refused, and as what.

import POP3
import Testing

private func parse(_ text: String) throws(CommandError) -> Command {
    let octets = Array(text.utf8)
    return try Command(octets.span)
}

@Suite("POP3 commands, RFC 1939 §3")
struct CommandTests {
    @Test(
        arguments: [
            ("STAT", Command.stat), ("stat", .stat), ("StAt ", .stat), ("NOOP", .noop),
            ("RSET", .rset), ("QUIT", .quit), ("CAPA", .capa), ("STLS", .stls),
            ("LIST", .list(nil)), ("LIST ", .list(nil)), ("LIST 12", .list(12)),
            ("UIDL", .uidl(nil)), ("uidl 1", .uidl(1)), ("RETR 1", .retr(1)), ("RETR  1", .retr(1)),
            ("RETR 007", .retr(7)), ("DELE 4294967295", .dele(4_294_967_295)),
            ("TOP 1 0", .top(1, lines: 0)), ("top 3 25 ", .top(3, lines: 25)),
            ("USER alice@example.test", .user(Array("alice@example.test".utf8))),
            ("PASS two words ", .pass(Array("two words ".utf8))),
            ("PASS  x", .pass(Array(" x".utf8))),
            ("AUTH", .auth(mechanism: nil, initial: nil)),
            ("AUTH plain", .auth(mechanism: Array("PLAIN".utf8), initial: nil)),
            ("AUTH PLAIN =", .auth(mechanism: Array("PLAIN".utf8), initial: Array("=".utf8))),
            (
                "AUTH PLAIN AGEAYg==",
                .auth(mechanism: Array("PLAIN".utf8), initial: Array("AGEAYg==".utf8))
            ),
        ])
    func `a well-formed line is its command`(line: String, command: Command) throws {
        #expect(try parse(line) == command)
    }

    @Test(
        arguments: [
            ("", CommandError.emptyLine), (" STAT", .unknownCommand), ("XYZZY", .unknownCommand),
            ("STATUS", .unknownCommand), ("STAT\t", .unknownCommand), ("RETR1", .unknownCommand),
            ("\u{0}", .unknownCommand), ("É", .unknownCommand), ("STAT 1", .syntax(.stat)),
            ("RETR", .syntax(.retr)), ("RETR x", .syntax(.retr)), ("RETR -1", .syntax(.retr)),
            ("RETR 1 2", .syntax(.retr)), ("RETR 4294967296", .syntax(.retr)),
            ("RETR 99999999999999999999999", .syntax(.retr)), ("DELE 1x", .syntax(.dele)),
            ("TOP 1", .syntax(.top)), ("TOP 1 -1", .syntax(.top)), ("TOP 1 2 3", .syntax(.top)),
            ("LIST 1 2", .syntax(.list)), ("USER", .syntax(.user)), ("USER ", .syntax(.user)),
            ("PASS a\u{0}b", .syntax(.pass)), ("PASS a\rb", .syntax(.pass)),
            ("AUTH PLAIN a b", .syntax(.auth)), ("AUTH a.b", .syntax(.auth)),
            ("AUTH AAAAAAAAAAAAAAAAAAAAA", .syntax(.auth)),
            ("APOP alice c4c9334bac560ecc979e58001b3e22fb", .notOffered(.apop)),
            ("LAST", .notOffered(.last)),
        ])
    func `a malformed line says what is wrong with it`(line: String, error: CommandError) {
        #expect(throws: error) { try parse(line) }
    }

    @Test func `every prefix of every command is a command or an error and never a crash`() {
        for line in ["AUTH PLAIN AGEAYg==", "TOP 12 34", "USER a b", "UIDL 4294967295", "APOP x y"]
        {
            let octets = Array(line.utf8)
            for length in 0...octets.count {
                let command = try? Command(octets.span.extracting(first: length))
                if let command { #expect(line.hasPrefix(command.verb.rawValue)) }
            }
        }
    }

    @Test(arguments: [
        CommandError.lineTooLong, .emptyLine, .unknownCommand, .syntax(.top), .notOffered(.last),
    ])
    func `every refusal is an -ERR line that ends in CRLF`(error: CommandError) {
        let line = error.reply.line
        #expect(line.starts(with: Array("-ERR ".utf8)))
        #expect(line.suffix(2) == [0x0D, 0x0A])
        #expect(line.count <= 512)
    }
}
