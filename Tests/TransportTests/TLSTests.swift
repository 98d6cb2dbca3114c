// SPDX-License-Identifier: Apache-2.0
//
// TLS: implicit, STARTTLS, injection, versions, big transfers, errors that name the file.

import CSSL
import Glibc
import Testing
import Transport

/// A self-signed certificate in a directory of its own.
final class Certificate: Sendable {
    static let shared = Certificate()

    let certificate: String
    let key: String

    init(name common: String = "localhost") {
        let base = temporaryPath("tls")
        certificate = base + ".crt"
        key = base + ".key"
        let pair = EVP_EC_gen_("P-256")
        let x509 = X509_new()
        ASN1_INTEGER_set(X509_get_serialNumber(x509), 1)
        X509_gmtime_adj(X509_getm_notBefore(x509), -60)
        X509_gmtime_adj(X509_getm_notAfter(x509), 3600)
        X509_set_pubkey(x509, pair)
        let name = X509_get_subject_name(x509)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC_, common, -1, -1, 0)
        X509_set_issuer_name(x509, name)
        X509_sign(x509, pair, EVP_sha256())
        if let file = fopen(certificate, "w") {
            PEM_write_X509(file, x509)
            fclose(file)
        }
        if let file = fopen(key, "w") {
            PEM_write_PrivateKey(file, pair, nil, nil, 0, nil, nil)
            fclose(file)
        }
        X509_free(x509)
        EVP_PKEY_free(pair)
        atexit { Certificate.shared.remove() }
    }

    func remove() {
        unlink(certificate)
        unlink(key)
    }

    func context() throws -> TLSContext {
        try TLSContext.server(certificate: certificate, key: key, session: "test")
    }
}

private let MBSTRING_ASC_: Int32 = 0x1001

private func EVP_EC_gen_(_ curve: String) -> OpaquePointer? {
    let context = EVP_PKEY_CTX_new_from_name(nil, "EC", nil)
    defer { EVP_PKEY_CTX_free(context) }
    var pair: OpaquePointer?
    EVP_PKEY_keygen_init(context)
    EVP_PKEY_CTX_set_group_name(context, curve)
    EVP_PKEY_generate(context, &pair)
    return pair
}

/// The client side of TLS on a blocking client.
final class TLSClient {
    private let context = SSL_CTX_new(TLS_client_method())
    private let ssl: OpaquePointer?
    private let client: Client

