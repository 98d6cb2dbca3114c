// SPDX-License-Identifier: Apache-2.0
//
// mbox files of all kinds in, and mboxrd out and in again. mbox(5), RFC 4155.

import Bytes
import Interchange
import Mail
import Testing

struct Read: Equatable {
    var text: String
    var date: SecondsSince1970?
    var flags: NamedFlags
}

/// Reads a whole file with a window of `chunk` octets.
func messages(
    _ file: String, _ quoting: MboxQuoting = .automatic, chunk: Int = 4_096
) -> [Read] {
    messages(Array(file), quoting, chunk: chunk)
}

func messages(_ octets: [UInt8], _ quoting: MboxQuoting, chunk: Int) -> [Read] {
    var reader = MboxReader<Never>(size: Int64(octets.count), quoting: quoting, chunk: chunk) {
        offset, count in Array(octets[Int(offset)..<min(octets.count, Int(offset) + count)])
    }
    var found: [Read] = []
    while let message = reader.next() {
        if message.isInternal { continue }
        var text: [UInt8] = []
        reader.content(of: message) { text += $0 }
        found.append(
            Read(
                text: String(decoding: text, as: UTF8.self), date: message.date,
                flags: message.flags))
    }
    return found
}

private let line = "From a@example.test Sat Nov 21 02:52:39 2026\n"

