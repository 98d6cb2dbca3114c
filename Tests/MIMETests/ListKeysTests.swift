// SPDX-License-Identifier: Apache-2.0

import Bytes
import Testing

@testable import MIME

@Suite("base subjects, RFC 5256 section 2.1")
struct BaseSubjectTests {
    @Test(arguments: [
        ("hello", "hello", false), ("Re: hello", "hello", true), ("RE[2]: hello", "hello", true),
        ("Fwd: Re: fw: hello", "hello", true), ("[list] hello", "hello", false),
        ("[list] Re: [other] hello", "hello", true), ("Re: [a] Re: [b] x (fwd)", "x", true),
        ("[fwd: [list] Re: hello]", "hello", true), ("[blob]", "[blob]", false),
        ("Re: [blob]", "[blob]", true), ("  a \t b  ", "a b", false), ("re", "re", false),
        ("reply", "reply", false), ("Re :x", "x", true), ("Re: ", "", true), ("", "", false),
        ("(fwd)", "", true), ("x (fwd) (fwd) ", "x", true), ("[fwd:]", "", true),
        ("[a [b] c", "[a [b] c", false), ("[fwd: [fwd: x]]", "x", true),
        ("Re[a][b]: x", "Re[a][b]: x", false), ("[a][b]Re: x", "x", true),
    ])
    func `what replies and forwards add is taken off`(
        _ subject: String, _ base: String, _ isReply: Bool
    ) {
        let found = BaseSubject(decoded: Array(subject.utf8))
        #expect(String(decoding: found.text, as: UTF8.self) == base)
        #expect(found.isReplyOrForward == isReply)
    }
}

@Suite("keys of SORT and THREAD, RFC 5256")
struct ListKeysTests {
    private func keys(_ header: String) -> ListKeys {
        let octets = Array(header.replacing("\n", with: "\r\n").utf8)
        return ListKeys(octets.span, 0..<octets.count)
    }

    @Test func `every key of a common header`() {
        let keys = keys(
            """
            Date: Mon, 7 Feb 1994 21:52:25 -0800
            From: =?utf-8?q?J=C3=9CRGEN?= <Jo@Example.NET>
            To: b@example.net, c@example.net
            Cc: "C D" <cc@example.net>
            Subject: Re: [l] =?utf-8?q?=C3=84pfel?= und Birnen
            Message-ID: <A.b@c>
            References: <1@x> <"2"@x>
             <3@x>
            In-Reply-To: <9@x>

            """)
        #expect(keys.sent == 760_686_745)
        #expect(keys.from == Array("jo".utf8))
        #expect(keys.displayFrom == Array("jürgen".utf8))
        #expect(keys.to == Array("b".utf8))
        #expect(keys.displayTo == Array("b@example.net".utf8))
        #expect(keys.cc == Array("cc".utf8))
        #expect(keys.baseSubject == Array("äpfel und birnen".utf8))
        #expect(keys.isReplyOrForward)
        #expect(keys.messageID == Array("A.b@c".utf8))
        #expect(keys.references == ["1@x", "2@x", "3@x"].map { Array($0.utf8) })
    }

    @Test func `without References the first id of In-Reply-To counts`() {
        #expect(
            keys("In-Reply-To: your mail of <a@b> and <c@d>\n\n").references == [Array("a@b".utf8)])
        #expect(keys("References: none\nIn-Reply-To: <a@b>\n\n").references == [Array("a@b".utf8)])
    }

    @Test func `of many references the first and the last are kept`() {
        let ids = (0..<500).map { "<\($0)@x>" }.joined(separator: "\n ")
        let references = keys("References: \(ids)\n\n").references
        #expect(references.count == ListKeys.referenceLimit)
        #expect(references.first == Array("0@x".utf8))
        #expect(references.last == Array("499@x".utf8))
        #expect(references[1] == Array("401@x".utf8))
    }

    @Test(arguments: [
        "", "Date: Thu, 1 Jan 1960 00:00:00 +0000\n\n", "Date: never\n\n",
        "From: Group: a@b;\nTo:\nCc: <>\nSubject:\n\n", "Message-ID: <unclosed\n\n",
        "Subject: \u{FC}\u{FC}\nReferences: <a@b>\n\n",
    ])
    func `what is packed is what was there`(_ header: String) throws {
        let keys = keys(header)
        let packed = keys.packed
        #expect(ListKeys(packed: packed.span) == keys)
        for end in 0..<packed.count {
            #expect(ListKeys(packed: packed.span.extracting(0..<end)) == nil)
        }
        #expect(ListKeys(packed: (packed + [0]).span) == nil)
    }

    @Test func `every name that clients ask for in lists is kept, in any case`() {
        for name in [
            "From", "TO", "Cc", "bcc", "Subject", "DATE", "message-id", "Priority", "X-Priority",
            "References", "Newsgroups", "In-Reply-To", "Content-Type", "Reply-To", "Mime-Version",
            "LIST-UNSUBSCRIBE-POST", "List-Id", "Sender", "Content-Description", "X-Label",
            "X-Original-To", "Lines", "User-Agent", "X-Uniform-Type-Identifier",
        ] {
            #expect(ListFields.holds(Array(name.utf8)), "\(name)")
        }
        for name in ["", "x", "list", "list-", "DKIM-Signature", "Frop", "Dates", "Received"] {
            #expect(!ListFields.holds(Array(name.utf8)), "\(name)")
        }
    }
}
