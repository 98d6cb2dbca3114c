// SPDX-License-Identifier: Apache-2.0
//
// The keys of [imapd], [pop3d], [msgstored], [[domains]], and sections of later versions.

import IMAP

extension Schema {
    static let imapdKeys: [Key] =
        [
            Key(
                path: "imapd.enabled", target: .suite(.flag(\.imapd.isEnabled)),
                doc: "False: imapd does not run.", aliases: ["imapd.is_enabled"]),
            Key(
                path: "imapd.max_clients",
                target: .suite(.count(\.imapd.maxClients, 1...1_000_000)),
                doc: "Sessions at the same time over all listeners."),
            Key(
                path: "imapd.max_clients_per_user",
                target: .suite(.count(\.imapd.maxClientsPerUser, 1...100_000)),
                doc: "Sessions of one account; mail programs open several each."),
            Key(
                path: "imapd.idle_timeout",
                target: .suite(.duration(\.imapd.idleTimeout, 60...86_400)),
                doc: "How long a session may be silent; RFC 9051 §5.4 wants at least 30 minutes."),
            Key(
                path: "imapd.login_timeout",
                target: .suite(.duration(\.imapd.loginTimeout, 5...3_600)),
                doc: "How long a client may take to log in."),
            Key(
                path: "imapd.special_use", target: .suite(.specialUse(\.imapd.specialUse)),
                doc: "Mailbox names and what they are for (RFC 6154)."),
            Key(
                path: "imapd.xlist", target: .suite(.flag(\.imapd.xlist)),
                doc: "Answer XLIST, for old Outlook."),
            Key(
                path: "imapd.announce_imap4rev2", target: .suite(.flag(\.imapd.announcesRevision2)),
                doc: """
                    Name IMAP4rev2 (RFC 9051) beside IMAP4rev1; a client that turns it on gets \
                    names in UTF-8 and no RECENT.
                    """),
            Key(
                path: "imapd.disabled_capabilities",
                target: .suite(
                    .words(
                        \.imapd.disabledCapabilities,
                        allowed: Capability.switchable.map(\.rawValue), later: [])),
                doc: """
                    Neither named in CAPABILITY nor carried out, for clients that stumble over \
                    them.
                    """),
        ]
        + listenerKeys(
            "imapd",
            modes: """
                "imap": STARTTLS, no login before it. "imaps": TLS from the first octet.
                """)
        + tlsKeys(
            "imapd",
            TLSPaths(
                certificate: \.imapd.tls.certificateFile, key: \.imapd.tls.keyFile,
                minimum: \.imapd.tls.minimumVersion, ciphers: \.imapd.tls.ciphers,
                cipherSuites: \.imapd.tls.cipherSuites, names: \.imapd.tls.namesDirectory,
                checksProtocol: \.imapd.tls.checksProtocol,
                sendsTickets: \.imapd.tls.sendsTickets,
                reloadInterval: \.imapd.tls.reloadInterval,
                clients: \.imapd.tls.clientCertificates,
                authorities: \.imapd.tls.clientAuthorities))
        + limitKeys(
            "imapd", perAddress: \.imapd.limits.perAddress,
            perNetwork: \.imapd.limits.perNetwork, rate: \.imapd.limits.ratePerAddress)
        + metricsKeys(
            "imapd", enabled: \.imapd.metrics.enabled, address: \.imapd.metrics.address,
            path: \.imapd.metrics.path)
        + later("imapd", ["compress", "hostname"])

