// SPDX-License-Identifier: Apache-2.0
//
// Which command may be given when, and the ones that need no file of their own. RFC 3501 §6.1, §6.2.

import Bytes
import Config
import IMAP
import Mail
import SASL
import StoreClient
import Transport
import Wire

extension Session {
    func perform(_ command: Command, _ tag: [UInt8]) async throws(Failure) {
        switch command {
        case .capability:
            writer.write("* CAPABILITY ")
            writeCapabilities()
            writer.write("\r\n")
            writer.line(tag, "OK CAPABILITY completed")
        case .noop, .check:
            if case .selected = state { try await synchronize(expunges: true) }
            writer.line(tag, "OK Completed")
        case .logout:
            writer.write("* BYE Logging out\r\n")
            writer.line(tag, "OK LOGOUT completed")
            throw .over(.logout)
        case .id:
            writer.write("* ID (\"name\" \"Martlet\")\r\n")
            writer.line(tag, "OK ID completed")
        case .startTLS: try await startTLS(tag)
        case .authenticate(let mechanism, let response):
            try await authenticate(tag, mechanism, response)
        case .login(let name, let password): try await login(tag, name, password)
        case .enable(let names): try enable(tag, names)
        case .idle: try await idle(tag)
        case .namespace, .list, .status, .create, .delete, .rename, .subscribe, .getQuota,
            .getQuotaRoot, .setQuota:
            try await performOnMailboxes(command, tag)
        case .select(let name, let isReadOnly, let condstore):
            try await select(tag, name, isReadOnly: isReadOnly, condstore: condstore)
        case .close: try await close(tag, expunges: true)
        case .unauthenticate: try unauthenticate(tag)
        case .unselect: try await close(tag, expunges: false)
        case .expunge(let set): try await expunge(tag, set)
        case .search(let program, let byUID): try await search(tag, program, byUID: byUID)
        case .fetch(let fetch): try await self.fetch(tag, fetch)
        case .store(let store): try await self.store(tag, store)
        case .copy(let set, let name, let move, let byUID):
            try await copy(tag, set, to: name, move: move, byUID: byUID)
        }
    }

    private func performOnMailboxes(_ command: Command, _ tag: [UInt8]) async throws(Failure) {
        switch command {
        case .namespace:
            _ = try requireLogin()
            // RFC 2342 §5: one personal namespace, nothing of others
            writer.write("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
            writer.line(tag, "OK NAMESPACE completed")
        case .list(let list): try await self.list(tag, list)
        case .status(let name, let items): try await status(tag, name, items)
        case .getQuota(let root): try await getQuota(tag, root)
        case .getQuotaRoot(let name): try await getQuotaRoot(tag, name)
        case .setQuota: try setQuota()
        case .create(let name, let use): try await create(tag, name, use)
        case .delete(let name): try await delete(tag, name)
        case .rename(let old, let new): try await rename(tag, old, new)
        case .subscribe(let name, let isOn): try await subscribe(tag, name, isOn)
        default: preconditionFailure("not a command on mailboxes")
        }
    }

    /// What this connection can do now. Everything named here works.
    func writeCapabilities() {
        writer.write("IMAP4rev1 LITERAL+ SASL-IR ID ENABLE")
        if !isAuthenticated {
            if offersTLS { writer.write(" STARTTLS") }
            if takesPasswords {
                for mechanism in mechanisms {
                    writer.write(" AUTH=")
                    writer.write(Array(mechanism.rawValue))
                }
            } else {
                writer.write(" LOGINDISABLED")
            }
        }
        writer.write(
            """
             BINARY CATENATE IDLE MULTIAPPEND NAMESPACE UIDPLUS MOVE UNSELECT CONDSTORE CHILDREN SPECIAL-USE \
            CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE WITHIN REPLACE \
            URL-PARTIAL UTF8=ACCEPT QUOTA \
            QUOTA=RES-STORAGE QUOTA=RES-MESSAGE OBJECTID PREVIEW SAVEDATE SNIPPET=FUZZY \
            UNAUTHENTICATE APPENDLIMIT=
            """)
        writer.write(UInt64(service.maxMessageSize))
        if service.settings.xlist { writer.write(" XLIST") }
    }

    /// RFC 5161. CONDSTORE and UTF8=ACCEPT can be turned on; others are not an error.
    private func enable(_ tag: [UInt8], _ names: [String]) throws(Failure) {
        _ = try requireLogin()
        writer.write("* ENABLED")
        if names.contains("UTF8=ACCEPT") {
            writer.isUTF8 = true
            writer.write(" UTF8=ACCEPT")
        }
        if names.contains("CONDSTORE") {
            writer.write(" CONDSTORE")
            writer.write("\r\n")
            enableCondstore()
        } else {
            writer.write("\r\n")
        }
        writer.line(tag, "OK ENABLE completed")
    }

    /// RFC 7162 §3.1: from now on FETCH responses carry MODSEQ.
    func enableCondstore() {
        guard !condstore else { return }
        condstore = true
        guard case .selected(_, let selection) = state else { return }
        selection.view.tellsModSeq = true
        writer.write("* OK [HIGHESTMODSEQ ")
        writer.write(selection.view.highestModSeq)
        writer.write("] CONDSTORE enabled\r\n")
    }

    /// RFC 3501 §6.2.1.
    private func startTLS(_ tag: [UInt8]) async throws(Failure) {
        guard !connection.isTLS, !isAuthenticated else { throw .bad("TLS is active already") }
        guard offersTLS else { throw .no("TLS is not available") }
        // Commands sent ahead would be carried out as if they had come encrypted
        guard connection.buffered == 0, !connection.hasReadAhead else {
            writer.line(tag, "BAD Nothing may follow STARTTLS in the clear")
            throw .over(.tls)
        }
        writer.line(tag, "OK Begin TLS negotiation now")
        emit()
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(60))
        } catch {
            throw .connection(error)
        }
        do throws(End) {
            try await startTLS()
        } catch {
            throw .over(error)
        }
    }

    /// Runs a request to the store.
    func asking<Value>(
        _ request: () async throws(StoreFailure) -> Value
    ) async throws(Failure) -> Value {
        do throws(StoreFailure) {
            return try await request()
        } catch {
            throw .store(error)
        }
    }

    /// Runs something that can end the session.
    func reading<Value>(_ body: () async throws(End) -> Value) async throws(Failure) -> Value {
        do throws(End) {
            return try await body()
        } catch {
            throw .over(error)
        }
    }
}
