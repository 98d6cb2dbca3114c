// SPDX-License-Identifier: Apache-2.0
//
// Signatures of JSON Web Tokens: RFC 7518 §3.3 (RS256), §3.4 (ES256), RFC 8037 (Ed25519).
#ifndef MARTLET_JWS_H
#define MARTLET_JWS_H

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdint.h>
#include <string.h>

static inline EVP_PKEY *martlet_key_of(const char *name, OSSL_PARAM_BLD *build) {
    EVP_PKEY *key = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    if (parameters == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return key;
}

static inline EVP_PKEY *martlet_jws_rsa(const uint8_t *modulus, size_t modulus_count,
                                        const uint8_t *exponent, size_t exponent_count) {
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_count, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_count, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    // A key that is short in truth, behind zeros, is short.
    if (n != NULL && e != NULL && build != NULL && BN_num_bits(n) >= 2048 && BN_is_odd(e) &&
        !BN_is_one(e) && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        key = martlet_key_of("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

static inline EVP_PKEY *martlet_jws_p256(const uint8_t *x, const uint8_t *y) {
    uint8_t point[65] = {4};
    memcpy(point + 1, x, 32);
    memcpy(point + 33, y, 32);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 65) == 1)
        key = martlet_key_of("EC", build);
    OSSL_PARAM_BLD_free(build);
    return key;
}

// `kind`: 1 RS256 (modulus, exponent), 2 ES256 (x, y), 3 EdDSA (x). Returns 1 if it is right.
static inline int martlet_verify_jws(int kind, const uint8_t *first, size_t first_count,
                                     const uint8_t *second, size_t second_count,
                                     const uint8_t *message, size_t count,
                                     const uint8_t *signature, size_t signature_count) {
    EVP_PKEY *key = NULL;
    uint8_t *der = NULL;
    if (kind == 1) {
        key = martlet_jws_rsa(first, first_count, second, second_count);
    } else if (kind == 2 && first_count == 32 && second_count == 32 && signature_count == 64) {
        key = martlet_jws_p256(first, second);
        // r and s (RFC 7518 §3.4) as OpenSSL wants them.
        ECDSA_SIG *pair = ECDSA_SIG_new();
        BIGNUM *r = BN_bin2bn(signature, 32, NULL), *s = BN_bin2bn(signature + 32, 32, NULL);
        int length = -1;
        if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
            length = i2d_ECDSA_SIG(pair, &der);
        } else {
            BN_free(r);
            BN_free(s);
        }
        ECDSA_SIG_free(pair);
        signature = der;
        signature_count = length > 0 ? (size_t)length : 0;
    } else if (kind == 3 && first_count == 32) {
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, first, first_count);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int is_right =
        key != NULL && context != NULL && signature != NULL && signature_count > 0 &&
        EVP_DigestVerifyInit(context, NULL, kind == 3 ? NULL : EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, signature_count, message, count) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    ERR_clear_error();
    return is_right;
}

#endif
