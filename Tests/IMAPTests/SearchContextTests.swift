// SPDX-License-Identifier: Apache-2.0
//
// Searches that are followed, and searches of several mailboxes. RFC 5267 §4, RFC 7377 §2.

import Bytes
import IMAP
import Mail
import Testing

private func parse(_ command: String) throws(CommandError) -> Command {
    try TaggedCommand(Array("a \(command)".utf8)).command
}

private func program(_ keys: String) throws -> SearchProgram {
    guard case .search(let program, _) = try parse("SEARCH RETURN (UPDATE) \(keys)") else {
        throw CommandError.unknownCommand
    }
    return program
}

@Suite("followed searches, RFC 5267 §4")
struct SearchContextTests {
    private func context(
        _ known: [UInt32], sorted: Bool = false, byUID: Bool = true
    ) throws -> SearchContext {
        SearchContext(
            tag: Array("B01"), try program("SEEN"),
            order: sorted ? [SortCriterion(.date)] : nil, byUID: byUID, known: known)
    }

    private func told(
        _ context: inout SearchContext, _ found: [UInt32]
    ) -> [String] {
        var writer = ResponseWriter()
        context.update(found, number: { $0 / 10 }, to: &writer)
        #expect(context.known == found)
        return String(decoding: writer.octets, as: UTF8.self).split(separator: "\r\n").map {
            String($0)
        }
    }

    @Test func `in the order of the mailbox positions are 0`() throws {
        var context = try context([10, 20, 30])
        #expect(told(&context, [10, 20, 30]).isEmpty)
        #expect(
            told(&context, [10, 30, 40, 41]) == [
                "* ESEARCH (TAG \"B01\") UID REMOVEFROM (0 20)",
                "* ESEARCH (TAG \"B01\") UID ADDTO (0 40:41)",
            ])
        #expect(told(&context, []) == ["* ESEARCH (TAG \"B01\") UID REMOVEFROM (0 10,30,40:41)"])
    }

    @Test func `numbers if the client asked for them`() throws {
        var context = try context([10], byUID: false)
        #expect(
            told(&context, [20, 30]) == [
                "* ESEARCH (TAG \"B01\") REMOVEFROM (0 1)",
                "* ESEARCH (TAG \"B01\") ADDTO (0 2:3)",
            ])
    }

    /// What a client makes of it (RFC 5267 §4.3.3 and §4.3.4).
    private func follow(_ list: [UInt32], _ lines: [String]) -> [UInt32] {
        var list = list
        for line in lines {
            let words = line.split { " ()".contains($0) }
            let numbers = words.drop { $0 != "ADDTO" && $0 != "REMOVEFROM" }.dropFirst()
                .compactMap { UInt32($0) }
            for place in stride(from: 0, to: numbers.count, by: 2) {
                let index = Int(numbers[place]) - 1
                if line.contains("ADDTO") {
                    list.insert(numbers[place + 1], at: index)
                } else {
                    #expect(list.remove(at: index) == numbers[place + 1])
                }
            }
        }
        return list
    }

    @Test(
        arguments: [
            ([5, 4, 3, 2, 1], [4, 2]), ([1], [3, 2, 1, 4]), ([9, 8, 7], [6, 9, 5, 7, 4]),
            ([], [2, 1]),
            ([1, 2], []), ([1, 2, 3], [1, 2, 3]),
        ] as [([UInt32], [UInt32])])
    func `a client that does what positions say has the sorted list`(
        _ before: [UInt32], _ after: [UInt32]
    ) throws {
        var context = try context(before, sorted: true)
        #expect(follow(before, told(&context, after)) == after)
    }

    @Test func `only what means the same later can be followed`() throws {
        for keys in ["ALL", "UID 1:5 SEEN", "NOT (SUBJECT x)", "MODSEQ 5", "BEFORE 1-Jan-2020"] {
            #expect(try program(keys).canBeFollowed, "\(keys)")
        }
        for keys in [
            "1:5", "UID 1:*", "SEEN $", "OR SEEN UID $", "NOT OLDER 5", "(SEEN (YOUNGER 9))",
        ] {
            #expect(try !program(keys).canBeFollowed, "\(keys)")
        }
        #expect(try parse("CANCELUPDATE \"a\" \"b\"") == .cancelUpdate(tags: [[0x61], [0x62]]))
        #expect(throws: CommandError.self) { _ = try parse("CANCELUPDATE") }
        #expect(throws: CommandError.self) { _ = try parse("CANCELUPDATE a") }
    }
}

@Suite("ESEARCH, RFC 7377")
struct MultiSearchTests {
    private func command(_ text: String) throws -> MultiSearchCommand {
        guard case .multiSearch(let command) = try parse(text) else {
            throw CommandError.unknownCommand
        }
        return command
    }

    @Test func `sources in any case, one name or several`() throws {
        let command = try command(
            "ESEARCH IN (mailboxes \"folder1\" subtree \"folder2\" SUBTREE-ONE (a b) Personal "
                + "inboxes subscribed selected) RETURN (COUNT) unseen")
        #expect(
            command.sources == [
                .mailboxes([Array("folder1")]), .subtree([Array("folder2")]),
                .subtreeOne([Array("a"), Array("b")]), .personal, .inboxes, .subscribed, .selected,
            ])
        #expect(command.program.returns?.options == .count)
        #expect(!command.isOfSelected)
    }

    @Test func `without IN it is the selected mailbox, without RETURN all`() throws {
        let command = try command("ESEARCH CHARSET UTF-8 1:5 SUBJECT x")
        #expect(command.isOfSelected)
        #expect(command.program.returns?.options == .all)
        #expect(try self.command("ESEARCH IN (selected) RETURN (SAVE) $").isOfSelected)
    }

    @Test(arguments: [
        "ESEARCH", "ESEARCH IN ALL", "ESEARCH IN () ALL", "ESEARCH IN (nosuch) ALL",
        "ESEARCH IN (mailboxes) ALL", "ESEARCH IN (mailboxes ()) ALL", "ESEARCH IN (personal ALL",
        "ESEARCH IN (personal) 1:5", "ESEARCH IN (personal) NOT UID 3", "ESEARCH IN (inboxes) $",
        "ESEARCH IN (personal) RETURN (SAVE) ALL", "ESEARCH IN (personal) RETURN (UPDATE) ALL",
    ])
    func `what ESEARCH cannot be`(_ text: String) {
        #expect(throws: CommandError.self) { _ = try command(text) }
    }

    @Test func `names are counted`() {
        let names = String(repeating: "x ", count: 257)
        #expect(throws: CommandError.tooComplex) {
            _ = try command("ESEARCH IN (mailboxes (\(names)y)) ALL")
        }
    }
}
