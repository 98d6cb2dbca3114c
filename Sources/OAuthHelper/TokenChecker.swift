// SPDX-License-Identifier: Apache-2.0
//
// authd-oauth: is this token a login, and whose? By the issuer's keys (RFC 7517), which are kept,
// or by asking it each time (RFC 7662).

import AuthHelper
import Bytes
import CCurl
import Glibc
import Serving
import Settings
import Synchronization
import Telemetry
import Tokens
import Wire

extension Program {
    package static var authdOAuth: Program { .helper("authd-oauth", TokenChecker()) }
}

/// Nothing can be said about a token now.
private struct Outage: Error {
    var reason: String
}

final class TokenChecker: HelperBackend {
    /// Keys are asked for again after so long, and are good for so long if that fails.
    private static let fresh: Int64 = 3_600
    private static let usable: Int64 = 86_400
    /// An unknown key makes us ask again, but not more often; nor do we ask one who does not answer.
    private static let pause: Int64 = 60
    private static let pauseAfterFailure: Int64 = 5

    private struct Keys {
        var url = ""
        var set = KeySet()
        var fetched: Int64?
        var tried: Int64?
        var trouble: String?
    }

    private let settings = Mutex(OAuthSettings())
    /// Held while keys are fetched: one asks, the others wait for what it gets.
    private let keys = Mutex(Keys())

    init() {
        let code = martlet_curl_start()
        precondition(code == 0, "libcurl does not start")
    }

    func apply(_ suite: Suite) { settings.withLock { $0 = suite.msgstored.oauth } }

    func answer(_ question: HelperQuestion) -> HelperAnswer {
        guard case .token(let token, let remote, _) = question else {
            return .unavailable(reason: Array("only tokens are checked here"))
        }
        let settings = settings.withLock { $0 }
        do {
            let user = try user(token, settings)
            return .right(name: user)
        } catch let refusal as TokenRefusal {
            Log.info(
                "token refused", [LogField("rip", remote), LogField("reason", refusal.rawValue)])
            return .wrong(reason: Array(refusal.rawValue))
        } catch let outage as Outage {
            return .unavailable(reason: Array(outage.reason))
        } catch {
            return .unavailable(reason: Array("\(error)"))
        }
    }

    private func user(_ token: [UInt8], _ settings: OAuthSettings) throws -> [UInt8] {
        let rules = TokenRules(
            issuer: settings.issuer, audience: settings.audience, scope: settings.scope,
            userClaim: settings.userClaim)
        let now = Int64(time(nil))
        if !settings.introspectionURL.isEmpty {
            let claims = try introspect(token, settings)
            return try rules.user(claims, now: now, isAnswer: true)
        }
        guard let signed = SignedToken(token) else { throw TokenRefusal.malformed }
        let candidates = try candidates(signed, settings)
        guard !candidates.isEmpty else { throw TokenRefusal.unknownKey }
        guard signed.isSigned(by: candidates) else { throw TokenRefusal.signature }
        return try rules.user(signed.claims, now: now, isAnswer: false)
    }

    // MARK: Keys

    /// CLOCK_MONOTONIC: keys must not live longer because somebody sets the clock.
    private static var uptime: Int64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec)
    }

    private func candidates(
        _ token: SignedToken, _ settings: OAuthSettings
    ) throws -> [VerifyingKey] {
        try keys.withLock { keys in
            if keys.url != settings.keysURL {
                keys = Keys()
                keys.url = settings.keysURL
            }
            let now = Self.uptime
            let age = keys.fetched.map { now - $0 } ?? .max
            let isKnown = !keys.set.candidates(token).isEmpty
            let pause = keys.trouble == nil ? Self.pause : Self.pauseAfterFailure
            let mayAsk = keys.tried.map { now - $0 >= pause } ?? true
            if age >= Self.fresh || !isKnown, mayAsk { Self.refresh(&keys, settings, now) }
            guard let fetched = keys.fetched, now - fetched < Self.usable else {
                throw Outage(reason: keys.trouble ?? "there are no keys")
            }
            let found = keys.set.candidates(token)
            // Perhaps it is new, and we could not ask.
            if found.isEmpty, let trouble = keys.trouble { throw Outage(reason: trouble) }
            return found
        }
    }

    private static func refresh(_ keys: inout Keys, _ settings: OAuthSettings, _ now: Int64) {
        keys.tried = now
        do throws(Outage) {
            let octets = try fetch(settings.keysURL, form: "", settings, isWithName: false)
            guard let set = KeySet(octets), !set.keys.isEmpty else {
                throw Outage(reason: "\(settings.keysURL): no keys that can be used")
            }
            keys.set = set
            keys.fetched = now
            keys.trouble = nil
            Log.info("keys read", [LogField("count", set.keys.count)])
        } catch {
            keys.trouble = error.reason
            Log.error("keys not read", [LogField("reason", error.reason)])
        }
    }

    // MARK: Introspection

    private func introspect(
        _ token: [UInt8], _ settings: OAuthSettings
    ) throws(Outage) -> JSON {
        let octets = try Self.fetch(
            settings.introspectionURL,
            form: "token=\(Self.percentEncoded(token))&token_type_hint=access_token", settings,
            isWithName: true)
        do throws(JSONError) {
            return try JSON(octets)
        } catch {
            throw Outage(reason: "\(settings.introspectionURL): an answer that is not JSON")
        }
    }

    private static func fetch(
        _ url: String, form: String, _ settings: OAuthSettings, isWithName: Bool
    ) throws(Outage) -> [UInt8] {
        var secret: [UInt8] = []
        if isWithName, !settings.clientSecretFile.isEmpty {
            guard let read = SecretFile.read(settings.clientSecretFile) else {
                throw Outage(reason: "client_secret_file cannot be read")
            }
            secret = read
        }
        var room = [UInt8](repeating: 0, count: JSON.limit)
        var count = 0
        var status = 0
        // RFC 6749 §2.3.1: name and password are percent-encoded first.
        let code = unsafe martlet_fetch(
            url, form, isWithName ? percentEncoded(Array(settings.clientID)) : "",
            percentEncoded(secret), settings.authorities, url.hasPrefix("http://") ? 1 : 0,
            Int(settings.timeout.components.seconds) * 1_000, &room, room.count, &count, &status)
        guard code == 0 else {
            throw Outage(reason: "\(url): \(unsafe String(cString: martlet_curl_reason(code)))")
        }
        guard status == 200 else { throw Outage(reason: "\(url): HTTP status \(status)") }
        return Array(room[..<count])
    }

    /// RFC 3986 §2.1: everything but what is unreserved.
    private static func percentEncoded(_ octets: [UInt8]) -> String {
        let digits = Array("0123456789ABCDEF")
        let marks = Array("-._~")
        var text: [UInt8] = []
        for octet in octets {
            if octet.isASCIILetter || octet.isASCIIDigit || marks.contains(octet) {
                text.append(octet)
            } else {
                text += [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
