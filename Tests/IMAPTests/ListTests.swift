// SPDX-License-Identifier: Apache-2.0
//
// Rows of LIST and LSUB, and line ends of uploads. RFC 3501 §6.3.8, §6.3.9; RFC 5258.

import Bytes
import IMAP
import Mail
import Testing

@Suite("LIST rows, RFC 5258")
struct ListRowsTests {
    private static func mailbox(
        _ name: String, _ use: SpecialUse = .none, selectable: Bool = true,
        subscribed: Bool = false
    ) throws -> MailboxInfo {
        MailboxInfo(
            name: try #require(MailboxName(Array(name))), specialUse: use,
            isSelectable: selectable, isSubscribed: subscribed)
    }

    /// INBOX, Sent, a (only a level), a/b, a/b/c, and "gone", which is subscribed but deleted.
    private static func account() throws -> [MailboxInfo] {
        [
            try mailbox("a", selectable: false), try mailbox("a/b"),
            try mailbox("a/b/c", subscribed: true), try mailbox("INBOX", subscribed: true),
            try mailbox("Sent", .sent), try mailbox("Junk", .junk),
            try mailbox("gone", selectable: false, subscribed: true),
        ]
    }

    private func rows(_ command: String) throws -> [String] {
        guard case .list(let list) = try TaggedCommand(Array("a " + command)).command else {
            throw CommandError.unknownCommand
        }
        let patterns = list.patterns.compactMap { ListPattern(list.reference + $0) }
        return ListRows(try Self.account()).rows(for: list, patterns).map { row in
            let child = row.hasSubscribedChild ? " +" : ""
            return "\(row.attributes.joined(separator: " ")) \(row.name.text)\(child)"
        }
    }

    @Test func `LIST names what exists, INBOX first`() throws {
        #expect(
            try rows("LIST \"\" *") == [
                "\\HasNoChildren INBOX", "\\HasNoChildren \\Junk Junk",
                "\\HasNoChildren \\Sent Sent", "\\Noselect \\HasChildren a", "\\HasChildren a/b",
                "\\HasNoChildren a/b/c",
            ])
    }

    @Test func `a percent sign stays on its level`() throws {
        #expect(try rows("LIST \"\" a/%") == ["\\HasChildren a/b"])
        #expect(try rows("LIST a/ %") == ["\\HasChildren a/b"])
    }

    @Test func `Thunderbird's LIST of subscriptions`() throws {
        #expect(
            try rows("LIST (SUBSCRIBED) \"\" \"*\" RETURN (SPECIAL-USE)") == [
                "\\HasNoChildren \\Subscribed INBOX", "\\HasNoChildren \\Subscribed a/b/c",
                "\\NonExistent \\HasNoChildren \\Subscribed gone",
            ])
    }

    @Test func `RECURSIVEMATCH names parents of what is subscribed`() throws {
        #expect(
            try rows("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %") == [
                "\\HasNoChildren \\Subscribed INBOX", "\\NonExistent \\HasChildren a +",
                "\\NonExistent \\HasNoChildren \\Subscribed gone",
            ])
    }

    @Test func `special uses can be asked for alone`() throws {
        #expect(
            try rows("LIST (SPECIAL-USE) \"\" *") == [
                "\\HasNoChildren \\Junk Junk", "\\HasNoChildren \\Sent Sent",
            ])
    }

    @Test func `LSUB names parents of subscriptions only for a percent sign`() throws {
        #expect(
            try rows("LSUB \"\" *") == [
                "\\HasNoChildren INBOX", "\\HasNoChildren a/b/c", "\\HasNoChildren gone",
            ])
        #expect(
            try rows("LSUB \"\" %") == [
                "\\HasNoChildren INBOX", "\\HasNoChildren gone", "\\Noselect a",
            ])
        #expect(try rows("LSUB \"\" a/%") == ["\\Noselect a/b"])
    }

    @Test func `XLIST calls special mailboxes as Gmail did`() throws {
        #expect(
            try rows("XLIST \"\" %").prefix(2) == [
                "\\HasNoChildren \\Inbox INBOX", "\\HasNoChildren \\Spam Junk",
            ])
    }
}

@Suite("Line ends of uploads")
struct LineEndingsTests {
    @Test(arguments: [
        ("a\nb\n", "a\r\nb\r\n"), ("a\r\nb\r\n", "a\r\nb\r\n"), ("\n\n", "\r\n\r\n"),
        ("a\rb\r\n", "a\rb\r\n"), ("a\r\r\n", "a\r\r\n"), ("", ""),
    ])
    func `bare LF becomes CRLF wherever the chunks are cut`(text: String, wanted: String) {
        let octets = Array(text.utf8)
        for cut in 0...octets.count {
            var endings = LineEndings()
            var message: [UInt8] = []
            endings.append(Array(octets[..<cut]).span, to: &message)
            endings.append(Array(octets[cut...]).span, to: &message)
            #expect(message == Array(wanted.utf8))
        }
    }
}
