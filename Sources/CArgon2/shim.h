// SPDX-License-Identifier: Apache-2.0
//
// The Argon2 reference library. RFC 9106.
#ifndef MARTLET_CARGON2_H
#define MARTLET_CARGON2_H

#include <argon2.h>

#endif
