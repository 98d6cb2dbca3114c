// SPDX-License-Identifier: Apache-2.0
//
// Mail that moves in with the numbers that clients know it by: mailboxes with a given UIDVALIDITY,
// messages with a given UID. RFC 9051 §2.3.1.1; docs/store.md.

import Bytes
import Mail

/// The number that a message had where it comes from.
package struct WantedUID: Equatable, Sendable {
    /// Must be the mailbox's.
    package var uidValidity: UInt32
    /// Not below the mailbox's UIDNEXT.
    package var uid: UInt32

    package init(uidValidity: UInt32, uid: UInt32) {
        self.uidValidity = uidValidity
        self.uid = uid
    }
}

extension AccountStore {
    /// Numbers that would leave none for the mailboxes to come.
    private static let validityLimit = UInt32.max - 1 << 24

    /// Makes a mailbox whose UIDVALIDITY is given, or gives it to one that never had a message.
    ///
    /// The state file comes first, as for every mailbox; it says that no UID was given out, so
    /// that after a crash at any point the numbers can still be placed.
    ///
    /// - Throws: `.mailboxExists` for a mailbox that gave out UIDs under another UIDVALIDITY,
    ///   `.alreadyExists` if another mailbox gave out UIDs under it. Doing it again is no error.
    package func create(
        _ name: MailboxName, _ use: SpecialUse, uidValidity: UInt32
    ) throws(StoreError) {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            guard uidValidity > 0, uidValidity < Self.validityLimit else { throw .limit }
            let id = MailboxID(rawValue: Int64(uidValidity))
            let present = try mailboxID(name)
            if present == id { return }
            try giveWay(id)
            if try doomedFolders().contains(id) { throw .alreadyExists }
            var old: Folder?
            if let present {
                let folder = try folder(present)
                guard folder.uidNext == 1 else { throw .mailboxExists }
                old = folder
            }
            try noteUIDValidity(uidValidity)
            guard let old else {
                try createNow(name, use, uidValidity: uidValidity)
                return
            }
            try renumber(old, uidValidity, use)
        }
    }

    /// A mailbox that never had a message leaves its number to one whose clients know it: what a
    /// new account has was made in the same second, perhaps.
    private func giveWay(_ id: MailboxID) throws(StoreError) {
        guard try mailboxRows().contains(where: { $0.id == id }) else { return }
        let folder = try folder(id)
        guard folder.uidNext == 1 else { throw .alreadyExists }
        try renumber(folder, try allocateUIDValidity(), .none)
    }

    /// Gives a mailbox that never had a message another UIDVALIDITY.
    private func renumber(
        _ old: Folder, _ uidValidity: UInt32, _ use: SpecialUse
    ) throws(StoreError) {
        var state = FolderState(uidValidity: uidValidity, specialUse: old.state.specialUse)
        state.uidMark = 1
        if use != .none { state.specialUse = use }
        let (name, directory, modSeq) = (old.name, old.directory, old.modSeq + 1)
        try old.blobs.write(state)
        try transaction { () throws(StoreError) in
            try index.remove(old.id)
            try insertMailbox(
                MailboxID(rawValue: Int64(uidValidity)), name, directory, state, uidNext: 1)
            try setMeta(.uidValidity, Int64(lastUIDValidity))
        }
        noteGone(old.id, at: modSeq)
    }

    /// Whether the message can have the number that it wants, behind those in front of it.
    ///
    /// - Parameter next: the UID that the next message of its folder would get; moved on.
    func checkWanted(
        _ wanted: WantedUID?, _ folder: Folder, next: inout UInt32
    ) throws(StoreError) {
        guard let wanted else {
            next += 1
            return
        }
        guard wanted.uidValidity == folder.uidValidity else { throw .notPermitted }
        guard wanted.uid >= next else { throw .alreadyExists }
        guard wanted.uid < UInt32.max - 1 << 20 else { throw .limit }
        next = wanted.uid + 1
    }

    /// A UID that no message of the mailbox ever had, and not below `wanted`.
    func allocateUID(_ wanted: WantedUID?, _ folder: Folder) throws(StoreError) -> UInt32 {
        if let wanted {
            guard wanted.uid >= folder.uidNext else { throw .alreadyExists }
            folder.uidNext = wanted.uid
        }
        return try index.allocateUIDs(1, in: folder.numbers)
    }
}
