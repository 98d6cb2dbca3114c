// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL 3. Macros that Swift cannot import become static inline functions named martlet_*.
#ifndef MARTLET_CSSL_H
#define MARTLET_CSSL_H

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// What every server context has in common.
static inline void martlet_ssl_context_defaults(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

static inline int martlet_ssl_set_minimum(SSL_CTX *context, int is_tls13) {
    return (int)SSL_CTX_set_min_proto_version(context, is_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
}

// The name that a client asks for (RFC 6066 §3).
static inline long martlet_ssl_set_server_name(SSL *ssl, const char *name) {
    return SSL_set_tlsext_host_name(ssl, name);
}

// The size of the ticket keys of a context, or 1/0 for success when they are set.
static inline long martlet_ssl_ticket_keys_size(SSL_CTX *context) {
    return SSL_CTX_set_tlsext_ticket_keys(context, NULL, 0);
}

static inline long martlet_ssl_set_ticket_keys(SSL_CTX *context, void *keys, long count) {
    return SSL_CTX_set_tlsext_ticket_keys(context, keys, count);
}

// EVP_EC_gen(3) is variadic.
static inline EVP_PKEY *martlet_new_p256_key(void) {
    return EVP_EC_gen("P-256");
}

// Adds an extension that `certificate` signs for itself.
static inline int martlet_add_extension(X509 *certificate, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    if (extension == NULL) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

// RFC 9266 §4: below TLS 1.3 only with the extended master secret, else it can be stolen.
static inline int martlet_ssl_exporter(SSL *ssl, unsigned char *room, size_t size) {
    static const char label[] = "EXPORTER-Channel-Binding";
    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1) return 0;
    return SSL_export_keying_material(ssl, room, size, label, sizeof(label) - 1,
                                      (const unsigned char *)"", 0, 1);
}

// RFC 5929 §4.1: our certificate under the hash of its signature, SHA-256 instead of MD5 or SHA-1.
// Returns octets; 0 if the signature names no hash. `room` has EVP_MAX_MD_SIZE.
static inline unsigned int martlet_ssl_end_point(SSL *ssl, unsigned char *room) {
    X509 *certificate = SSL_get_certificate(ssl);
    int hash = NID_undef;
    unsigned int count = 0;
    if (certificate == NULL ||
        X509_get_signature_info(certificate, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef)
        return 0;
    if (hash == NID_md5 || hash == NID_sha1) hash = NID_sha256;
    const EVP_MD *digest = EVP_get_digestbynid(hash);
    if (digest == NULL || X509_digest(certificate, digest, room, &count) != 1) return 0;
    return count;
}

#endif
