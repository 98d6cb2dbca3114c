// SPDX-License-Identifier: Apache-2.0
//
// A certificate, its key and the rules of TLS (RFC 8996: nothing below 1.2). Made again on every
// reload; sessions in flight keep the context they began with.

import Bytes
import CSSL
import Glibc

package enum TLSVersion: Sendable {
    case tls12, tls13
}

/// Why a context could not be made.
package struct TLSContextError: Error, Sendable, Equatable, CustomStringConvertible {
    package let file: String
    package let reason: String

    package var description: String { "\(file): \(reason)" }
}

/// What a server offers and demands under TLS.
package struct TLSOptions: Sendable {
    /// What clients may name with ALPN.
    package enum ApplicationProtocol: Int32, Sendable {
        case smtp = 1
        case imap, pop3
    }

    package enum ClientCertificates: Sendable {
        case ignored
        /// One that cannot be verified is as good as none.
        case requested
        /// Without a verified one there is no session.
        case required
    }

    /// Paths of PEM files; the leaf first.
    package var certificate: String
    package var key: String
    package var minimum = TLSVersion.tls12
    /// OpenSSL's notation for TLS 1.2; empty: the built-in list.
    package var ciphers = ""
    /// The same for TLS 1.3; empty: OpenSSL's list.
    package var cipherSuites = ""
    /// The daemon's name; TLS sessions of one daemon are not resumed by another.
    package var session: String
    /// Nil: ALPN is not looked at.
    package var applicationProtocol: ApplicationProtocol?
    package var sendsTickets = true
    package var clientCertificates = ClientCertificates.ignored
    /// Path of a PEM file: who signs them.
    package var clientAuthorities = ""

    package init(certificate: String, key: String, session: String) {
        self.certificate = certificate
        self.key = key
        self.session = session
    }
}

/// Certificates by the name that a client asks for.
private final class NameTable: Sendable {
    let contexts: [[UInt8]: TLSContext]

    init(_ contexts: [[UInt8]: TLSContext]) { self.contexts = contexts }

    /// The one for `name`, or for all names beside it.
    func context(_ name: [UInt8]) -> TLSContext? {
        if let exact = contexts[name] { return exact }
        guard let dot = name.firstIndex(of: 0x2E) else { return nil }
        return contexts[[0x2A] + name[dot...]]
    }
}

/// What a server needs for TLS.
@safe package final class TLSContext: @unchecked Sendable {  // safe: OpenSSL locks it
    /// ECDHE only; AEAD first, CBC last for old mail servers.
    private static let builtInCiphers =
        "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL:!eNULL:!MD5:!DSS"

    let pointer: OpaquePointer
    /// OpenSSL has its address.
    private var names: NameTable?

    private init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// Reads a certificate and its key.
    ///
    /// - Parameter session: the daemon's name; TLS sessions of one are not resumed by another.
    package static func server(
        certificate: String, key: String, minimum: TLSVersion = .tls12, ciphers: String = "",
        session: String
    ) throws(TLSContextError) -> TLSContext {
        var options = TLSOptions(certificate: certificate, key: key, session: session)
        options.minimum = minimum
        options.ciphers = ciphers
        return try server(options)
    }

    /// Makes a context.
    ///
    /// - Parameter names: other certificates, by the names that clients ask for, in lower case;
    ///   `*.example.com` is for all names one below.
    package static func server(
        _ options: TLSOptions, names: [[UInt8]: TLSContext] = [:]
    ) throws(TLSContextError) -> TLSContext {
        ERR_clear_error()
        let certificate = options.certificate
        guard let pointer = unsafe SSL_CTX_new(TLS_server_method()) else {
            throw TLSContextError(file: certificate, reason: takeErrorText())
        }
        let context = unsafe TLSContext(pointer)
        unsafe martlet_ssl_context_defaults(pointer)
        try check(
            unsafe martlet_ssl_set_minimum(pointer, options.minimum == .tls13 ? 1 : 0) == 1,
            certificate)
        try context.setCiphers(options)
        try context.readKeyPair(options)
        let name = [UInt8](options.session.utf8.prefix(32))
        try check(
            unsafe SSL_CTX_set_session_id_context(pointer, name, UInt32(name.count)) == 1,
            certificate)
        if let wanted = options.applicationProtocol {
            unsafe martlet_ssl_set_protocol(pointer, wanted.rawValue)
        }
        if options.clientCertificates != .ignored {
            let isRequired: Int32 = options.clientCertificates == .required ? 1 : 0
            try checkReadable(options.clientAuthorities)
            try check(
                unsafe martlet_ssl_ask_clients(pointer, options.clientAuthorities, isRequired)
                    == 1, options.clientAuthorities)
        }
        if options.sendsTickets, options.clientCertificates == .ignored {
            try check(unsafe SSL_CTX_set_num_tickets(pointer, 1) == 1, certificate)
            try check(unsafe TicketKeys.install(on: pointer), certificate)
        } else {
            unsafe martlet_ssl_no_tickets(pointer)
        }
        context.choose(among: names)
        return context
    }

    private func setCiphers(_ options: TLSOptions) throws(TLSContextError) {
        let list = options.ciphers.isEmpty ? Self.builtInCiphers : options.ciphers
        guard unsafe SSL_CTX_set_cipher_list(pointer, list) == 1 else {
            throw TLSContextError(file: "ciphers \"\(list)\"", reason: Self.takeErrorText())
        }
        let suites = options.cipherSuites
        if suites.isEmpty { return }
        guard unsafe SSL_CTX_set_ciphersuites(pointer, suites) == 1 else {
            throw TLSContextError(
                file: "ciphersuites \"\(suites)\"", reason: Self.takeErrorText())
        }
    }

    private func readKeyPair(_ options: TLSOptions) throws(TLSContextError) {
        let certificate = options.certificate
        let key = options.key
        try Self.checkReadable(certificate)
        try Self.check(
            unsafe SSL_CTX_use_certificate_chain_file(pointer, certificate) == 1, certificate)
        try Self.checkReadable(key)
        try Self.check(
            unsafe SSL_CTX_use_PrivateKey_file(pointer, key, SSL_FILETYPE_PEM) == 1, key)
        guard unsafe SSL_CTX_check_private_key(pointer) == 1 else {
            ERR_clear_error()
            throw TLSContextError(file: key, reason: "is not the key of \(certificate)")
        }
    }

    /// Lets the client's server_name choose. Called once, before anybody else has the context.
    private func choose(among contexts: [[UInt8]: TLSContext]) {
        guard !contexts.isEmpty else { return }
        let table = NameTable(contexts)
        names = table
        unsafe martlet_ssl_on_server_name(
            pointer,
            { ssl, _, table in
                guard let ssl = unsafe ssl, let table = unsafe table,
                    let asked = unsafe SSL_get_servername(ssl, 0)
                else { return 3 }  // SSL_TLSEXT_ERR_NOACK: the first certificate
                let name = unsafe [UInt8](String(cString: asked).utf8.prefix(256)).asciiLowercased
                let names = unsafe Unmanaged<NameTable>.fromOpaque(table).takeUnretainedValue()
                guard let context = names.context(name) else { return 3 }
                _ = unsafe SSL_set_SSL_CTX(ssl, context.pointer)
                return 0
            }, Unmanaged.passUnretained(table).toOpaque())
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
