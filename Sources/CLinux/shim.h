// SPDX-License-Identifier: Apache-2.0
//
// Linux calls and macros that Swift's Glibc module cannot import. Header only; never define
// _GNU_SOURCE here (debug builds of Swift then disagree about fd_set).
#ifndef MARTLET_CLINUX_H
#define MARTLET_CLINUX_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#endif
