// SPDX-License-Identifier: Apache-2.0

import Bytes
import IMAP
import MIME
import Testing

@Suite("BODY[section]<partial>, RFC 3501 section 6.4.5")
struct SectionTests {
    /// The shape of the example in RFC 3501 §6.4.5, smaller.
    private static let message = mailOctets(
        """
        Subject: outer
        From: a@b
        Content-Type: multipart/mixed; boundary=o

        preamble
        --o

        one
        --o
        Content-Type: application/octet-stream

        two
        --o
        Content-Type: message/rfc822
        X-Mime: 3

        Subject: inner
        Content-Type: multipart/mixed; boundary=i

        --i

        three one
        --i
        X-Mime: 3.2

        three two
        --i--
        --o
        Content-Type: message/rfc822

        Subject: plain

        four
        --o--

        """)

    private func resolve(_ section: Section, in message: [UInt8] = message) -> String? {
        switch section.resolve(in: message.span) {
        case .range(let range): String(decoding: message[range], as: UTF8.self)
        case .composed(let octets): String(decoding: octets, as: UTF8.self)
        case .missing: nil
        }
    }

    @Test(arguments: [
        (Section(part: [1]), "one"), (Section(part: [2]), "two"),
        (Section(part: [1], text: .mime), "\r\n"),
        (Section(part: [2], text: .mime), "Content-Type: application/octet-stream\r\n\r\n"),
        (Section(part: [3], text: .mime), "Content-Type: message/rfc822\r\nX-Mime: 3\r\n\r\n"),
        (
            Section(part: [3], text: .headerFields([Array("SUBJECT".utf8)])),
            "Subject: inner\r\n\r\n"
        ),
        (
            Section(part: [3], text: .headerFieldsNot([Array("content-type".utf8)])),
            "Subject: inner\r\n\r\n"
        ),
        (
            Section(part: [3], text: .header),
            "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
        ),
        (
            Section(part: [3], text: .text),
            "--i\r\n\r\nthree one\r\n--i\r\nX-Mime: 3.2\r\n\r\nthree two\r\n--i--"
        ),
        (Section(part: [3, 1]), "three one"), (Section(part: [3, 2]), "three two"),
        (Section(part: [3, 2], text: .mime), "X-Mime: 3.2\r\n\r\n"),
        (Section(part: [4]), "Subject: plain\r\n\r\nfour"), (Section(part: [4, 1]), "four"),
        (Section(part: [4, 1], text: .mime), "Subject: plain\r\n\r\n"),
        (Section(part: [4], text: .text), "four"),
        (Section(text: .headerFields([Array("from".utf8), Array("x".utf8)])), "From: a@b\r\n\r\n"),
        (
            Section(text: .headerFieldsNot([Array("From".utf8), Array("SUBJECT".utf8)])),
            "Content-Type: multipart/mixed; boundary=o\r\n\r\n"
        ),
        (Section(text: .headerFields([])), "\r\n"),
        (
            Section(text: .header),
            "Subject: outer\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
        ),
    ])
    func `sections are found`(_ section: Section, _ expected: String) {
        #expect(resolve(section) == expected)
        let structure = MessageStructure(Self.message.span)
        let shared = section.resolve(in: Self.message.span, structure: structure)
        let alone = section.resolve(in: Self.message.span)
        #expect(shared == alone)
    }

    @Test(arguments: [
        Section(part: [5]), Section(part: [1, 1]), Section(part: [3, 3]), Section(part: [3, 1, 1]),
        Section(part: [4, 2]), Section(part: [1], text: .header), Section(part: [2], text: .text),
        Section(part: [UInt32.max]), Section(part: [4, 1], text: .header),
    ])
    func `sections that are not there are missing`(_ section: Section) {
        #expect(resolve(section) == nil)
    }

    @Test func `the message itself is header and text`() {
        let whole = Section().resolve(in: Self.message.span)
        #expect(whole == .range(0..<Self.message.count))
        let header = resolve(Section(text: .header)) ?? ""
        let text = resolve(Section(text: .text)) ?? ""
        #expect(Array((header + text).utf8) == Self.message)
        #expect(text.hasPrefix("preamble\r\n--o"))
    }

    @Test func `part 1 of a plain message is its text`() {
        let message = mailOctets("Subject: x\n\nbody\n")
        #expect(resolve(Section(part: [1]), in: message) == "body\r\n")
        #expect(resolve(Section(part: [1], text: .mime), in: message) == "Subject: x\r\n\r\n")
        #expect(resolve(Section(part: [2]), in: message) == nil)
        #expect(resolve(Section(part: [1, 1]), in: message) == nil)
        #expect(resolve(Section(part: [1], text: .text), in: message) == nil)
    }

