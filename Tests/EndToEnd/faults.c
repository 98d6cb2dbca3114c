// SPDX-License-Identifier: Apache-2.0
//
// System calls of msgstored that fail when a test says so: preloaded by test_faults.py. The file named
// by FAULTS_CONTROL is mapped by the test and by every msgstored.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SYNC = 1, SYNCFS = 2, WRITE = 4, LINK = 8, RENAME = 16, CREATE = 32, UNLINK = 64, TRUNCATE = 128 };

struct control {
    int calls;    // which kinds of calls
    int error;    // errno; below 0: a signal to itself
    int left;     // how many fail; -1: all
    int hits;     // how many have failed
    int skip;     // how many are let pass before
    char part[256];  // only paths that hold this
};

static struct control *control;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULTS_CONTROL");
    if (!path || strcmp(program_invocation_short_name, "msgstored") != 0) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

static int spend(void) {
    if (__atomic_load_n(&control->skip, __ATOMIC_SEQ_CST) > 0 &&
        __atomic_fetch_sub(&control->skip, 1, __ATOMIC_SEQ_CST) > 0) return 0;
    int left = __atomic_load_n(&control->left, __ATOMIC_SEQ_CST);
    while (left != 0) {
        if (left < 0 || __atomic_compare_exchange_n(&control->left, &left, left - 1, 0,
                                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
            if (control->error < 0) {
                kill(getpid(), -control->error);
                pause();
            }
            errno = control->error;
            return 1;
        }
    }
    return 0;
}

// True: this call is to fail; errno is set.
static int fails(int call, int directory, const char *name) {
    if (!control || !(control->calls & call) || control->left == 0) return 0;
    char path[4600] = "", link[64];
    if (!name || name[0] != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t count = directory == AT_FDCWD ? 0 : readlink(link, path, 4096);
        if (count < 0) return 0;
        path[count] = 0;
        if (count > 0 && path[0] != '/') return 0;  // a socket, a pipe
        if (name) strcat(path, "/");
    }
    if (name) strncat(path, name, 4500 - strlen(path));
    return strstr(path, control->part) ? spend() : 0;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(fsync); return fails(SYNC, fd, NULL) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(SYNC, fd, NULL) ? -1 : real(fd); }
int syncfs(int fd) { REAL(syncfs); return fails(SYNCFS, fd, NULL) ? -1 : real(fd); }
ssize_t write(int fd, const void *data, size_t count) {
    REAL(write);
    return fails(WRITE, fd, NULL) ? -1 : real(fd, data, count);
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    REAL(pwrite);
    return fails(WRITE, fd, NULL) ? -1 : real(fd, data, count, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) {
    REAL(pwrite64);
    return fails(WRITE, fd, NULL) ? -1 : real(fd, data, count, offset);
}
int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    return fails(TRUNCATE, fd, NULL) ? -1 : real(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    return fails(TRUNCATE, fd, NULL) ? -1 : real(fd, size);
}
int linkat(int from, const char *name, int to, const char *target, int flags) {
    REAL(linkat);
    return fails(LINK, to, target) ? -1 : real(from, name, to, target, flags);
}
int renameat(int from, const char *name, int to, const char *target) {
    REAL(renameat);
    return fails(RENAME, to, target) ? -1 : real(from, name, to, target);
}
int renameat2(int from, const char *name, int to, const char *target, unsigned flags) {
    REAL(renameat2);
    return fails(RENAME, to, target) ? -1 : real(from, name, to, target, flags);
}
int unlinkat(int directory, const char *name, int flags) {
    REAL(unlinkat);
    return fails(UNLINK, directory, name) ? -1 : real(directory, name, flags);
}
int unlink(const char *name) {
    REAL(unlink);
    return fails(UNLINK, AT_FDCWD, name) ? -1 : real(name);
}
int mkdirat(int directory, const char *name, mode_t mode) {
    REAL(mkdirat);
    return fails(CREATE, directory, name) ? -1 : real(directory, name, mode);
}

static int creates(int flags) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE || (flags & O_ACCMODE) != O_RDONLY;
}
int openat(int directory, const char *name, int flags, ...) {
    REAL(openat);
    va_list list;
    va_start(list, flags);
    mode_t mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (creates(flags) && fails(CREATE, directory, name)) return -1;
    return real(directory, name, flags, mode);
}
