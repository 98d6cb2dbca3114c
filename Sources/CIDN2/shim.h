// SPDX-License-Identifier: Apache-2.0
//
// Internationalized domain names by libidn2. RFC 5890, RFC 5891, UTS 46 (non-transitional).
#ifndef MARTLET_CIDN2_H
#define MARTLET_CIDN2_H

#include <idn2.h>
#include <string.h>

// Writes the A-label form of a NUL-terminated UTF-8 domain to `room`: its length, or 0 if there is
// none or it does not fit.
static inline size_t martlet_idn2_ascii(const uint8_t *domain, uint8_t *room, size_t size)
{
    uint8_t *name = NULL;
    if (idn2_lookup_u8(domain, &name, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return 0;
    size_t length = strlen((const char *)name);
    if (length <= size)
        memcpy(room, name, length);
    else
        length = 0;
    idn2_free(name);
    return length;
}

#endif
