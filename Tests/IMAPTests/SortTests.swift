// SPDX-License-Identifier: Apache-2.0
//
// RETURN options, SORT and THREAD: their grammar, the order of messages, and threads. RFC 4731,
// RFC 5256 with its examples, RFC 9394.

import Bytes
import IMAP
import MIME
import Mail
import Testing

private func parse(_ command: String) throws(CommandError) -> Command {
    try TaggedCommand(Array("a \(command)".utf8)).command
}

@Suite("RETURN, RFC 4731, RFC 5182, RFC 9394")
struct SearchReturnTests {
    private func returns(_ options: String) throws -> SearchReturn? {
        guard case .search(let program, _) = try parse("SEARCH RETURN \(options) ALL") else {
            throw CommandError.unknownCommand
        }
        return program.returns
    }

    @Test func `options are read in any case and order`() throws {
        #expect(try returns("()")?.options == .all)
        #expect(try returns("(min MAX)")?.options == [.min, .max])
        #expect(try returns("(COUNT ALL)")?.options == [.count, .all])
        #expect(try returns("(SAVE)")?.options == .save)
        #expect(try returns("(PARTIAL 1:500 COUNT)")?.partial == PartialRange(1, 500))
        #expect(
            try returns("(PARTIAL -1:-100)")?.partial == PartialRange(1, 100, isFromEnd: true))
        guard case .search(let program, true) = try parse("UID SEARCH SEEN") else {
            throw CommandError.unknownCommand
        }
        #expect(program.returns == nil)
    }

    @Test(arguments: [
        "", "(MINI)", "(MIN", "MIN", "(PARTIAL)", "(PARTIAL 0:1)", "(PARTIAL 1)",
        "(PARTIAL -1:2)", "(PARTIAL 1:-2)", "(PARTIAL 1:2 PARTIAL 3:4)", "(PARTIAL 1:2 ALL)",
        "(PARTIAL 1:4294967296)",
    ])
    func `what RETURN cannot be`(_ options: String) {
        #expect(throws: CommandError.self) { _ = try returns(options) }
    }

    @Test(arguments: [
        (PartialRange(1, 3), 0..<3), (PartialRange(3, 1), 0..<3), (PartialRange(4, 100), 3..<10),
        (PartialRange(10, 10), 9..<10), (PartialRange(11, 20), 10..<10),
        (PartialRange(1, 3, isFromEnd: true), 7..<10),
        (PartialRange(9, 100, isFromEnd: true), 0..<2),
        (PartialRange(.max, .max, isFromEnd: true), 0..<0),
    ])
    func `a stretch of ten`(_ range: PartialRange, _ places: Range<Int>) {
        #expect(range.places(of: 10) == places)
    }

    @Test func `a stretch of ranges`() {
        let ranges = [2..<4, 7..<8, 10..<20]
        #expect(PartialRange(2, 4).stretch(of: ranges) == [3..<4, 7..<8, 10..<11])
        #expect(PartialRange(1, 11, isFromEnd: true).stretch(of: ranges) == [7..<8, 10..<20])
        #expect(PartialRange(14, 99).stretch(of: ranges) == [])
        #expect(PartialRange(1, 99).stretch(of: []) == [])
    }

    @Test func `the saved result is a set of its own`() throws {
        guard case .fetch(let fetch) = try parse("FETCH $ FLAGS") else {
            throw CommandError.unknownCommand
        }
        #expect(fetch.set.isSaved)
        #expect(throws: CommandError.self) { _ = try parse("FETCH $,1 FLAGS") }
        #expect(throws: CommandError.self) { _ = try parse("FETCH 1,$ FLAGS") }
        for keys in ["$", "UID $", "(OR $ SEEN) NOT $"] {
            #expect(throws: Never.self) { _ = try parse("SEARCH \(keys)") }
        }
    }
}

