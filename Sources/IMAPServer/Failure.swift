// SPDX-License-Identifier: Apache-2.0
//
// Why a command was not carried out, and the words in which clients are told. RFC 3501 §7.1,
// RFC 5530 for the response codes.

import IMAP
import Transport
import Wire

/// Ends one command; `connection` and `over` end the session.
enum Failure: Error {
    case connection(ConnectionError)
    case store(StoreFailure)
    /// Tagged NO with this code and text.
    case no(String)
    /// Tagged BAD.
    case bad(String)
    case over(End)
}

/// Why a session ends on our side.
enum End: String, Error {
    case logout
    case closed
    case timedOut = "timeout"
    case draining = "stopping"
    case tooManyErrors = "errors"
    case tooLong = "line-too-long"
    case mailboxGone = "mailbox-deleted"
    case storeLost = "store-lost"
    case failed = "connection-lost"
    case tls = "tls-failed"
    case loginLimit = "login-limit"

    init(_ error: ConnectionError) {
        switch error {
        case .closed: self = .closed
        case .timedOut: self = .timedOut
        case .killed: self = .draining
        case .tls: self = .tls
        case .system: self = .failed
        }
    }

    /// The untagged line that says good-bye; nil if there is nobody to say it to.
    var farewell: StaticString? {
        switch self {
        case .logout, .closed, .failed, .tls: nil
        case .timedOut: "* BYE Autologout: no command for too long\r\n"
        case .draining: "* BYE [UNAVAILABLE] Server is shutting down, come back in a moment\r\n"
        case .tooManyErrors: "* BYE Too many bad commands\r\n"
        case .tooLong: "* BYE Command line too long\r\n"
        case .mailboxGone: "* BYE Selected mailbox was deleted\r\n"
        case .storeLost: "* BYE [UNAVAILABLE] Mail store is not available, try again\r\n"
        case .loginLimit: "* BYE Too many failed logins\r\n"
        }
    }
}

extension Failure {
    /// Response code and text behind a tagged NO for what the store said.
    static func text(_ failure: StoreFailure) -> StaticString {
        switch failure {
        case .unavailable, .badStage: "[UNAVAILABLE] Temporary failure, try again"
        case .staleHandle: "[UNAVAILABLE] Mail store was restarted"
        case .noSuchMailbox: "[NONEXISTENT] No such mailbox"
        case .mailboxExists, .alreadyExists: "[ALREADYEXISTS] Mailbox exists already"
        case .notPermitted: "[CANNOT] Not possible with this mailbox"
        case .noSuchAccount, .noSuchDomain, .badCredentials:
            "[AUTHENTICATIONFAILED] Authentication failed"
        case .overQuota: "[OVERQUOTA] Mailbox is full"
        case .limit: "[LIMIT] Too many mailboxes or keywords"
        case .inUse: "[INUSE] Mailbox is in use"
        }
    }

    static let badCharset = "[BADCHARSET (US-ASCII UTF-8)] Charset is not supported"

    /// The text behind BAD for a command that could not be read.
    static func text(_ error: CommandError) -> String {
        switch error {
        case .badTag: "Command has no valid tag"
        case .unknownCommand: "Unknown command"
        case .syntax(let offset): "Syntax error at octet \(offset)"
        case .tooComplex: "Command is too complex"
        case .badDate: "No such date"
        case .badFlag: "Invalid flag"
        }
    }
}
