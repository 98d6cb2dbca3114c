// SPDX-License-Identifier: Apache-2.0
//
// One question to an LDAP server by libldap: does this password open that entry? RFC 4511 §4.2.
#ifndef MARTLET_CLDAP_H
#define MARTLET_CLDAP_H

#include <ldap.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Neither /etc/ldap/ldap.conf nor the environment has a say. Before the first thread.
static inline void martlet_ldap_start(void) { setenv("LDAPNOINIT", "1", 1); }

static inline int martlet_ldap_open(LDAP **out, const char *url, const char *authorities,
                                    int starts_tls, long seconds) {
    LDAP *ldap = NULL;
    int code = ldap_initialize(&ldap, url);
    if (code != LDAP_SUCCESS) return code;
    *out = ldap;
    int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, is_client = 0;
    struct timeval time = {seconds, 0};
    ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &time);
    ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &time);
    code = ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
    if (code == LDAP_OPT_SUCCESS && authorities[0] != 0)
        code = ldap_set_option(ldap, LDAP_OPT_X_TLS_CACERTFILE, authorities);
    if (code == LDAP_OPT_SUCCESS)
        code = ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &is_client);
    if (code != LDAP_OPT_SUCCESS) return LDAP_CONNECT_ERROR;
    return starts_tls ? ldap_start_tls_s(ldap, NULL, NULL) : LDAP_SUCCESS;
}

static inline int martlet_ldap_bind(LDAP *ldap, const char *name, const uint8_t *password,
                                    size_t count) {
    struct berval secret = {count, (char *)password};
    return ldap_sasl_bind_s(ldap, name, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

// 1: it does; 0: it does not, or there is no such entry; -1: nobody could say, `why` is the reason.
// `user` empty: the one entry below `base` that `filter` finds, looked for as `searcher`.
static inline int martlet_ldap_check(const char *url, const char *authorities, int starts_tls,
                                     long seconds, const char *user, const char *searcher,
                                     const uint8_t *searcher_password, size_t searcher_count,
                                     const char *base, const char *filter,
                                     const uint8_t *password, size_t count, const char **why) {
    LDAP *ldap = NULL;
    LDAPMessage *found = NULL;
    char *name = NULL, *nothing[] = {(char *)LDAP_NO_ATTRS, NULL};
    int verdict = -1;
    int code = martlet_ldap_open(&ldap, url, authorities, starts_tls, seconds);
    *why = ldap_err2string(code);
    if (code != LDAP_SUCCESS) goto end;
    // RFC 4513 §5.1.2: a bind without a password succeeds for everybody.
    if (count == 0) {
        verdict = 0;
        goto end;
    }
    if (user[0] == 0) {
        struct timeval time = {seconds, 0};
        if (searcher[0] != 0 && searcher_count == 0) {
            *why = "no password to search with";
            goto end;
        }
        code = martlet_ldap_bind(ldap, searcher, searcher_password, searcher_count);
        *why = ldap_err2string(code);
        if (code != LDAP_SUCCESS) goto end;
        code = ldap_search_ext_s(ldap, base, LDAP_SCOPE_SUBTREE, filter, nothing, 0, NULL, NULL,
                                 &time, 2, &found);
        *why = ldap_err2string(code);
        int entries = found == NULL ? 0 : ldap_count_entries(ldap, found);
        if (code == LDAP_SIZELIMIT_EXCEEDED || entries > 1) {
            *why = "more than one entry matches";
            goto end;
        }
        if (code != LDAP_SUCCESS) goto end;
        if (entries == 0) {
            verdict = 0;
            goto end;
        }
        name = ldap_get_dn(ldap, ldap_first_entry(ldap, found));
        *why = "an entry without a name";
        if (name == NULL || name[0] == 0) goto end;
        user = name;
    }
    code = martlet_ldap_bind(ldap, user, password, count);
    *why = ldap_err2string(code);
    if (code == LDAP_SUCCESS) verdict = 1;
    if (code == LDAP_INVALID_CREDENTIALS || code == LDAP_NO_SUCH_OBJECT ||
        code == LDAP_INAPPROPRIATE_AUTH || code == LDAP_INVALID_DN_SYNTAX)
        verdict = 0;
end:
    if (found != NULL) ldap_msgfree(found);
    if (name != NULL) ldap_memfree(name);
    if (ldap != NULL) ldap_unbind_ext_s(ldap, NULL, NULL);
    return verdict;
}

#endif
