// SPDX-License-Identifier: Apache-2.0
//
// What can be set about TLS: certificates by name, application protocols, clients' certificates,
// tickets, ciphers.

import CSSL
import Glibc
import Testing
import Transport

@Suite(.timeLimit(.minutes(1)), .serialized) struct TLSOptionsTests {
    private static let authority = Certificate(name: "carol@example.test")
    private static let stranger = Certificate(name: "mallory@example.test")

    private func options(_ own: Certificate = .shared) -> TLSOptions {
        TLSOptions(certificate: own.certificate, key: own.key, session: "test")
    }

    /// Says whom the client's certificate names, or `nobody`.
    private func server(_ context: TLSContext) throws -> TestServer {
        try TestServer { connection, _ in
            do throws(ConnectionError) {
                try await connection.startTLS(context, within: .seconds(5))
                connection.write(connection.verifiedClientName ?? [UInt8]("nobody".utf8))
                connection.write("\n")
                try await connection.flush(within: .seconds(5))
            } catch {}
        }
    }

    @Test(
        arguments: [
            (nil, "localhost"), ("one.example.test", "one"), ("ONE.example.TEST", "one"),
            ("a.two.example.test", "two"), ("a.b.two.example.test", "localhost"),
            ("two.example.test", "localhost"), ("elsewhere.test", "localhost"),
        ] as [(String?, String)])
    func `the name that a client asks for chooses the certificate`(
        asked: String?, certificate: String
    ) throws {
        let names: [[UInt8]: TLSContext] = [
            [UInt8]("one.example.test".utf8): try .server(options(Certificate(name: "one"))),
            [UInt8]("*.two.example.test".utf8): try .server(options(Certificate(name: "two"))),
        ]
        let server = try server(try .server(options(), names: names))
        for isTLS12 in [false, true] {
            let client = try #require(
                TLSClient(try server.connect(), isTLS12: isTLS12, name: asked))
            #expect(client.serverName == certificate)
        }
    }

    @Test(
        arguments: [
            (.imap, "", ""), (.imap, "imap", "imap"), (.imap, "h2 imap", "imap"),
            (.imap, "http/1.1", nil), (.imap, "pop3", nil), (.pop3, "pop3", "pop3"),
            (.smtp, "smtp", "smtp"), (.smtp, "esmtp", "esmtp"), (.smtp, "h2 http/1.1", nil),
            (nil, "http/1.1", ""),
        ] as [(TLSOptions.ApplicationProtocol?, String, String?)])
    func `a client that wants another protocol is refused`(
        ours: TLSOptions.ApplicationProtocol?, theirs: String, chosen: String?
    ) throws {
        var options = options()
        options.applicationProtocol = ours
        let server = try server(try .server(options))
        let wire = theirs.split(separator: " ").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        for isTLS12 in [false, true] {
            let client = TLSClient(try server.connect(), isTLS12: isTLS12, protocols: wire)
            #expect(client?.chosenProtocol == chosen)
        }
    }

    @Test(
        arguments: [
            (.ignored, 0, "nobody"), (.ignored, 1, "nobody"), (.requested, 0, "nobody"),
            (.requested, 1, "carol@example.test"), (.requested, 2, "nobody"),
            (.required, 0, ""), (.required, 1, "carol@example.test"), (.required, 2, ""),
        ] as [(TLSOptions.ClientCertificates, Int, String)])
    func `a client is known by a certificate that our authority has signed, and only then`(
        wanted: TLSOptions.ClientCertificates, shown: Int, name: String
    ) throws {
        var options = options()
        options.clientCertificates = wanted
        options.clientAuthorities = Self.authority.certificate
        let server = try server(try .server(options))
        let own = [nil, Self.authority, Self.stranger][shown]
        for isTLS12 in [false, true] {
            let client = TLSClient(try server.connect(), isTLS12: isTLS12, own: own)
            let answer = client.map {
                String(decoding: $0.receive(name.utf8.count + 1), as: UTF8.self)
            }
            // In TLS 1.3 the client hears of its refusal only when it reads.
            #expect((answer ?? "") == (name.isEmpty ? "" : name + "\n"))
        }
    }

    @Test(arguments: [false, true])
    func `a session is resumed until the ticket keys have changed twice`(isTLS12: Bool) throws {
        let server = try server(try .server(options()))
        // Another listener, loop or reload of the same daemon; and one with another name.
        let sibling = try self.server(try .server(options()))
        var foreign = options()
        foreign.session = "another"
        let stranger = try self.server(try .server(foreign))
        func client(_ server: TestServer, _ earlier: TLSClient? = nil) throws -> TLSClient {
            let client = try #require(
                TLSClient(server.connect(), isTLS12: isTLS12, resuming: earlier))
            // TLS 1.3 sends its ticket behind the handshake.
            #expect(client.receive(7) == [UInt8]("nobody\n".utf8))
            return client
        }
        let first = try client(server)
        #expect(!first.isResumed)
        let second = try client(sibling, first)
        #expect(second.isResumed)
        #expect(try !client(stranger, first).isResumed)
        #expect(TLSContext.rotateTicketKeys())
        let third = try client(server, second)
        #expect(third.isResumed, "a ticket of the key before")
        #expect(TLSContext.rotateTicketKeys())
        #expect(try !client(server, second).isResumed, "its key is forgotten")
        #expect(try client(server, third).isResumed, "the ticket was renewed with the new key")
    }

    @Test func `without tickets nothing is resumed`() throws {
        var options = options()
        options.sendsTickets = false
        let server = try server(try .server(options))
        for isTLS12 in [false, true] {
            let first = try #require(TLSClient(server.connect(), isTLS12: isTLS12))
            _ = first.receive(7)
            let second = try #require(
                TLSClient(server.connect(), isTLS12: isTLS12, resuming: first))
            #expect(!second.isResumed)
        }
    }

    @Test func `wrong ciphers and missing authorities are told`() {
        var options = options()
        options.cipherSuites = "TLS_NOTHING"
        #expect(throws: TLSContextError.self) { try TLSContext.server(options) }
        options.cipherSuites = "TLS_CHACHA20_POLY1305_SHA256"
        #expect(throws: Never.self) { try TLSContext.server(options) }
        options.clientCertificates = .requested
        options.clientAuthorities = "/nowhere/ca.pem"
        let error = #expect(throws: TLSContextError.self) { try TLSContext.server(options) }
        #expect(error?.description == "/nowhere/ca.pem: No such file or directory")
    }
}
