// SPDX-License-Identifier: Apache-2.0
//
// Responses octet by octet. RFC 3501 §7.

import Bytes
import IMAP
import Mail
import Testing

@Suite("Responses, RFC 3501 §7")
struct WritingTests {
    private func written(_ body: (inout ResponseWriter) -> Void) -> String {
        var writer = ResponseWriter()
        body(&writer)
        return String(decoding: writer.octets, as: UTF8.self)
    }

    @Test func `a FETCH line from the view`() {
        let entry = MessageEntry(
            uid: 17, size: 2048, flags: [.seen, .keyword(0)], modSeq: 5, internalDate: 837_593_065)
        let line = written { writer in
            writer.startFetch(number: 12)
            for attribute: FetchAttribute in [.uid, .flags, .size, .internalDate, .modSeq] {
                let isKnown = writer.item(attribute, of: entry, keywords: [Array("$A")])
                #expect(isKnown)
                writer.write(" ")
            }
            writer.write(")\r\n")
        }
        #expect(
            line == "* 12 FETCH (UID 17 FLAGS (\\Seen $A) RFC822.SIZE 2048 "
                + "INTERNALDATE \"17-Jul-1996 08:44:25 +0000\" MODSEQ (5) )\r\n")
    }

    @Test func `strings that cannot be quoted are literals`() {
        #expect(written { $0.string(Array("a b")) } == "\"a b\"")
        #expect(written { $0.string(Array("a\"b")) } == "{3}\r\na\"b")
        #expect(written { $0.string(Array("é")) } == "{2}\r\né")
        #expect(written { $0.string([]) } == "\"\"")
    }

    @Test func `mailbox names are quoted in modified UTF-7`() throws {
        let name = try #require(MailboxName(Array("Entwürfe \"x\"")))
        #expect(written { $0.mailbox(name) } == "\"Entw&APw-rfe \\\"x\\\"\"")
        #expect(written { $0.mailbox(.inbox) } == "INBOX")
    }

    @Test func `flags are written anew when the keyword table changes`() {
        var writer = ResponseWriter()
        writer.write(.keyword(0), keywords: [Array("a")])
        writer.write(.keyword(0), keywords: [Array("a")])
        writer.keywordsChanged()
        writer.write(.keyword(0), keywords: [Array("b")])
        #expect(String(decoding: writer.octets, as: UTF8.self) == "(a)(a)(b)")
    }

    @Test(arguments: [
        ("BODY[]", "BODY[]"), ("BODY.PEEK[TEXT]<5.10>", "BODY[TEXT]<5>"),
        ("RFC822.HEADER", "RFC822.HEADER"), ("RFC822", "RFC822"), ("BODY[2.mime]", "BODY[2.MIME]"),
        ("body.peek[header.fields (From \"to\")]", "BODY[HEADER.FIELDS (From to)]"),
    ])
    func `items are called as the client asked for them`(item: String, label: String) throws {
        guard
            case .fetch(let fetch) = try TaggedCommand(Array("a FETCH 1 \(item)")).command,
            case .section(let section) = try #require(fetch.attributes.first)
        else { return #expect(Bool(false)) }
        var octets: [UInt8] = []
        section.appendLabel(to: &octets)
        #expect(String(decoding: octets, as: UTF8.self) == label)
    }

    @Test func `a set is written as short as it can be`() {
        var octets: [UInt8] = []
        SequenceSet.append(inOrder: [1, 2, 3, 7, 9, 10], to: &octets)
        #expect(octets == Array("1:3,7,9:10"))
    }
}
