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
        if disabled.forbid(command) { throw .bad("Unknown command or option") }
        switch command {
        case .capability:
            writer.write("* CAPABILITY ")
            writeCapabilities()
            writer.write("\r\n")
            writer.line(tag, "OK CAPABILITY completed")
        case .noop, .check:
            if case .selected = state { try await synchronize(expunges: true) }
            try await tellNotifications()
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
        case .notify(let command): try await notify(tag, command)
        case .namespace, .list, .status, .create, .delete, .rename, .subscribe, .getQuota,
            .getQuotaRoot, .setQuota:
            try await performOnMailboxes(command, tag)
        case .select(let command): try await select(tag, command)
        case .close: try await close(tag, expunges: true)
        case .compress(let algorithm): try await compress(tag, algorithm)
        case .unauthenticate: try unauthenticate(tag)
        case .unselect: try await close(tag, expunges: false)
        case .expunge(let set):
            try await telling(tag) { () async throws(Failure) in try await self.expunge(tag, set) }
        case .search(let program, let byUID):
            try await telling(tag) { () async throws(Failure) in
                try await self.search(tag, program, byUID: byUID)
            }
        case .sort(let command): try await sort(tag, command)
        case .thread(let command): try await thread(tag, command)
        case .multiSearch(let command): try await multiSearch(tag, command)
        case .cancelUpdate(let tags): try cancelUpdates(tag, of: tags)
        case .fetch(let fetch): try await self.fetch(tag, fetch)
        case .store(let store): try await self.store(tag, store)
        case .copy(let set, let name, let move, let byUID):
            try await telling(tag) { () async throws(Failure) in
                try await self.copy(tag, set, to: name, move: move, byUID: byUID)
            }
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
        var isFirst = true
        for capability in Capability.allCases where isOffered(capability) {
            if !isFirst { writer.write(" ") }
            isFirst = false
            writer.write(Array(capability.rawValue))
            if capability == .appendLimit {
                writer.write("=")
                writer.write(UInt64(service.maxMessageSize))
            }
        }
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
    }

    /// Switched off for this server.
    var disabled: DisabledCapabilities { service.disabled }

    func isOffered(_ capability: Capability) -> Bool {
        switch capability {
        // RFC 4978 §4: not before login, where passwords would be compressed; once
        case .compress where !isAuthenticated || connection.isCompressed: false
        case .xlist where !service.settings.xlist: false
        case .imap4rev2 where !service.settings.announcesRevision2: false
        default: !disabled.contains(capability)
        }
    }

    /// RFC 5161. CONDSTORE and UTF8=ACCEPT can be turned on; others are not an error.
    private func enable(_ tag: [UInt8], _ names: [String]) throws(Failure) {
        _ = try requireLogin()
        writer.write("* ENABLED")
        if names.contains("UTF8=ACCEPT"), isOffered(.utf8Accept) {
            writer.isUTF8 = true
            writer.write(" UTF8=ACCEPT")
        }
        let resyncs = names.contains("QRESYNC") && isOffered(.qresync)
        if resyncs {
            qresync = true
            if case .selected(_, let selection) = state { selection.view.tellsVanished = true }
            writer.write(" QRESYNC")
        }
        if names.contains("IMAP4REV2"), isOffered(.imap4rev2) {
            isRevision2 = true
            writer.isUTF8 = true
            if case .selected(_, let selection) = state { selection.view.forgetRecent() }
            writer.write(" IMAP4rev2")
        }
        if names.contains("CONDSTORE") && isOffered(.condstore) || resyncs {
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
