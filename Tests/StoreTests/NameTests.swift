// SPDX-License-Identifier: Apache-2.0
//
// Names on disk: folders in modified UTF-7, message files, state files, summaries.

import Bytes
import Mail
import Testing

@testable import Store

@Suite("names on disk, RFC 3501 §5.1.3, maildir(5)")
struct NameTests {
    @Test(arguments: [
        ("INBOX", ""), ("Sent", ".Sent"), ("A/B", ".A.B"), ("a.b", ".a&AC4-b"),
        ("Tom & Jerry", ".Tom &- Jerry"), ("Entwürfe", ".Entw&APw-rfe"),
        ("台北/日本語", ".&U,BTFw-.&ZeVnLIqe-"), ("é.", ".&AOkALg-"), ("🐦", ".&2D3cJg-"),
        ("INBOX/x", ".INBOX.x"), ("~", ".~"),
    ])
    func `a mailbox has one directory, and it can be read back`(_ text: String, _ directory: String)
    {
        let mailbox = name(text)
        #expect(FolderName.directory(of: mailbox) == octets(directory))
        if !mailbox.isInbox { #expect(FolderName.mailbox(of: octets(directory)) == mailbox) }
    }

    @Test(arguments: [".", "..", ".A..B", "A", ".A/B", "..A", ".INBOX", ".inbox"])
    func `what cannot be a folder is none`(_ directory: String) {
        #expect(FolderName.mailbox(of: octets(directory)) == nil)
    }

    @Test(arguments: ["&", "&A", "&AB", "&ABC", "&!-", "&AOk", "&AGEA-", "é", "&2D3cJg"])
    func `broken modified UTF-7 is refused`(_ text: String) {
        #expect(FolderName.decode(octets(text)) == nil)
    }

    @Test(arguments: [
        ("alice", "alice"), ("Ünï", "%C3%9Cn%C3%AF"), ("..", "%2E."), (".a", "%2Ea"),
        ("a/b", "a%2Fb"), ("a%2Fb", "a%252Fb"), ("a+b=c_d-e@f.g", "a+b=c_d-e@f.g"),
    ])
    func `account names become safe directories, each its own`(_ text: String, _ path: String) {
        #expect(AccountPath.component(octets(text)) == octets(path))
    }

    @Test(arguments: [
        "1.M2P3Q4.host,S=10,U=7:2,", "1.M2P3Q4.host,S=10,W=12,U=7:2,FRSa",
        "1.M2P3Q4.host,S=10,X=y,U=1:2,DPTz", "1.host:2,",
    ])
    func `a file name is taken apart and put together again`(_ text: String) {
        #expect(FileName(octets(text)).octets == octets(text))
    }

    @Test func `a file name says what it says`() {
        let file = FileName(octets("1.M2P3Q4.host,S=10,W=12,U=7:2,aFS"))
        #expect(file.unique == octets("1.M2P3Q4.host"))
        #expect(file.fileSize == 10 && file.wireSize == 12 && file.uid == 7)
        #expect(file.flags == [.flagged, .seen, .keyword(0)])
        #expect(file.needsCRLF)
        for odd in ["x,U=0:2,", "x,U=4294967295", "x,U=99999999999999999", "x,U=1x", "x,U="] {
            #expect(FileName(octets(odd)).uid == nil)
        }
    }

    @Test func `state files are read back, and nothing else is`() {
        var state = FolderState(uidValidity: 77, specialUse: .junk)
        state.uidMark = 5_000
        state.modSeqMark = 123_456_789_012
        #expect(FolderState(state.octets) == state)
        for count in 0..<(state.octets.count - 1) {
            #expect(FolderState(Array(state.octets.prefix(count))) == nil)
        }
        let account = AccountState(uidValidityMark: 9, hasDefaults: true)
        #expect(AccountState(account.octets) == account)
        for count in 0..<(account.octets.count - 1) {
            #expect(AccountState(Array(account.octets.prefix(count))) == nil)
        }
    }

    @Test func `a keyword table with holes and junk keeps its letters`() {
        let table = KeywordTable(octets("2 work\n0 $Junk\n99 x\nbad\n3 a(b\n"))
        #expect(table.names == [octets("$Junk"), octets("keyword-b"), octets("work")])
        #expect(table.flag(octets("WORK")) == .keyword(2))
        #expect(KeywordTable(table.octets) == table)
    }

    @Test func `subscriptions of both of Dovecot's formats are read`() {
        let names = [name("INBOX"), name("A/B.c"), name("Entwürfe")]
        #expect(Subscriptions.parse(Subscriptions.octets(names)) == names)
        #expect(
            Subscriptions.parse(octets("INBOX\nA.B\nEntw&APw-rfe\n"))
                == [name("INBOX"), name("A/B"), name("Entwürfe")])
    }

    @Test func `a summary has the first of each field, unfolded`() {
        let summary = MessageSummary(
            octets(
                "subject: a\r\n\tb\r\nFrom:c\r\nSubject: x\r\nTo: \r\nMessage-Id: <i>\r\n\r\nFrom: y"
            ))
        #expect(summary.subject == octets("a\tb"))
        #expect(summary.sender == octets("c"))
        #expect(summary.recipients == [])
        #expect(summary.messageID == octets("<i>"))
        #expect(MessageSummary([]).subject == nil)
    }
}
