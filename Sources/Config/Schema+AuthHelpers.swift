// SPDX-License-Identifier: Apache-2.0
//
// The keys of [msgstored.auth.oauth] and [msgstored.auth.ldap].

extension Schema {
    static let helperKeys: [Key] = oauthKeys + ldapKeys

    private static let oauthKeys: [Key] = [
        Key(
            path: "msgstored.auth.oauth.issuer",
            target: .suite(.text(\.msgstored.oauth.issuer, .any)),
            doc: "Who has made a token: its claim `iss`."),
        Key(
            path: "msgstored.auth.oauth.audience",
            target: .suite(.text(\.msgstored.oauth.audience, .any)),
            doc: "For whom it was made: its claim `aud`, or one of them."),
        Key(
            path: "msgstored.auth.oauth.scope",
            target: .suite(.text(\.msgstored.oauth.scope, .any)),
            doc: "A scope that it must have; empty: none."),
        Key(
            path: "msgstored.auth.oauth.user_claim",
            target: .suite(.text(\.msgstored.oauth.userClaim, .any)),
            doc: """
                The claim that is the account's address. `email` counts only if `email_verified` \
                does not say otherwise.
                """,
            aliases: ["msgstored.auth.oauth.username_claim"]),
        Key(
            path: "msgstored.auth.oauth.jwks_url",
            target: .suite(.text(\.msgstored.oauth.keysURL, .any)),
            doc: """
                Where the issuer's keys are (RFC 7517), for tokens that are signed with RS256, \
                ES256 or EdDSA (Ed25519). https, or http to this very machine.
                """),
        Key(
            path: "msgstored.auth.oauth.introspection_url",
            target: .suite(.text(\.msgstored.oauth.introspectionURL, .any)),
            doc: "Where the issuer is asked about every token (RFC 7662), instead of jwks_url."),
        Key(
            path: "msgstored.auth.oauth.client_id",
            target: .suite(.text(\.msgstored.oauth.clientID, .any)),
            doc: "Our name at introspection_url."),
        Key(
            path: "msgstored.auth.oauth.client_secret_file",
            target: .suite(.text(\.msgstored.oauth.clientSecretFile, .optionalPath)),
            doc: "A file with our password there, readable to the group martlet-auth."),
        Key(
            path: "msgstored.auth.oauth.ca_file",
            target: .suite(.text(\.msgstored.oauth.authorities, .optionalPath)),
            doc: "PEM file: who signs the issuer's certificate; empty: those of the system."),
        Key(
            path: "msgstored.auth.oauth.timeout",
            target: .suite(.duration(\.msgstored.oauth.timeout, 1...30)),
            doc: "How long the issuer may take."),
    ]

    private static let ldapKeys: [Key] = [
        Key(
            path: "msgstored.auth.ldap.url", target: .suite(.text(\.msgstored.ldap.url, .any)),
            doc: """
                ldaps://HOST, ldap://HOST with start_tls, ldapi://PATH, or plain ldap:// to this very \
                machine. Several with spaces between: the first that answers.
                """,
            aliases: ["msgstored.auth.ldap.uri"]),
        Key(
            path: "msgstored.auth.ldap.start_tls",
            target: .suite(.flag(\.msgstored.ldap.startsTLS)),
            doc: "TLS on an ldap:// connection before anything else is said."),
        Key(
            path: "msgstored.auth.ldap.ca_file",
            target: .suite(.text(\.msgstored.ldap.authorities, .optionalPath)),
            doc: "PEM file: who signs the server's certificate; empty: those of the system."),
        Key(
            path: "msgstored.auth.ldap.user_dn",
            target: .suite(.text(\.msgstored.ldap.userDN, .any)),
            doc: """
                The entry that is bound as, with the user's password: %u is the address, %n what \
                stands before the @, %d the domain. Empty: it is searched with base and filter.
                """),
        Key(
            path: "msgstored.auth.ldap.base", target: .suite(.text(\.msgstored.ldap.base, .any)),
            doc: "Where to search."),
        Key(
            path: "msgstored.auth.ldap.filter",
            target: .suite(.text(\.msgstored.ldap.filter, .any)),
            doc: "What to search: %u, %n and %d as in user_dn. Exactly one entry must match."),
        Key(
            path: "msgstored.auth.ldap.bind_dn",
            target: .suite(.text(\.msgstored.ldap.bindDN, .any)),
            doc: "Who searches; empty: nobody (anonymous)."),
        Key(
            path: "msgstored.auth.ldap.bind_password_file",
            target: .suite(.text(\.msgstored.ldap.bindPasswordFile, .optionalPath)),
            doc: "A file with its password, readable to the group martlet-auth."),
        Key(
            path: "msgstored.auth.ldap.timeout",
            target: .suite(.duration(\.msgstored.ldap.timeout, 1...30)),
            doc: "How long the server may take for each step."),
    ]
}

extension Reader {
    /// Tokens and passwords go over the network only encrypted, and only where something is set.
    mutating func checkAuthHelpers() {
        let oauth = suite.msgstored.oauth
        let wantsTokens = suite.server.auth.methods.contains {
            $0 == "oauthbearer" || $0 == "xoauth2"
        }
        if wantsTokens,
            oauth.issuer.isEmpty || oauth.audience.isEmpty
                || (oauth.keysURL.isEmpty && oauth.introspectionURL.isEmpty)
        {
            report(
                general(
                    .error, "oauthbearer and xoauth2 need [msgstored.auth.oauth]",
                    notes: ["set issuer, audience, and jwks_url or introspection_url"]))
        }
        for (key, url) in [
            ("jwks_url", oauth.keysURL), ("introspection_url", oauth.introspectionURL),
        ] where !url.isEmpty && !Self.isSafe(url, "https://", "http://") {
            report(
                general(
                    .error, "[msgstored.auth.oauth] \(key) must begin with https://",
                    notes: ["http:// is good for 127.0.0.1, [::1] and localhost only"]))
        }
        guard suite.msgstored.authBackends.contains("ldap") else { return }
        let ldap = suite.msgstored.ldap
        if ldap.url.isEmpty || (ldap.userDN.isEmpty && ldap.base.isEmpty) {
            report(
                general(
                    .error, "the backend ldap needs [msgstored.auth.ldap]",
                    notes: ["set url, and user_dn or base"]))
        }
        for url in ldap.url.split(separator: " ").map(String.init)
        where !url.hasPrefix("ldapi://") && !Self.isSafe(url, "ldaps://", "ldap://")
            && !(ldap.startsTLS && url.hasPrefix("ldap://"))
        {
            report(
                general(
                    .error, "[msgstored.auth.ldap] \(url) would send passwords in the clear",
                    notes: ["use ldaps://, or set start_tls = true"]))
        }
    }

    /// Encrypted, or to this machine.
    private static func isSafe(_ url: String, _ encrypted: String, _ plain: String) -> Bool {
        if url.hasPrefix(encrypted) { return url.utf8.count > encrypted.utf8.count }
        return ["127.0.0.1", "[::1]", "localhost"].contains { host in
            let start = plain + host
            guard url.hasPrefix(start) else { return false }
            let next = url.utf8.dropFirst(start.utf8.count).first
            return next == nil || next == 0x3A || next == 0x2F
        }
    }
}
