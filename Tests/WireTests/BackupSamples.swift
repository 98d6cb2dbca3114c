// SPDX-License-Identifier: Apache-2.0
//
// Values of every case of backup, restore and undelete.

import Bytes
import Mail

@testable import Wire

extension Samples {
    static let backupRequests: [Request] = [
        .backup(.snapshot(alice, withMessageIDs: true)),
        .backup(.snapshot(bob, withMessageIDs: false)),
        .backup(
            .files(
                alice, mailbox,
                [
                    SnapshotFile(uid: 7, unique: Array("1.M2P3Q4.host")),
                    SnapshotFile(uid: .max, unique: []),
                ])),
        .backup(.release(alice)),
        .backup(.copyDirectory(asText: true)),
        .backup(.restoreDirectory(StageToken(rawValue: 5), nil)),
        .backup(.restoreDirectory(StageToken(rawValue: 5), bob)),
        .backup(.placeAccount(alice, directory: Array(".restore-1"))),
        .backup(.listRetained(alice)),
        .backup(.undelete(alice, paths: [Array("2026-01-01/INBOX/x:2,S"), []])),
        .backup(.listRemoved),
        .backup(.noteBackup(1_700_000_000)),
    ]

    static let backupReplies: [Reply] = [
        .backup(
            .folder(
                SnapshotFolder(
                    id: mailbox, name: name("a/b"), directory: Array(".a.b"),
                    highestModSeq: 1 << 50,
                    state: Array("martlet-folder 1\n"), keywords: Array("0 x\n")))),
        .backup(
            .messages(
                mailbox, isAnew: true,
                [
                    SnapshotMessage(
                        uid: 1, size: 2, date: -3, name: Array("x:2,S"), messageID: Array("<a@b>")),
                    SnapshotMessage(uid: .max, size: .max, date: 0, name: [], messageID: []),
                ], gone: [4, 5])),
        .backup(
            .snapshot(
                AccountSnapshot(
                    time: 9, state: [1], subscriptions: [], folders: [mailbox, mailbox]))),
        .backup(.file(uid: 3, size: 1 << 40, date: -1)),
        .backup(
            .retained([
                RetainedMessage(
                    path: Array("2026-01-01/INBOX/x"), mailbox: .inbox, day: Array("2026-01-01"),
                    expungedAt: 1, size: 2, date: 3, sender: Array("Ä <a@b>"), subject: [])
            ])),
        .backup(.undeleted(restored: 1, present: 2, missing: 3)),
        .backup(
            .removedAccounts([
                RemovedAccount(
                    directory: Array(".removed-1"), address: Array("a@b"), removedAt: 4)
            ])),
        .backup(.directoryRestored(domains: 1, accounts: 2, rows: 3)),
    ]
}
