// SPDX-License-Identifier: Apache-2.0
//
// Commands as clients write them, and as attackers do. RFC 3501 §9.

import Bytes
import IMAP
import Mail
import Testing

private func parse(_ text: String) throws(CommandError) -> Command {
    try TaggedCommand(Array("a1 " + text)).command
}

private func set(_ text: String) throws -> SequenceSet {
    guard case .copy(let set, _, _, _) = try parse("COPY \(text) x") else {
        throw CommandError.unknownCommand
    }
    return set
}

@Suite("IMAP commands, RFC 3501 §9")
struct CommandTests {
    @Test(arguments: ["A1", "a001", "VmAvNA", "P_4aug", "1", ".", "12.34", "a-b]"])
    func `tags as odd as clients send are taken`(tag: String) throws {
        #expect(try TaggedCommand(Array(tag + " NOOP")).tag == Array(tag))
    }

    @Test(arguments: ["", " NOOP", "+ NOOP", "* NOOP", "a(b NOOP", "a\"b NOOP"])
    func `what is no tag is refused`(line: String) {
        #expect(throws: CommandError.self) { try TaggedCommand(Array(line)) }
    }

    @Test func `commands without arguments are taken in any case`() throws {
        #expect(try parse("noop") == .noop)
        #expect(try parse("CaPability ") == .capability)
        #expect(try parse("IDLE") == .idle)
        #expect(try parse("UNSELECT") == .unselect)
        #expect(throws: CommandError.self) { try parse("NOOP x") }
        #expect(throws: CommandError.unknownCommand) { try parse("FROBNICATE") }
        #expect(throws: CommandError.unknownCommand) { try parse("UID NOOP") }
    }

    @Test func `LOGIN takes atoms, quoted strings and literals`() throws {
        let wanted = Command.login(name: Array("a@b"), password: Array("p\"\\w"))
        #expect(try parse("LOGIN a@b \"p\\\"\\\\w\"") == wanted)
        #expect(try parse("LOGIN {3}\r\na@b {4+}\r\np\"\\w") == wanted)
        #expect(throws: CommandError.self) { try parse("LOGIN \"a") }
        #expect(throws: CommandError.self) { try parse("LOGIN a {9}\r\nshort") }
        #expect(throws: CommandError.self) { try parse("LOGIN a {1}\r\n\0") }
        #expect(throws: CommandError.self) { try parse("LOGIN \"a\0b\" c") }
        #expect(throws: CommandError.self) { try parse("LOGIN \"\\n\" c") }
    }

