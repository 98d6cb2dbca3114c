// SPDX-License-Identifier: Apache-2.0
//
// The keys about logging in: [server.auth], the failures in [server.limits], [msgstored.auth].

extension Schema {
    static let authKeys: [Key] = [
        Key(
            path: "server.auth.methods",
            target: .suite(
                .words(
                    \.server.auth.methods,
                    allowed: [
                        "plain", "login", "scram-sha-256", "scram-sha-256-plus", "scram-sha-1",
                        "scram-sha-1-plus", "cram-md5", "external", "oauthbearer", "xoauth2",
                    ], later: [])),
            doc: """
                What smtpd, imapd and pop3d offer, under TLS only. The -plus ones are bound to the \
                TLS connection; they are off because programs with GNU SASL (mutt) choose them \
                whether they can bind or not, and then cannot send. cram-md5 works for accounts \
                with a secret of their own (mailctl account password --cram-md5). external is \
                offered to a client that has shown a certificate (client_certificates): its name \
                is the account. oauthbearer and xoauth2 take tokens: [msgstored.auth.oauth].
                """,
            aliases: ["smtpd.auth.methods"], variables: ["MAIL_SMTPD__AUTH__METHODS"]),
        Key(
            path: "server.limits.auth_failures_per_ip",
            target: .suite(.count(\.server.authLimits.perAddress, 0...1_000_000)),
            doc: """
                Failed logins of one address (IPv6: of its /64) until it is banned from all \
                daemons; 0: never. An account that has logged in from there within a week still can.
                """),
        Key(
            path: "server.limits.auth_failures_per_account",
            target: .suite(.count(\.server.authLimits.perAccount, 0...1_000_000)),
            doc: """
                Failed logins for one name until addresses that are new to it have to wait \
                between attempts, up to a minute; 0: never.
                """),
        Key(
            path: "server.limits.auth_failure_window",
            target: .suite(.duration(\.server.authLimits.window, 10...86_400)),
            doc: "How long a failed login counts."),
        Key(
            path: "server.limits.auth_ban",
            target: .suite(.duration(\.server.authLimits.ban, 1...2_592_000)),
            doc: "The first ban of an address; each further one is twice as long, up to a day."),
        Key(
            path: "server.limits.exempt", target: .suite(.blocks(\.server.exempt)),
            doc: "Clients to which no limit applies."),
    ]

    static let storeAuthKeys: [Key] =
        [
            Key(
                path: "msgstored.auth.backend",
                target: .suite(
                    .words(
                        \.msgstored.authBackends, allowed: ["internal", "file", "ldap"],
                        later: ["pam", "postgres", "dovecot"])),
                doc: """
                    Who checks passwords, in this order. "internal": those set by mailctl account. \
                    "file": file_path. These two and app passwords are asked together. "ldap": \
                    [msgstored.auth.ldap]. Accounts are made with mailctl account in any case.
                    """,
                aliases: ["smtpd.auth.backend"]),
            Key(
                path: "msgstored.auth.file_path",
                target: .suite(.text(\.msgstored.passwordFile, .optionalPath)),
                doc: """
                    Lines `user@domain:{SCHEME}hash`, as Dovecot's passwd-file; read again when it \
                    changes.
                    """,
                aliases: ["smtpd.auth.file_path"]),
            Key(
                path: "msgstored.auth.allow_weak",
                target: .suite(.flag(\.msgstored.allowsWeakHashes)),
                doc: "Take also hashes that are easily undone: MD5, DES, unsalted ones, clear text."
            ),
            Key(
                path: "msgstored.auth.scram", target: .suite(.flag(\.msgstored.keepsScram)),
                doc: "Keep the keys of SCRAM beside the hash of a new password."),
            Key(
                path: "msgstored.auth.app_passwords",
                target: .suite(.flag(\.msgstored.appPasswords)),
                doc: "Take app passwords (mailctl app-password)."),
        ] + helperKeys
}
