// SPDX-License-Identifier: Apache-2.0
//
// zlib. Macros that Swift cannot import become static inline functions named martlet_*.
#ifndef MARTLET_CZLIB_H
#define MARTLET_CZLIB_H

#include <zlib.h>

// Raw deflate (RFC 1951), without the header and checksum of zlib.
static inline int martlet_deflate_begin(
    z_stream *stream, int level, int window_bits, int memory_level) {
    return deflateInit2(
        stream, level, Z_DEFLATED, -window_bits, memory_level, Z_DEFAULT_STRATEGY);
}

// Whatever window the peer uses.
static inline int martlet_inflate_begin(z_stream *stream) {
    return inflateInit2(stream, -15);
}

#endif
