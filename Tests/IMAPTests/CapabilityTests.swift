// SPDX-License-Identifier: Apache-2.0
//
// Capabilities that are switched off: their commands and options go with their names.

import Bytes
import IMAP
import Testing

private func parse(_ text: String) throws(CommandError) -> Command {
    try TaggedCommand(Array("a1 " + text)).command
}

@Suite("Capabilities") struct CapabilityTests {
    @Test(arguments: [
        ("IDLE", "IDLE"), ("NAMESPACE", "NAMESPACE"), ("MOVE", "MOVE 1 x"),
        ("MOVE", "UID MOVE 1 x"), ("UIDPLUS", "UID EXPUNGE 1"), ("UNSELECT", "UNSELECT"),
        ("ENABLE", "ENABLE CONDSTORE"), ("ID", "ID NIL"), ("QUOTA", "GETQUOTAROOT x"),
        ("CONDSTORE", "SELECT x (CONDSTORE)"), ("CONDSTORE", "FETCH 1 (MODSEQ)"),
        ("CONDSTORE", "FETCH 1 (FLAGS) (CHANGEDSINCE 5)"),
        ("CONDSTORE", "STORE 1 (UNCHANGEDSINCE 5) +FLAGS (x)"), ("CONDSTORE", "SEARCH MODSEQ 5"),
        ("CONDSTORE", "STATUS x (HIGHESTMODSEQ)"), ("OBJECTID", "FETCH 1 (EMAILID)"),
        ("OBJECTID", "STATUS x (MAILBOXID)"), ("STATUS=SIZE", "STATUS x (SIZE)"),
        ("QUOTA=RES-STORAGE", "STATUS x (DELETED-STORAGE)"), ("PREVIEW", "FETCH 1 (PREVIEW)"),
        ("SAVEDATE", "SEARCH OR SEEN NOT SAVEDBEFORE 1-Jan-2020"),
        ("WITHIN", "SEARCH (YOUNGER 60)"), ("SPECIAL-USE", "CREATE x (USE (\\Sent))"),
        ("SPECIAL-USE", "LIST (SPECIAL-USE) \"\" *"),
        ("LIST-EXTENDED", "LIST \"\" (a b)"),
        ("LIST-STATUS", "LIST \"\" * RETURN (STATUS (UNSEEN))"),
        ("LIST-EXTENDED", "LIST \"\" * RETURN (STATUS (UNSEEN))"), ("XLIST", "XLIST \"\" *"),
        ("UNAUTHENTICATE", "UNAUTHENTICATE"),
    ])
    func `what is switched off is unknown`(name: String, command: String) throws {
        let command = try parse(command)
        #expect(DisabledCapabilities(names: [name.lowercased()]).forbid(command))
        #expect(!DisabledCapabilities().forbid(command))
    }

    @Test(arguments: [
        "NOOP", "EXPUNGE", "COPY 1 x", "SELECT x", "FETCH 1 (FLAGS UID BODY[])", "LIST \"\" *",
        "STATUS x (MESSAGES UIDNEXT)", "SEARCH UNSEEN", "STORE 1 +FLAGS (x)", "CREATE x",
    ])
    func `what every server has stays, whatever is switched off`(command: String) throws {
        let all = DisabledCapabilities(names: Capability.switchable.map(\.rawValue))
        #expect(!all.forbid(try parse(command)))
    }

    @Test func `the protocol itself cannot be switched off`() {
        #expect(Capability(switchable: "imap4rev1") == nil)
        #expect(Capability(switchable: "LITERAL+") == nil)
        #expect(Capability(switchable: "nothing") == nil)
        #expect(Capability(switchable: "quota=res-storage") == .quotaStorage)
        #expect(DisabledCapabilities(names: ["IMAP4rev1", "nothing"]).isEmpty)
    }

    @Test func `what means nothing without another goes with it`() {
        let off = DisabledCapabilities(names: ["QUOTA"])
        #expect(off.contains(.quotaStorage) && off.contains(.quotaMessage))
        #expect(!off.contains(.idle))
    }
}
