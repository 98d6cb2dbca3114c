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

    @Test(arguments: [0, 1, 86_399, 86_400, 837_593_065, 4_102_444_799, -1, 300_000_000_000])
    func `dates are written as InternalDate does, whatever was written before`(seconds: Int64) {
        var wanted: [UInt8] = []
        InternalDate.append(seconds, to: &wanted)
        for earlier in [seconds, seconds - 1, 0, 86_400] {
            let line = written { writer in
                for date in [earlier, seconds] {
                    _ = writer.item(
                        .internalDate,
                        of: MessageEntry(
                            uid: 1, size: 1, flags: [], modSeq: 1, internalDate: date),
                        keywords: [])
                }
            }
            #expect(line.hasSuffix("INTERNALDATE " + String(decoding: wanted, as: UTF8.self)))
        }
    }

    @Test func `a run of FETCH lines is the same as one by one`() throws {
        var entries: [MessageEntry] = []
        for number in 1...30 {
            let flags: Flags = number % 3 == 0 ? .seen : []
            entries.append(
                MessageEntry(
                    uid: UInt32(number * 7), size: UInt32(number), flags: flags,
                    modSeq: UInt64(number), internalDate: Int64(number) * 50_000))
        }
        let view = ClientView(
            MailboxSnapshot(
                id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: 999, highestModSeq: 30,
                keywords: [], entries: entries)
        ) { _ in false }
        guard
            case .fetch(let command) = try TaggedCommand(
                Array("a UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE) (CHANGEDSINCE 10)")
            ).command
        else { return #expect(Bool(false)) }
        let singly = written { writer in
            for (index, entry) in entries.enumerated() where entry.modSeq > 10 {
                writer.startFetch(number: UInt32(index) + 1)
                for (place, attribute) in command.attributes.enumerated() {
                    if place > 0 { writer.write(" ") }
                    _ = writer.item(attribute, of: entry, keywords: [])
                }
                writer.write(")\r\n")
            }
        }
        #expect(written { $0.fetch(command, 0..<30, of: view) } == singly)
    }

    @Test(arguments: [
        0, 1, 9, 10, 99, 100, 101, 12_345, 4_294_967_295, UInt64.max, 1_000_000, 10_000_000_019,
    ])
    func `decimal numbers`(number: UInt64) {
        #expect(written { $0.write(number) } == "\(number)")
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
