// SPDX-License-Identifier: Apache-2.0
//
// Every case of logins, app passwords and bans.

import Bytes
import Mail

@testable import Wire

extension Samples {
    static let client = LoginClient(
        remote: Array("2001:db8::1"), session: trace, service: Array("smtp"))
    private static let octets = [UInt8](0...31)

    static let accessRequests: [Request] = [
        .attempt(.scramParameters(hash: 2, name: Array("a@b")), client),
        .attempt(
            .scramProof(
                hash: 1, authorizationID: [], name: Array("a@b"), message: Array("n=a,r=b\0"),
                proof: octets), client),
        .attempt(.cramMD5(name: Array("a"), challenge: Array("<x@y>"), digest: octets), client),
        .attempt(.external(authorizationID: Array("x"), name: Array("a@b")), client),
        .attempt(.token(name: [], token: Array("abc.def")), client),
        .access(
            .addAppPassword(
                alice, name: Array("phone"), scopes: [.imap, .smtp], expires: 1 << 40,
                password: octets)),
        .access(.listAppPasswords(bob)),
        .access(.removeAppPassword(bob, id: .max)),
        .access(.listBans),
        .access(.addBan(Array("2001:db8::/64"), seconds: .max)),
        .access(.removeBan(Array("192.0.2.1"))),
        .access(.setCramSecret(alice, password: octets)),
        .access(.setCramSecret(alice, password: [])),
    ]

    static let accessReplies: [Reply] =
        LoginRefusalReason.allCases.map { .access(.refused(LoginRefusal($0, delay: .max))) } + [
            .access(.scramParameters(salt: octets, iterations: 4_096)),
            .access(.proven(session, alice, signature: octets)),
            .access(.appPasswords([])),
            .access(
                .appPasswords([
                    AppPassword(
                        id: 7, name: Array("phone"), scopes: .all, created: 1, expires: 0, used: -1)
                ])),
            .access(
                .bans([
                    Ban(
                        network: Array("192.0.2.1"), since: 1, until: 0, isManual: true,
                        failures: 9)
                ])),
        ]
}