/// A message as the tests write it.
private struct Letter {
    var header: String
    var arrived: SecondsSince1970
    var size: UInt32 = 100

    init(_ header: String, arrived: SecondsSince1970 = 0, size: UInt32 = 100) {
        self.header = header
        self.arrived = arrived
        self.size = size
    }

    func add<Collector: KeyCollector>(_ place: Int, to collector: inout Collector) throws {
        let octets = Array(header.replacing("\n", with: "\r\n").utf8) + [0x0D, 0x0A]
        let packed = ListKeys(octets.span, 0..<octets.count).packed
        let entry = MessageEntry(
            uid: UInt32(place) + 1, size: size, flags: [], modSeq: 1, internalDate: arrived)
        // Not at the beginning of the octets, as in a run of rows
        let row = [0xFF] + packed + [0xFF]
        guard let keys = ListKeyRow(row.span, 1..<packed.count + 1) else {
            throw CommandError.unknownCommand
        }
        collector.add(place, entry, keys, row.span)
    }
}

@Suite("SORT, RFC 5256 §2, §3")
struct SortTests {
    private func order(_ keys: String, _ letters: [Letter]) throws -> [Int] {
        guard case .sort(let command) = try parse("SORT (\(keys)) UTF-8 ALL") else {
            throw CommandError.unknownCommand
        }
        var columns = SortColumns(command.order, count: letters.count)
        for (place, letter) in letters.enumerated() { try letter.add(place, to: &columns) }
        return columns.sorted().map { $0 + 1 }
    }

    @Test func `subject, then the number`() throws {
        let letters = ["Zebra", "re: apple", "Fwd: APPLE", "[list] Re: berry", ""].map {
            Letter("Subject: \($0)\n")
        }
        #expect(try order("SUBJECT", letters) == [5, 2, 3, 4, 1])
        #expect(try order("REVERSE SUBJECT", letters) == [1, 4, 2, 3, 5])
    }

    @Test func `texts of which one begins with the other, and beyond eight octets`() throws {
        let letters = ["abcdefghij", "abcdefgh", "abcdefghi", "abcdefgha"].map {
            Letter("Subject: \($0)\n")
        }
        #expect(try order("SUBJECT", letters) == [2, 4, 3, 1])
    }

    @Test func `without a date INTERNALDATE counts`() throws {
        let letters = [
            Letter("Date: Mon, 7 Feb 1994 21:52:25 -0800\n", arrived: 10),
            Letter("Date: nonsense\n", arrived: 760_686_744),
            Letter("", arrived: 760_686_746),
            Letter("Date: 1 Jan 1960 00:00:00 +0000\n", arrived: 5),
        ]
        #expect(try order("DATE", letters) == [4, 2, 1, 3])
        #expect(try order("ARRIVAL", letters) == [4, 1, 2, 3])
        #expect(try order("REVERSE DATE", letters) == [3, 1, 2, 4])
    }

    @Test func `REVERSE is of the key behind it only`() throws {
        let letters = [
            Letter("From: b@x\n", size: 1), Letter("From: a@x\n", size: 2),
            Letter("From: b@x\n", size: 3), Letter("From: a@y\n", size: 4),
        ]
        #expect(try order("FROM REVERSE SIZE", letters) == [4, 2, 3, 1])
        #expect(try order("REVERSE FROM SIZE", letters) == [1, 3, 2, 4])
        #expect(try order("REVERSE FROM", letters) == [1, 3, 2, 4])
    }

    @Test func `DISPLAYFROM is the name, FROM the local-part`() throws {
        let letters = [
            Letter("From: \"Zoe\" <a@x>\nTo: b@x\nCc: z@x\n"),
            Letter("From: m@x\nTo: Alan <z@x>\nCc: a@x\n"),
        ]
        #expect(try order("DISPLAYFROM", letters) == [2, 1])
        #expect(try order("FROM", letters) == [1, 2])
        #expect(try order("DISPLAYTO", letters) == [2, 1])
        #expect(try order("TO", letters) == [1, 2])
        #expect(try order("CC", letters) == [2, 1])
    }

