// SPDX-License-Identifier: Apache-2.0
//
// What only somebody who may open the files can judge: are certificate and key there, are they a
// pair, until when is the certificate valid. RFC 5280.

import CSSL
import Config
import Glibc

enum CertificateCheck {
    /// Days before the end from which on it is said.
    private static let warningDays = 14

    static func problems(_ suite: Suite) -> [Diagnostic] {
        var problems: [Diagnostic] = []
        var seen: Set<[String]> = []
        let sections: [(String, Bool, TLSSettings)] = [
            ("smtpd", suite.smtpd.isEnabled, suite.smtpd.tls),
            ("imapd", suite.imapd.isEnabled, suite.imapd.tls),
            ("pop3d", suite.pop3d.isEnabled, suite.pop3d.tls),
        ]
        for (daemon, isEnabled, tls) in sections where isEnabled && tls.hasCertificate {
            guard seen.insert([tls.certificateFile, tls.keyFile]).inserted else { continue }
            let missing = unreadable(daemon, tls, isDevelopment: suite.server.devMode)
            problems += missing
            if missing.isEmpty { problems += pair(daemon, tls) }
        }
        return problems
    }

    private static func problem(
        _ severity: Diagnostic.Severity, _ message: String, _ daemon: String, _ note: String? = nil
    ) -> Diagnostic {
        Diagnostic(
            severity: severity, message: message, file: "[\(daemon).tls]",
            notes: note.map { [$0] } ?? [])
    }

    private static func unreadable(
        _ daemon: String, _ tls: TLSSettings, isDevelopment: Bool
    ) -> [Diagnostic] {
        var problems: [Diagnostic] = []
        for path in [tls.certificateFile, tls.keyFile] {
            guard unsafe access(path, R_OK) != 0 else { continue }
            if errno == ENOENT || errno == ENOTDIR {
                problems.append(
                    problem(
                        isDevelopment ? .warning : .error,
                        "\(daemon) needs \(path), and there is no such file", daemon,
                        "set [server.tls] cert_file and key_file, or run: mailctl tls self-signed"))
            } else {
                problems.append(
                    problem(
                        .warning, "\(path) cannot be read by you, so it was not checked", daemon))
            }
        }
        return problems
    }

    private static func pair(_ daemon: String, _ tls: TLSSettings) -> [Diagnostic] {
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { return [] }
        defer { unsafe SSL_CTX_free(context) }
        guard unsafe SSL_CTX_use_certificate_chain_file(context, tls.certificateFile) == 1 else {
            return [
                problem(
                    .error, "\(tls.certificateFile) holds no certificate in PEM form", daemon,
                    "it begins with -----BEGIN CERTIFICATE-----, leaf first")
            ]
        }
        guard
            unsafe SSL_CTX_use_PrivateKey_file(context, tls.keyFile, SSL_FILETYPE_PEM) == 1,
            unsafe SSL_CTX_check_private_key(context) == 1
        else {
            return [
                problem(
                    .error, "\(tls.keyFile) is not the key of \(tls.certificateFile)", daemon)
            ]
        }
        guard let certificate = unsafe SSL_CTX_get0_certificate(context) else { return [] }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard unsafe ASN1_TIME_diff(&days, &seconds, nil, X509_get0_notAfter(certificate)) == 1
        else { return [] }
        if days < 0 || seconds < 0 {
            return [problem(.warning, "\(tls.certificateFile) has expired", daemon)]
        }
        return Int(days) < warningDays
            ? [problem(.warning, "\(tls.certificateFile) expires in \(days) days", daemon)] : []
    }
}
