// SPDX-License-Identifier: Apache-2.0
//
// A certificate signed by its own key: ECDSA P-256, X.509 v3, RFC 5280.

import CSSL
import Glibc

enum SelfSigned {
    private static let years = 10

    /// - Parameters:
    ///   - hostname: the common name.
    ///   - names: subjectAltName; the loopback addresses are added for `localhost`.
    /// - Returns: both in PEM form.
    static func make(
        hostname: String, names: [String]
    ) throws(Failure) -> (certificate: [UInt8], key: [UInt8]) {
        let failure = Failure(.software, "OpenSSL cannot make a certificate")
        guard let key = unsafe martlet_new_p256_key(), let certificate = unsafe X509_new() else {
            throw failure
        }
        defer {
            unsafe EVP_PKEY_free(key)
            unsafe X509_free(certificate)
        }
        var serial = [UInt8](repeating: 0, count: 16)
        guard unsafe RAND_bytes(&serial, 16) == 1 else { throw failure }
        serial[0] &= 0x7F  // positive, RFC 5280 §4.1.2.2
        guard let number = unsafe BN_bin2bn(serial, 16, nil) else { throw failure }
        defer { unsafe BN_free(number) }
        guard unsafe BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil,
            unsafe X509_set_version(certificate, 2) == 1,
            unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != nil,
            unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), years * 365 * 86_400) != nil,
            unsafe X509_set_pubkey(certificate, key) == 1,
            let subject = unsafe X509_get_subject_name(certificate),
            unsafe X509_NAME_add_entry_by_txt(
                subject, "CN", MBSTRING_UTF8, Array(hostname.utf8.prefix(64)),
                Int32(min(64, hostname.utf8.count)), -1, 0) == 1,
            unsafe X509_set_issuer_name(certificate, subject) == 1
        else { throw failure }
        var alternatives = names.map { "DNS:\($0)" }
        if names.contains("localhost") { alternatives += ["IP:127.0.0.1", "IP:::1"] }
        let extensions: [(Int32, String)] = [
            (NID_subject_alt_name, alternatives.joined(separator: ",")),
            (NID_basic_constraints, "critical,CA:TRUE"),
            (NID_key_usage, "critical,digitalSignature,keyCertSign"),
            (NID_ext_key_usage, "serverAuth"),
            (NID_subject_key_identifier, "hash"),
        ]
        for (kind, value) in extensions {
            guard unsafe martlet_add_extension(certificate, kind, value) == 1 else { throw failure }
        }
        guard unsafe X509_sign(certificate, key, EVP_sha256()) > 0 else { throw failure }
        guard let certificatePEM = unsafe pem({ unsafe PEM_write_bio_X509($0, certificate) }),
            let keyPEM = unsafe pem({
                unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil)
            })
        else { throw failure }
        return (certificatePEM, keyPEM)
    }

    private static func pem(_ write: (OpaquePointer) -> Int32) -> [UInt8]? {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return nil }
        defer { unsafe BIO_free_all(bio) }
        guard unsafe write(bio) == 1 else { return nil }
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe BIO_read(bio, &buffer, 4096)
            guard count > 0 else { return octets.isEmpty ? nil : octets }
            octets += buffer[..<Int(count)]
        }
    }
}
