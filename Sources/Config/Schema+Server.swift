// SPDX-License-Identifier: Apache-2.0
//
// Sections, and the keys that all daemons share: [server], [x.tls], [x.metrics], [x.listeners.*].

extension Schema {
    static let sections: [Section] = [
        Section(path: "server", doc: "Shared by every daemon."),
        Section(
            path: "server.tls",
            doc: "The certificate. Each key is the fallback for the same key in [<daemon>.tls]."),
        Section(path: "server.acme", doc: "Certificates that renew themselves.", isLater: true),
        Section(path: "server.auth", doc: "How clients of all daemons log in."),
        Section(path: "server.limits", doc: "What the limits of all daemons have in common."),
        Section(
            path: "smtpd", doc: "SMTP: mail from other servers, and submission.",
            aliases: ["mail_server"]),
        Section(
            path: "smtpd.listeners",
            doc: "Where smtpd listens. As soon as one listener is written, only written ones exist."
        ),
        Section(
            path: "smtpd.listeners.*",
            doc: "One listener. Its name is the FileDescriptorName= of the socket unit."),
        Section(path: "smtpd.tls", doc: "Overrides [server.tls] for smtpd.", aliases: ["tls"]),
        Section(path: "smtpd.auth", doc: "Who may log in, and how.", aliases: ["auth"]),
        Section(path: "smtpd.timeouts", doc: "How long smtpd waits."),
        Section(path: "smtpd.relay", doc: "Who may send to other domains without AUTH."),
        Section(path: "smtpd.metrics", doc: "The Prometheus endpoint of smtpd, with /health."),
        Section(
            path: "smtpd.limits",
            doc: "How much one client may do. 0 is no limit; a reload changes them for everybody."),
        Section(path: "smtpd.spf", doc: "SPF.", isLater: true),
        Section(path: "smtpd.dkim", doc: "DKIM.", isLater: true),
        Section(path: "smtpd.dmarc", doc: "DMARC.", isLater: true),
        Section(path: "smtpd.rbl", doc: "DNS block lists.", isLater: true),
        Section(path: "smtpd.greylist", doc: "Greylisting.", isLater: true),
        Section(path: "smtpd.milter", doc: "Mail filters.", isLater: true),
        Section(path: "smtpd.spamc", doc: "SpamAssassin.", isLater: true),
        Section(path: "smtpd.rspamd", doc: "rspamd.", isLater: true),
        Section(path: "smtpd.clamd", doc: "ClamAV.", isLater: true),
        Section(path: "smtpd.spam", doc: "The built-in score.", isLater: true),
        Section(
            path: "smtpd.queue", doc: "Mail to other servers.", aliases: ["queue"], isLater: true),
        Section(path: "smtpd.outbound", doc: "Mail to other servers.", isLater: true),
        Section(path: "imapd", doc: "IMAP.", aliases: ["imap"]),
        Section(path: "imapd.listeners", doc: "Where imapd listens."),
        Section(path: "imapd.listeners.*", doc: "One listener."),
        Section(path: "imapd.limits", doc: "How much one client may do. 0 is no limit."),
        Section(path: "imapd.tls", doc: "Overrides [server.tls] for imapd."),
        Section(path: "imapd.metrics", doc: "The Prometheus endpoint of imapd, with /health."),
        Section(path: "pop3d", doc: "POP3."),
        Section(path: "pop3d.listeners", doc: "Where pop3d listens."),
        Section(path: "pop3d.listeners.*", doc: "One listener."),
        Section(path: "pop3d.limits", doc: "How much one client may do. 0 is no limit."),
        Section(path: "pop3d.tls", doc: "Overrides [server.tls] for pop3d."),
        Section(path: "pop3d.metrics", doc: "The Prometheus endpoint of pop3d, with /health."),
        Section(path: "msgstored", doc: "The mail store.", aliases: ["msgstore"]),
        Section(path: "msgstored.auth", doc: "Passwords."),
        Section(
            path: "msgstored.auth.ldap",
            doc: "Passwords in LDAP, for the backend \"ldap\": authd-ldap asks there."),
        Section(
            path: "msgstored.auth.oauth",
            doc: "Tokens for oauthbearer and xoauth2: authd-oauth checks them.",
            aliases: ["msgstored.auth.oidc"]),
        Section(path: "msgstored.auth.argon2", doc: "The cost of a new password hash (RFC 9106)."),
        Section(
            path: "msgstored.metrics", doc: "The Prometheus endpoint of msgstored, with /health."),
        Section(path: "msgstored.sqlite", doc: "The index.", isLater: true),
        Section(path: "msgstored.postgres", doc: "An index in PostgreSQL.", isLater: true),
        Section(path: "msgstored.s3", doc: "Messages in an object store.", isLater: true),
        Section(path: "msgstored.rados", doc: "Messages in Ceph.", isLater: true),
        Section(path: "msgstored.redis", doc: "Notifications by Redis.", isLater: true),
        Section(path: "msgstored.nats", doc: "Notifications by NATS.", isLater: true),
        Section(path: "msgstored.auth.pam", doc: "Accounts by PAM.", isLater: true),
        Section(
            path: "managesieved", doc: "Sieve upload.", aliases: ["managesieve"], isLater: true),
        Section(path: "relayd", doc: "Mail to other servers.", isLater: true),
        Section(path: "httpd", doc: "Web pages and API.", isLater: true),
        Section(path: "domains", doc: "What the machine serves: one [[domains]] for each domain."),
    ]

