// SPDX-License-Identifier: Apache-2.0

import Bytes
import IMAP
import MIME
import Mail
import Testing

/// Headers with every kind of field that lists ask for, and some that are broken.
private let headers = [
    "Subject: x\r\nFrom: a@b\r\n\r\n", "", "\r\n", "no field\r\n\r\n", "Subject: cut off",
    "subject: a\r\nSUBJECT: b\r\n c\r\n\r\n", "X-Other: y\r\nSubject: cut off\r",
    "Return-Path: from a\r\n\tby b;\r\n date\r\nnonsense\r\n more\r\nTo : x@y\r\nDKIM-Signature: z\r\n"
        + "List-Id: <l>\r\n\r\nbody: not a field\r\n",
    "To: x\nCc: lf only\n\nbody",
]

@Suite("answers from what is kept for lists")
struct SummaryTests {
    @Test(arguments: headers)
    func `HEADER.FIELDS of the kept fields is HEADER.FIELDS of the header`(_ text: String) {
        let message = Array(text.utf8)
        let synopsis = MessageSynopsis(message.span, isWhole: true)
        for names in [
            ["Subject"], ["TO", "cc", "From"], ["Return-Path", "List-Id", "Sender", "Date"],
            ["Bcc"],
        ] {
            let section = Section(text: .headerFields(names.map { Array($0.utf8) }))
            #expect(
                section.resolve(in: synopsis.fields.span) == section.resolve(in: message.span))
        }
    }

    @Test(arguments: headers)
    func `a selection of fields is the section's literal`(_ text: String) throws {
        let synopsis = MessageSynopsis(Array(text.utf8).span, isWhole: true)
        let kept = synopsis.fields.span
        for names in [["Subject"], ["TO", "cc", "From"], ["return-path", "To", "DATE"], ["Bcc"]] {
            let section = Section(text: .headerFields(names.map { Array($0.utf8) }))
            let selection = try #require(
                FieldSelection(SectionFetch(section: section, isPeek: true)))
            var literal: [UInt8] = []
            selection.appendLiteral(kept, to: &literal)
            guard case .composed(let text) = section.resolve(in: kept) else {
                Issue.record("not composed")
                continue
            }
            #expect(literal == Array("{\(text.count)}\r\n".utf8) + text)
        }
        let whole = SectionFetch(section: Section(), isPeek: true)
        #expect(FieldSelection(whole) == nil)
    }

    @Test func `octets that no packer made are refused and leave nothing behind`() throws {
        let message = Array(
            ("Subject: s\r\nFrom: A <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                + "--b\r\nContent-Type: message/rfc822\r\n\r\nTo: x\r\n\r\n--b\r\n\r\n--b--\r\n")
                .utf8)
        let synopsis = MessageSynopsis(message.span, isWhole: true)
        let structure = try #require(synopsis.structure)
        var output = Array("* ".utf8)
        for end in 0..<synopsis.envelope.count {
            let cut = synopsis.envelope.span.extracting(0..<end)
            #expect(!Envelope.append(packed: cut, to: &output))
        }
        for end in 0..<structure.count {
            let cut = structure.span.extracting(0..<end)
            #expect(!BodyStructure.append(packed: cut, form: .body, to: &output))
            #expect(!BodyStructure.append(packed: cut, form: .bodyStructure, to: &output))
        }
        for octets in [synopsis.envelope + [0], [UInt8](repeating: 0xFF, count: 40)] {
            #expect(!Envelope.append(packed: octets.span, to: &output))
        }
        // Parts in parts without end
        let level: [UInt8] = [3, 1]
        let endless = [UInt8](repeatElement(level, count: 10_000).joined())
        #expect(!BodyStructure.append(packed: endless.span, form: .body, to: &output))
        #expect(output == Array("* ".utf8))
        #expect(Envelope.append(packed: synopsis.envelope.span, to: &output))
    }

    @Test(
        arguments: [
            ("ENVELOPE", SummaryPieces.envelope), ("FULL", [.envelope, .structure]),
            ("(UID BODYSTRUCTURE)", .structure), ("FLAGS", nil), ("BODY[]", nil),
            ("BODY.PEEK[HEADER.FIELDS (From List-Post)]", .fields),
            ("BODY[HEADER.FIELDS (From)]<0.10>", .fields),
            ("BODY.PEEK[HEADER.FIELDS (From DKIM-Signature)]", nil),
            ("BODY.PEEK[HEADER.FIELDS.NOT (From)]", nil),
            ("BODY.PEEK[1.HEADER.FIELDS (From)]", nil),
            ("(ENVELOPE BODY.PEEK[HEADER])", nil), ("RFC822.HEADER", nil),
        ] as [(String, SummaryPieces?)])
    func `what of a FETCH can be answered without the message`(
        _ items: String, _ pieces: SummaryPieces?
    ) throws {
        let tagged = try TaggedCommand(Array("a FETCH 1:* \(items)".utf8))
        guard case .fetch(let command) = tagged.command else {
            Issue.record("no FETCH")
            return
        }
        #expect(command.summaryPieces == pieces)
    }

    @Test func `selecting again forgets what was to be told`() {
        let entries = (1...5).map {
            MessageEntry(uid: $0, size: 1, flags: [], modSeq: 1, internalDate: 0)
        }
        var view = ClientView(
            MailboxSnapshot(
                id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: 6, highestModSeq: 1,
                keywords: [], entries: entries), recentFrom: 4)
        #expect(view.recentCount == 2)
        var changed = entries[1]
        changed.flags = .seen
        changed.modSeq = 2
        view.apply(
            MailboxChanges(
                uidNext: 6, highestModSeq: 2, keywords: [], entries: [changed], vanished: [5]),
            recent: { _ in false })
        view.reselect(recentFrom: 6)
        #expect(view.recentCount == 0)
        #expect(view.entries.map(\.uid) == [1, 2, 3, 4])
        #expect(view.entries.allSatisfy { !$0.flags.contains(.recent) })
        var writer = ResponseWriter()
        view.tell(.init(expunges: true, isReadOnly: false), to: &writer)
        #expect(writer.count == 0)
    }
}
