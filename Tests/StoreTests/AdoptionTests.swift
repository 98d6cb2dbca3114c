// SPDX-License-Identifier: Apache-2.0
//
// Maildirs that Dovecot or Courier kept until now: same UIDVALIDITY, UIDs, UIDNEXT, flags,
// keywords, dates and subscriptions, so that no client downloads anything again.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

private let lf = "Subject: lf\nFrom: a@example.net\n\nline\nline\n"
private let crlf = "Subject: crlf\r\n\r\nline\r\n"

/// Writes a folder as Dovecot 2.3 leaves it; `path` ends in `/`.
private func makeDovecot(_ path: String, validity: UInt32, next: UInt32 = 50) {
    run("/bin/mkdir", "-p", path + "cur", path + "new", path + "tmp")
    writeFile(path + "cur/1700000001.M1P1.host,S=43,W=48:2,FSa", octets(lf))
    writeFile(path + "cur/1700000002.M2P1.host:2,Rb", octets(crlf))
    writeFile(path + "cur/1700000003.M3P1.host,S=43:2,", octets(lf))
    writeFile(path + "new/1700000004.M4P1.host", octets(lf))
    // Not in the list: delivered after Dovecot's last look.
    writeFile(path + "cur/1600000000.M5P1.host:2,S", octets(lf))
    writeFile(
        path + "dovecot-uidlist",
        octets(
            """
            3 V\(validity) N\(next) G0123456789abcdef0123456789abcdef
            7 :1700000002.M2P1.host
            12 W48 G11 :1700000001.M1P1.host,S=43,W=48
            13 P0000000d4a S43 W48 :1700000003.M3P1.host,S=43
            40 :1700000004.M4P1.host

            """))
    writeFile(path + "dovecot-keywords", octets("0 $Forwarded\n1 work\n"))
    var times = [timeval(tv_sec: 1_234_567, tv_usec: 0), timeval(tv_sec: 1_234_567, tv_usec: 0)]
    utimes(path + "cur/1700000002.M2P1.host:2,Rb", &times)
}

private func expectDovecot(
    _ account: AccountStore, _ mailbox: MailboxName, validity: UInt32, next: UInt32 = 50
) throws {
    let found = try account.snapshot(mailbox)
    #expect(found.uidValidity == validity)
    #expect(found.uidNext == next + 1)
    #expect(found.entries.map(\.uid) == [7, 12, 13, 40, next])
    #expect(found.entries.map(\.size) == [23, 48, 48, 48, 48])
    #expect(found.keywords == [octets("$Forwarded"), octets("work")])
    #expect(
        found.entries.map(\.flags) == [
            [.answered, .keyword(1)], [.flagged, .seen, .keyword(0)], [], [], .seen,
        ])
    #expect(found.entries[0].internalDate == 1_234_567)
    #expect(found.highestModSeq >= 1 << 40)
    #expect(try account.subjects(mailbox)[7] == "crlf")
    for entry in found.entries {
        #expect(try account.octets(found.id, entry.uid)?.count == Int(entry.size))
    }
}