    /// - Parameters:
    ///   - name: what SNI asks for.
    ///   - protocols: what ALPN offers, in the form of the wire.
    ///   - own: shown if the server asks for a certificate.
    ///   - earlier: whose session is resumed, if the server likes.
    init?(
        _ client: Client, isTLS12: Bool = false, name: String? = nil, protocols: [UInt8] = [],
        own: Certificate? = nil, resuming earlier: TLSClient? = nil
    ) {
        self.client = client
        if let own {
            SSL_CTX_use_certificate_file(context, own.certificate, SSL_FILETYPE_PEM)
            SSL_CTX_use_PrivateKey_file(context, own.key, SSL_FILETYPE_PEM)
        }
        ssl = SSL_new(context)
        if let name { martlet_ssl_set_server_name(ssl, name) }
        if !protocols.isEmpty { SSL_set_alpn_protos(ssl, protocols, UInt32(protocols.count)) }
        if isTLS12 { SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil) }
        if let earlier, let session = SSL_get1_session(earlier.ssl) {
            SSL_set_session(ssl, session)
            SSL_SESSION_free(session)
        }
        SSL_set_fd(ssl, client.descriptor)
        guard SSL_connect(ssl) == 1 else { return nil }
    }

    deinit {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// There was no full handshake.
    var isResumed: Bool { SSL_session_reused(ssl) == 1 }

    /// The common name of the server's certificate.
    var serverName: String {
        let certificate = SSL_get1_peer_certificate(ssl)
        defer { X509_free(certificate) }
        var room = [CChar](repeating: 0, count: 128)
        X509_NAME_get_text_by_NID(
            X509_get_subject_name(certificate), NID_commonName, &room, Int32(room.count))
        return String(
            decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// What ALPN settled on.
    var chosenProtocol: String {
        var start: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &start, &count)
        return String(
            decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
    }

    func send(_ octets: [UInt8]) {
        var done = 0
        while done < octets.count {
            let count = octets.withUnsafeBytes {
                SSL_write(ssl, $0.baseAddress?.advanced(by: done), Int32(octets.count - done))
            }
            guard count > 0 else { return }
            done += Int(count)
        }
    }

    func receive(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while result.count < count {
            let got = SSL_read(ssl, &room, Int32(min(room.count, count - result.count)))
            guard got > 0 else { break }
            result.append(contentsOf: room[0..<Int(got)])
        }
        return result
    }
}

@Suite(.timeLimit(.minutes(1)), .serialized) struct TLSTests {
    @Test(arguments: [(false, "TLSv1.3"), (true, "TLSv1.2")])
    func `lines and megabytes go both ways through TLS`(isTLS12: Bool, version: String) throws {
        let context = try Certificate.shared.context()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .seconds(5))
                connection.write("hello \(connection.tlsDescription ?? "none")\n")
                let count = 2_000_000
                let octets = try await connection.readExactly(count, within: .seconds(10))
                connection.write(octets)
                try await connection.flush(within: .seconds(10))
                while try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                    == .line
                {
                    connection.withLine { connection.write(copying: $0) }
                }
                connection.write("!")
            } catch {
                connection.write("\(error)")
            }
        }
        let plain = try server.connect()
        let client = try #require(TLSClient(plain, isTLS12: isTLS12))
        let hello = "hello \(version)\n"
        #expect(client.receive(hello.utf8.count) == [UInt8](hello.utf8))
        let octets = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 4) }
        client.send(octets)
        #expect(client.receive(octets.count) == octets)
        client.send([UInt8]("a\r\nb\r\n".utf8))
        #expect(client.receive(2) == [UInt8]("ab".utf8))
    }

    @Test func `sendFile goes through TLS`() throws {
        let context = try Certificate.shared.context()
        let path = Certificate.shared.certificate
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .seconds(5))
                connection.write("<")
                let file = Descriptor(open(path, O_RDONLY))
                try await connection.sendFile(file, offset: 5, count: 100, within: .seconds(5))
                connection.write(">")
            } catch {
                connection.write("\(error)")
            }
        }
        let plain = try server.connect()
        let client = try #require(TLSClient(plain))
        let file = fopen(path, "r")
        var content = [UInt8](repeating: 0, count: 105)
        fread(&content, 1, 105, file)
        fclose(file)
        #expect(client.receive(.max) == [0x3C] + content[5...] + [0x3E])
    }

    @Test func `plaintext behind STARTTLS is refused, not executed`() throws {
        let context = try Certificate.shared.context()
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                connection.write("220 go\r\n")
                try await connection.startTLS(context, within: .seconds(5))
            } catch {
                errors.add(error)
                connection.write("554 injected\r\n")
            }
        }
        let client = try server.connect()
        client.send("STARTTLS\r\nMAIL FROM:<a@b>\r\n")
        #expect(client.rest() == "220 go\r\n554 injected\r\n")
        #expect(errors.wait(1) == [.tls("plaintext behind STARTTLS")])
    }

    @Test(arguments: [[], [0x16, 3, 1]] as [[UInt8]])
    func `a client that does not go on with its handshake is left when time is up`(
        sent: [UInt8]
    ) throws {
        let context = try Certificate.shared.context()
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .milliseconds(150))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        client.send(sent)
        #expect(errors.wait(1) == [.timedOut])
        #expect(client.rest().isEmpty)
    }

    @Test func `plaintext that arrives after the reply breaks the handshake`() throws {
        let context = try Certificate.shared.context()
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                connection.write("220 go\r\n")
                try await connection.startTLS(context, within: .seconds(5))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        client.send("STARTTLS\r\n")
        #expect(client.line() == "220 go\r\n")
        client.send("MAIL FROM:<a@b>\r\n")
        guard case .tls? = errors.wait(1).first else {
            Issue.record("\(errors.all)")
            return
        }
    }

    @Test func `a handshake that does not come is timedOut`() throws {
        let context = try Certificate.shared.context()
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .milliseconds(100))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        client.send([0x16, 0x03])
        #expect(errors.wait(1) == [.timedOut])
    }

    @Test func `TLS 1_2 is refused where 1_3 is the minimum`() throws {
        let context = try TLSContext.server(
            certificate: Certificate.shared.certificate, key: Certificate.shared.key,
            minimum: .tls13, session: "test")
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .seconds(5))
            } catch {}
        }
        #expect(try TLSClient(server.connect(), isTLS12: true) == nil)
        #expect(try TLSClient(server.connect()) != nil)
    }

    @Test func `a context error names the file and the reason`() throws {
        let good = Certificate.shared
        func reason(_ certificate: String, _ key: String, _ ciphers: String = "") -> String {
            do throws(TLSContextError) {
                _ = try TLSContext.server(
                    certificate: certificate, key: key, ciphers: ciphers, session: "test")
                return "no error"
            } catch {
                return error.description
            }
        }
        #expect(reason("/nowhere.crt", good.key) == "/nowhere.crt: No such file or directory")
        #expect(
            reason(good.certificate, "/nowhere.key") == "/nowhere.key: No such file or directory")
        #expect(reason("/dev/null", good.key).hasPrefix("/dev/null: "))
        #expect(reason(good.certificate, good.certificate).hasPrefix(good.certificate))
        let other = Certificate()
        defer { other.remove() }
        #expect(reason(good.certificate, other.key).hasPrefix("\(other.key): "))
        #expect(reason(good.certificate, good.key, "NONSENSE").contains("NONSENSE"))
        #expect(reason(good.certificate, good.key) == "no error")
    }
}
