// SPDX-License-Identifier: Apache-2.0
//
// The search index against the exact search: whatever was asked and whatever became of the index,
// the answers are the same.

import Bytes
import Glibc
import MIME
import Mail
import Testing

@testable import Store

/// A corpus that is the same every time.
private struct Corpus {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
    }

    mutating func pick<T>(_ values: [T]) -> T { values[next(values.count)] }

    static let words = [
        "invoice", "Quarterly", "report", "Grüße", "ÄRGER", "straße", "привет", "МИР", "日本語", "ab",
        "x",
        "naïve", "Ünïcödé", "100%", "a=b", "foo_bar", "tick & tock", "<angle>", "ΣΑΣ", "ſharp",
        "İstanbul",
        "K", "end.", "\"quoted\"", "😀smile", "café", "zebrafish", "aaaaaa", "abababab", "tail",
    ]

    mutating func text(_ count: Int) -> String {
        (0..<count).map { _ in pick(Self.words) }.joined(separator: pick([" ", "  ", "\r\n"]))
    }

    static func base64(_ octets: [UInt8], line: Int = 60) -> String {
        var text = String(decoding: Base64.encode(octets.span), as: UTF8.self)
        var lines: [String] = []
        while !text.isEmpty {
            lines.append(String(text.prefix(line)))
            text = String(text.dropFirst(line))
        }
        return lines.joined(separator: "\r\n")
    }

    static func quoted(_ octets: [UInt8]) -> String {
        var text = ""
        var column = 0
        for octet in octets {
            if column > 60 {
                text += "=\r\n"
                column = 0
            }
            if octet == 0x3D || octet >= 0x7F || octet < 0x20 {
                text += "=" + (octet < 16 ? "0" : "") + String(octet, radix: 16, uppercase: true)
                column += 3
            } else {
                text.unicodeScalars.append(Unicode.Scalar(octet))
                column += 1
            }
        }
        return text
    }

    private static func html(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "ü": "&uuml;"
            case "ä": "&#228;"
            default: String(scalar)
            }
        }.joined()
        return "<html><head><style>hidden style</style></head><body><p>" + escaped
            + "</p><script>var hidden = 'script';</script>wo<b>rd</b><br>next&nbsp;one</body>"
    }

    /// One part, with its header in front.
    private mutating func part(_ text: String) -> [UInt8] {
        let isHTML = next(3) == 0
        let shown = isHTML ? Self.html(text) : text
        let type = isHTML ? "html" : "plain"
        switch next(5) {
        case 0:
            let octets = Array(shown.utf8)
            return Array(
                """
                Content-Type: text/\(type); charset=utf-8\r
                Content-Transfer-Encoding: base64\r
                \r
                \(Self.base64(octets))\r

                """.utf8)
        case 1:
            return Array(
                """
                Content-Type: text/\(type); charset="UTF-8"\r
                Content-Transfer-Encoding: quoted-printable\r
                \r
                \(Self.quoted(Array(shown.utf8)))\r

                """.utf8)
        case 2:
            let latin = shown.unicodeScalars.map { UInt8(exactly: $0.value) ?? 0x3F }
            return Array("Content-Type: text/\(type); charset=iso-8859-1\r\n\r\n".utf8) + latin
                + [13, 10]
        case 3:
            var wide: [UInt8] = []
            for unit in shown.utf16 {
                wide.append(UInt8(unit >> 8))
                wide.append(UInt8(unit & 0xFF))
            }
            return Array(
                """
                Content-Type: text/\(type); charset=utf-16be\r
                Content-Transfer-Encoding: base64\r
                \r
                \(Self.base64(wide))\r

                """.utf8)
        default:
            return Array("Content-Type: text/\(type); charset=utf-8\r\n\r\n".utf8)
                + Array(shown.utf8) + [13, 10]
        }
    }

    mutating func message(_ number: Int) -> [UInt8] {
        let subject = text(1 + next(3)).replacing("\r\n", with: " ")
        var head =
            next(2) == 0
            ? "Subject: =?utf-8?B?\(Self.base64(Array(subject.utf8), line: 10_000))?=\r\n"
            : "Subject: \(subject.replacing(" ", with: "\r\n "))\r\n"
        head += "From: \"\(pick(["Ann", "Bob", "Zoë"]))\" <u\(number)@example.net>\r\n"
        if next(3) > 0 { head += "To: list@example.net,\r\n\tother@example.org\r\n" }
        if next(3) == 0 { head += "Cc:\r\nBCC: hidden@example.net\r\nCc: second@example.net\r\n" }
        if next(3) == 0 { head += "X-Spam-Flag: \(pick(["YES", "NO"]))\r\nList-Id:\r\n" }
        if next(4) > 0 {
            head += "Date: \(1 + next(28)) Mar 20\(10 + next(14)) 23:59:00 -0800\r\n"
        }
        head += "Message-ID: <\(number).\(next(100))@example.net>\r\nMIME-Version: 1.0\r\n"
        let words = 1 + next(40)
        guard next(3) > 0 else { return Array(head.utf8) + part(text(words)) }
        var octets = Array((head + "Content-Type: multipart/mixed; boundary=bb\r\n\r\n").utf8)
        for _ in 0..<(1 + next(3)) {
            octets += Array("--bb\r\n".utf8)
            switch next(4) {
            case 0:
                octets += Array("Content-Type: message/rfc822\r\n\r\nSubject: inner ÄRGER\r\n".utf8)
                octets += part(text(5))
            case 1:
                octets += Array("Content-Type: application/pdf\r\n\r\nattached needle\r\n".utf8)
            default: octets += part(text(words))
            }
        }
        return octets + Array("\r\n--bb--\r\nepilogue\r\n".utf8)
    }

    private mutating func needle() -> String {
        switch next(6) {
        case 0: return ""
        case 1:
            let word: [Character] = Array(pick(Self.words))
            let start = next(word.count)
            return String(word[start...].prefix(1 + next(3)))
        case 2: return pick(Self.words) + " " + pick(Self.words)
        case 3:
            return pick([
                "word", "next one", "hidden", "attached needle", "epilogue", "Subject", "inner",
                "\r\n",
                "example.net", "base64", "X-Spam-Flag: yes", "&", "<p>", "not there at all", ":",
            ])
        default:
            let word = pick(Self.words)
            return next(2) == 0 ? word.uppercased() : word
        }
    }

    mutating func query(depth: Int = 0) -> TextQuery {
        let text = Array(needle().utf8)
        switch next(depth < 2 ? 11 : 8) {
        case 0, 1: return .body(text)
        case 2, 3: return .text(text)
        case 4:
            let name = pick(["Subject", "FROM", "to", "Cc", "bcc"])
            return .header(name: Array(name.utf8), text)
        case 5:
            let name: String = pick(["X-Spam-Flag", "list-id", "Message-ID", "X-None"])
            let value: String = pick(["", "YES", "n", "example"])
            return .header(name: Array(name.utf8), Array(value.utf8))
        case 6:
            let day = 14_700 + next(5_000)
            let ranges: [DayRange] = [.before(day), .since(day), .on(day)]
            return .sent(pick(ranges))
        case 7: return .header(name: Array("from".utf8), Array("u\(next(60))@".utf8))
        case 8: return .not(query(depth: depth + 1))
        case 9: return .all((0..<next(4)).map { _ in query(depth: depth + 1) })
        default: return .any((0..<next(4)).map { _ in query(depth: depth + 1) })
        }
    }
}