    @Test func `a message that is only a message inside`() {
        let message = mailOctets("Content-Type: message/rfc822\n\nSubject: x\n\nbody\n")
        #expect(resolve(Section(part: [1]), in: message) == "Subject: x\r\n\r\nbody\r\n")
        #expect(resolve(Section(part: [1], text: .header), in: message) == "Subject: x\r\n\r\n")
        #expect(resolve(Section(part: [1, 1]), in: message) == "body\r\n")
    }

    @Test func `a header without an end still ends its fields with an empty line`() {
        let message = mailOctets("Subject: x")
        #expect(
            resolve(Section(text: .headerFields([Array("subject".utf8)])), in: message)
                == "Subject: x\r\n\r\n")
        #expect(resolve(Section(text: .header), in: message) == "Subject: x")
        #expect(resolve(Section(text: .text), in: message)?.isEmpty == true)
        #expect(resolve(Section(part: [1]), in: [])?.isEmpty == true)
    }

    @Test(
        arguments: [
            (0, 4, "0123"), (2, 3, "234"), (8, 100, "89"), (10, 1, ""), (11, 1, ""),
            (UInt64.max, UInt64.max, ""), (0, UInt64.max, "0123456789"),
        ] as [(UInt64, UInt64, String)])
    func `partials end with the section`(_ start: UInt64, _ count: UInt64, _ expected: String) {
        let octets = Array("ab0123456789".utf8)
        let partial = Section.Partial(start: start, count: count)
        let range = partial.clamp(2..<12)
        #expect(String(decoding: octets[range], as: UTF8.self) == expected)
        #expect(Section.Content.range(2..<12).cut(to: partial) == .range(range))
        #expect(
            Section.Content.composed(Array("0123456789".utf8)).cut(to: partial)
                == .composed(Array(expected.utf8)))
        #expect(Section.Content.missing.cut(to: partial) == .missing)
    }

    @Test(arguments: [
        (Section(), "[]"), (Section(part: [1, 22]), "[1.22]"), (Section(text: .text), "[TEXT]"),
        (Section(part: [4, 3, 2, 1], text: .mime), "[4.3.2.1.MIME]"),
        (
            Section(part: [1], text: .headerFields([Array("Date".utf8), Array("x\"y".utf8)])),
            "[1.HEADER.FIELDS (Date \"x\\\"y\")]"
        ),
        (Section(text: .headerFieldsNot([Array("A".utf8)])), "[HEADER.FIELDS.NOT (A)]"),
        (Section(text: .header), "[HEADER]"),
    ])
    func `sections are named as in FETCH`(_ section: Section, _ expected: String) {
        var output: [UInt8] = []
        section.append(to: &output)
        #expect(String(decoding: output, as: UTF8.self) == expected)
    }

    @Test func `only sections of the message's own header can do without its body`() {
        #expect(Section(text: .header).needsOnlyHeader)
        #expect(Section(text: .headerFields([])).needsOnlyHeader)
        #expect(Section(text: .headerFieldsNot([])).needsOnlyHeader)
        #expect(!Section(text: .text).needsOnlyHeader)
        #expect(!Section().needsOnlyHeader)
        #expect(!Section(part: [1], text: .header).needsOnlyHeader)
        #expect(Section().isWholeMessage)
        #expect(!Section(part: [1]).isWholeMessage)
    }

    @Test func `every prefix of the message can be asked for everything`() {
        let sections = [
            Section(text: .text), Section(part: [1]), Section(part: [3, 2], text: .mime),
            Section(part: [3], text: .headerFieldsNot([])), Section(part: [4], text: .text),
        ]
        let needle = SearchText(Array("four".utf8))
        for end in 0...Self.message.count {
            let prefix = Array(Self.message[..<end])
            let structure = MessageStructure(prefix.span)
            for section in sections {
                if case .range(let range) = section.resolve(in: prefix.span, structure: structure) {
                    #expect(range.upperBound <= end)
                }
            }
            var output: [UInt8] = []
            Envelope.append(header: prefix.span, to: &output)
            BodyStructure.append(structure, of: prefix.span, form: .bodyStructure, to: &output)
            #expect(output.count { $0 == 0x28 } == output.count { $0 == 0x29 })
            let isFound = needle.isInBody(of: prefix.span, structure)
            #expect(isFound == String(decoding: prefix, as: UTF8.self).contains("four"))
        }
    }
}
