// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL 3. Macros that Swift cannot import become static inline functions named martlet_*.
#ifndef MARTLET_CSSL_H
#define MARTLET_CSSL_H

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#endif
