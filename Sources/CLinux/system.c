#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int martlet_reserve_extent(int descriptor, int64_t offset, int64_t length) {
    int result;
    do {
        result = fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

int martlet_lock_file(int descriptor) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

void martlet_unlock_file(int descriptor) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    fcntl(descriptor, F_OFD_SETLK, &lock);
}

int martlet_sync_file_system(int descriptor) {
    return syncfs(descriptor) == 0 ? 0 : errno;
}

int martlet_is_in_memory(int descriptor, int64_t offset, int64_t length) {
    // Pages come and go together with their neighbours, and every sample costs a microsecond.
    enum { STRIDE = 1024 * 1024 };
    char byte;
    struct iovec room = {.iov_base = &byte, .iov_len = 1};
    for (int64_t at = STRIDE - 1;; at += STRIDE) {
        if (at > length - 1) at = length - 1;
        if (preadv2(descriptor, &room, 1, offset + at, RWF_NOWAIT) < 0 && errno == EAGAIN) return 0;
        if (at == length - 1) return 1;
    }
}

int martlet_congestion_control(int descriptor, char *name) {
    socklen_t length = MARTLET_CONGESTION_CONTROL_ROOM;
    memset(name, 0, MARTLET_CONGESTION_CONTROL_ROOM);
    return getsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 ? 0 : errno;
}

int martlet_choose_congestion_control(int descriptor, const char *name) {
    return setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0 ? 0 : errno;
}

void martlet_end_with_parent(void) {
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    // Too late to be told: it ended before this process asked.
    if (getppid() != parent || parent == 1) raise(SIGTERM);
}

void martlet_close_on_exec(int descriptor) {
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}
