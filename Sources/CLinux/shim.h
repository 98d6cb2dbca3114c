// SPDX-License-Identifier: Apache-2.0
//
// Linux calls and macros that Swift's Glibc module cannot import. Header only; never define
// _GNU_SOURCE here (debug builds of Swift then disagree about fd_set).
#ifndef MARTLET_CLINUX_H
#define MARTLET_CLINUX_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

// Declared here because their headers show them only to _GNU_SOURCE.
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pipe2(int[2], int);
extern ssize_t preadv2(int, const struct iovec *, int, off_t, int);
extern int pthread_setname_np(unsigned long, const char *);

// Swift sees these as enums of several types or not at all.
static const uint32_t martlet_epoll_in = EPOLLIN;
static const uint32_t martlet_epoll_out = EPOLLOUT;
static const uint32_t martlet_epoll_rdhup = EPOLLRDHUP;
static const uint32_t martlet_epoll_hup = EPOLLHUP;
static const uint32_t martlet_epoll_err = EPOLLERR;
static const uint32_t martlet_epoll_edge = 1u << 31;
static const uint32_t martlet_epoll_exclusive = 1u << 28;
static const int martlet_sock_stream = SOCK_STREAM;
static const int martlet_sock_nonblock = SOCK_NONBLOCK;
static const int martlet_sock_cloexec = SOCK_CLOEXEC;
static const int martlet_msg_nosignal = MSG_NOSIGNAL;
static const int martlet_msg_more = MSG_MORE;
static const int martlet_ipproto_tcp = IPPROTO_TCP;
static const int martlet_ipproto_ipv6 = IPPROTO_IPV6;

static inline int martlet_epoll_ctl(int epoll, int operation, int fd, uint32_t events,
                                    uint64_t token) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, fd, &event);
}

static const uint32_t martlet_in_appeared = IN_CREATE | IN_MOVED_TO;
static const uint32_t martlet_in_gone = IN_DELETE | IN_MOVED_FROM;
static const uint32_t martlet_in_closed = IN_CLOSE_WRITE;
static const uint32_t martlet_in_self = IN_DELETE_SELF | IN_MOVE_SELF;
static const uint32_t martlet_in_overflow = IN_Q_OVERFLOW;

static inline int martlet_inotify_open(void) { return inotify_init1(IN_CLOEXEC); }

static inline int martlet_inotify_watch(int inotify, const char *path) {
    return inotify_add_watch(inotify, path,
                             martlet_in_appeared | martlet_in_gone | martlet_in_closed |
                                 martlet_in_self | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
}

static inline int martlet_inotify_forget(int inotify, int watch) {
    return inotify_rm_watch(inotify, watch);
}

// 1 if the descriptor can be read within `milliseconds`.
static inline int martlet_wait_readable(int fd, int milliseconds) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, milliseconds);
}

// Reads from a file what is in memory already (RWF_NOWAIT); EAGAIN or EOPNOTSUPP: it would block.
static inline ssize_t martlet_read_cached(int fd, void *octets, size_t count, int64_t offset) {
    struct iovec vector = {.iov_base = octets, .iov_len = count};
    return preadv2(fd, &vector, 1, offset, 8);
}

// Sends octets with one descriptor attached to the first of them.
static inline ssize_t martlet_send_descriptor(int fd, const void *octets, size_t count,
                                              int attached) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = (void *)octets, .iov_len = count};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.room;
    message.msg_controllen = sizeof control.room;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &attached, sizeof attached);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

// Receives octets and at most one descriptor; *received is -1 if none came. If a message carries
// more, all of them are closed and the result is -1 with errno EPROTO.
static inline ssize_t martlet_receive(int fd, void *octets, size_t count, int *received) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct iovec vector = {.iov_base = octets, .iov_len = count};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.room;
    message.msg_controllen = sizeof control.room;
    *received = -1;
    ssize_t result = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (result < 0) return result;
    int found = 0;
    int first = -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t octets_of_fds = header->cmsg_len - CMSG_LEN(0);
        for (size_t at = 0; at + sizeof(int) <= octets_of_fds; at += sizeof(int)) {
            int one;
            memcpy(&one, CMSG_DATA(header) + at, sizeof one);
            if (found++ == 0) first = one;
            else close(one);
        }
    }
    if (found > 1 || (message.msg_flags & MSG_CTRUNC)) {
        if (first >= 0) close(first);
        errno = EPROTO;
        return -1;
    }
    *received = first;
    return result;
}

// Writes an address as text. Returns its family; an IPv4-mapped address is AF_INET.
static inline int martlet_address_text(const struct sockaddr_storage *address, char *text,
                                       size_t room, uint16_t *port, int *is_loopback) {
    text[0] = 0;
    *port = 0;
    *is_loopback = 0;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &four->sin_addr, text, (socklen_t)room);
        *port = ntohs(four->sin_port);
        *is_loopback = (ntohl(four->sin_addr.s_addr) >> 24) == 127;
        return AF_INET;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        *port = ntohs(six->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
            inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, text, (socklen_t)room);
            *is_loopback = six->sin6_addr.s6_addr[12] == 127;
            return AF_INET;
        }
        inet_ntop(AF_INET6, &six->sin6_addr, text, (socklen_t)room);
        *is_loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ? 1 : 0;
        return AF_INET6;
    }
    return address->ss_family;
}

// Fills in the address of a Unix socket; 0 if the path is too long.
static inline socklen_t martlet_unix_address(struct sockaddr_un *address, const char *path) {
    size_t length = strlen(path);
    if (length >= sizeof address->sun_path) return 0;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length + 1);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

// The environment; Swift refuses the global variable itself.
extern char **environ;
static inline char *_Nullable *_Nonnull martlet_environment(void) { return environ; }

// Swift's runtime calls this for every job that has no executor of ours (debug builds trap it).
extern void *_Nullable swift_task_enqueueGlobal_hook;
static inline void martlet_job_left_the_loop(void) {
    static const char text[] = "a job left its event loop\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(134);
    abort();
}
static inline void martlet_trap_jobs_outside_loops(void) {
    swift_task_enqueueGlobal_hook = (void *)martlet_job_left_the_loop;
}

// This process gets `signal` when its parent ends. prctl(2) is variadic.
static inline int martlet_die_with_parent(int signal) {
    return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
}

// Starts writing a file's pages to the disk without waiting for them (SYNC_FILE_RANGE_WRITE).
extern int sync_file_range(int fd, __off64_t offset, __off64_t count, unsigned int flags);
static inline void martlet_start_writing(int fd) { (void)sync_file_range(fd, 0, 0, 2); }

// renameat2(2) with RENAME_NOREPLACE: never takes the place of another file. -1 and errno.
extern int renameat2(int, const char *, int, const char *, unsigned int);
static inline int martlet_rename_new(int from, const char *name, int to, const char *target) {
    return renameat2(from, name, to, target, 1);
}

// RENAME_EXCHANGE: both names stay, each for what the other was.
static inline int martlet_rename_exchange(
    int from, const char *name, int to, const char *target) {
    return renameat2(from, name, to, target, 2);
}

// The name of a directory entry and its length. Never a copy of d_name as such: an entry is only as
// long as its name, and the 256 octets of the array may reach behind the end of the buffer.
static inline const char *martlet_entry_name(const struct dirent *entry, size_t *length) {
    *length = strlen(entry->d_name);
    return entry->d_name;
}

// Declared only to _GNU_SOURCE.
extern int syncfs(int fd);
static inline int martlet_syncfs(int fd) { return syncfs(fd); }

#endif
