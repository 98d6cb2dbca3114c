// SPDX-License-Identifier: Apache-2.0
//
// TLS on a connection: OpenSSL directly on the socket. RFC 3207 §4.2 and RFC 8446; plaintext that
// was read ahead never survives the handshake (CVE-2011-0411).

import CSSL
import Glibc

/// One TLS session of one connection.
@safe final class TLSStream {
    let ssl: OpaquePointer
    /// Keeps the certificate while the session lives, also after a reload.
    private let context: TLSContext

    init?(_ context: TLSContext, descriptor: Int32) {
        guard let ssl = unsafe SSL_new(context.pointer) else { return nil }
        unsafe self.ssl = ssl
        self.context = context
        guard unsafe SSL_set_fd(ssl, descriptor) == 1 else { return nil }
        unsafe SSL_set_accept_state(ssl)
    }

    deinit { unsafe SSL_free(ssl) }

    var version: String { unsafe String(cString: SSL_get_version(ssl)) }

    /// Whom the client's certificate names, if it was verified. Never with a control character.
    var clientName: [UInt8]? {
        let name = unsafe [UInt8](unsafeUninitializedCapacity: 512) { room, count in
            count = Int(unsafe martlet_ssl_client_name(ssl, room.baseAddress, 512))
        }
        return name.isEmpty || name.contains { $0 < 0x20 || $0 == 0x7F } ? nil : name
    }

    /// Sends close_notify, once, if the socket takes it (RFC 8446 §6.1).
    func sayGoodbye() {
        ERR_clear_error()
        _ = unsafe SSL_shutdown(ssl)
        ERR_clear_error()
    }
}

extension Connection {
    /// Turns the stream into TLS, as the server. The caller has written and flushed its reply.
    ///
    /// - Throws: `.tls` if plaintext came behind the STARTTLS line: answer 554 and close.
    package func startTLS(
        _ context: TLSContext, within: Duration
    ) async throws(ConnectionError) {
        if let failure { throw failure }
        precondition(tls == nil, "TLS is already on")
        guard !hasReadAhead else { throw .tls("plaintext behind STARTTLS") }
        let until = deadline(within)
        if pendingOutput > 0 {
            pump()
            if pendingOutput > 0 {
                try await awaitSent(sent + UInt64(pendingOutput), until: until)
            }
            if let failure { throw failure }
        }
        input.release(&loop.buffers)
        lineStart = 0
        lineEnd = 0
        scanned = 0
        isDiscarding = false
        discardedCR = false
        do throws(ConnectionError) {
            // Whoever connects and says nothing costs no TLS session, which is most of the memory.
            while !readable {
                if await suspendReader(.handshake, until: until) { throw .timedOut }
                if let failure { throw failure }
            }
            guard let stream = TLSStream(context, descriptor: descriptor) else {
                throw .tls(TLSContext.takeErrorText())
            }
            try await handshake(stream, until: until)
            tls = stream
        } catch {
            fail(error)
            throw error
        }
        // What came with the last flight is in the socket or in OpenSSL: look.
        readable = true
        sawEnd = false
    }

    private func handshake(_ stream: TLSStream, until: UInt64) async throws(ConnectionError) {
        while true {
            if let failure { throw failure }
            ERR_clear_error()
            let result = unsafe SSL_do_handshake(stream.ssl)
            if result == 1 { return }
            let number = errno
            switch unsafe SSL_get_error(stream.ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
            case SSL_ERROR_SYSCALL:
                throw number == 0 ? .closed : ConnectionError(errno: number)
            case SSL_ERROR_ZERO_RETURN: throw .closed
            default: throw .tls(TLSContext.takeErrorText())
            }
            if await suspendReader(.handshake, until: until) { throw .timedOut }
        }
    }

    /// - Returns: octets read, or 0 if there is nothing (then `readable` is false or `sawEnd` set).
    func readTLS(_ stream: TLSStream) throws(ConnectionError) -> Int {
        readNeedsWritable = false
        ERR_clear_error()
        var result: Int32 = 0
        var number: Int32 = 0
        let count = unsafe input.receive { place, room in
            result = unsafe SSL_read(stream.ssl, place, Int32(min(room, 1 << 20)))
            number = errno
            return Int(result)
        }
        if count > 0 { return count }
        switch unsafe SSL_get_error(stream.ssl, result) {
        case SSL_ERROR_WANT_READ:
            readable = false
            return 0
        case SSL_ERROR_WANT_WRITE:
            readable = false
            writable = false
            readNeedsWritable = true
            return 0
        case SSL_ERROR_ZERO_RETURN:
            sawEnd = true
            return 0
        case SSL_ERROR_SYSCALL:
            let error = number == 0 ? .closed : ConnectionError(errno: number)
            fail(error)
            throw error
        default:
            let error = ConnectionError.tls(TLSContext.takeErrorText())
            fail(error)
            throw error
        }
    }

    /// - Returns: octets sent; 0 if the socket takes no more or the stream is broken.
    func sendTLS(_ stream: TLSStream, _ octets: UnsafeRawPointer, _ count: Int) -> Int {
        writeNeedsReadable = false
        ERR_clear_error()
        let result = unsafe SSL_write(stream.ssl, octets, Int32(min(count, 64 * 1024)))
        if result > 0 { return Int(result) }
        let number = errno
        switch unsafe SSL_get_error(stream.ssl, result) {
        case SSL_ERROR_WANT_WRITE: writable = false
        case SSL_ERROR_WANT_READ:
            writable = false
            writeNeedsReadable = true
        case SSL_ERROR_SYSCALL: fail(number == 0 ? .closed : ConnectionError(errno: number))
        case SSL_ERROR_ZERO_RETURN: fail(.closed)
        default: fail(.tls(TLSContext.takeErrorText()))
        }
        return 0
    }
}
