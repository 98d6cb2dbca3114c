// SPDX-License-Identifier: Apache-2.0
//
// The numbers of requests, and which of them a door lets through. An opcode never changes its
// meaning; a new meaning gets a new number. docs/wire.md has the same table for readers.

/// The numbers of the requests. The high octet groups them by door.
package enum RequestCode: UInt16, CaseIterable, Sendable {
    // Doors deliver and mailbox; control all but `authenticate` and `attempt`
    case authenticate = 0x0101
    case logout = 0x0102
    case stage = 0x0103
    case unstage = 0x0104
    case attempt = 0x0110

    // Door deliver
    case checkRecipient = 0x0201
    case maySend = 0x0202
    case deliver = 0x0203
    case checkMail = 0x0204
    /// `deliver` with what the sender asked for beside it.
    case deliverOnTerms = 0x0205

    // Doors mailbox and control
    case list = 0x0301
    case create = 0x0302
    case delete = 0x0303
    case rename = 0x0304
    case subscribe = 0x0305
    case status = 0x0306
    case open = 0x0307
    case close = 0x0308
    case changes = 0x0309
    case append = 0x030A
    case store = 0x030B
    case copy = 0x030C
    case expunge = 0x030D
    case read = 0x030E
    case quota = 0x0328
    case deletedSize = 0x0329
    case search = 0x0318
    case summaries = 0x0310
    case resume = 0x0311
    case watchAccount = 0x0312
    case details = 0x0350
    case mailboxNumber = 0x0351
    case appendGroup = 0x0352
    case readNamed = 0x0353

    // 0x04xx: door queue

    // Door control
    case listDomains = 0x0501
    case addDomain = 0x0502
    case removeDomain = 0x0503
    case listAccounts = 0x0504
    case changeAccount = 0x0505
    case storeStatus = 0x0506
    case rebuildIndex = 0x0507
    case checkIndex = 0x0520
    case optimizeIndex = 0x0521
    case rebuildSearch = 0x0550
    case searchStats = 0x0551
    case assume = 0x0570
    case changeAliases = 0x0530
    case listAliases = 0x0531
    case expand = 0x0532
    case listDomainDetails = 0x0533
    case setDomain = 0x0534
    case listAccountDetails = 0x0535
    case showAccount = 0x0536
    case setAccount = 0x0537
    case recount = 0x0538
    case renameAccount = 0x0539
    case renameDomain = 0x053A
    case noteBackup = 0x0569
    case createAs = 0x0571
    case place = 0x0572
    case backupSnapshot = 0x0560
    case backupFiles = 0x0561
    case backupRelease = 0x0562
    case copyDirectory = 0x0563
    case restoreDirectory = 0x0564
    case placeAccount = 0x0565
    case listRetained = 0x0566
    case undelete = 0x0567
    case listRemoved = 0x0568
    case addAppPassword = 0x0590
    case listAppPasswords = 0x0591
    case removeAppPassword = 0x0592
    case listBans = 0x0593
    case addBan = 0x0594
    case removeBan = 0x0595
    case setCramSecret = 0x0596
}

extension Door {
    /// Whether a request with this opcode may come through this door.
    package func allows(_ code: RequestCode) -> Bool {
        switch code.rawValue >> 8 {
        case 0x01:
            self == .deliver || self == .mailbox
                || self == .control && code != .authenticate && code != .attempt
        case 0x02: self == .deliver
        case 0x03: self == .mailbox || self == .control
        case 0x04: self == .queue
        case 0x05: self == .control
        default: false
        }
    }

    /// As above for a number from a frame; false also for a number that means nothing.
    package func allows(opcode: UInt16) -> Bool {
        RequestCode(rawValue: opcode).map(allows) ?? false
    }
}
