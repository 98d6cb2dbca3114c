// SPDX-License-Identifier: Apache-2.0

import MIME
import Testing

@Suite("address lists, RFC 5322 section 3.4")
struct AddressListTests {
    @Test(arguments: [
        ("joe@example.org", ["-|-|joe|example.org"]),
        ("<joe@example.org>", ["-|-|joe|example.org"]),
        ("John Doe <jdoe@machine.example>", ["John Doe|-|jdoe|machine.example"]),
        (
            "\"Joe Q. Public\" <john.q.public@example.com>",
            ["Joe Q. Public|-|john.q.public|example.com"]
        ),
        (
            "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            ["Mary Smith|-|mary|x.test", "-|-|jdoe|example.org", "Who?|-|one|y.test"]
        ),
        (
            "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
            ["-|-|boss|nil.test", "Giant; \"Big\" Box|-|sysservices|example.net"]
        ),
        (
            "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            ["A Group:", "Ed Jones|-|c|a.test", "-|-|joe|where.test", "John|-|jdoe|one.test", ";"]
        ),
        ("Undisclosed recipients:;", ["Undisclosed recipients:", ";"]),
        (
            "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            ["Pete|-|pete|silly.test"]
        ),
        (
            "A Group(Some people)\n :Chris Jones <c@(Chris's host.)public.example>,\n joe@example.org",
            ["A Group:", "Chris Jones|-|c|public.example", "-|-|joe|example.org", ";"]
        ),
        (
            "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            ["Hidden recipients:", ";"]
        ),
        // obsolete, RFC 5322 A.6
        (
            "Joe Q. Public <john.q.public@example.com>",
            ["Joe Q. Public|-|john.q.public|example.com"]
        ),
        (
            "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            ["Mary Smith|@node.test|mary|example.net", "-|-|jdoe|test.example"]
        ),
        ("<@a.test,@b.test:c@d.test>", ["-|@a.test,@b.test|c|d.test"]),
        ("john . doe (x) @ example . org", ["x|-|john.doe|example.org"]),
        ("jdoe@example.org (John Doe)", ["John Doe|-|jdoe|example.org"]),
        ("\"much more unusual\"@example.com", ["-|-|much more unusual|example.com"]),
        (
            "a@[192.0.2.1], b@[IPv6:2001:db8::1]",
            ["-|-|a|[192.0.2.1]", "-|-|b|[IPv6:2001:db8::1]"]
        ),
        (
            "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?X?= <j@x.test>",
            ["=?utf-8?q?J=C3=B6rg?= =?utf-8?q?X?=|-|j|x.test"]
        ),
        ("[list] Name <a@b.test>", ["[list] Name|-|a|b.test"]),
    ])
    func `addresses are read`(_ body: String, _ expected: [String]) {
        #expect(addresses(body) == expected)
    }

    @Test(arguments: [
        ("", []), (" \n ", []), (",;:>)", []), ("(never closed", []),
        ("root", ["-|-|root|"]),
        ("<>", ["-|-||"]), ("Nobody <>", ["Nobody|-||"]),
        (
            "Joe <joe@example.org, sue@example.org",
            ["Joe|-|joe|example.org", "-|-|sue|example.org"]
        ),
        ("@example.org", ["-|-||example.org"]),
        ("a@b.test c@d.test", ["-|-|a|b.test", "-|-|c|d.test"]),
        ("a@b@c.test, d@e.test", ["-|-|a|b", "-|-||c.test", "-|-|d|e.test"]),
        ("\"open <a@b.test>", ["-|-|open <a@b.test>|"]),
        (
            "group: a@b.test, inner: c@d.test;",
            ["group:", "-|-|a|b.test", "-|-|inner|", "-|-|c|d.test", ";"]
        ),
        ("<a@b.test (c, <d@e.test>)>, f@g.test", ["-|-|a|b.test", "-|-|f|g.test"]),
    ])
    func `broken addresses give what can be read of them`(_ body: String, _ expected: [String]) {
        #expect(addresses(body) == expected)
    }

    @Test func `a list can be used again`() {
        let octets = crlf("Joe <a@b.test>, c@d.test")
        var list = AddressList()
        list.append(octets.span, 0..<octets.count)
        let first = list.addresses
        list.removeAll()
        #expect(list.addresses.isEmpty)
        list.append(octets.span, 0..<octets.count)
        #expect(list.addresses == first)
    }

    @Test func `addresses behind the limit are dropped and the group is closed`() {
        let body = crlf("g:" + String(repeating: "a,", count: AddressList.limit + 5))
        let list = AddressList(body.span, 0..<body.count)
        #expect(list.addresses.count == AddressList.limit + 1)
        #expect(list.addresses.last?.kind == .groupEnd)
    }
}
