// SPDX-License-Identifier: Apache-2.0
//
// UNAUTHENTICATE: back to where a connection begins, for proxies that use one for many users.
// RFC 8437.

import Daemon
import IMAP
import StoreClient

extension Session {
    func unauthenticate(_ tag: [UInt8]) throws(Failure) {
        let store = try requireLogin()
        leaveMailbox(says: false)
        let account = store.account
        store.logout()
        service.census.leave(account: account)
        if service.largeMessage?.owner === self { service.largeMessage = nil }
        // RFC 8437 §2: what ENABLE turned on is off again
        notifications = nil
        condstore = false
        qresync = false
        isRevision2 = false
        writer.isUTF8 = false
        writer.keywordsChanged()
        state = .notAuthenticated
        beginsAgain()
        writer.line(tag, "OK UNAUTHENTICATE completed")
    }
}