    @Test func `AUTHENTICATE may carry an initial response`() throws {
        #expect(
            try parse("authenticate PLAIN")
                == .authenticate(mechanism: Array("PLAIN"), initialResponse: nil))
        #expect(
            try parse("AUTHENTICATE PLAIN AGEAYg==")
                == .authenticate(mechanism: Array("PLAIN"), initialResponse: Array("AGEAYg==")))
        #expect(
            try parse("AUTHENTICATE PLAIN =")
                == .authenticate(mechanism: Array("PLAIN"), initialResponse: Array("=")))
    }

    @Test func `quota commands as clients send them`() throws {
        #expect(try parse("GETQUOTA \"\"") == .getQuota(root: []))
        #expect(try parse("getquotaroot INBOX") == .getQuotaRoot(mailbox: Array("INBOX")))
        #expect(try parse("SETQUOTA \"\" (STORAGE 512 MESSAGE 3)") == .setQuota)
        #expect(try parse("SETQUOTA a ()") == .setQuota)
        #expect(
            try parse("STATUS a (DELETED DELETED-STORAGE)")
                == .status(mailbox: Array("a"), [.deleted, .deletedStorage]))
    }

    @Test func `LIST as Thunderbird and aerc send it`() throws {
        guard case .list(let list) = try parse("list (subscribed) \"\" \"*\" return (special-use)")
        else { return #expect(Bool(false)) }
        #expect(list.form == .list && list.selection == .subscribed && list.patterns == [[0x2A]])
        #expect(list.returns == .specialUse)
        guard
            case .list(let status) = try parse(
                "LIST \"\" \"*\" RETURN (STATUS (MESSAGES RECENT UNSEEN) CHILDREN)")
        else { return #expect(Bool(false)) }
        #expect(status.status == [.messages, .recent, .unseen] && status.returns == .children)
        guard case .list(let many) = try parse("LIST \"\" (INBOX Sent/% \"a b\")") else {
            return #expect(Bool(false))
        }
        #expect(many.patterns == [Array("INBOX"), Array("Sent/%"), Array("a b")])
        guard case .list(let bare) = try parse("LIST \"\" \"\"") else {
            return #expect(Bool(false))
        }
        #expect(bare.patterns == [[]])
        #expect(throws: CommandError.self) { try parse("LIST (RECURSIVEMATCH) \"\" *") }
        #expect(throws: CommandError.self) { try parse("LSUB (SUBSCRIBED) \"\" *") }
    }

    @Test func `SELECT takes CONDSTORE and nothing unknown`() throws {
        #expect(
            try parse("SELECT INBOX (CONDSTORE)")
                == .select(.init(mailbox: Array("INBOX"), isReadOnly: false, condstore: true)))
        #expect(
            try parse("examine \"a b\"")
                == .select(.init(mailbox: Array("a b"), isReadOnly: true)))
        #expect(throws: CommandError.self) { try parse("SELECT INBOX (NONSENSE (1 2))") }
    }

    @Test func `FETCH items of real clients`() throws {
        guard
            case .fetch(let fetch) = try parse(
                "UID fetch 1:12 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc)])")
        else { return #expect(Bool(false)) }
        #expect(fetch.byUID && fetch.attributes.count == 4 && !fetch.setsSeen)
        #expect(
            fetch.attributes[3]
                == .section(
                    SectionFetch(
                        section: Section(
                            text: .headerFields([Array("From"), Array("To"), Array("Cc")])),
                        isPeek: true)))
        #expect(fetch.need == .header)
        guard case .fetch(let part) = try parse("FETCH 1 BODY[1.2.MIME]<0.2048>") else {
            return #expect(Bool(false))
        }
        #expect(
            part.attributes == [
                .section(
                    SectionFetch(
                        section: Section(part: [1, 2], text: .mime), isPeek: false,
                        partial: .init(start: 0, count: 2048)))
            ])
        #expect(part.setsSeen && part.need == .message)
        guard case .fetch(let all) = try parse("FETCH 1 all") else { return #expect(Bool(false)) }
        #expect(all.attributes == [.flags, .internalDate, .size, .envelope])
        guard case .fetch(let since) = try parse("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 17)") else {
            return #expect(Bool(false))
        }
        #expect(since.changedSince == 17 && since.attributes == [.uid, .flags, .modSeq])
    }

    @Test(arguments: [
        "FETCH", "FETCH 1", "FETCH 0 FLAGS", "FETCH 1 ()", "FETCH 1 (FLAGS", "FETCH 1 BODY[",
        "FETCH 1 BODY[0]", "FETCH 1 BODY[1.]", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[]<1>",
        "FETCH 1 BODY[]<1.0>", "FETCH 1 BODY[HEADER.FIELDS ()]", "FETCH 4294967296 FLAGS",
        "FETCH 1,, FLAGS", "FETCH 1: FLAGS", "FETCH 1 FLAGSX", "FETCH 1 (FLAGS) (CHANGEDSINCE)",
        "STORE 1 FLAGS", "STORE 1 +FLAGS (\\Foo)", "STORE 1 FLAGS (", "SEARCH", "SEARCH FROM",
        "SEARCH OR SEEN", "SEARCH (SEEN", "SEARCH ()", "SEARCH SINCE 31-Feb-2020", "STATUS INBOX",
        "GETQUOTA", "SETQUOTA \"\"", "SETQUOTA \"\" (STORAGE)", "SETQUOTA \"\" (STORAGE x)",
        "STATUS INBOX (FOO)", "COPY 1", "ID", "ID (", "RENAME a", "ENABLE",
    ])
    func `wrong commands are refused`(text: String) {
        #expect(throws: CommandError.self) { try parse(text) }
    }

    @Test func `STORE with its options`() throws {
        guard
            case .store(let store) = try parse(
                "UID STORE 1:3 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\seen $Junk \\Recent NonJunk)")
        else { return #expect(Bool(false)) }
        #expect(store.unchangedSince == 5 && store.isSilent && store.byUID)
        #expect(store.operation == .add && store.flags.system == .seen)
        #expect(store.flags.keywords == [Array("$Junk"), Array("NonJunk")])
        guard case .store(let bare) = try parse("STORE 2 -FLAGS \\Deleted \\Flagged") else {
            return #expect(Bool(false))
        }
        #expect(bare.operation == .remove && bare.flags.system == [.deleted, .flagged])
    }

    @Test func `every prefix of a command is refused or shorter, and never traps`() {
        let commands = [
            "a UID FETCH 1:12,14:* (UID FLAGS BODY.PEEK[1.HEADER.FIELDS (\"a\" b)]<1.2> MODSEQ)",
            "a LIST (SUBSCRIBED) \"\" (\"*\" %) RETURN (STATUS (MESSAGES) CHILDREN)",
            "a SEARCH CHARSET UTF-8 OR (FROM {3}\r\nabc SINCE 1-Jan-2020) NOT UID 1:*",
            "a STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Seen)", "a ID (\"name\" \"x\" \"v\" NIL)",
        ]
        for command in commands {
            #expect(throws: Never.self) { _ = try TaggedCommand(Array(command)) }
            for length in 0..<command.utf8.count {
                _ = try? TaggedCommand(Array(command.utf8.prefix(length)))
            }
        }
    }

    @Test func `nesting and counts have limits`() {
        let deep = String(repeating: "(", count: 60_000)
        #expect(throws: CommandError.tooComplex) { try parse("SEARCH " + deep) }
        let not = String(repeating: "NOT ", count: 3_000)
        #expect(throws: CommandError.tooComplex) { try parse("SEARCH \(not)SEEN") }
        let or = String(repeating: "OR SEEN ", count: 3_000)
        #expect(throws: CommandError.tooComplex) { try parse("SEARCH \(or)SEEN") }
        let pairs = String(repeating: "\"a\" \"b\" ", count: 5_000)
        #expect(throws: CommandError.tooComplex) { try parse("ID (\(pairs))") }
        #expect(throws: CommandError.self) { try parse("FETCH 1 (\(deep)") }
    }

    @Test func `search charset other than UTF-8 is named as such`() throws {
        for (charset, isUnknown) in [("KOI8-R", true), ("UTF-8", false), ("us-ascii", false)] {
            guard case .search(let program, _) = try parse("SEARCH CHARSET \(charset) ALL"),
                case .sort(let sort) = try parse("SORT (DATE) \(charset) ALL")
            else { throw CommandError.unknownCommand }
            #expect(program.charsetIsUnknown == isUnknown)
            #expect(sort.program.charsetIsUnknown == isUnknown)
        }
    }
}

