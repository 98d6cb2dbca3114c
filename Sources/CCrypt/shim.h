// SPDX-License-Identifier: Apache-2.0
//
// crypt(3) of libxcrypt.
#ifndef MARTLET_CCRYPT_H
#define MARTLET_CCRYPT_H

#include <crypt.h>
#include <string.h>

#endif
