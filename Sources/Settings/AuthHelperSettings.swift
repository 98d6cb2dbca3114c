// SPDX-License-Identifier: Apache-2.0
//
// [msgstored.auth.oauth] and [msgstored.auth.ldap]: who else knows who may log in.

/// `[msgstored.auth.oauth]`.
package struct OAuthSettings: Sendable, Equatable {
    package var issuer = ""
    package var audience = ""
    /// Empty: none is needed.
    package var scope = ""
    package var userClaim = "email"
    /// Where the issuer's keys are.
    package var keysURL = ""
    /// Where the issuer is asked about each token (RFC 7662); wins over `keysURL`.
    package var introspectionURL = ""
    package var clientID = ""
    package var clientSecretFile = ""
    package var authorities = ""
    package var timeout = Duration.seconds(5)

    package init() {}
}

/// `[msgstored.auth.ldap]`.
package struct LDAPSettings: Sendable, Equatable {
    package var url = ""
    package var startsTLS = false
    package var authorities = ""
    /// The user's own entry; empty: it is searched.
    package var userDN = ""
    package var base = ""
    package var filter = "(mail=%u)"
    package var bindDN = ""
    package var bindPasswordFile = ""
    package var timeout = Duration.seconds(5)

    package init() {}
}

extension ServerSettings {
    /// Where a helper listens.
    package func helperPath(_ program: String) -> String { "\(runDirectory)/\(program).sock" }
}
