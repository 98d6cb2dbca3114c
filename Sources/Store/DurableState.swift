// SPDX-License-Identifier: Apache-2.0
//
// The names of what is on disk at the moments that count. docs/store.md, "Durable states" and "The
// delivery log".

/// Moments at which what is on disk has a name in docs/store.md. Tests copy the disk there.
package enum DurableState: String, CaseIterable, Sendable {
    case bytesDurable, nameDurable, rowDurable
    case accountMade
    case recordDurable, fileNamed, rowWritten, mailSynced, abortDurable
    case copyLinked, copyCommitted, moveUnlinked
    case flagsCommitted, namesRenamed, namesCommitted
    case expungeCommitted, expungeUnlinked
    case folderMade, createCommitted
    case deleteCommitted, deleteMoved, deleteDone
    case renameCommitted, renameMoved, renameDone
    case migrationRehearsed, migrationKept, migrationDone
    case adoptRenamed, adoptCommitted, adoptRetired
    case rollbackKept, rollbackDone
}