extension AccountStore {
    /// What the background indexer does, at once.
    fileprivate func indexAll(minimum: Int = 1, steps: Int = .max, limit: Int = .max) throws {
        var left = steps
        while left > 0, let work = try searchWork(minimum: minimum) {
            left -= 1
            guard case .index(let mailbox, let messages, let merge) = work else { continue }
            let draft = SegmentDraft(mailbox)
            for segment in merge { draft.add(segment) }
            for message in messages {
                guard Int(message.size) <= limit else {
                    draft.add(uid: message.uid, size: message.size, nil)
                    continue
                }
                if let octets = try octets(mailbox, message.uid) {
                    draft.add(uid: message.uid, size: message.size, octets)
                }
            }
            let isDone = try commitSearch(
                draft.finish(), attempted: messages.map(\.uid), replacing: merge)
            #expect(isDone)
        }
    }

    /// Every message read and compared.
    fileprivate func scan(_ id: MailboxID, _ query: TextQuery) throws -> [UInt32] {
        let matcher = TextMatcher(query)
        let all = try searchPlan(
            id, uids: [UIDRange(1, .max)], query, usesIndex: false)
        #expect(all.found.isEmpty)
        return try all.open.filter { uid in
            try octets(id, uid).map { matcher.matches($0) } ?? false
        }
    }

    /// With the index, and how many messages had to be read.
    fileprivate func search(
        _ id: MailboxID, _ query: TextQuery, _ uids: [UIDRange] = [UIDRange(1, .max)]
    ) throws -> (uids: [UInt32], read: Int) {
        let matcher = TextMatcher(query)
        let plan = try searchPlan(id, uids: uids, query, usesIndex: true)
        let checked = try plan.open.filter { uid in
            try octets(id, uid).map { matcher.matches($0) } ?? false
        }
        return ((plan.found + checked).sorted(), plan.open.count)
    }

    fileprivate func add(_ octets: [UInt8], to mailbox: MailboxName = inbox) throws -> MailboxID {
        try append(
            PendingAppend(
                mailbox: mailbox, flags: NamedFlags(), date: nil, source: .octets(octets))
        ).mailbox
    }
}