@Suite("Sequence sets, RFC 3501 §9")
struct SequenceSetTests {
    @Test(arguments: [
        ("1", [UIDRange(1, 1)]), ("1:3,5", [UIDRange(1, 3), UIDRange(5, 5)]),
        ("5:3", [UIDRange(3, 5)]), ("*", [UIDRange(10, 10)]), ("8:*", [UIDRange(8, 10)]),
        ("559:*", [UIDRange(10, 559)]), ("*:4", [UIDRange(4, 10)]),
        ("3,1,2", [UIDRange(1, 3)]), ("1:5,3:8,9", [UIDRange(1, 9)]),
        ("1,4294967295", [UIDRange(1, 1), UIDRange(.max, .max)]),
        ("4294967295,1:4294967295", [UIDRange(1, .max)]),
    ])
    func `a set resolves to rising ranges`(text: String, ranges: [UIDRange]) throws {
        #expect(try set(text).resolved(largest: 10) == ranges)
    }

    @Test func `star means nothing in an empty mailbox`() throws {
        #expect(try set("*").resolved(largest: 0) == [])
        #expect(try set("1:*").resolved(largest: 0) == [])
    }

    @Test func `sixty thousand ranges are quick or refused`() throws {
        let text = (1...20_000).map { "\($0 * 2)" }.joined(separator: ",")
        #expect(try set(text).resolved(largest: 5).count == 20_000)
        let more = (1...40_000).map { "\($0 * 2)" }.joined(separator: ",")
        #expect(throws: CommandError.tooComplex) { try set(more) }
    }

