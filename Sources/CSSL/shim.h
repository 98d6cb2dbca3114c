// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL 3. Macros that Swift cannot import become static inline functions named martlet_*.
#ifndef MARTLET_CSSL_H
#define MARTLET_CSSL_H

#include "jws.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

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

// Which certificate a session shows is chosen by `choose` (RFC 6066 §3).
static inline void martlet_ssl_on_server_name(SSL_CTX *context,
                                              int (*choose)(SSL *, int *, void *), void *names) {
    SSL_CTX_set_tlsext_servername_callback(context, choose);
    SSL_CTX_set_tlsext_servername_arg(context, names);
}

// IANA's names of protocols (RFC 7301 §6); smtpd's are those that Exim uses.
static const unsigned char martlet_protocols_smtp[] = "\4smtp\5esmtp";
static const unsigned char martlet_protocols_imap[] = "\4imap";
static const unsigned char martlet_protocols_pop3[] = "\4pop3";

// A client that names protocols and not ours is refused (no_application_protocol): it, or who
// stands between us, takes us for something else (ALPACA).
static inline int martlet_choose_protocol(SSL *ssl, const unsigned char **out,
                                          unsigned char *count, const unsigned char *theirs,
                                          unsigned int size, void *kind) {
    (void)ssl;
    const unsigned char *ours = (const unsigned char *)kind;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, count, ours, (unsigned int)strlen((const char *)ours),
                              theirs, size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// `kind`: 1 SMTP, 2 IMAP, 3 POP3.
static inline void martlet_ssl_set_protocol(SSL_CTX *context, int kind) {
    const unsigned char *ours = kind == 1   ? martlet_protocols_smtp
                                : kind == 2 ? martlet_protocols_imap
                                            : martlet_protocols_pop3;
    SSL_CTX_set_alpn_select_cb(context, martlet_choose_protocol, (void *)ours);
}

// A certificate that cannot be verified is as good as none; martlet_ssl_client_name looks.
static inline int martlet_verify_later(int is_good, X509_STORE_CTX *store) {
    (void)is_good;
    (void)store;
    return 1;
}

// Asks clients for a certificate that one of the authorities in `file` has signed. Sessions are
// not resumed then: a ticket would outlive a change of the authorities. Revocation lists in the same
// file are looked at; without any, there is nothing to look at.
static inline int martlet_ssl_ask_clients(SSL_CTX *context, const char *file, int is_required) {
    if (SSL_CTX_load_verify_file(context, file) != 1) return 0;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int place = 0; place < sk_X509_OBJECT_num(objects); place++)
        if (X509_OBJECT_get_type(sk_X509_OBJECT_value(objects, place)) == X509_LU_CRL)
            X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
    if (names == NULL) return 0;
    SSL_CTX_set_client_CA_list(context, names);
    if (is_required)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, martlet_verify_later);
    return 1;
}

static inline void martlet_ssl_no_tickets(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
}

static inline int martlet_copy_name(const ASN1_STRING *string, unsigned char *room, int size) {
    unsigned char *text = NULL;
    int count = string == NULL ? -1 : ASN1_STRING_to_UTF8(&text, string);
    if (count > 0 && count <= size) memcpy(room, text, (size_t)count);
    OPENSSL_free(text);
    return count > 0 && count <= size ? count : 0;
}

static inline int martlet_subject_name(X509 *certificate, int kind, unsigned char *room, int size) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int place = X509_NAME_get_index_by_NID(subject, kind, -1);
    if (place < 0) return 0;
    return martlet_copy_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)), room,
                             size);
}

// Whom a verified client certificate names: the first rfc822Name, else the subject's emailAddress,
// else its common name. Returns octets, 0 if there is no such certificate or name.
static inline int martlet_ssl_client_name(SSL *ssl, unsigned char *room, int size) {
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    if (certificate == NULL) return 0;
    int count = 0;
    if (SSL_get_verify_result(ssl) == X509_V_OK) {
        GENERAL_NAMES *names =
            (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
        for (int place = 0; count == 0 && place < sk_GENERAL_NAME_num(names); place++) {
            const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, place);
            if (name->type == GEN_EMAIL) count = martlet_copy_name(name->d.rfc822Name, room, size);
        }
        GENERAL_NAMES_free(names);
        if (count == 0)
            count = martlet_subject_name(certificate, NID_pkcs9_emailAddress, room, size);
        if (count == 0) count = martlet_subject_name(certificate, NID_commonName, room, size);
    }
    X509_free(certificate);
    return count;
}

// The name that a client asks for (RFC 6066 §3).
static inline long martlet_ssl_set_server_name(SSL *ssl, const char *name) {
    return SSL_set_tlsext_host_name(ssl, name);
}

// Prepares to encrypt or decrypt one session ticket with `key`: 32 octets for AES-256-CBC, then 32
// for HMAC-SHA-256.
static inline int martlet_ssl_ticket_key(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                                         const unsigned char *key, const unsigned char *vector,
                                         int encrypts) {
    OSSL_PARAM parameters[3];
    parameters[0] =
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + 32), 32);
    parameters[1] =
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0);
    parameters[2] = OSSL_PARAM_construct_end();
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, vector, encrypts) == 1;
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
