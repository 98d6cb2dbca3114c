// SPDX-License-Identifier: Apache-2.0
//
// authd-ldap: does this password open the user's entry? RFC 4511 §4.2, RFC 4513 §5.1.

import AuthHelper
import Bytes
import CLDAP
import Serving
import Settings
import Synchronization
import Wire

extension Program {
    package static var authdLDAP: Program { .helper("authd-ldap", PasswordChecker()) }
}

final class PasswordChecker: HelperBackend {
    private let settings = Mutex(LDAPSettings())

    init() { martlet_ldap_start() }

    func apply(_ suite: Suite) { settings.withLock { $0 = suite.msgstored.ldap } }

    func answer(_ question: HelperQuestion) -> HelperAnswer {
        guard case .password(let name, let password, _, _) = question else {
            return .unavailable(reason: Array("only passwords are checked here"))
        }
        // RFC 4513 §5.1.2: a bind without a password succeeds for everybody.
        guard !password.isEmpty, !password.contains(0) else {
            return .wrong(reason: Array("an empty password, or one with a NUL"))
        }
        let settings = settings.withLock { $0 }
        guard let user = LDAPTemplate.expand(settings.userDN, name),
            let filter = LDAPTemplate.expand(settings.filter, name)
        else {
            return .unavailable(reason: Array("user_dn or filter has an unknown % sign"))
        }
        guard !settings.url.isEmpty, !user.isEmpty || !settings.base.isEmpty else {
            return .unavailable(reason: Array("[msgstored.auth.ldap] is not set"))
        }
        var searcher: [UInt8] = []
        if user.isEmpty, !settings.bindPasswordFile.isEmpty {
            guard let read = SecretFile.read(settings.bindPasswordFile) else {
                return .unavailable(reason: Array("bind_password_file cannot be read"))
            }
            searcher = read
        }
        var why: UnsafePointer<CChar>?
        let verdict = unsafe martlet_ldap_check(
            settings.url, settings.authorities, settings.startsTLS ? 1 : 0,
            Int(settings.timeout.components.seconds), user, settings.bindDN, searcher,
            searcher.count, settings.base, filter, password, password.count, &why)
        let reason = unsafe why.map { unsafe String(cString: $0) } ?? "unknown"
        switch verdict {
        case 1: return .right(name: name)
        case 0: return .wrong(reason: Array(reason))
        default: return .unavailable(reason: Array("\(settings.url): \(reason)"))
        }
    }
}
