// SPDX-License-Identifier: Apache-2.0
//
// What both ends of a TLS connection know and nobody between them does, for SCRAM-*-PLUS:
// tls-exporter (RFC 9266) and tls-server-end-point (RFC 5929 §4).

import CSSL

extension Connection {
    /// Empty: no TLS, or a version of it for which it is not safe.
    package var tlsExporter: [UInt8] {
        guard let tls else { return [] }
        var octets = [UInt8](repeating: 0, count: 32)
        return unsafe martlet_ssl_exporter(tls.ssl, &octets, octets.count) == 1 ? octets : []
    }

    /// Empty: no TLS, or a certificate whose signature names no hash.
    package var tlsServerEndPoint: [UInt8] {
        guard let tls else { return [] }
        var octets = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        let count = unsafe martlet_ssl_end_point(tls.ssl, &octets)
        return Array(octets[..<Int(count)])
    }
}
