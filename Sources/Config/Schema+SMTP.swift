// SPDX-License-Identifier: Apache-2.0
//
// The keys of [smtpd].

extension Schema {
    static let smtpdKeys: [Key] =
        smtpdOwnKeys
        + listenerKeys(
            "smtpd",
            modes: """
                "smtp": other servers, STARTTLS offered. "submission": programs of users, \
                STARTTLS and AUTH required. "smtps": the same with TLS from the first octet. \
                "alt": as smtp, for another port.
                """)
        + tlsKeys(
            "smtpd",
            TLSPaths(
                certificate: \.smtpd.tls.certificateFile, key: \.smtpd.tls.keyFile,
                minimum: \.smtpd.tls.minimumVersion, ciphers: \.smtpd.tls.ciphers,
                cipherSuites: \.smtpd.tls.cipherSuites, names: \.smtpd.tls.namesDirectory,
                checksProtocol: \.smtpd.tls.checksProtocol,
                sendsTickets: \.smtpd.tls.sendsTickets,
                reloadInterval: \.smtpd.tls.reloadInterval,
                clients: \.smtpd.tls.clientCertificates,
                authorities: \.smtpd.tls.clientAuthorities))
        + limitKeys(
            "smtpd", perAddress: \.smtpd.limits.clients.perAddress,
            perNetwork: \.smtpd.limits.clients.perNetwork,
            rate: \.smtpd.limits.clients.ratePerAddress)
        + smtpdLimitKeys
        + smtpdListenerKeys
        + smtpdAuthKeys
        + metricsKeys(
            "smtpd", enabled: \.smtpd.metrics.enabled, address: \.smtpd.metrics.address,
            path: \.smtpd.metrics.path)

    private static let smtpdOwnKeys: [Key] = [
        Key(
            path: "smtpd.enabled", target: .suite(.flag(\.smtpd.isEnabled)),
            doc: "False: smtpd does not run.", aliases: ["smtpd.is_enabled"]),
        Key(
            path: "smtpd.hostname", target: .suite(.text(\.smtpd.hostname, .hostName)),
            doc: "The name in the greeting; it should be the one that the MX record names.",
            aliases: ["hostname"], variables: ["SMTPD_HOSTNAME", "MAIL_HOSTNAME"],
            example: "\"mail.example.com\""),
        Key(
            path: "smtpd.max_message_size",
            target: .suite(.size(\.smtpd.maxMessageSize, 65_536...2_147_483_647)),
            doc: "The largest message that is taken; announced as SIZE (RFC 1870).",
            aliases: [
                "max_message_size", "max_size", "smtpd.max_size",
            ]),
        Key(
            path: "smtpd.max_recipients",
            target: .suite(.count(\.smtpd.maxRecipients, 1...1000)),
            doc: "Recipients of one message; RFC 5321 §4.5.3.1.8 wants at least 100.",
            aliases: ["max_recipients"]),
        Key(
            path: "smtpd.max_clients",
            target: .suite(.count(\.smtpd.maxClients, 1...1_000_000)),
            doc: "Sessions at the same time over all listeners."),
        Key(
            path: "smtpd.received_header_ip", target: .suite(.flag(\.smtpd.receivedHeaderIP)),
            doc: "False hides the address of a submitting client from the Received field."),
        Key(
            path: "smtpd.bare_newline", target: .suite(.fixed("reject")),
            doc: "Only CRLF ends a line (SMTP smuggling)."),
        Key(
            path: "smtpd.relay.allowed_relays", target: .suite(.blocks(\.smtpd.allowedRelays)),
            doc: "Clients that may send to other domains without AUTH; CIDR blocks allowed.",
            aliases: ["allowed_relays", "smtpd.allowed_relays"]),
        Key(
            path: "smtpd.relay.relay_domains", target: .suite(.later),
            doc: "Domains to take mail for as a backup MX."),
        Key(
            path: "smtpd.timeouts.connection",
            target: .suite(.duration(\.smtpd.connectionTimeout, 10...86_400)),
            doc: "The longest session without a message."),
        Key(
            path: "smtpd.timeouts.command",
            target: .suite(.duration(\.smtpd.commandTimeout, 1...86_400)),
            doc: "How long to wait for a command; RFC 5321 §4.5.3.2.7 wants at least 5 minutes."),
        Key(
            path: "smtpd.timeouts.data",
            target: .suite(.duration(\.smtpd.dataTimeout, 1...86_400)),
            doc: "How long a message may take between two pieces of it."),
        Key(
            path: "smtpd.timeouts.message",
            target: .suite(.duration(\.smtpd.messageTimeout, 10...86_400)),
            doc: "How long a message may take in all, from DATA or the first BDAT to its end."),
        Key(
            path: "smtpd.xclient", target: .suite(.flag(\.smtpd.xclient)),
            doc: "True: XCLIENT is offered to xclient_hosts: a proxy says for whom it speaks.",
            aliases: ["smtpd.xclient_on", "xclient_on"]),
        Key(
            path: "smtpd.xclient_hosts", target: .suite(.blocks(\.smtpd.xclientHosts)),
            doc: "Clients that may use XCLIENT; CIDR blocks allowed."),
    ]