@Suite struct MboxTests {
    @Test func `messages are separated at From lines, and the empty line in front goes`() {
        let found = messages(
            line + "Subject: one\n\nbody\n\n" + line + "Subject: two\n\n\nlast line\n\n\n" + line
                + "Subject: three\n\n")
        #expect(
            found.map(\.text) == [
                "Subject: one\r\n\r\nbody\r\n", "Subject: two\r\n\r\n\r\nlast line\r\n\r\n",
                "Subject: three\r\n\r\n",
            ])
        #expect(found.allSatisfy { $0.date == 1_795_229_559 })
    }

    @Test(arguments: [
        ("From a@b Sat Nov 21 02:52:39 2026", 1_795_229_559),
        ("From - Sat Nov 21 02:52:39 2026", 1_795_229_559),
        ("From a b c Sat Nov 21 02:52 2026", 1_795_229_520),
        ("From 123@xxx Sat Nov 21 02:52:39 +0100 2026", 1_795_225_959),
        ("From x Sat Nov 21 02:52:39 2026 -0500", 1_795_247_559),
        ("From x  Mon Feb  9 00:00:00 2009", 1_234_137_600),
    ])
    func `the date of a From line`(text: String, seconds: Int64) {
        #expect(MboxLine.date(Array(text)) == seconds)
    }

    @Test(arguments: [
        "From me to you", "From Sat to Sun", "From a Sat Feb 30 00:00:00 2009",
        "From a Sat Nov 21 25:00:00 2026", "From a Sat Nov 21 2026",
        "from a Sat Nov 21 02:52:39 2026",
        "From ", "",
    ])
    func `what is no From line`(text: String) {
        #expect(MboxLine.date(Array(text)) == nil)
    }

    @Test func `a line of the body that begins with From stays in it`() {
        let found = messages(line + "A: b\n\nx\nFrom me to you\n\nFrom here on\n\n")
        #expect(found.map(\.text) == ["A: b\r\n\r\nx\r\nFrom me to you\r\n\r\nFrom here on\r\n"])
    }

    @Test func `quoting is undone as the format says`() {
        let file = line + "A: b\n\n>From x\n>>From y\n>Fromage\n> From\n\n"
        #expect(messages(file)[0].text.hasSuffix("From x\r\n>From y\r\n>Fromage\r\n> From\r\n"))
        #expect(messages(file, .original)[0].text.contains("\r\nFrom x\r\n>>From y\r\n"))
        #expect(messages(file, .none)[0].text.contains("\r\n>From x\r\n>>From y\r\n"))
    }

    @Test func `Content-Length counts where it fits, and its file is not unquoted`() {
        let body = ">From x\n" + line + "y\n"
        let file =
            line + "Content-Length: \(body.utf8.count)\nA: b\n\n" + body + "\n" + line + "C: d\n\n"
        #expect(
            messages(file).map(\.text) == [
                "A: b\r\n\r\n>From x\r\n" + line.dropLast() + "\r\ny\r\n", "C: d\r\n\r\n",
            ])
        // One that is wrong is a field like any other.
        let wrong = line + "Content-Length: 3\nA: b\n\nbody\n\n" + line + "C: d\n\n"
        #expect(
            messages(wrong).map(\.text) == [
                "Content-Length: 3\r\nA: b\r\n\r\nbody\r\n", "C: d\r\n\r\n",
            ])
        let huge = line + "Content-Length: 999999999999999\n\nbody\n"
        #expect(messages(huge).map(\.text) == ["Content-Length: 999999999999999\r\n\r\nbody\r\n"])
    }

    @Test func `flags come from the fields of the format, which go`() {
        let found = messages(
            line
                + "Status: RO\nX-Status: AFDT\nX-Keywords: $Junk work work\nX-UID: 5\nA: b\n\nx\n\n"
                + line + "X-Mozilla-Status: 1003\nX-Mozilla-Keys: later\nStatus: O\nC: d\n\n")
        #expect(found.map(\.text) == ["A: b\r\n\r\nx\r\n", "C: d\r\n\r\n"])
        #expect(
            found[0].flags
                == NamedFlags(
                    system: [.seen, .answered, .flagged, .deleted, .draft],
                    keywords: [Array("$Junk"), Array("work")]))
        #expect(found[1].flags.system == [.seen, .answered])
        #expect(found[1].flags.keywords == [Array("$Forwarded"), Array("later")])
    }

    @Test func `what UW IMAP keeps for itself is no message`() {
        let file =
            line
            + "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\ntext\n\n"
            + line + "A: b\n\n"
        #expect(messages(file).map(\.text) == ["A: b\r\n\r\n"])
    }

    @Test func `CRLF files, and files that end in the middle`() {
        let file = (line + "A: b\n\nx\n\n" + line + "C: d\n\ny").replacing("\n", with: "\r\n")
        #expect(messages(file).map(\.text) == ["A: b\r\n\r\nx\r\n", "C: d\r\n\r\ny"])
        #expect(messages(line + "A: b").map(\.text) == ["A: b"])
        #expect(messages(line).map(\.text) == [""])
        #expect(messages("").isEmpty)
        #expect(messages("Subject: no mbox\n\nFrom x\n").isEmpty)
    }

    @Test func `a file whose From lines have no dates is separated behind empty lines`() {
        let file = "From a\nA: b\n\nx\nFrom y\n\nFrom b\nC: d\n\nz\n"
        #expect(
            messages(file).map(\.text) == ["A: b\r\n\r\nx\r\nFrom y\r\n", "C: d\r\n\r\nz\r\n"])
    }

    @Test(arguments: 0..<40)
    func `what is written is read again as it was, whatever it is`(seed: Int) {
        var random = Generator(state: UInt64(seed) &* 77 + 1)
        var file: [UInt8] = []
        var wanted: [Read] = []
        for number in 0..<6 {
            let flags = NamedFlags(
                system: Flags(rawValue: random.next() % 32),
                keywords: number % 2 == 0 ? [] : [Array("work"), Array("$Junk")])
            var text = "Subject: \(number)\r\nTo: x\r\n\r\n"
            for _ in 0..<(random.next() % 30) {
                text +=
                    [
                        "", "From here", ">From", ">From x", ">>>From ", "From", "x", ">", "a\rb",
                        String(line.dropLast()), String(repeating: "y", count: 600), "Fro",
                        "\u{0}", "\rx", "ä",
                    ][Int(random.next() % 15)] + "\r\n"
            }
            let date = Int64(random.next() % 2_000_000_000)
            wanted.append(Read(text: text, date: date, flags: flags))
            file += MboxLine.octets(sender: Array("a b@c"), date: date)
            var writer = MboxWriter(flags: flags)
            var rest = Array(text)[...]
            while !rest.isEmpty {
                let piece = rest.prefix(1 + Int(random.next() % 700))
                writer.append(Array(piece), to: &file)
                rest = rest.dropFirst(piece.count)
            }
            writer.finish(&file)
        }
        for chunk in [1, 5_000, 1 << 20] {
            let found = messages(file, .reversible, chunk: chunk)
            let isSame = found == wanted
            #expect(isSame)
        }
    }

    @Test(arguments: 0..<200)
    func `no octet of a damaged file is lost or used twice`(seed: Int) {
        var random = Generator(state: UInt64(seed) &* 991 + 3)
        var file = Array(
            line + "Content-Length: 20\nStatus: R\nA: b\n\n>From x\nFrom y\n\n" + line
                + "B: c\n\nz\n")
        for _ in 0..<8 {
            let place = Int(random.next() % UInt64(file.count))
            switch random.next() % 3 {
            case 0: file[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: file.remove(at: place)
            default: file.insert([0x0A, 0x0D, 0x20, 0x3E, 0x46][Int(random.next() % 5)], at: place)
            }
        }
        let octets = file
        for quoting in MboxQuoting.allCases {
            var reader = MboxReader<Never>(size: Int64(octets.count), quoting: quoting) {
                offset, count in Array(octets[Int(offset)..<min(octets.count, Int(offset) + count)])
            }
            var place: Int64 = 0
            var isFirst = true
            while let message = reader.next() {
                #expect(message.start >= place && message.end > message.start)
                if !isFirst { #expect(message.start == place) }
                isFirst = false
                place = message.end
                reader.content(of: message) { _ in }
            }
            #expect(isFirst || place == Int64(octets.count))
        }
    }
}

/// Random numbers that are the same in every run.
struct Generator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct MaildirTests {
    @Test func `names and keywords of other programs`() throws {
        let name = try #require(MaildirName(Array("1.M2.host,S=3,W=4:2,FSPab")))
        #expect(name.base == Array("1.M2.host,S=3,W=4"))
        #expect(name.system == [.flagged, .seen])
        let table = MaildirKeywords.parse(Array("0 $Junk\n1 work\nrubbish\n99 x\n-1 y\n"))
        #expect(table == [Array("$Junk"), Array("work")])
        #expect(name.flags(table).keywords == [Array("$Junk"), Array("work")])
        #expect(name.flags([]).keywords.isEmpty)
        #expect(MaildirKeywords.parse(MaildirKeywords.octets(table)) == table)
        #expect(MaildirName(Array("1.x"))?.system == [])
        #expect(MaildirName(Array("1.x;2,S"))?.system == .seen)
        #expect(MaildirName(Array(".hidden")) == nil)
        #expect(MaildirName([]) == nil)
        #expect(MaildirName.letters([.seen, .draft, .keyword(1)]) == Array("DSb"))
    }
}
