// SPDX-License-Identifier: Apache-2.0
//
// A certificate, its key and the rules of TLS (RFC 8996: nothing below 1.2). Made again on every
// reload; sessions in flight keep the context they began with.

import CSSL
import Glibc
import Synchronization

package enum TLSVersion: Sendable {
    case tls12, tls13
}

/// Why a context could not be made.
package struct TLSContextError: Error, Sendable, Equatable, CustomStringConvertible {
    package let file: String
    package let reason: String

    package var description: String { "\(file): \(reason)" }
}

/// What a server needs for TLS.
@safe package final class TLSContext: @unchecked Sendable {  // safe: OpenSSL locks it
    /// ECDHE only; AEAD first, CBC last for old mail servers.
    private static let builtInCiphers =
        "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL:!eNULL:!MD5:!DSS"

    /// Keys of session tickets, so that all loops of the process understand one another's.
    private static let ticketKeys = Mutex<[UInt8]>([])

    let pointer: OpaquePointer

    private init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// Reads a certificate and its key.
    ///
    /// - Parameters:
    ///   - certificate: path of a PEM file, leaf first.
    ///   - key: path of a PEM file.
    ///   - ciphers: OpenSSL's notation for TLS 1.2; empty: the built-in list.
    ///   - session: the daemon's name; TLS sessions of one daemon are not resumed by another.
    package static func server(
        certificate: String, key: String, minimum: TLSVersion = .tls12, ciphers: String = "",
        session: String
    ) throws(TLSContextError) -> TLSContext {
        ERR_clear_error()
        guard let pointer = unsafe SSL_CTX_new(TLS_server_method()) else {
            throw TLSContextError(file: certificate, reason: takeErrorText())
        }
        let context = unsafe TLSContext(pointer)
        unsafe martlet_ssl_context_defaults(pointer)
        try check(
            unsafe martlet_ssl_set_minimum(pointer, minimum == .tls13 ? 1 : 0) == 1, certificate)
        let list = ciphers.isEmpty ? builtInCiphers : ciphers
        guard unsafe SSL_CTX_set_cipher_list(pointer, list) == 1 else {
            throw TLSContextError(file: "ciphers \"\(list)\"", reason: takeErrorText())
        }
        try checkReadable(certificate)
        try check(
            unsafe SSL_CTX_use_certificate_chain_file(pointer, certificate) == 1, certificate)
        try checkReadable(key)
        try check(unsafe SSL_CTX_use_PrivateKey_file(pointer, key, SSL_FILETYPE_PEM) == 1, key)
        guard unsafe SSL_CTX_check_private_key(pointer) == 1 else {
            ERR_clear_error()
            throw TLSContextError(file: key, reason: "is not the key of \(certificate)")
        }
        let name = [UInt8](session.utf8.prefix(32))
        try check(
            unsafe SSL_CTX_set_session_id_context(pointer, name, UInt32(name.count)) == 1,
            certificate)
        try check(unsafe SSL_CTX_set_num_tickets(pointer, 1) == 1, certificate)
        try check(context.shareTicketKeys(), certificate)
        return context
    }

    private func shareTicketKeys() -> Bool {
        let size = unsafe martlet_ssl_ticket_keys_size(pointer)
        guard size > 0 else { return false }
        var keys = Self.ticketKeys.withLock { keys in
            if keys.count != size {
                keys = [UInt8](repeating: 0, count: size)
                if unsafe RAND_bytes(&keys, Int32(size)) != 1 { keys = [] }
            }
            return keys
        }
        return unsafe keys.count == size
            && martlet_ssl_set_ticket_keys(pointer, &keys, size) == 1
    }

    private static func check(_ isGood: Bool, _ file: String) throws(TLSContextError) {
        guard isGood else { throw TLSContextError(file: file, reason: takeErrorText()) }
    }

    /// errno says more than OpenSSL does about a file that cannot be opened.
    private static func checkReadable(_ path: String) throws(TLSContextError) {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw TLSContextError(file: path, reason: unsafe String(cString: strerror(errno)))
        }
        _ = close(file)
    }

    /// OpenSSL's reason for the last failure on this thread; the queue is empty afterwards.
    static func takeErrorText() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let reason = unsafe ERR_reason_error_string(code) else {
            return "unknown TLS error"
        }
        return unsafe String(cString: reason)
    }
}