    static let pop3dKeys: [Key] =
        [
            Key(
                path: "pop3d.enabled", target: .suite(.flag(\.pop3d.isEnabled)),
                doc: "False: pop3d does not run.", aliases: ["pop3d.is_enabled"]),
            Key(
                path: "pop3d.max_clients",
                target: .suite(.count(\.pop3d.maxClients, 1...1_000_000)),
                doc: "Sessions at the same time over all listeners."),
            Key(
                path: "pop3d.idle_timeout",
                target: .suite(.duration(\.pop3d.idleTimeout, 10...86_400)),
                doc: "How long a session may be silent; RFC 1939 §3 wants at least 10 minutes."),
            Key(
                path: "pop3d.delete_after", target: .suite(.fixed("never")),
                doc: "Mail that was fetched stays until the client deletes it."),
            Key(
                path: "pop3d.lock", target: .suite(.fixed("exclusive")),
                doc: "One POP3 session of an account at a time (RFC 1939 §4)."),
        ]
        + listenerKeys(
            "pop3d",
            modes: """
                "pop3": STLS, no login before it. "pop3s": TLS from the first octet.
                """)
        + tlsKeys(
            "pop3d",
            TLSPaths(
                certificate: \.pop3d.tls.certificateFile, key: \.pop3d.tls.keyFile,
                minimum: \.pop3d.tls.minimumVersion, ciphers: \.pop3d.tls.ciphers,
                cipherSuites: \.pop3d.tls.cipherSuites, names: \.pop3d.tls.namesDirectory,
                checksProtocol: \.pop3d.tls.checksProtocol,
                sendsTickets: \.pop3d.tls.sendsTickets,
                reloadInterval: \.pop3d.tls.reloadInterval,
                clients: \.pop3d.tls.clientCertificates,
                authorities: \.pop3d.tls.clientAuthorities))
        + limitKeys(
            "pop3d", perAddress: \.pop3d.limits.perAddress,
            perNetwork: \.pop3d.limits.perNetwork, rate: \.pop3d.limits.ratePerAddress)
        + metricsKeys(
            "pop3d", enabled: \.pop3d.metrics.enabled, address: \.pop3d.metrics.address,
            path: \.pop3d.metrics.path)

    static let storeKeys: [Key] =
        [
            Key(
                path: "msgstored.maildir_root",
                target: .suite(.text(\.msgstored.maildirRoot, .absolutePath)),
                doc: """
                    Mail: <root>/<domain>/<user>/Maildir. Not set: the directory mail under \
                    [server] state_dir.
                    """),
            Key(
                path: "msgstored.subaddress",
                target: .suite(.text(\.msgstored.subaddress, .separators)),
                doc: "Characters that begin a subaddress: user+tag@domain goes to user@domain."),
            Key(
                path: "msgstored.normalize_case", target: .suite(.flag(\.msgstored.normalizeCase)),
                doc: "Alice@example.com and alice@example.com are the same account."),
            Key(
                path: "msgstored.quota",
                target: .suite(.size(\.msgstored.quota, 0...(1 << 60))),
                doc: """
                    What an account may keep, in octets; 0: no limit. A domain or account can have \
                    its own: mailctl quota set.
                    """),
            Key(
                path: "msgstored.quota_messages",
                target: .suite(.count(\.msgstored.quotaMessages, 0...1_000_000_000)),
                doc: "How many messages an account may keep; 0: no limit."),
            Key(
                path: "msgstored.quota_warning",
                target: .suite(.count(\.msgstored.quotaWarning, 0...100)),
                doc: "Per cent of a quota from which on the log has a warning; 0: never."),
            Key(
                path: "msgstored.quota_mail",
                target: .suite(
                    .words(
                        \.msgstored.quotaMail,
                        allowed: ["50", "60", "70", "75", "80", "85", "90", "95", "98", "100"],
                        later: [])),
                doc: """
                    Per cent of a quota at which the account gets mail that says so, once until it \
                    keeps less again; "100": when mail is refused. []: never.
                    """),
            Key(
                path: "msgstored.quota_full_tempfail",
                target: .suite(.flag(\.msgstored.quotaTemporary)),
                doc: """
                    True: mail for a full account is refused with 452, so that senders try again \
                    for days; false: with 552, so that they are told at once.
                    """),
            Key(
                path: "msgstored.workers",
                target: .suite(.count(\.msgstored.workers, 0...256)),
                doc: "Threads for files and databases; 0: chosen from the number of cores."),
            Key(
                path: "msgstored.open_databases",
                target: .suite(.count(\.msgstored.openDatabases, 16...100_000)),
                doc: "Accounts whose index is kept open."),
            Key(
                path: "msgstored.retention",
                target: .suite(.duration(\.msgstored.retention, 0...31_536_000)),
                doc: """
                    How long expunged messages, deleted mailboxes and removed accounts can be \
                    brought back (mailctl undelete); "0" removes them at once.
                    """),
            Key(
                path: "msgstored.retention_size",
                target: .suite(.size(\.msgstored.retentionSize, 0...1_125_899_906_842_624)),
                doc: """
                    The most that the expunged messages of one account may take; the oldest go \
                    first. 0: no limit.
                    """),
            Key(
                path: "msgstored.delivery_log_size",
                target: .suite(.size(\.msgstored.deliveryLogSize, 0...4_294_967_296)),
                doc: """
                    The most the delivery log takes on the disk: mail is made durable there, many \
                    messages at a time. 0: no log.
                    """),
            Key(
                path: "msgstored.index", target: .suite(.fixed("sqlite")),
                doc: "One SQLite database for each account."),
            Key(
                path: "msgstored.search",
                target: .suite(.text(\.msgstored.search, .choice(["sqlite", "none"]))),
                doc: """
                    "sqlite": what messages say is indexed, in a database beside each account's \
                    index. "none": every search reads them.
                    """),
            Key(
                path: "msgstored.search_max_message",
                target: .suite(.size(\.msgstored.searchMaxMessage, 65_536...1_073_741_824)),
                doc: "Longer messages are not indexed; a search reads them."),
            Key(path: "msgstored.blobs", target: .suite(.fixed("maildir")), doc: "Maildir++."),
            Key(
                path: "msgstored.notify", target: .suite(.fixed("local")),
                doc: "Sessions on this machine see changes at once."),
            Key(
                path: "msgstored.fsync", target: .suite(.fixed("always")),
                doc: "A message is on the disk before it is answered for."),
            Key(
                path: "msgstored.auth.max_concurrent_hashes",
                target: .suite(.count(\.msgstored.maxConcurrentHashes, 1...1024)),
                doc: "Passwords checked at the same time; each takes argon2.memory."),
            Key(
                path: "msgstored.auth.argon2.memory",
                target: .suite(.kibibytes(\.msgstored.argon2.memoryKiB, 8192...4_294_967_296)),
                doc: "Memory of one hash."),
            Key(
                path: "msgstored.auth.argon2.iterations",
                target: .suite(.count(\.msgstored.argon2.iterations, 1...1000)),
                doc: "Passes over that memory."),
            Key(
                path: "msgstored.auth.argon2.parallelism",
                target: .suite(.count(\.msgstored.argon2.parallelism, 1...64)),
                doc: "Lanes."),
            Key(
                path: "msgstored.auth.hash", target: .suite(.fixed("argon2id")),
                doc: "How new passwords are kept."),
        ]
        + storeAuthKeys
        + metricsKeys(
            "msgstored", enabled: \.msgstored.metrics.enabled, address: \.msgstored.metrics.address,
            path: \.msgstored.metrics.path)
        + later(
            "msgstored",
            [
                "trash_expire", "junk_expire",
                "min_free_space", "line_endings", "sqlite.path", "sqlite.cache", "postgres.dsn",
                "postgres.pool", "s3.endpoint", "s3.bucket", "s3.region", "s3.access_key_file",
                "s3.secret_key_file", "s3.path_style", "s3.cache", "rados.conf", "rados.pool",
                "nats.url", "auth.totp", "auth.ldap.mode", "auth.pam.service",
                "auth.oauth.jwks_refresh",
            ])
        + [
            Key(
                path: "msgstored.redis.url", target: .suite(.later), doc: "Redis.",
                variables: ["REDIS_URL"])
        ]

