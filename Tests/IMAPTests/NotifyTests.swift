// SPDX-License-Identifier: Apache-2.0
//
// NOTIFY as clients write it. RFC 5465 §8.

import Bytes
import IMAP
import Testing

private func notify(_ text: String) throws -> NotifyCommand {
    guard case .notify(let command) = try TaggedCommand(Array("a NOTIFY \(text)")).command else {
        throw CommandError.unknownCommand
    }
    return command
}

@Suite("NOTIFY, RFC 5465") struct NotifyTests {
    @Test func `NONE is no group`() throws {
        #expect(try notify("NONE").groups.isEmpty)
    }

    @Test func `the RFC's examples are read`() throws {
        let first = try notify(
            """
            set status (selected (MessageNew (uid body.peek[header.fields (from to subject)]) \
            MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))
            """)
        #expect(first.wantsStatus && first.groups.count == 2)
        #expect(first.groups[0].filter == .selected(isDelayed: false))
        #expect(first.groups[0].attributes.count == 2)
        #expect(first.groups[1].filter == .subtree([Array("Lists")]))
        #expect(first.groups[1].events == [.messageNew, .messageExpunge])
        let second = try notify(
            """
            SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (mailboxes ("a b" c) \
            (SubscriptionChange)) (inboxes NONE) (personal (MailboxName))
            """)
        #expect(!second.wantsStatus && second.groups.count == 4)
        #expect(second.groups[0].filter == .selected(isDelayed: true))
        #expect(second.groups[1].filter == .mailboxes([Array("a b"), Array("c")]))
        #expect(second.groups[2].events.isEmpty)
    }

    @Test(arguments: [
        "", "SET", "SET STATUS", "SET (selected)", "SET (selected (MessageNew))",
        "SET (personal (MessageExpunge))", "SET (personal (FlagChange))",
        "SET (selected (MailboxName))", "SET (nobody (MessageNew MessageExpunge))",
        "SET (selected NONE) (selected-delayed NONE)", "SET (subtree (MailboxName))",
        "SET (personal (MessageNew MessageExpunge)", "NONE x",
    ])
    func `what RFC 5465 §5 forbids is BAD`(text: String) {
        #expect(throws: (any Error).self) { try notify(text) }
    }

    @Test func `events that the server does not have are said so`() throws {
        #expect(try notify("SET (personal (AnnotationChange))").hasUnknownEvents)
        #expect(try !notify("SET (personal (MailboxName))").hasUnknownEvents)
    }
}
