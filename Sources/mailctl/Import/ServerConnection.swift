// SPDX-License-Identifier: Apache-2.0
//
// A blocking connection to another mail server, with TLS by OpenSSL: the certificate must be good
// for the name unless --no-verify was said. RFC 8314, RFC 6125.

import Bytes
import CLinux
import CSSL
import Glibc

/// How the connection is protected.
enum ServerSecurity {
    case tls
    case startTLS
    case none
}

@safe final class ServerConnection {  // the TLS pointers never leave it
    private static let room = 64 << 10
    private static let seconds = 120

    private let descriptor: Int32
    private let host: String
    private var context: OpaquePointer?
    private var ssl: OpaquePointer?
    private var buffer = [UInt8](repeating: 0, count: room)
    private var start = 0
    private var end = 0

    init(host: String, port: UInt16) throws(Failure) {
        self.host = host
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(host, String(port), &hints, &list)
        guard result == 0 else {
            let reason = unsafe String(cString: gai_strerror(result))
            throw Failure(.unavailable, "\(Shown.text(host)): \(reason)")
        }
        defer { unsafe freeaddrinfo(list) }
        var last: Int32 = 0
        var connected: Int32 = -1
        var entry = unsafe list
        while connected < 0, let info = unsafe entry {
            connected = unsafe Self.connect(info, &last)
            unsafe entry = info.pointee.ai_next
        }
        guard connected >= 0 else {
            throw .system("cannot connect to \(Shown.text(host)) port \(port)", last, .unavailable)
        }
        descriptor = connected
    }

    private static func connect(
        _ info: UnsafeMutablePointer<addrinfo>, _ problem: inout Int32
    ) -> Int32 {
        let made = unsafe socket(
            info.pointee.ai_family, info.pointee.ai_socktype | StreamSocket.closeOnExec, 0)
        guard made >= 0 else {
            problem = errno
            return -1
        }
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        guard unsafe Glibc.connect(made, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
            problem = errno
            Glibc.close(made)
            return -1
        }
        return made
    }

    deinit {
        unsafe SSL_free(ssl)
        unsafe SSL_CTX_free(context)
        Glibc.close(descriptor)
    }

    // MARK: - TLS

    /// - Parameter authorities: a PEM file to trust instead of the system's.
    func startTLS(verify: Bool, authorities: String?) throws(Failure) {
        guard start == end else {
            // RFC 8314 §3.1 and CVE-2011-0411: what came before the handshake is not the server's.
            throw Failure(.remoteProtocol, "the server sent octets in front of the TLS handshake")
        }
        guard let made = unsafe SSL_CTX_new(TLS_client_method()) else { throw tlsFailure("TLS") }
        unsafe context = made
        guard unsafe martlet_ssl_set_minimum(made, 0) == 1 else { throw tlsFailure("TLS") }
        if let authorities {
            guard unsafe SSL_CTX_load_verify_locations(made, authorities, nil) == 1 else {
                throw Failure(.noInput, "no certificates can be read from \(authorities)")
            }
        } else {
            unsafe SSL_CTX_set_default_verify_paths(made)
        }
        guard let ssl = unsafe SSL_new(made) else { throw tlsFailure("TLS") }
        unsafe self.ssl = ssl
        unsafe SSL_set_verify(ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        var address = in6_addr()
        let isAddress =
            unsafe inet_pton(AF_INET, host, &address) == 1
            || inet_pton(AF_INET6, host, &address) == 1
        if isAddress {
            guard unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 else {
                throw tlsFailure("TLS")
            }
        } else {
            guard unsafe SSL_set1_host(ssl, host) == 1,
                unsafe martlet_ssl_set_server_name(ssl, host) == 1
            else { throw tlsFailure("TLS") }
        }
        guard unsafe SSL_set_fd(ssl, descriptor) == 1, unsafe SSL_connect(ssl) == 1 else {
            let verdict = unsafe SSL_get_verify_result(ssl)
            if verify, verdict != 0 {
                let reason = unsafe String(cString: X509_verify_cert_error_string(Int(verdict)))
                throw Failure(
                    .remoteProtocol,
                    "the certificate of \(Shown.text(host)) is not good: \(reason)",
                    hints: ["trust another authority with --ca FILE, or anything with --no-verify"])
            }
            throw tlsFailure("the TLS handshake failed")
        }
    }

    private func tlsFailure(_ what: String) -> Failure {
        let code = ERR_get_error()
        var text = [CChar](repeating: 0, count: 256)
        unsafe ERR_error_string_n(code, &text, text.count)
        let reason = String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return Failure(.remoteProtocol, code == 0 ? what : "\(what): \(reason)")
    }

    // MARK: - Octets

    func write(_ octets: [UInt8]) throws(Failure) {
        var done = 0
        while done < octets.count {
            let count = unsafe octets.withUnsafeBytes { space in
                let place = unsafe space.baseAddress?.advanced(by: done)
                if let ssl = unsafe ssl {
                    return unsafe Int(SSL_write(ssl, place, Int32(octets.count - done)))
                }
                return unsafe send(descriptor, place, octets.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, unsafe ssl == nil, errno == EINTR { continue }
            guard count > 0 else { throw lost }
            done += count
        }
    }

    private var lost: Failure {
        let reason = errno == EAGAIN ? "no answer in \(Self.seconds) s" : "connection lost"
        return Failure(
            .unavailable, "\(Shown.text(host)): \(reason)",
            hints: ["what was imported is safe: run the same command again to go on"])
    }

    private func fill() throws(Failure) {
        while true {
            errno = 0
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                if let ssl = unsafe ssl {
                    return unsafe Int(SSL_read(ssl, space.baseAddress, Int32(space.count)))
                }
                return unsafe recv(descriptor, space.baseAddress, space.count, 0)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw lost }
            start = 0
            end = count
            return
        }
    }

    /// A line without its CRLF.
    func readLine(limit: Int) throws(Failure) -> [UInt8] {
        var line: [UInt8] = []
        while true {
            if start == end { try fill() }
            let found = buffer.span.first(.lf, in: start..<end)
            line += buffer[start..<found]
            guard line.count <= limit else {
                throw Failure(
                    .remoteProtocol, "the server sent a line of more than \(limit) octets")
            }
            if found < end {
                start = found + 1
                if line.last == .cr { line.removeLast() }
                return line
            }
            start = end
        }
    }

    /// Exactly `count` octets, in pieces.
    func read(_ count: Int, _ each: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        var left = count
        while left > 0 {
            if start == end { try fill() }
            let some = min(left, end - start)
            try each(Array(buffer[start..<(start + some)]))
            start += some
            left -= some
        }
    }
}