    @Test(arguments: [
        "SORT (DATE) ALL", "SORT () UTF-8 ALL", "SORT DATE UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE DATE) UTF-8 ALL", "SORT (NOSUCH) UTF-8 ALL", "SORT (DATE) UTF-8",
        "SORT (DATE UTF-8 ALL", "THREAD NOSUCH UTF-8 ALL", "THREAD REFERENCES ALL",
        "THREAD REFERENCES UTF-8", "SORT RETURN (DATE) UTF-8 ALL",
    ])
    func `what SORT and THREAD cannot be`(_ command: String) {
        #expect(throws: CommandError.self) { _ = try parse(command) }
    }
}

@Suite("THREAD, RFC 5256 §3")
struct ThreadTests {
    private func threads(_ algorithm: ThreadAlgorithm, _ letters: [Letter]) throws -> String {
        let numbers = letters.indices.map { UInt32($0) + 1 }
        var builder = ThreadBuilder(algorithm, numbers: numbers)
        for (place, letter) in letters.enumerated() { try letter.add(place, to: &builder) }
        var writer = ThreadForest.Writer(builder.finish())
        var octets: [UInt8] = []
        // In small pieces: what is written does not depend on them
        while true {
            var piece: [UInt8] = []
            let more = writer.append(to: &piece, limit: 1)
            octets += piece
            if !more { return String(decoding: octets, as: UTF8.self) }
        }
    }

    private func letter(
        _ id: String, _ references: String = "", subject: String = "", at time: Int64
    ) -> Letter {
        Letter(
            "Message-ID: <\(id)>\nReferences: \(references)\nSubject: \(subject)\n", arrived: time)
    }

    @Test func `a chain with two branches`() throws {
        // The tree of the example in §4: (2)(3 6 (4 23)(44 7 96)), with other numbers
        let letters = [
            letter("a", at: 1), letter("b", at: 2), letter("c", "<b>", at: 3),
            letter("d", "<b> <c>", at: 4), letter("e", "<b> <c> <d>", at: 5),
            letter("f", "<b> <c>", at: 6), letter("g", "<b> <c> <f>", at: 7),
            letter("h", "<b> <c> <f> <g>", at: 8),
        ]
        let tree = "(1)(2 3 (4 5)(6 7 8))"
        #expect(try threads(.references, letters) == tree)
        #expect(try threads(.refs, letters) == tree)
    }

    @Test func `a parent that is not there has several children, or none`() throws {
        let letters = [
            letter("a", "<gone>", at: 1), letter("b", "<gone>", at: 2),
            letter("c", "<lost>", at: 3), letter("d", "<x> <y> <a>", at: 4),
        ]
        #expect(try threads(.references, letters) == "((1 4)(2))(3)")
    }

    @Test func `messages between two that are gone are left out`() throws {
        let letters = [letter("a", at: 1), letter("d", "<a> <b> <c>", at: 2)]
        #expect(try threads(.references, letters) == "(1 2)")
    }

    @Test func `order is that of dates, not of arrival in the mailbox`() throws {
        let letters = [
            letter("c", "<a>", at: 9), letter("b", "<a>", at: 5), letter("a", at: 1),
            letter("z", at: 0),
        ]
        #expect(try threads(.references, letters) == "(4)(3 (2)(1))")
    }

    @Test func `loops and twins`() throws {
        let letters = [
            letter("a", "<b>", at: 1), letter("b", "<a>", at: 2), letter("b", at: 3),
            letter("c", "<c>", at: 4), letter("d", "<e> <d> <e>", at: 5),
        ]
        #expect(try threads(.references, letters) == "(2 1)(3)(4)(5)")
    }