    static let serverKeys: [Key] =
        [
            Key(
                path: "server.hostname", target: .suite(.text(\.server.hostname, .hostName)),
                doc: """
                    The name of this machine, for banners, EHLO and Message-ID. Empty: [smtpd] hostname, \
                    else the machine's own name.
                    """,
                variables: ["IMAPD_HOSTNAME", "POP3D_HOSTNAME"], isOptional: true),
            Key(
                path: "server.run_dir", target: .suite(.text(\.server.runDirectory, .absolutePath)),
                doc: "Unix sockets between the daemons."),
            Key(
                path: "server.state_dir",
                target: .suite(.text(\.server.stateDirectory, .absolutePath)),
                doc: "Accounts, domains and, unless [msgstored] maildir_root says otherwise, mail."),
            Key(
                path: "server.log_level",
                target: .suite(
                    .text(\.server.logLevel, .choice(["error", "warn", "info", "debug"]))),
                doc: "How much is logged.",
                variables: ["SMTPD_LOG_LEVEL", "IMAPD_LOG_LEVEL", "POP3D_LOG_LEVEL"]),
            Key(
                path: "server.log_format",
                target: .suite(
                    .text(\.server.logFormat, .choice(["auto", "journal", "text", "json"]))),
                doc: "auto: journal fields under systemd, text elsewhere."),
            Key(
                path: "server.log_dir", target: .suite(.text(\.server.logDirectory, .optionalPath)),
                doc: """
                    Each daemon also writes its log as JSON lines into DAEMON.log here, for mailctl \
                    log where there is no journal. At 64 MiB a new file is begun and one old one \
                    kept. The directory must be there, and the daemons must be able to write to it.
                    """, isOptional: true),
            Key(
                path: "server.dev_mode", target: .suite(.flag(\.server.devMode)),
                doc:
                    "For tests: nothing leaves this machine, listeners work without a certificate.",
                aliases: ["dev_mode", "smtpd.dev_mode"]),
            Key(
                path: "server.trusted_proxies", target: .suite(.blocks(\.server.trustedProxies)),
                doc: """
                    Load balancers whose PROXY header is believed, on listeners with \
                    proxy_protocol. They never count as allowed_relays themselves.
                    """),
            Key(path: "server.dns", target: .suite(.later), doc: "Resolvers."),
            Key(
                path: "server.include",
                target: .suite(
                    .pointless(
                        "mail.toml.d/*.toml beside the file is always read; this has no effect")),
                doc: "Files to read as well."),
        ]
        + authKeys
        + tlsKeys(
            "server",
            TLSPaths(
                certificate: \.server.tls.certificateFile, key: \.server.tls.keyFile,
                minimum: \.server.tls.minimumVersion, ciphers: \.server.tls.ciphers,
                cipherSuites: \.server.tls.cipherSuites, names: \.server.tls.namesDirectory,
                checksProtocol: \.server.tls.checksProtocol,
                sendsTickets: \.server.tls.sendsTickets,
                reloadInterval: \.server.tls.reloadInterval,
                clients: \.server.tls.clientCertificates,
                authorities: \.server.tls.clientAuthorities))