    static let otherKeys: [Key] =
        [
            Key(
                path: "domains.name", target: .domain(.text(\.name, .hostName)),
                doc: "A domain whose mail is kept here.", variables: ["MAIL_DOMAIN"],
                example: "\"example.com\""),
            Key(path: "domains.catch_all", target: .domain(.later), doc: "Where the rest goes."),
            Key(path: "domains.dkim_algorithms", target: .domain(.later), doc: "DKIM keys."),
            Key(path: "domains.mta_sts", target: .domain(.later), doc: "MTA-STS policy."),
            Key(
                path: "httpd.default_from", target: .suite(.later), doc: "Sender of POST /send.",
                variables: ["DEFAULT_FROM"]),
            Key(
                path: "httpd.allowed_hosts", target: .suite(.later), doc: "CORS.",
                variables: ["ALLOWED_HOSTS"]),
        ]
        + later(
            "",
            [
                "httpd.enabled", "httpd.address", "httpd.public_address", "httpd.public_http",
                "httpd.admin_ui", "httpd.api", "httpd.capture", "managesieved.max_script_size",
                "managesieved.max_scripts", "managesieved.listeners", "managesieved.enabled",
                "relayd.enabled", "relayd.metrics", "server.acme.enabled", "server.acme.directory",
                "server.acme.email", "server.acme.challenge", "server.acme.dns_hook",
                "server.acme.names",
            ])
        + [
            Key(
                path: "server.limits.connections_per_ip",
                target: .suite(
                    .pointless("each daemon has its own: [smtpd.limits] clients_per_ip")),
                doc: "Has no effect.")
        ]
}
