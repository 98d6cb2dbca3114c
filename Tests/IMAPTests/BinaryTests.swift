// SPDX-License-Identifier: Apache-2.0
//
// FETCH BINARY and the items about details. RFC 3516 §4.2, RFC 8474 §5, RFC 8514 §4, RFC 8970 §3.

import Bytes
import MIME
import Mail
import Testing

@testable import IMAP

private func attributes(_ text: String) -> [FetchAttribute]? {
    guard case .fetch(let fetch) = try? TaggedCommand(Array("a FETCH 1 \(text)".utf8)).command
    else {
        return nil
    }
    return fetch.attributes
}

@Suite("BINARY and details")
struct BinaryTests {
    @Test func `the grammar of the items`() {
        #expect(
            attributes("(BINARY[1.2] BINARY.PEEK[]<5.6> BINARY.SIZE[3])")
                == [
                    .binary(BinaryFetch(part: [1, 2], isPeek: false)),
                    .binary(
                        BinaryFetch(
                            part: [], isPeek: true, partial: Section.Partial(start: 5, count: 6))),
                    .binarySize(part: [3]),
                ])
        #expect(
            attributes("(PREVIEW (LAZY) PREVIEW EMAILID THREADID SAVEDATE SNIPPET (FUZZY))")
                == [
                    .preview(isLazy: true), .preview(isLazy: false), .emailID, .threadID, .saveDate,
                    .snippet(isLazy: false),
                ])
        #expect(attributes("PREVIEW") == [.preview(isLazy: false)])
        for bad in ["BINARY", "BINARY[TEXT]", "BINARY[1.]", "BINARY.SIZE[1]<1.2>", "BINARY[0]"] {
            #expect(attributes(bad) == nil, "\(bad)")
        }
    }

    @Test func `what must be asked for an item`() throws {
        func wish(_ text: String) -> PreviewWish? {
            guard
                case .fetch(let fetch) = try? TaggedCommand(Array("a FETCH 1 \(text)".utf8)).command
            else { return nil }
            return fetch.previewWish
        }
        #expect(wish("(FLAGS ENVELOPE THREADID)") == nil)
        #expect(wish("(FLAGS SAVEDATE)") == PreviewWish.none)
        #expect(wish("(EMAILID PREVIEW (LAZY))") == .kept)
        #expect(wish("(PREVIEW PREVIEW (LAZY))") == .made)
        #expect(wish("(PREVIEW (LAZY) PREVIEW)") == .made)
    }

    private static let mail = Array(
        ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n"
            + "\r\nAGFiY2RlZmdo\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3D=\r\nb\r\n"
            + "--b\r\nContent-Transfer-Encoding: x-new\r\n\r\nx\r\n--b--\r\n").utf8)

    private func content(_ part: [UInt32], _ partial: Section.Partial? = nil) -> String? {
        let structure = MessageStructure(Self.mail.span)
        guard case .content(let content) = BinaryContent.find(part, in: Self.mail.span, structure)
        else { return nil }
        var output: [UInt8] = []
        var reader = content.reader(partial)
        while reader.next(Self.mail.span, into: &output) {}
        let measured = content.measure(Self.mail.span, partial)
        #expect(measured.hasNUL == output.contains(0))
        #expect((partial?.clamp(0..<measured.count).count ?? measured.count) == output.count)
        return String(decoding: output, as: UTF8.self)
    }

    @Test func `parts are decoded, and cut behind that`() {
        #expect(content([1]) == "\0abcdefgh")
        #expect(content([1], Section.Partial(start: 1, count: 3)) == "abc")
        #expect(content([1], Section.Partial(start: 0, count: 1)) == "\0")
        #expect(content([1], Section.Partial(start: 99, count: 3)) == "")
        #expect(content([1], Section.Partial(start: .max, count: .max)) == "")
        #expect(content([2]) == "a=b")
        #expect(content([]) == String(decoding: Self.mail, as: UTF8.self))
        let structure = MessageStructure(Self.mail.span)
        if case .unknownEncoding = BinaryContent.find([3], in: Self.mail.span, structure) {
        } else {
            Issue.record("x-new is known")
        }
        if case .missing = BinaryContent.find([4], in: Self.mail.span, structure) {
        } else {
            Issue.record("there is a part 4")
        }
    }
}
