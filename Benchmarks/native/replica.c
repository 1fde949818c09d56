// The physical minimum of what a replica costs, to compare a cluster's CPU time with: a leader's sendfile from the page cache, and a
// follower's recv, checksum and write into its own page cache. Two processes, one chunk at a time, over loopback.
//
//     replica DIRECTORY CHUNK_BYTES CHUNKS
//
// Prints the CPU seconds per GB of each side: {"sending": 0.13, "following": 0.41}

#define _GNU_SOURCE
#include <CChecksums.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what) {
    if (ok) return;
    perror(what);
    exit(1);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int open_file(const char *directory, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(file >= 0, path);
    unlink(path);
    return file;
}

// Appends each chunk, which is not counted, and sends it once the follower has asked for it.
static double lead(int socket, int file, char *chunk, size_t size, long count) {
    double used = 0;
    for (long number = 0; number < count; number++) {
        off_t position = (off_t)number * (off_t)size;
        check(pwrite(file, chunk, size, position) == (ssize_t)size, "pwrite");
        double before = cpu_seconds();
        for (size_t left = size; left > 0;) {
            ssize_t sent = sendfile(socket, file, &position, left);
            check(sent > 0, "sendfile");
            left -= (size_t)sent;
        }
        char request;
        check(read(socket, &request, 1) == 1, "read");
        used += cpu_seconds() - before;
    }
    return used;
}

static double follow(int socket, int file, char *chunk, size_t size, long count) {
    double before = cpu_seconds();
    unsigned checksum = 0;
    fcntl(socket, F_SETFL, O_NONBLOCK);
    for (long number = 0; number < count; number++) {
        for (size_t got = 0; got < size;) {
            struct pollfd ready = {.fd = socket, .events = POLLIN};
            check(poll(&ready, 1, 10000) == 1, "poll");
            ssize_t received = recv(socket, chunk + got, size - got, 0);
            check(received > 0 || errno == EAGAIN, "recv");
            if (received > 0) got += (size_t)received;
        }
        checksum ^= martlet_crc32c(0, chunk, size);
        check(pwrite(file, chunk, size, (off_t)number * (off_t)size) == (ssize_t)size, "pwrite");
        check(write(socket, &checksum, 1) == 1, "write");
    }
    return cpu_seconds() - before;
}

int main(int count, char **arguments) {
    check(count == 4, "usage: replica DIRECTORY CHUNK_BYTES CHUNKS");
    size_t size = strtoul(arguments[2], NULL, 10);
    long chunks = strtol(arguments[3], NULL, 10);
    char *chunk = malloc(size);
    check(chunk != NULL, "malloc");
    memset(chunk, 7, size);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0, "listen");
    int result[2];
    check(pipe(result) == 0, "pipe");
    pid_t leader = fork();
    check(leader >= 0, "fork");
    if (leader == 0) {
        int to = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        check(connect(to, (struct sockaddr *)&address, sizeof address) == 0, "connect");
        // As the broker's connections within one machine: not paced, nothing held back.
        setsockopt(to, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
        setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        double used = lead(to, open_file(arguments[1], "leader"), chunk, size, chunks);
        check(write(result[1], &used, sizeof used) == (ssize_t)sizeof used, "write");
        _exit(0);
    }
    int from = accept(listener, NULL, NULL);
    check(from >= 0, "accept");
    double following = follow(from, open_file(arguments[1], "follower"), chunk, size, chunks), sending = 0;
    check(read(result[0], &sending, sizeof sending) == (ssize_t)sizeof sending, "read");
    waitpid(leader, NULL, 0);
    double gigabytes = (double)size * (double)chunks / 1e9;
    printf("{\"sending\": %.4f, \"following\": %.4f}\n", sending / gigabytes, following / gigabytes);
}
