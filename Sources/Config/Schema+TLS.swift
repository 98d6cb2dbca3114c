// SPDX-License-Identifier: Apache-2.0
//
// The keys of [server.tls] and [<daemon>.tls].

/// The places of one section's values.
struct TLSPaths {
    typealias Path<Value> = Schema.Path<Value>

    var certificate: any Path<String>
    var key: any Path<String>
    var minimum: any Path<TLSMinimum>
    var ciphers: any Path<String>
    var cipherSuites: any Path<String>
    var names: any Path<String>
    var checksProtocol: any Path<Bool>
    var sendsTickets: any Path<Bool>
    var reloadInterval: any Path<Duration>
    var clients: any Path<String>
    var authorities: any Path<String>
}

extension Schema {
    static func tlsKeys(_ section: String, _ paths: TLSPaths) -> [Key] {
        certificateKeys(section, paths) + sessionKeys(section, paths)
            + [
                Key(
                    path: "\(section).tls.enabled",
                    target: .suite(
                        .pointless(
                            "TLS is always on; a listener that needs a certificate must have one")),
                    doc: "Has no effect.")
            ]
    }

    private static func certificateKeys(_ section: String, _ paths: TLSPaths) -> [Key] {
        let isServer = section == "server"
        let prefix = section.uppercased()
        let rest = isServer ? "" : " Not set: as in [server.tls]."
        return [
            Key(
                path: "\(section).tls.cert_file",
                target: .suite(.text(paths.certificate, .optionalPath)),
                doc: "PEM file: the certificate, then the chain up to the root.\(rest)",
                variables: isServer ? [] : ["\(prefix)_TLS_CERT_FILE"], isOptional: !isServer),
            Key(
                path: "\(section).tls.key_file",
                target: .suite(.text(paths.key, .optionalPath)),
                doc: "PEM file: the private key.\(rest)",
                variables: isServer ? [] : ["\(prefix)_TLS_KEY_FILE"], isOptional: !isServer),
            Key(
                path: "\(section).tls.sni_dir",
                target: .suite(.text(paths.names, .optionalPath)),
                doc: """
                    More certificates: a directory NAME with fullchain.pem and privkey.pem for \
                    each name that clients ask for; `_.example.com` is for all names below \
                    example.com.\(rest)
                    """,
                isOptional: !isServer),
        ]
    }

    private static func sessionKeys(_ section: String, _ paths: TLSPaths) -> [Key] {
        let isServer = section == "server"
        let rest = isServer ? "" : " Not set: as in [server.tls]."
        return [
            Key(
                path: "\(section).tls.min_version",
                target: .suite(.minimumTLS(paths.minimum)),
                doc:
                    "The oldest version that is accepted; \"1.2\" and \"1.3\" are read too.\(rest)",
                isOptional: !isServer),
            Key(
                path: "\(section).tls.ciphers",
                target: .suite(.text(paths.ciphers, .any)),
                doc: "For TLS 1.2, in OpenSSL's notation; empty: a good list.\(rest)",
                isOptional: !isServer),
            Key(
                path: "\(section).tls.ciphersuites",
                target: .suite(.text(paths.cipherSuites, .any)),
                doc: "For TLS 1.3, in OpenSSL's notation; empty: OpenSSL's list.\(rest)",
                isOptional: !isServer),
            Key(
                path: "\(section).tls.alpn", target: .suite(.flag(paths.checksProtocol)),
                doc: """
                    True: a client that asks for another protocol than this daemon's (ALPN, RFC \
                    7301) is refused, so that nobody can pass us off as a web server.\(rest)
                    """,
                isOptional: !isServer),
            Key(
                path: "\(section).tls.session_tickets", target: .suite(.flag(paths.sendsTickets)),
                doc: "True: clients may resume a session without a full handshake.\(rest)",
                isOptional: !isServer),
            Key(
                path: "\(section).tls.reload_interval",
                target: .suite(.duration(paths.reloadInterval, 0...604_800)),
                doc: """
                    How often the files are looked at, so that a renewed certificate is taken over \
                    without a reload, and the keys of session tickets change: a session can be \
                    resumed for one to two of these. "0": files are read at a reload only and the \
                    keys live as long as the daemon.\(rest)
                    """,
                isOptional: !isServer),
            Key(
                path: "\(section).tls.client_certificates",
                target: .suite(.text(paths.clients, .choice(["off", "request", "require"]))),
                doc: """
                    "request": a client may show a certificate, whose name AUTH EXTERNAL can use. \
                    "require": it must show one that client_ca_file has signed.\(rest)
                    """,
                isOptional: !isServer),
            Key(
                path: "\(section).tls.client_ca_file",
                target: .suite(.text(paths.authorities, .optionalPath)),
                doc: """
                    PEM file: who signs the certificates of clients. If it holds revocation lists \
                    as well, they are looked at: one for each authority, and not out of date.\(rest)
                    """,
                isOptional: !isServer),
        ]
    }
}