    typealias Path<Value> = WritableKeyPath<Suite, Value> & Sendable

    static func metricsKeys(
        _ daemon: String, enabled: any Path<Bool>, address: any Path<ListenAddress>,
        path: any Path<String>
    ) -> [Key] {
        [
            Key(
                path: "\(daemon).metrics.enabled",
                target: .suite(.flag(enabled)),
                doc: "Whether \(daemon) answers HTTP GET for metrics and health."),
            Key(
                path: "\(daemon).metrics.address",
                target: .suite(.address(address)),
                doc: "Where; an address without a host opens it to the network."),
            Key(
                path: "\(daemon).metrics.path",
                target: .suite(.text(path, .urlPath)),
                doc: "The path of the metrics; health is at /health and /healthz."),
        ]
    }

    static func listenerKeys(_ daemon: String, modes: String) -> [Key] {
        let base = "\(daemon).listeners.*"
        return [
            Key(
                path: "\(base).enabled", target: .listener(.flag(\.isEnabled)),
                doc: "False: as if it were not written.", aliases: ["\(base).is_enabled"],
                isOptional: true),
            Key(
                path: "\(base).address", target: .listener(.address(\.address)),
                doc: "\":25\", \"192.0.2.1:25\", \"[2001:db8::1]:25\"; without a host: everywhere.",
                aliases: ["\(base).listen_interface", "\(base).listen_addr"]),
            Key(
                path: "\(base).mode", target: .listener(.text(\.mode, .any)),
                doc: "\(modes) Not set: what is usual on that port, else the name."),
            Key(
                path: "\(base).always_on_tls", target: .listener(.flag(\.alwaysOnTLS)),
                doc: "True: TLS from the first octet. Modes that end in s always have it.",
                isOptional: true),
            Key(
                path: "\(base).max_clients",
                target: .listener(.optionalCount(\.maxClients, 1...1_000_000)),
                doc: "Sessions at the same time on this listener.", isOptional: true),
            Key(
                path: "\(base).max_clients_per_ip",
                target: .listener(.optionalCount(\.maxClientsPerAddress, 0...1_000_000)),
                doc: """
                    Sessions of one address on this listener; 0: no limit. Not set: as in \
                    [\(daemon).limits] clients_per_ip, over all listeners.
                    """,
                isOptional: true),
            Key(
                path: "\(base).tls",
                target: .listener(
                    .text(\.encryption, .choice(["offered", "required", "off"]))),
                doc: """
                    "required": nothing but the start of TLS before TLS. "off": no STARTTLS, and \
                    so no login. Without effect where TLS begins at the first octet.
                    """,
                isOptional: true),
            Key(
                path: "\(base).proxy_protocol", target: .listener(.flag(\.expectsProxy)),
                doc: """
                    True: only [server] trusted_proxies may connect, and say with the PROXY \
                    protocol (version 1 or 2) for whom.
                    """,
                isOptional: true),
        ]
    }

    static func limitKeys(
        _ daemon: String, perAddress: any Path<Int>, perNetwork: any Path<Int>,
        rate: any Path<Int>
    ) -> [Key] {
        let base = "\(daemon).limits"
        return [
            Key(
                path: "\(base).clients_per_ip",
                target: .suite(.count(perAddress, 0...1_000_000)),
                doc: "Sessions of one address at the same time."),
            Key(
                path: "\(base).clients_per_network",
                target: .suite(.count(perNetwork, 0...1_000_000)),
                doc: "Sessions of one network (IPv4 /24, IPv6 /64) at the same time."),
            Key(
                path: "\(base).connections_per_ip_per_minute",
                target: .suite(.count(rate, 0...1_000_000)),
                doc: "New connections of one address (IPv6: /64) in a minute."),
        ]
    }
}
