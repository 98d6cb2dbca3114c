// SPDX-License-Identifier: Apache-2.0
//
// APPEND with many messages, parts and kinds of literals, REPLACE, and the URLs of CATENATE.
// RFC 3502 §6.3.11, RFC 4469 §3, RFC 8508 §4, RFC 5092 §9.

import Bytes
import Mail
import Testing

@testable import IMAP

private func command(_ line: String) -> AppendCommand? {
    try? AppendCommand(prefix: Array(line.utf8))
}

/// Steps in words, with the literals of `texts` in between.
private func steps(
    _ line: String, _ more: [String] = [], urls: [String] = [], utf8: Bool = false
) -> [String] {
    guard let append = command(line) else { return ["none"] }
    var reader = AppendReader(append.rest, allowsUTF8: utf8)
    var lines = more[...]
    var names = urls[...]
    var found: [String] = []
    func text(_ octets: [UInt8]) -> String { String(decoding: octets, as: UTF8.self) }
    do throws(CommandError) {
        while found.count < 100 {
            switch try reader.next() {
            case .begin(let flags, let date):
                let names = flags.keywords.map(text).joined(separator: ",")
                found.append("begin \(flags.system.rawValue) \(names) \(date ?? 0)")
            case .literal(let literal, let isBinary):
                found.append(
                    (isBinary ? "binary" : "literal") + " \(literal.count)"
                        + (literal.isSynchronizing ? "" : "+"))
                reader.add(line: Array((lines.popFirst() ?? "").utf8))
            case .url(let url): found.append("url " + text(url))
            case .urlLiteral(let literal):
                found.append("url literal \(literal.count)")
                reader.add(url: Array((names.popFirst() ?? "").utf8))
                reader.add(line: Array((lines.popFirst() ?? "").utf8))
            case .end: found.append("end")
            case .done: return found + ["done"]
            }
        }
    } catch {
        found.append("\(error)")
    }
    return found
}

@Suite("APPEND and REPLACE")
struct AppendTests {
    @Test func `its start has a tag and a mailbox`() throws {
        let append = try #require(command(#"A1 append "Sent Mail" (\Seen) {310}"#))
        #expect(append.tag == Array("A1".utf8) && append.mailbox == Array("Sent Mail".utf8))
        #expect(append.replaced == nil && append.rest == Array(#" (\Seen) {310}"#.utf8))
    }

    @Test(arguments: [
        ("A003 REPLACE 4 Drafts {5}", 4, false), ("a UID REPLACE 2000 Drafts {5}", 2_000, true),
        ("a replace * Drafts {5}", 0, false),
    ])
    func `a REPLACE has a number`(_ line: String, _ number: UInt32, _ byUID: Bool) throws {
        let append = try #require(command(line))
        #expect(append.replaced?.number == number && append.replaced?.byUID == byUID)
        #expect(append.mailbox == Array("Drafts".utf8) && append.name == "REPLACE")
    }

    @Test(arguments: [
        "a APPEND {5}", "a APPENDLIMIT x", "a RENAME x y", "a UID FETCH 1 FLAGS", "a", "",
        "a REPLACE x y", "a REPLACE 1 {5}", "a UID COPY 1 x",
    ])
    func `other commands, and a name still to come, are none`(_ line: String) {
        #expect(command(line) == nil)
    }

    @Test func `one message`() {
        #expect(
            steps(#"a APPEND x (\Seen $x) "17-Jul-1996 02:44:25 -0700" {310}"#)
                == ["begin 1 $x 837596665", "literal 310", "end", "done"])
        #expect(steps("a APPEND x {0+}") == ["begin 0  0", "literal 0+", "end", "done"])
    }

