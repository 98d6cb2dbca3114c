// SPDX-License-Identifier: Apache-2.0

import Bytes
import MIME
import Testing

/// The tree as indented lines: kind, body, line count.
func tree(_ message: [UInt8], limits: MessageStructure.Limits = .init()) -> [String] {
    let structure = MessageStructure(message.span, limits: limits)
    return structure.parts.map { part in
        let indent = String(repeating: " ", count: part.depth)
        let body = part.kind == .leaf || part.kind == .opaque ? " " + text(message[part.body]) : ""
        return "\(indent)\(part.kind)\(body) \(part.lines)"
    }
}

@Suite("structure of messages, RFC 2046 section 5")
struct MessageStructureTests {
    @Test func `a plain message is one leaf`() {
        let message = crlf("Subject: x\n\none\ntwo")
        #expect(tree(message) == ["leaf one\r\ntwo 1"])
        let part = MessageStructure(message.span).parts[0]
        #expect(part.header == 0..<14)
        #expect(part.body == 14..<message.count)
    }

    /// RFC 2046 §5.1.1.
    @Test func `the line end before a delimiter belongs to the delimiter`() {
        let message = crlf(
            """
            MIME-Version: 1.0
            Content-type: multipart/mixed; boundary="simple boundary"

            This is the preamble.

            --simple boundary

            Implicitly typed, does NOT end with a linebreak.
            --simple boundary
            Content-type: text/plain; charset=us-ascii

            Explicitly typed, DOES end with a linebreak.

            --simple boundary--

            This is the epilogue.
            """)
        #expect(
            tree(message) == [
                "multipart 12", " leaf Implicitly typed, does NOT end with a linebreak. 0",
                " leaf Explicitly typed, DOES end with a linebreak.\r\n 1",
            ])
        let structure = MessageStructure(message.span)
        #expect(text(message[structure.parts[1].header]) == "\r\n")
        #expect(structure.child(1, of: 0) == 1)
        #expect(structure.child(2, of: 0) == 2)
        #expect(structure.child(3, of: 0) == nil)
        #expect(structure.child(0, of: 0) == nil)
        #expect(structure.parts[0].body.upperBound == message.count)
    }

    @Test func `messages and multiparts nest`() {
        let message = crlf(
            """
            Content-Type: multipart/mixed; boundary=a

            --a
            Content-Type: message/rfc822

            Subject: inner
            Content-Type: multipart/alternative; boundary=b

            --b

            x
            --b

            y
            --b--
            --a

            z
            --a--

            """)
        #expect(
            tree(message) == [
                "multipart 17", " message 9", "  multipart 6", "   leaf x 0", "   leaf y 0",
                " leaf z 0",
            ])
    }

    @Test func `a boundary that begins like another one is another one`() {
        let message = crlf(
            """
            Content-Type: multipart/mixed; boundary=a

            --a
            Content-Type: multipart/mixed; boundary=ab

            --ab

            inner
            --abc
            still inner
            --a b
            --ab--
            --a

            outer
            --a--
            """)
        #expect(
            tree(message) == [
                "multipart 13", " multipart 6", "  leaf inner\r\n--abc\r\nstill inner\r\n--a b 3",
                " leaf outer 0",
            ])
    }

    @Test func `missing ends are ended by what is around`() {
        let message = crlf(
            """
            Content-Type: multipart/mixed; boundary=a

            --a
            Content-Type: multipart/mixed; boundary=b

            --b

            one
            --a

            two
            """)
        #expect(
            tree(message) == ["multipart 8", " multipart 2", "  leaf one 0", " leaf two 0"])
    }

    @Test func `after the last delimiter nothing is a part`() {
        let message = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n\n--a\n\ntwo\n--a--\n")
        #expect(tree(message) == ["multipart 9", " leaf one 0"])
    }

    @Test func `the same boundary inside belongs to the innermost`() {
        let message = crlf(
            """
            Content-Type: multipart/mixed; boundary=a

            --a
            Content-Type: multipart/mixed; boundary=a

            --a

            one
            --a--
            --a

            two
            --a--
            """)
        #expect(
            tree(message) == ["multipart 10", " multipart 3", "  leaf one 0", " leaf two 0"])
    }

    @Test(arguments: ["--a  ", "--a\t", "--a--  "])
    func `blanks behind a delimiter are padding`(_ line: String) {
        let message = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n\(line)\ntwo\n")
        #expect(tree(message)[1] == " leaf one 0")
    }

    @Test func `bare line feeds are line ends`() {
        let message = Array("Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n".utf8)
        #expect(tree(message) == ["multipart 4", " leaf one 0"])
    }

    @Test func `a delimiter ends a header too`() {
        let message = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nX: y\n--a\n--a\n\n--a--\n")
        let structure = MessageStructure(message.span)
        #expect(
            structure.parts.map { text(message[$0.header]) }.dropFirst() == ["X: y", "", "\r\n"])
        #expect(tree(message) == ["multipart 6", " leaf  0", " leaf  0", " leaf  0"])
    }

    @Test func `a message part cut off in its header still has its child`() {
        let message = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n--a--\n"
        )
        #expect(tree(message) == ["multipart 3", " message 0", "  leaf  0"])
        let top = crlf("Content-Type: message/rfc822\n")
        #expect(tree(top) == ["message 0", " leaf  0"])
    }

    @Test func `an empty line that ends a header is not the delimiter's, at any depth`() {
        let message = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\n"
                + "Subject: x\n\n--a--\n")
        let structure = MessageStructure(message.span)
        #expect(text(message[structure.parts[2].header]) == "Subject: x\r\n\r\n")
        #expect(text(message[structure.parts[1].body]) == "Subject: x\r\n\r\n")
        #expect(tree(message) == ["multipart 6", " message 2", "  leaf  0"])
    }

    @Test func `children of a digest are messages unless they say otherwise`() {
        let message = crlf(
            """
            Content-Type: multipart/digest; boundary=a

            --a

            Subject: one

            1
            --a
            Content-Type: text/plain

            2
            --a--
            """)
        #expect(tree(message) == ["multipart 9", " message 2", "  leaf 1 0", " leaf 2 0"])
    }

    @Test(arguments: [
        "multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=\"  \"",
        "multipart", "text/plain; boundary=a", "",
    ])
    func `without a type and a boundary there are no parts`(_ type: String) {
        #expect(MessageStructure(crlf("Content-Type: \(type)\n\n--a\n\nx\n").span).parts.count == 1)
    }

    @Test(arguments: ["", "\n", "\n\n", "x", "Content-Type: multipart/mixed; boundary=a"])
    func `tiny messages have one part`(_ message: String) {
        #expect(MessageStructure(crlf(message).span).parts.count == 1)
    }

    @Test func `depth and count are limited`() {
        var limits = MessageStructure.Limits()
        limits.depth = 2
        var message: [UInt8] = []
        for level in 0..<5 {
            message += crlf("Content-Type: multipart/mixed; boundary=b\(level)\n\n--b\(level)\n")
        }
        #expect(
            MessageStructure(message.span, limits: limits).parts.map(\.kind) == [
                .multipart, .multipart, .opaque,
            ])
        limits.depth = 64
        limits.parts = 3
        let flat = crlf(
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n1\n--a\n\n2\n--a\n\n3\n--a--\n")
        #expect(tree(flat, limits: limits).last == " leaf 2\r\n--a\r\n\r\n3\r\n--a--\r\n 5")
    }

    @Test func `every prefix of a message has parts inside of their parents`() {
        let message = crlf(
            """
            Content-Type: multipart/mixed; boundary="a\\"b"

            pre
            --a"b
            Content-Type: multipart/digest; boundary=c

            --c

            Content-Type: message/rfc822

            Content-Type: multipart/mixed; boundary=d

            --d
            --d--
            --c--
            --a"b
            Content-Type: text/plain; charset*0=utf; charset*1="-8"

            body
            --a"b--
            epilogue
            """)
        for end in 0...message.count {
            let prefix = Array(message[..<end])
            let structure = MessageStructure(prefix.span)
            for (number, part) in structure.parts.enumerated() {
                #expect(part.header.upperBound == part.body.lowerBound)
                #expect(part.body.upperBound <= end)
                #expect(part.lines == prefix[part.body].count { $0 == .lf })
                var child = part.firstChild
                var last = part.body.lowerBound
                while let current = child {
                    let inner = structure.parts[current]
                    #expect(current > number && inner.depth == part.depth + 1)
                    #expect(inner.header.lowerBound >= last)
                    #expect(inner.body.upperBound <= part.body.upperBound)
                    last = inner.body.upperBound
                    child = inner.nextSibling
                }
            }
        }
    }
}