    private static let smtpdLimitKeys: [Key] = [
        limitKey(
            "messages_per_ip_per_hour", \.smtpd.limits.messagesPerAddress,
            "Messages of one address (IPv6: /64) in an hour."),
        limitKey(
            "messages_per_sender_per_hour", \.smtpd.limits.messagesPerSender,
            "Messages of one account in an hour."),
        limitKey(
            "recipients_per_sender_per_day", \.smtpd.limits.recipientsPerSender,
            "Recipients of one account in a day."),
        limitKey(
            "messages_per_remote_sender_per_hour", \.smtpd.limits.messagesPerRemoteSender,
            "Messages from one address of another server in an hour; the null sender is free."),
        limitKey(
            "messages_per_recipient_domain_per_hour", \.smtpd.limits.messagesPerRecipientDomain,
            "Messages for one domain in an hour."),
        limitKey(
            "max_errors", \.smtpd.limits.maxErrors, in: 1...10_000,
            "Refused commands until the connection is closed with 421."),
        limitKey(
            "max_bad_commands", \.smtpd.limits.maxBadCommands, in: 1...10_000,
            "Lines that are no command until the connection is closed with 421."),
        limitKey(
            "max_refused_recipients", \.smtpd.limits.maxRefusedRecipients, in: 1...10_000,
            "Refused recipients until the connection is closed with 421."),
        limitKey(
            "max_idle_commands", \.smtpd.limits.maxIdleCommands,
            """
            NOOP, RSET, HELP, VRFY, HELO and EHLO between two messages until the connection is \
            closed with 421; 0: no limit.
            """),
        Key(
            path: "smtpd.limits.session_memory",
            target: .suite(.size(\.smtpd.limits.sessionMemory, 1_310_720...67_108_864)),
            doc: """
                What one session may make smtpd hold: 1.25 MiB for buffers and a message on its \
                way, the rest for recipients with their parameters; one recipient more is refused \
                with 452.
                """),
        limitKey(
            "tarpit_after", \.smtpd.limits.tarpitAfter,
            "Refusals in a session after which every further one is answered late."),
        Key(
            path: "smtpd.limits.tarpit", target: .suite(.duration(\.smtpd.limits.tarpit, 0...60)),
            doc: "How late; \"0\": never."),
        Key(
            path: "smtpd.limits.greet_delay",
            target: .suite(.duration(\.smtpd.limits.greetDelay, 0...60)),
            doc: """
                On listeners of mode smtp and alt: how long a client must wait for the greeting. One \
                that speaks before is refused (554), as spam software does that cannot wait.
                """),
    ]

    private static func limitKey(
        _ name: String, _ path: any Path<Int>, in range: ClosedRange<Int> = 0...100_000_000,
        _ doc: String
    ) -> Key {
        Key(path: "smtpd.limits.\(name)", target: .suite(.count(path, range)), doc: doc)
    }