    @Test func `a truncated References field does not win over the message itself`() throws {
        // <c> refers to <a> <b>, but b says that it answers <x>
        let letters = [
            letter("c", "<a> <b>", at: 3), letter("x", at: 1), letter("b", "<x>", at: 2),
        ]
        #expect(try threads(.references, letters) == "(2 3 1)")
    }

    @Test func `roots of one subject come together, as the RFC says for each case`() throws {
        // A reply under the original, whatever the order
        let reply = [
            letter("a", subject: "Re: tea", at: 1), letter("b", subject: "tea", at: 2),
            letter("c", subject: "Fwd: TEA", at: 3),
        ]
        #expect(try threads(.references, reply) == "(2 (1)(3))")
        #expect(try threads(.refs, reply) == "(1)(2)(3)")
        // Two originals: a dummy, into which the next goes too
        let equals = [
            letter("a", subject: "tea", at: 1), letter("b", subject: "tea", at: 2),
            letter("c", subject: "re: tea", at: 3),
        ]
        #expect(try threads(.references, equals) == "((1)(2)(3))")
        // Two dummies become one
        let dummies = [
            letter("a", "<x>", subject: "tea", at: 1), letter("b", "<x>", subject: "tea", at: 4),
            letter("c", "<y>", subject: "tea", at: 2), letter("d", "<y>", subject: "tea", at: 3),
        ]
        #expect(try threads(.references, dummies) == "((1)(3)(4)(2))")
        // Nothing is no subject
        let empty = [letter("a", at: 1), letter("b", subject: "Re:", at: 2)]
        #expect(try threads(.references, empty) == "(1)(2)")
    }

    @Test func `REFS sorts threads by what came last`() throws {
        let letters = [
            letter("a", at: 1), letter("b", at: 2), letter("c", "<a>", at: 3),
        ]
        #expect(try threads(.refs, letters) == "(2)(1 3)")
        #expect(try threads(.references, letters) == "(1 3)(2)")
    }

    @Test func `ORDEREDSUBJECT is one level deep`() throws {
        let letters = [
            letter("a", subject: "tea", at: 3), letter("b", subject: "milk", at: 2),
            letter("c", "<zz>", subject: "Re: tea", at: 4), letter("d", subject: "tea", at: 1),
            letter("e", "<b>", subject: "re: milk", at: 9),
        ]
        #expect(try threads(.orderedSubject, letters) == "(4 (1)(3))(2 5)")
    }

    @Test func `a chain of many messages is threaded in no time and written without recursion`()
        throws
    {
        let count = 4_000
        let letters = (0..<count).map { number in
            letter("m\(number)", number == 0 ? "" : "<m\(number - 1)>", at: Int64(number))
        }
        let tree = try threads(.references, letters)
        #expect(tree == "(" + (1...count).map { "\($0)" }.joined(separator: " ") + ")")
        let backwards = (0..<count).map { number in
            letter("m\(number)", "<m\(number + 1)>", at: Int64(number))
        }
        #expect(try threads(.references, backwards).hasPrefix("(\(count) \(count - 1) "))
    }

    @Test func `every message is in the answer once, whatever the headers say`() throws {
        var seed: UInt64 = 7
        func random(_ limit: UInt64) -> UInt64 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (seed >> 33) % limit
        }
        for _ in 0..<200 {
            let letters = (0..<30).map { _ in
                let references = (0..<random(4)).map { _ in "<\(random(20))>" }
                return letter(
                    "\(random(25))", references.joined(separator: " "),
                    subject: ["", "a", "Re: a", "b", "Fwd: b"][Int(random(5))],
                    at: Int64(random(10)))
            }
            for algorithm in ThreadAlgorithm.allCases {
                let tree = try threads(algorithm, letters)
                let numbers = tree.split { !$0.isNumber }.compactMap { Int($0) }.sorted()
                #expect(numbers == Array(1...30), "\(tree)")
                #expect(tree.count { $0 == "(" } == tree.count { $0 == ")" })
            }
        }
    }
}
