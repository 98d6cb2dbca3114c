// SPDX-License-Identifier: Apache-2.0
//
// mail.toml as the sessions of one loop need it: worked out once, at start and at reload.

import Bytes
import Mail
import Network
import SASL
import SMTP
import Serving
import Settings
import Telemetry
import Transport

/// Settings at one moment. A session keeps those it began with.
final class ServiceSettings {
    let smtpd: SMTPSettings
    let hostname: [UInt8]
    /// Names of mechanisms, as mail.toml has them.
    let methods: [String]
    /// What a session's buffers take at most (docs/security.md, "Memory of a session").
    private static let bufferMemory = 1_310_720
    /// The domain of `<postmaster>`.
    let postmasterDomain: [UInt8]
    let isDevelopment: Bool
    /// A full mailbox is refused for now, not for good.
    let isFullTemporary: Bool
    /// Nil: there is no certificate, so neither STARTTLS nor AUTH.
    let tls: TLSContext?
    private let relays: [AddressBlock]
    private let proxies: [AddressBlock]
    private let exempt: [AddressBlock]
    private let xclientHosts: [AddressBlock]

    /// - Parameter tls: what to use if there is no usable certificate now.
    init(_ suite: Suite, keeping old: TLSContext? = nil) {
        smtpd = suite.smtpd
        hostname = Array(suite.smtpd.hostname)
        methods = suite.server.auth.methods
        postmasterDomain = Array(suite.domains.first ?? suite.smtpd.hostname)
        isDevelopment = suite.server.devMode
        isFullTemporary = suite.msgstored.quotaTemporary
        // Config has refused what is no block.
        relays = suite.smtpd.allowedRelays.compactMap { AddressBlock($0) }
        proxies = suite.server.trustedProxies.compactMap { AddressBlock($0) }
        exempt = suite.server.exempt.compactMap { AddressBlock($0) }
        xclientHosts = suite.smtpd.xclientHosts.compactMap { AddressBlock($0) }
        do throws(TLSContextError) {
            tls = try TLSContext.server(suite.smtpd.tls, session: "smtpd")
        } catch {
            Log.error("tls unavailable", [LogField("reason", error.description)])
            tls = old
        }
    }

    /// Whether `peer` may send to other domains without AUTH. A load balancer may not: whoever is
    /// behind it would be anybody (a listener where `proxy_protocol` was forgotten).
    func isAllowedRelay(_ peer: PeerAddress) -> Bool {
        guard let address = peer.address else { return false }
        return relays.contains(address) && !proxies.contains(address)
    }

    /// Whether no limit on rates and no tarpit applies; true for a Unix socket.
    func isExempt(_ address: IPAddress?) -> Bool { address.map(exempt.contains) ?? true }

    func listener(_ name: String) -> ListenerSettings? {
        smtpd.listeners.first { $0.name == name }
    }

    /// What a listener offers and demands of a client at `peer`.
    func policy(_ listener: ListenerSettings?, peer: PeerAddress) -> ServerPolicy {
        let isSubmission = listener?.mode == "submission" || listener?.mode == "smtps"
        let authentication = listener?.authentication
        let offersAuth = smtpd.auth.enabled && authentication != "off"
        // Before TLS none is offered, but for development; what the handshake has shown comes then.
        let mechanisms = Mechanism.offered(
            methods, isTLS: !(isDevelopment && peer.isLoopback), hasCertificateName: false)
        var policy = ServerPolicy(
            hostname: hostname, sizeLimit: listener?.maxMessageSize ?? smtpd.maxMessageSize,
            recipientLimit: listener?.maxRecipients ?? smtpd.maxRecipients,
            offersStartTLS: tls != nil && listener?.encryption != "off",
            mechanisms: offersAuth ? mechanisms.map { Array($0.rawValue) } : [],
            // Whatever else is said, submission is never without.
            requiresAuthentication: isSubmission || authentication == "required"
                || (authentication == nil && smtpd.auth.required),
            allowsPlaintextAuthentication: isDevelopment && peer.isLoopback)
        policy.requiresEncryption = listener?.encryption == "required"
        policy.offersXCLIENT =
            smtpd.xclient && (peer.address.map(xclientHosts.contains) ?? false)
        policy.isDevelopment = isDevelopment
        policy.errorLimit = smtpd.limits.maxErrors
        policy.badCommandLimit = smtpd.limits.maxBadCommands
        policy.refusedRecipientLimit = smtpd.limits.maxRefusedRecipients
        policy.idleCommandLimit = isExempt(peer.address) ? 0 : smtpd.limits.maxIdleCommands
        policy.envelopeLimit = smtpd.limits.sessionMemory - Self.bufferMemory
        return policy
    }
}
