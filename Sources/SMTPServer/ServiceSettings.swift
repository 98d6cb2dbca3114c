// SPDX-License-Identifier: Apache-2.0
//
// mail.toml as the sessions of one loop need it: worked out once, at start and at reload.

import Bytes
import Config
import Daemon
import Mail
import SASL
import SMTP
import Telemetry
import Transport

/// Settings at one moment. A session keeps those it began with.
final class ServiceSettings {
    let smtpd: SMTPSettings
    let hostname: [UInt8]
    /// Names of mechanisms, as mail.toml has them.
    let methods: [String]
    /// The domain of `<postmaster>`.
    let postmasterDomain: [UInt8]
    let isDevelopment: Bool
    /// A full mailbox is refused for now, not for good.
    let isFullTemporary: Bool
    /// Nil: there is no certificate, so neither STARTTLS nor AUTH.
    let tls: TLSContext?
    private let relays: [AddressBlock]

    /// - Parameter tls: what to use if there is no usable certificate now.
    init(_ suite: Suite, keeping old: TLSContext? = nil) {
        smtpd = suite.smtpd
        hostname = Array(suite.smtpd.hostname)
        methods = suite.server.auth.methods
        postmasterDomain = Array(suite.domains.first ?? suite.smtpd.hostname)
        isDevelopment = suite.server.devMode
        isFullTemporary = suite.msgstored.quotaTemporary
        relays = suite.smtpd.allowedRelays.compactMap { text in
            if let block = AddressBlock(text) { return block }
            Log.error("bad allowed_relays", [LogField("reason", text)])
            return nil
        }
        do throws(TLSContextError) {
            tls = try TLSContext.server(suite.smtpd.tls, session: "smtpd")
        } catch {
            Log.error("tls unavailable", [LogField("reason", error.description)])
            tls = old
        }
    }

    /// Whether `peer` may send to other domains without AUTH.
    func isAllowedRelay(_ peer: PeerAddress) -> Bool {
        relays.contains { $0.contains(peer.text) }
    }

    func listener(_ name: String) -> ListenerSettings? {
        smtpd.listeners.first { $0.name == name }
    }

    /// What a listener offers and demands of a client at `peer`.
    func policy(_ listener: ListenerSettings?, peer: PeerAddress) -> ServerPolicy {
        let isSubmission = listener?.mode == "submission" || listener?.mode == "smtps"
        return ServerPolicy(
            hostname: hostname, sizeLimit: smtpd.maxMessageSize,
            recipientLimit: smtpd.maxRecipients, offersStartTLS: tls != nil,
            mechanisms: smtpd.auth.enabled
                ? Mechanism.offered(
                    // Before TLS none is offered, but for development.
                    methods, isTLS: !(isDevelopment && peer.isLoopback), hasCertificateName: false
                ).map {
                    Array($0.rawValue)
                } : [],
            requiresAuthentication: isSubmission || smtpd.auth.required,
            allowsPlaintextAuthentication: isDevelopment && peer.isLoopback)
    }
}