    private static let smtpdListenerKeys: [Key] = [
        Key(
            path: "smtpd.listeners.*.auth",
            target: .listener(.text(\.authentication, .choice(["off", "offered", "required"]))),
            doc: """
                Not set: required for submission and smtps, which take nothing else; offered for \
                smtp and alt.
                """,
            isOptional: true),
        Key(
            path: "smtpd.listeners.*.max_message_size",
            target: .listener(.optionalSize(\.maxMessageSize, 65_536...2_147_483_647)),
            doc: "Octets of a message on this listener. Not set: as in [smtpd].",
            isOptional: true),
        Key(
            path: "smtpd.listeners.*.max_recipients",
            target: .listener(.optionalCount(\.maxRecipients, 1...1000)),
            doc: "Recipients of a message on this listener. Not set: as in [smtpd].",
            isOptional: true),
    ]

    private static let smtpdAuthKeys: [Key] = [
        Key(
            path: "smtpd.auth.enabled", target: .suite(.flag(\.smtpd.auth.enabled)),
            doc: "False: AUTH is not offered, so nobody can submit."),
        Key(
            path: "smtpd.auth.required", target: .suite(.flag(\.smtpd.auth.required)),
            doc: """
                True: also on listeners of mode smtp and alt, which then take no mail from other \
                servers. submission and smtps always require it.
                """,
            aliases: ["smtpd.authentication_required"]),
        Key(
            path: "smtpd.auth.allow_plaintext", target: .suite(.later),
            doc: "AUTH before TLS."),
        Key(
            path: "smtpd.auth.sender_check", target: .suite(.fixed("owned")),
            doc: "MAIL FROM must be an address of the account that logged in."),
    ]

    static let smtpdLaterKeys: [Key] =
        later(
            "smtpd",
            [
                "require_helo", "pipelining_before_banner", "metrics.ip_label",
                "spf.enabled", "spf.reject_fail",
                "dkim.verify", "dkim.sign", "dkim.selector", "dkim.required", "dmarc.enabled",
                "dmarc.reports", "rbl.lists", "rbl.reject", "greylist.enabled", "greylist.delay",
                "greylist.keep", "milter.sockets", "milter.on_error", "spamc.address",
                "spamc.max_size", "rspamd.password_file", "rspamd.timeout", "clamd.address",
                "spam.tag_score", "spam.junk_score", "spam.reject_score", "spam.scoring",
                "outbound.mode", "outbound.ipv6", "outbound.source_address", "outbound.dane",
                "outbound.mta_sts", "outbound.tls_reports", "queue.max_per_domain",
                "queue.delay_warning", "queue.bounce", "queue.queue_dir", "queue.max_workers",
                "queue.max_retries", "queue.max_queue_time", "queue.retry_schedule",
            ],
            aliases: [
                "queue.queue_dir": ["queue_dir", "smtpd.queue_dir"]
            ])
        + [
            laterKey("smtpd.rspamd.url", variables: ["SMTPD_RSPAMD_URL"]),
            laterKey(
                "smtpd.outbound.relay",
                variables: [
                    "SMTP_RELAY_HOST", "SMTP_RELAY_PORT", "SMTP_RELAY_USERNAME",
                    "SMTP_RELAY_PASSWORD", "RELAY_HOST", "RELAY_PORT", "RELAY_USERNAME",
                    "RELAY_PASSWORD",
                ]),
            laterKey("smtpd.outbound.tls", variables: ["USE_TLS", "TLS_VERIFY"]),
        ]

    static func later(
        _ section: String, _ names: [String], aliases: [String: [String]] = [:]
    ) -> [Key] {
        names.map { name in
            laterKey(section.isEmpty ? name : "\(section).\(name)", aliases: aliases[name] ?? [])
        }
    }

    static func laterKey(
        _ path: String, aliases: [String] = [], variables: [String] = []
    ) -> Key {
        Key(
            path: path, target: .suite(.later), doc: "Recognised, without effect.",
            aliases: aliases, variables: variables)
    }
}
