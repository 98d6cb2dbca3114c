// SPDX-License-Identifier: Apache-2.0
//
// Settings that would make an open relay, or a listener that nobody can use, are errors: they are
// refused at start and at reload (RFC 5321 §7.1, §7.8; RFC 6409 §4.3).

import Network

extension Reader {
    /// One listener with itself.
    mutating func checkSafety(_ listener: ListenerSettings, _ written: WrittenListener) {
        let isSubmission = listener.mode == "submission" || listener.mode == "smtps"
        let daemon = listener.mode.hasPrefix("imap") ? "imapd" : "smtpd"
        if isSubmission, let wanted = listener.authentication, wanted != "required" {
            report(
                at: written,
                "auth = \"\(wanted)\" with mode \"\(listener.mode)\" would be an open relay",
                ["leave it out, or use mode \"smtp\", which takes mail for local domains only"])
        }
        if isSubmission, !suite.smtpd.auth.enabled {
            report(
                at: written,
                "mode \"\(listener.mode)\" needs AUTH, and [smtpd.auth] enabled is false: nobody "
                    + "can send from here",
                ["remove the listener, or switch AUTH on"], .warning)
        }
        if !listener.tlsImplicit, listener.encryption == "off", isSubmission || daemon == "imapd",
            !suite.server.devMode
        {
            report(
                at: written, "tls = \"off\": nobody could log in here without TLS",
                ["leave it out"])
        }
        if listener.expectsProxy, suite.server.trustedProxies.isEmpty,
            case .tcp = listener.address
        {
            report(
                at: written, "proxy_protocol is on, and [server] trusted_proxies is empty",
                ["name the load balancer there: trusted_proxies = [\"192.0.2.10\"]"])
        }
    }

    /// Blocks that hold half of the internet.
    mutating func checkRelays() {
        let lists: [(key: String, blocks: [String], harm: String)] = [
            (
                "smtpd.relay.allowed_relays", suite.smtpd.allowedRelays,
                "would let strangers send to everybody (open relay)"
            ),
            (
                "server.trusted_proxies", suite.server.trustedProxies,
                "would let strangers choose their address"
            ),
            (
                "smtpd.xclient_hosts", suite.smtpd.xclientHosts,
                "would let strangers choose their address"
            ),
        ]
        for (key, blocks, harm) in lists {
            for text in blocks where AddressBlock(text)?.isOpen ?? true {
                report(
                    general(
                        .error, "`\(text)` in \(key) \(harm)",
                        notes: [
                            "name single addresses, or blocks of at most /16 (IPv6: /32)"
                        ]))
            }
        }
    }

    mutating func checkClientCertificates() {
        let all: [(String, TLSSettings)] = [
            ("smtpd", suite.smtpd.tls), ("imapd", suite.imapd.tls), ("pop3d", suite.pop3d.tls),
        ]
        for (daemon, tls) in all
        where tls.clientCertificates != "off" && tls.clientAuthorities.isEmpty {
            report(
                general(
                    .error,
                    "[\(daemon).tls] client_certificates = \"\(tls.clientCertificates)\" needs "
                        + "client_ca_file",
                    notes: ["set [server.tls] client_ca_file to the PEM file of your authority"]))
        }
        if suite.smtpd.tls.clientCertificates == "require",
            let open = suite.smtpd.listeners.first(where: { $0.mode == "smtp" })
        {
            report(
                general(
                    .warning,
                    "client certificates are required, also on [smtpd.listeners.\(open.name)]: "
                        + "other servers have none and will not be able to use TLS there",
                    notes: ["use client_certificates = \"request\""]))
        }
    }
}
