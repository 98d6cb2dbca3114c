// SPDX-License-Identifier: Apache-2.0
//
// What an open account keeps in memory only to be fast, and how its lane takes that back.

import Mail

extension AccountStore {
    /// Octets of the snapshots in memory.
    package var snapshotOctets: Int {
        openFolders.reduce(0) { sum, folder in
            sum + (folder.image?.entries.count ?? 0) * MemoryLayout<MessageEntry>.stride
        }
    }

    /// The next look at a mailbox reads its rows again.
    package func dropSnapshots() {
        for folder in openFolders { folder.image = nil }
    }

    /// For an account that nobody has used for some seconds: all that can be had again.
    package func trim() {
        dropSnapshots()
        trimIndex()
    }
}