@Suite("Maildirs of Dovecot and Courier")
struct AdoptionTests {
    @Test func `a Maildir of Dovecot put there before the first login keeps all its numbers`()
        throws
    {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        makeDovecot(maildir, validity: 1_500_000_000)
        makeDovecot(maildir + ".Sent/", validity: 1_500_000_001, next: 41)
        makeDovecot(maildir + ".A&AOQ-.B/", validity: 1_500_000_002)
        writeFile(maildir + "subscriptions", octets("V\t2\n\nSent\nA&AOQ-\tB\nGone\n"))
        writeFile(maildir + "dovecot-uidvalidity", octets("59682f10"))
        let account = try box.account()
        try expectDovecot(account, inbox, validity: 1_500_000_000)
        try expectDovecot(account, name("Sent"), validity: 1_500_000_001, next: 41)
        try expectDovecot(account, name("Aä/B"), validity: 1_500_000_002)
        let list = try account.list()
        #expect(list.first { $0.name.text == "Sent" }?.specialUse == .sent)
        #expect(list.first { $0.name.text == "Aä/B" }?.isSubscribed == true)
        #expect(list.first { $0.name.text == "INBOX" }?.isSubscribed == false)
        #expect(list.first { $0.name.text == "Gone" }?.isSubscribed == true)
        #expect(try account.add("next").uid == 51)
        let before = try account.snapshot(inbox)
        #expect(names(maildir).contains("dovecot-uidlist.adopted"))
        #expect(!names(maildir).contains("dovecot-uidlist"))
        // And stays so without the index.
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.snapshot(inbox).entries.map(\.uid) == before.entries.map(\.uid))
        #expect(try again.snapshot(inbox).uidValidity == before.uidValidity)
        #expect(try again.snapshot(inbox).highestModSeq > before.highestModSeq)
        #expect(try again.list() == list)
    }

    @Test(arguments: [true, false])
    func `a Maildir of Dovecot put over a new account's keeps all its numbers`(_ isOpen: Bool)
        throws
    {
        let box = try Sandbox()
        var account = try box.account()
        let before = try account.snapshot(inbox)
        if !isOpen { try account.close() }
        let maildir = box.home() + "/Maildir/"
        makeDovecot(maildir, validity: 1_500_000_000)
        makeDovecot(maildir + ".Sent/", validity: 1_500_000_001)
        if !isOpen { account = try box.account() }
        try expectDovecot(account, inbox, validity: 1_500_000_000)
        try expectDovecot(account, name("Sent"), validity: 1_500_000_001)
        #expect(try account.list().first { $0.name.text == "Sent" }?.specialUse == .sent)
        #expect(try account.changes(before.id, since: 0).isGone)
    }

    @Test func `a mailbox that has messages of its own keeps its numbers whatever lies beside`()
        throws
    {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("ours")
        let before = try account.snapshot(inbox)
        makeDovecot(box.home() + "/Maildir/", validity: 1_500_000_000)
        _ = try account.list()
        let after = try account.snapshot(inbox)
        #expect(after.uidValidity == before.uidValidity)
        #expect(after.entries.count == 6)
        #expect(after.entries[0] == before.entries[0])
    }

    @Test func `two folders of one UIDVALIDITY both keep it`() throws {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        makeDovecot(maildir, validity: 1_500_000_000)
        makeDovecot(maildir + ".A/", validity: 1_500_000_000)
        makeDovecot(maildir + ".B/", validity: 1_500_000_000)
        for round in 0..<3 {
            let account = try box.account()
            if round == 0 {
                for mailbox in [inbox, name("A"), name("B")] {
                    try expectDovecot(account, mailbox, validity: 1_500_000_000)
                }
            }
            let found = try [inbox, name("A"), name("B")].map { try account.snapshot($0) }
            #expect(Set(found.map(\.id)).count == 3)
            #expect(Set(found.map(\.uidValidity)) == [1_500_000_000])
            #expect(found.allSatisfy { $0.entries.map(\.uid) == [7, 12, 13, 40, 50] })
            try account.close()
            if round == 1 { box.removeIndex() }
        }
        let account = try box.account()
        try account.delete(name("A"))
        #expect(try account.snapshot(name("B")).entries.count == 5)
        #expect(try account.snapshot(inbox).entries.count == 5)
    }

    @Test func `a Maildir of Courier keeps UIDs, keywords, sizes and subscriptions`() throws {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        run("/bin/mkdir", "-p", maildir + "cur", maildir + "new", maildir + "tmp")
        run("/bin/mkdir", "-p", maildir + ".Old/cur", maildir + ".Old/new", maildir + ".Old/tmp")
        run("/bin/mkdir", "-p", maildir + "courierimapkeywords")
        writeFile(maildir + "cur/1600000001.M1P1V0I1_0.host,S=43:2,S", octets(lf))
        writeFile(maildir + "cur/1600000002.M1P1V0I1_0.host,S=23:2,", octets(crlf))
        writeFile(maildir + "cur/1600000003.M1P1V0I1_0.host,S=43:2,T", octets(lf))
        writeFile(
            maildir + "courierimapuiddb",
            octets(
                """
                1 1400000000 30
                4 1600000001.M1P1V0I1_0.host,S=43
                9 1600000002.M1P1V0I1_0.host,S=23
                29 1600000003.M1P1V0I1_0.host,S=43

                """))
        writeFile(maildir + ".Old/courierimapuiddb", octets("1 1400000000 5\n"))
        let keywords = maildir + "courierimapkeywords/"
        writeFile(
            keywords + ":list",
            octets(
                """
                $Label1
                NonJunk

                1600000001.M1P1V0I1_0.host,S=43:0 1
                1600000002.M1P1V0I1_0.host,S=23:1

                """))
        writeFile(keywords + "1600000002.M1P1V0I1_0.host,S=23", octets("$Label1\n"))
        writeFile(keywords + ".7.1600000003.M1P1V0I1_0.host,S=43", octets("late\n$Label1\n"))
        writeFile(
            maildir + "courierpop3dsizelist",
            octets("/2 30 1400000000\n1600000001.M1P1V0I1_0.host,S=43 48 4:1400000000\n"))
        writeFile(maildir + "courierimapsubscribed", octets("INBOX\nINBOX.Old\nINBOX.Not.There\n"))
        let account = try box.account()
        let found = try account.snapshot(inbox)
        #expect(found.uidValidity == 1_400_000_000)
        #expect(found.uidNext == 30)
        #expect(found.entries.map(\.uid) == [4, 9, 29])
        #expect(found.entries.map(\.size) == [48, 23, 48])
        #expect(found.keywords == [octets("$Label1"), octets("NonJunk"), octets("late")])
        #expect(
            found.entries.map(\.flags) == [
                [.seen, .keyword(0), .keyword(1)], .keyword(0),
                [.deleted, .keyword(0), .keyword(2)],
            ])
        #expect(try account.snapshot(name("Old")).uidNext == 5)
        #expect(try account.snapshot(name("Old")).uidValidity == 1_400_000_000)
        let subscribed = try account.list().filter(\.isSubscribed).map(\.name.text)
        #expect(Set(subscribed).isSuperset(of: ["INBOX", "Old", "Not/There"]))
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.snapshot(inbox).entries.map(\.flags) == found.entries.map(\.flags))
        #expect(try again.snapshot(inbox).keywords == found.keywords)
    }

    @Test(arguments: [
        "", "3", "3 V0 N5\n", "3 Vx N5\n", "3 N5\n", "4 V1 N2\n", "3 V99999999999 N5\n",
        "3 V5 N4294967295\n", "1 2\n", "\u{0}\u{0}\u{0}\n", "3 V5\n1 :a",
    ])
    func `a list that cannot be read costs no message`(_ list: String) throws {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        makeDovecot(maildir, validity: 1_500_000_000)
        writeFile(maildir + "dovecot-uidlist", octets(list))
        let account = try box.account()
        #expect(try account.snapshot(inbox).entries.count == 5)
        #expect(try account.subjects().values.sorted() == ["crlf", "lf", "lf", "lf", "lf"])
    }

    @Test func `strange lines of a list cost their own messages' UIDs only`() throws {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        makeDovecot(maildir, validity: 1_500_000_000)
        writeFile(
            maildir + "dovecot-uidlist",
            octets(
                """
                3 V1500000000 N20
                7 :1700000002.M2P1.host
                x :1700000001.M1P1.host
                13 :1700000003.M3P1.host,S=43
                14 :1700000003.M3P1.host,S=43
                99999999999 :1700000001.M1P1.host,S=43,W=48
                0 :1700000001.M1P1.host,S=43,W=48
                40 :1700000004.M4P1.host

                """))
        let account = try box.account()
        let found = try account.snapshot(inbox)
        #expect(found.uidValidity == 1_500_000_000)
        // 40 is beyond N: the header is only rewritten now and then.
        #expect(found.entries.map(\.uid) == [7, 40, 41, 42, 43])
    }

    @Test func `no crash while a folder is taken over costs a number or a message`() throws {
        let box = try Sandbox()
        let account = try box.account()
        makeDovecot(box.home() + "/Maildir/", validity: 1_500_000_000)
        let crashes = Crashes(box, account)
        try expectDovecot(account, inbox, validity: 1_500_000_000)
        #expect(Set(crashes.states) == [.adoptRenamed, .adoptCommitted, .adoptRetired])
        try crashes.check { state, found, _ in
            let snapshot = try found.snapshot(inbox)
            #expect(snapshot.uidValidity == 1_500_000_000, "\(state)")
            #expect(snapshot.entries.map(\.uid).prefix(4) == [7, 12, 13, 40], "\(state)")
            #expect(snapshot.entries.count == 5, "\(state)")
            #expect(
                snapshot.entries.map(\.flags).prefix(2) == [
                    [.answered, .keyword(1)], [.flagged, .seen, .keyword(0)],
                ], "\(state)")
        }
    }

    @Test func `a folder that another program made can be selected without a list before`() throws {
        let box = try Sandbox()
        let account = try box.account()
        makeDovecot(box.home() + "/Maildir/.Made/", validity: 1_500_000_007)
        try expectDovecot(account, name("Made"), validity: 1_500_000_007)
    }

    @Test func `a folder larger than one slice is taken over whole`() throws {
        let box = try Sandbox()
        let maildir = box.home() + "/Maildir/"
        run("/bin/mkdir", "-p", maildir + "cur", maildir + "new", maildir + "tmp")
        var list = "3 V1500000000 N13000\n"
        for number in 1...4_300 {
            writeFile(maildir + "cur/1700000000.M\(number)P1.host:2,S", octets(lf))
            if number <= 4_200 { list += "\(number * 3) :1700000000.M\(number)P1.host\n" }
        }
        writeFile(maildir + "dovecot-uidlist", octets(list))
        let account = try box.account()
        let found = try account.snapshot(inbox)
        #expect(
            found.entries.map(\.uid) == (1...4_200).map { UInt32($0 * 3) } + (13_000..<13_100))
        #expect(found.uidNext == 13_100)
        #expect(found.entries.allSatisfy { $0.flags == .seen && $0.size == 48 })
    }
}
