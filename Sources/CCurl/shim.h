// SPDX-License-Identifier: Apache-2.0
//
// One HTTP request by libcurl, bounded in time and size, without redirects.
#ifndef MARTLET_CCURL_H
#define MARTLET_CCURL_H

#include <curl/curl.h>
#include <stdint.h>
#include <string.h>

struct martlet_body {
    uint8_t *room;
    size_t size;
    size_t count;
};

static inline size_t martlet_take_body(char *octets, size_t one, size_t count, void *argument) {
    struct martlet_body *body = (struct martlet_body *)argument;
    (void)one;
    if (count > body->size - body->count) return 0;
    memcpy(body->room + body->count, octets, count);
    body->count += count;
    return count;
}

static inline int martlet_curl_start(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

static inline const char *martlet_curl_reason(int code) {
    return curl_easy_strerror((CURLcode)code);
}

// GET, or POST of `form` unless that is empty; `user` and `password` for Basic unless empty. Only
// https, or http as well if `is_local`. Returns 0 or libcurl's code.
static inline int martlet_fetch(const char *url, const char *form, const char *user,
                                const char *password, const char *authorities, int is_local,
                                long milliseconds, uint8_t *room, size_t size, size_t *count,
                                long *status) {
    CURL *curl = curl_easy_init();
    if (curl == NULL) return CURLE_OUT_OF_MEMORY;
    struct martlet_body body = {room, size, 0};
    struct curl_slist *fields = curl_slist_append(NULL, "Accept: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, is_local ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, milliseconds);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, milliseconds);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, martlet_take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "martlet");
    if (is_local) curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (authorities[0] != 0) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
    if (user[0] != 0) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, password);
    }
    if (form[0] != 0) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    *count = body.count;
    curl_slist_free_all(fields);
    curl_easy_cleanup(curl);
    return (int)code;
}

#endif