    @Test func `membership agrees with a plain search`() {
        let ranges = [UIDRange(2, 4), UIDRange(7, 7), UIDRange(10, 20)]
        for number in UInt32(0)...25 {
            #expect(
                ranges.holds(number)
                    == ranges.contains { $0.first <= number && number <= $0.last })
        }
    }
}

@Suite("Commands from lines and literals, RFC 7888")
struct CommandAssemblerTests {
    private func step(_ assembler: inout CommandAssembler, _ line: String)
        -> CommandAssembler.Step
    {
        let octets = Array(line.utf8)
        return assembler.add(line: octets.span)
    }

    private let open = CommandAssembler.Limits(command: 65_536, literal: 65_536, message: 1 << 20)

    @Test func `a line without a literal is a command`() {
        var assembler = CommandAssembler(limits: .beforeLogin)
        #expect(step(&assembler, "a NOOP") == .command)
    }

    @Test func `literals are asked for and put in place`() throws {
        var assembler = CommandAssembler(limits: .beforeLogin)
        #expect(
            step(&assembler, "a LOGIN {3}") == .literal(.init(count: 3, isSynchronizing: true)))
        assembler.add(literal: Array("bob"))
        #expect(
            step(&assembler, " {4+}") == .literal(.init(count: 4, isSynchronizing: false)))
        assembler.add(literal: Array("a b\n"))
        #expect(step(&assembler, "") == .command)
        #expect(
            try TaggedCommand(assembler.octets).command
                == .login(name: Array("bob"), password: Array("a b\n")))
    }

    @Test(arguments: ["{2147483647}", "{99999999999999}", "{100000000+}", "{4097}"])
    func `large literals before login are refused without reading`(literal: String) {
        var assembler = CommandAssembler(limits: .beforeLogin)
        guard case .refused(.tooBig, _) = step(&assembler, "a LOGIN \(literal)") else {
            return #expect(Bool(false))
        }
    }

    @Test func `many small literals are bounded together`() {
        var assembler = CommandAssembler(limits: .beforeLogin)
        var line = "a LOGIN {4000+}"
        for _ in 0..<10 {
            guard case .literal(let literal) = step(&assembler, line) else { return }
            assembler.add(literal: [UInt8](repeating: 0x61, count: literal.count))
            line = " {4000+}"
        }
        #expect(Bool(false), "40 KB were taken from a stranger")
    }

    @Test func `an APPEND before login is none`() {
        var assembler = CommandAssembler(limits: .beforeLogin)
        #expect(step(&assembler, "A1 APPEND INBOX CATENATE (URL x)") == .command)
    }

    @Test func `an APPEND that is too long is refused`() {
        var assembler = CommandAssembler(limits: open)
        #expect(
            step(&assembler, "A1 APPEND INBOX {1048577}")
                == .refused(.tooBig, .init(count: 1_048_577, isSynchronizing: true)))
    }

    @Test(arguments: ["a {x}", "a {}", "a {1", "a 1}", "{5}x", "a {+}", "}", ""])
    func `what only looks like a literal is none`(line: String) {
        #expect(CommandAssembler.literal(atEndOf: Array(line)) == nil)
    }
}
