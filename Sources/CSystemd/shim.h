// SPDX-License-Identifier: Apache-2.0
//
// libsystemd: passed sockets, readiness, watchdog, journal.
#ifndef MARTLET_CSYSTEMD_H
#define MARTLET_CSYSTEMD_H

#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#endif