@Suite("search index")
struct SearchIndexTests {
    private func filled(_ sandbox: Sandbox, _ count: Int, seed: UInt64 = 1) throws -> (
        AccountStore, MailboxID
    ) {
        let store = try sandbox.account()
        var corpus = Corpus(seed: seed)
        var id = MailboxID(rawValue: 0)
        for number in 0..<count { id = try store.add(corpus.message(number)) }
        return (store, id)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `with the index the answers are those of the exact search`(seed: UInt64) throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 120, seed: seed)
        try store.indexAll()
        var corpus = Corpus(seed: seed &* 77)
        var read = 0
        for _ in 0..<250 {
            let query = corpus.query()
            let exact = try store.scan(id, query)
            let indexed = try store.search(id, query)
            #expect(indexed.uids == exact, "\(query)")
            read += indexed.read
        }
        #expect(read < 250 * 120 / 3, "the index narrows: \(read)")
    }

    @Test func `short and long, first and last keys are found`() throws {
        let sandbox = try Sandbox()
        let store = try sandbox.account()
        let id = try store.add(Array("Subject: Zq\r\n\r\nqw first words, LAST wörd ñ".utf8))
        _ = try store.add(Array("Subject: other\r\n\r\nnothing here\r\n".utf8))
        try store.indexAll()
        for key in ["qw", "q", "ñ", "rd ñ", "d ñ", "first words, last wörd ñ", "zq", "subject: zq"]
        {
            let isLong = Needle(Array(key.utf8)).octets.count > 3
            let answer = try store.search(id, .text(Array(key.utf8)))
            #expect(answer.uids == [1], "\(key)")
            #expect(answer.read == (isLong ? 1 : 0), "\(key)")
        }
        #expect(try store.search(id, .body(Array("zq".utf8))).uids == [])
        #expect(try store.search(id, .header(name: octets("subject"), octets("ZQ"))).read == 0)
        #expect(try store.search(id, .text(octets("a\u{0}"))).uids == [])
    }

    @Test func `what came after the index is read, and indexed with the next pass`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 20)
        try store.indexAll()
        _ = try store.add(message("unmistakable"))
        let before = try store.search(id, .body(octets("body of unmistakable")))
        #expect(before.uids == [21])
        #expect(before.read == 1)
        try store.indexAll(minimum: 64)
        #expect(try store.searchState(usesIndex: true).indexed == 20)
        try store.indexAll()
        #expect(try store.searchState(usesIndex: true).indexed == 21)
        #expect(try store.search(id, .text(octets("not there"))).read == 0)
    }

    @Test func `a crash in the middle of indexing costs nothing but the work`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 60)
        let other = name("Other")
        try store.create(other, .none)
        for number in 0..<30 { _ = try store.add(message("other\(number)"), to: other) }
        try store.indexAll(steps: 1)
        // Work that was taken and never finished
        _ = try store.searchWork(minimum: 1)
        store.abandon()
        let again = try sandbox.account()
        let state = try again.searchState(usesIndex: true)
        #expect(state.indexed > 0 && state.indexed < 90)
        let query = TextQuery.text(octets("invoice"))
        #expect(try again.search(id, query).uids == again.scan(id, query))
        try again.indexAll()
        #expect(try again.searchState(usesIndex: true).indexed == 90)
        #expect(try again.search(id, .body(octets("no such thing"))).read == 0)
        #expect(try again.search(id, query).uids == again.scan(id, query))
    }

    @Test func `the file may be removed while it is in use`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 40)
        try store.indexAll()
        let query = TextQuery.body(octets("report"))
        let answer = try store.search(id, query)
        for name in names(sandbox.home()) where name.hasPrefix("search.sqlite") {
            unlink("\(sandbox.home())/\(name)")
        }
        let without = try store.search(id, query)
        #expect(without.uids == answer.uids)
        #expect(without.read == 40)
        try store.indexAll()
        #expect(exists("\(sandbox.home())/search.sqlite"))
        #expect(try store.search(id, query).uids == answer.uids)
        #expect(try store.search(id, .text(octets("no such thing"))).read == 0)
    }

    @Test func `a damaged index is thrown away and made again`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 40)
        try store.indexAll()
        let query = TextQuery.body(octets("report"))
        let exact = try store.scan(id, query)
        try store.close()
        let path = "\(sandbox.home())/search.sqlite"
        var file = try #require(readFile(path))
        for index in stride(from: 100, to: file.count, by: 7) { file[index] ^= 0x5A }
        writeFile(path, file)
        let again = try sandbox.account()
        #expect(try again.search(id, query).uids == exact)
        #expect(sandbox.notices.has(.searchUnusable) || exists(path))
        try again.indexAll()
        #expect(try again.searchState(usesIndex: true).indexed == 40)
        #expect(try again.search(id, query).uids == exact)
    }

    @Test func `an index of another version is made again`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 10)
        try store.indexAll()
        try store.close()
        let path = "\(sandbox.home())/search.sqlite"
        var file = try #require(readFile(path))
        file[63] = 99  // user_version, big-endian at 60
        writeFile(path, file)
        let again = try sandbox.account()
        #expect(try again.searchState(usesIndex: true).indexed == 0)
        let query = TextQuery.text(octets("example"))
        #expect(try again.search(id, query).uids == again.scan(id, query))
    }

    @Test func `expunged messages are in no answer, and their segment shrinks`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 60)
        try store.indexAll()
        _ = try store.expunge(id, uids: [UIDRange(1, 50)], force: true)
        #expect(try store.search(id, .all([])).uids == Array(51...60))
        let query = TextQuery.not(.body(octets("invoice")))
        #expect(try store.search(id, query).uids == store.scan(id, query))
        _ = try store.add(message("new"))
        try store.indexAll()
        #expect(try store.searchState(usesIndex: true).indexed == 11)
        #expect(try store.search(id, query).uids == store.scan(id, query))
        #expect(try store.search(id, .text(octets("no such thing"))).read == 0)
    }

    @Test func `moved, renamed and deleted mailboxes`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 30)
        try store.indexAll()
        let target = name("Target")
        try store.create(target, .none)
        _ = try store.copy(id, uids: [UIDRange(1, 10)], to: target, move: true)
        let there = try store.snapshot(target).id
        let query = TextQuery.text(octets("example.net"))
        #expect(try store.search(there, query).uids == store.scan(there, query))
        #expect(try store.search(id, query).uids == store.scan(id, query))
        try store.rename(target, to: name("Renamed"))
        try store.indexAll()
        #expect(try store.search(there, query).uids == store.scan(there, query))
        #expect(try store.search(there, .body(octets("no such thing"))).read == 0)
        #expect(try store.searchState(usesIndex: true).indexed >= 30)
        try store.delete(name("Renamed"))
        try store.indexAll()
        #expect(try store.searchState(usesIndex: true).segments == 1)
        // The same name again is another mailbox
        try store.create(name("Renamed"), .none)
        let new = try store.add(message("fresh"), to: name("Renamed"))
        #expect(try store.search(new, .body(octets("body of fresh"))).uids == [1])
    }

    @Test func `a message with the UID of another is not taken for it`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 5)
        // As after an old backup: the index knows UID 1 with another size
        let draft = SegmentDraft(id)
        draft.add(uid: 1, size: 7, octets("Subject: wrong\r\n\r\nwrong body\r\n"))
        let isWritten = try store.commitSearch(draft.finish(), attempted: [], replacing: [])
        #expect(isWritten)
        #expect(try store.search(id, .body(octets("wrong body"))).uids == [])
        let query = TextQuery.text(octets("subject"))
        #expect(try store.search(id, query).uids == store.scan(id, query))
        try store.indexAll()
        #expect(try store.search(id, query).uids == store.scan(id, query))
    }

    @Test func `small segments are merged`() throws {
        let sandbox = try Sandbox()
        let store = try sandbox.account()
        var corpus = Corpus(seed: 5)
        var id = MailboxID(rawValue: 0)
        for number in 0..<100 {
            id = try store.add(corpus.message(number))
            try store.indexAll()
        }
        let state = try store.searchState(usesIndex: true)
        #expect(state.indexed == 100)
        #expect(state.segments <= 8)
        for _ in 0..<60 {
            let query = corpus.query()
            #expect(try store.search(id, query).uids == store.scan(id, query), "\(query)")
        }
    }

    @Test func `messages over the limit are always read`() throws {
        let sandbox = try Sandbox()
        let store = try sandbox.account()
        let id = try store.add(message("long", octets: 5_000))
        _ = try store.add(message("short"))
        try store.indexAll(limit: 4_000)
        #expect(try store.searchState(usesIndex: true).opaque == 1)
        let answer = try store.search(id, .not(.body(octets("no such thing"))))
        #expect(answer.uids == [1, 2])
        #expect(answer.read == 1)
    }

    @Test func `only what is asked for is answered`() throws {
        let sandbox = try Sandbox()
        let (store, id) = try filled(sandbox, 30)
        try store.indexAll()
        for ranges in [[UIDRange(5, 9)], [UIDRange(2, 2), UIDRange(20, .max)], []] {
            let query = TextQuery.text(octets("example"))
            let exact = try store.scan(id, query).filter { uid in
                ranges.contains { $0.first <= uid && uid <= $0.last }
            }
            #expect(try store.search(id, query, ranges).uids == exact)
        }
    }
}