    /// RFC 3502 §6.3.11.
    @Test func `many messages`() {
        #expect(
            steps(
                "A003 APPEND saved-messages (\\Seen) {329}",
                [" (\\Seen) \" 7-Feb-1994 22:43:04 -0800\" {295}", " {5+}", ""])
                == [
                    "begin 1  0", "literal 329", "end", "begin 1  760689784", "literal 295", "end",
                    "begin 0  0", "literal 5+", "end", "done",
                ])
    }

    /// RFC 4469 §5.
    @Test func `parts`() {
        let url = "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER"
        #expect(
            steps(
                #"A003 APPEND Drafts (\Seen \Draft $MDNSent) CATENATE (URL "\#(url)" TEXT {42}"#,
                [" URL \"/x;UID=1\" TEXT {5+}", ")"])
                == [
                    "begin 17 $MDNSent 0", "url " + url, "literal 42", "url /x;UID=1", "literal 5+",
                    "end", "done",
                ])
        #expect(
            steps("a APPEND x CATENATE (URL {9}", [" URL /y;UID=2) {3}", ""], urls: ["/x;UID=1"])
                == [
                    "begin 0  0", "url literal 9", "url /x;UID=1", "url /y;UID=2", "end",
                    "begin 0  0", "literal 3", "end", "done",
                ])
    }

    @Test func `binary and UTF-8 literals`() {
        #expect(steps("a APPEND x ~{5+}") == ["begin 0  0", "binary 5+", "end", "done"])
        #expect(
            steps("a APPEND x UTF8 (~{5}", [")"], utf8: true)
                == ["begin 0  0", "binary 5", "end", "done"])
        #expect(steps("a APPEND x UTF8 (~{5}", [")"]).last?.hasPrefix("syntax") == true)
        #expect(steps("a APPEND x UTF8 ({5}", [")"], utf8: true).last?.hasPrefix("syntax") == true)
    }

    @Test(arguments: [
        "a APPEND x", "a APPEND x ", "a APPEND x (\\Seen", "a APPEND x (\\Seen)",
        "a APPEND x \"31-Feb-2020 00:00:00 +0000\" {5}", "a APPEND x CATENATE", "a APPEND x {5} ",
        "a APPEND x CATENATE ()", "a APPEND x CATENATE (TEXT x)", "a APPEND x CATENATE (URL)",
        "a APPEND x CATENATE (URL y", "a APPEND x text", "a APPEND x {}", "a APPEND x {5+",
        "a APPEND x{5}", "a APPEND x {5}",
    ])
    func `what is no message is an error`(_ line: String) {
        let last = steps(line, ["junk"]).last ?? ""
        #expect(last.hasPrefix("syntax") || last.hasPrefix("bad"))
    }

    @Test func `parts are counted`() {
        let parts = Array(repeating: "URL x", count: AppendReader.partLimit + 1)
        var reader = AppendReader(
            Array(" CATENATE (\(parts.joined(separator: " ")))".utf8), allowsUTF8: false)
        var count = 0
        #expect(throws: CommandError.tooComplex) {
            while true {
                if case .url = try reader.next() { count += 1 }
            }
        }
        #expect(count == AppendReader.partLimit)
    }
}

@Suite("URLs of messages")
struct MessageURLTests {
    private func url(_ text: String) -> MessageURL? { MessageURL(Array(text.utf8)) }

    @Test func `a message and a part`() throws {
        let whole = try #require(url("/Drafts;UIDVALIDITY=385759045/;UID=20"))
        #expect(whole.mailbox == Array("Drafts".utf8) && whole.uidValidity == 385_759_045)
        #expect(whole.uid == 20 && whole.section.isWholeMessage && whole.partial == nil)
        let part = try #require(
            url("/a%20b/%C3%BC;uidvalidity=1/;uid=7/;section=1.2.MIME/;partial=5.10"))
        #expect(part.mailbox == Array("a b/ü".utf8))
        #expect(part.section == Section(part: [1, 2], text: .mime))
        #expect(part.partial == Section.Partial(start: 5, count: 10))
        let fields = try #require(url("/x/;UID=7/;SECTION=HEADER.FIELDS%20(To%20Cc)"))
        #expect(
            fields.section
                == Section(text: .headerFields([Array("To".utf8), Array("Cc".utf8)])))
        #expect(url("/x;UID=1/;PARTIAL=0")?.partial?.start == 0)
    }

    @Test func `a server and a user`() throws {
        let there = try #require(url("imap://joe%40x.example;AUTH=*@Mail.Example:143/x/;UID=1"))
        #expect(there.user == Array("joe@x.example".utf8))
        #expect(there.host == Array("mail.example".utf8) && there.mailbox == Array("x".utf8))
        let selected = try #require(url(";UID=1/;SECTION=1"))
        #expect(selected.host == nil && selected.mailbox == nil)
        #expect(url("/;UID=1")?.mailbox == nil)
    }

    @Test(arguments: [
        "", "/", "/x", "/x;UID=", "/x;UID=0", "/x;UID=4294967296", "/x;UIDVALIDITY=0/;UID=1",
        "/x;UIDVALIDITY=a/;UID=1", "/x;UID=1/;SECTION=", "/x;UID=1;URLAUTH=anonymous:internal:ab",
        "/x;UID=1/;SECTION=1/;URLAUTH=user+joe:internal:ab", "/x;UID=1/;SECTION=nonsense",
        "/%4;UID=1", "/%zz;UID=1", "/x;UID=1/;PARTIAL=", "/x;UID=1/;PARTIAL=5.0", "/x y;UID=1",
        "imap://host", "imap:///x;UID=1", "http://host/x;UID=1/;x", "imap://h:x/x;UID=1",
        "/ü;UID=1",
        "imap://h/;UID=1", "/x;FOO=1/;UID=1",
    ])
    func `anything else is none`(_ text: String) {
        if text == "/x;UID=1/;SECTION=" {
            return #expect(url(text)?.section.isWholeMessage == true)
        }
        #expect(url(text) == nil)
    }
}
