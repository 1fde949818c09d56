// The physical minimum of a broker's work, to measure the broker against: receive Produce frames, check the CRC, append to a
// preallocated file, acknowledge; and answer Fetch with sendfile. One thread, epoll, no libraries. It reads just enough of the
// requests to let the same load generator drive both, and has no topics: any name and partition is a file.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "CChecksums.h"
#include "wire.h"

enum {
    MAX_LOGS = 256,
    RECEIVE_BYTES = 512 * 1024,
    SEND_BYTES = 64 * 1024,
    PREALLOCATE_BYTES = 64 * 1024 * 1024,
    RESPONSE_ROOM = 512,
};

struct log {
    char name[256];
    int32_t partition;
    int file;
    int64_t size, allocated, next_offset;
    // All batches of a benchmark are alike, so the first one gives the position of every offset.
    int64_t batch_bytes, batch_records;
};

struct connection {
    int socket;
    uint8_t *in;
    size_t in_used, in_capacity;
    uint8_t *out;
    size_t out_used, out_sent;
    int file;
    off_t file_at;
    size_t file_left;
    int wants_write;
};

static struct log logs[MAX_LOGS];
static int log_count;
static const char *directory;
static int poller;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct log *log_named(const uint8_t *name, size_t length, int32_t partition) {
    for (int i = 0; i < log_count; i++)
        if (logs[i].partition == partition && strlen(logs[i].name) == length && !memcmp(logs[i].name, name, length)) return &logs[i];
    if (log_count == MAX_LOGS || length >= sizeof logs[0].name || memchr(name, '/', length)) return NULL;
    struct log *log = &logs[log_count++];
    memcpy(log->name, name, length);
    log->partition = partition;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s-%d.log", directory, log->name, partition);
    log->file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (log->file < 0) die(path);
    return log;
}

static int16_t append(struct log *log, uint8_t *batch, size_t length) {
    if (length < BATCH_HEADER_BYTES) return 2;
    uint32_t crc = martlet_crc32c(0, batch + BATCH_ATTRIBUTES_AT, length - BATCH_ATTRIBUTES_AT);
    if (crc != get32(batch + BATCH_CRC_AT)) return 2;
    put64(batch, (uint64_t)log->next_offset);
    if (log->size + (int64_t)length > log->allocated) {
        if (fallocate(log->file, FALLOC_FL_KEEP_SIZE, log->allocated, PREALLOCATE_BYTES) == 0) log->allocated += PREALLOCATE_BYTES;
    }
    if (pwrite(log->file, batch, length, log->size) != (ssize_t)length) return 56;
    if (log->batch_bytes == 0) {
        log->batch_bytes = (int64_t)length;
        log->batch_records = (int32_t)get32(batch + BATCH_LAST_OFFSET_DELTA_AT) + 1;
    }
    log->size += (int64_t)length;
    log->next_offset = batch_next_offset(batch);
    return 0;
}

// Reads past the parts of a request that never differ; NULL when the frame is not what the load generator sends.
static const uint8_t *skip_header(const uint8_t *at, const uint8_t *end) {
    if (end - at < 10) return NULL;
    int16_t client = (int16_t)get16(at + 8);
    at += 10 + (client > 0 ? client : 0);
    return at < end && *at == 0 ? at + 1 : NULL;
}

static uint8_t *produce(const uint8_t *at, const uint8_t *end, uint8_t *out) {
    uint32_t topics, name_length, partitions, length;
    if (end - at < 8 || *at != 0) return NULL;
    at = get_uvarint(at + 7, end, &topics);
    if (!at || topics != 2 || !(at = get_uvarint(at, end, &name_length)) || name_length < 2 || (size_t)(end - at) < name_length) return NULL;
    const uint8_t *name = at;
    at = get_uvarint(at + name_length - 1, end, &partitions);
    if (!at || partitions != 2 || end - at < 5) return NULL;
    int32_t partition = (int32_t)get32(at);
    at = get_uvarint(at + 4, end, &length);
    if (!at || length == 0 || (size_t)(end - at) < length - 1) return NULL;
    struct log *log = log_named(name, name_length - 1, partition);
    int64_t base = log ? log->next_offset : -1;
    int16_t error = log ? append(log, (uint8_t *)at, length - 1) : 3;

    out = put_uvarint(out, 2);
    out = put_uvarint(out, name_length);
    memcpy(out, name, name_length - 1);
    out = put_uvarint(out + name_length - 1, 2);
    out = put32(out, (uint32_t)partition);
    out = put16(out, (uint16_t)error);
    out = put64(out, (uint64_t)base);
    out = put64(out, (uint64_t)-1);
    out = put64(out, 0);
    memcpy(out, "\x01\x00\x00\x00", 4);  // no record errors, no message, no tags twice
    out = put32(out + 4, 0);
    return put8(out, 0);
}

static uint8_t *fetch(struct connection *c, const uint8_t *at, const uint8_t *end, uint8_t *out) {
    uint32_t topics, name_length, partitions;
    if (end - at < 27 || !(at = get_uvarint(at + 25, end, &topics)) || topics != 2) return NULL;
    if (!(at = get_uvarint(at, end, &name_length)) || name_length < 2 || (size_t)(end - at) < name_length) return NULL;
    const uint8_t *name = at;
    at = get_uvarint(at + name_length - 1, end, &partitions);
    if (!at || partitions != 2 || end - at < 33) return NULL;
    int32_t partition = (int32_t)get32(at);
    int64_t offset = (int64_t)get64(at + 8), most = (int32_t)get32(at + 28);
    struct log *log = log_named(name, name_length - 1, partition);
    if (!log || most < 0) return NULL;
    int64_t position = log->batch_bytes ? offset / log->batch_records * log->batch_bytes : 0;
    int64_t length = position < log->size ? log->size - position : 0;
    if (most < log->batch_bytes) most = log->batch_bytes;
    if (length > most) length = most;

    out = put32(out, 0);
    out = put16(out, 0);
    out = put32(out, 0);
    out = put_uvarint(out, 2);
    out = put_uvarint(out, name_length);
    memcpy(out, name, name_length - 1);
    out = put_uvarint(out + name_length - 1, 2);
    out = put32(out, (uint32_t)partition);
    out = put16(out, 0);
    out = put64(out, (uint64_t)log->next_offset);
    out = put64(out, (uint64_t)log->next_offset);
    out = put64(out, 0);
    out = put8(out, 0);
    out = put32(out, (uint32_t)-1);
    out = put_uvarint(out, (uint32_t)length + 1);
    c->file = log->file;
    c->file_at = position;
    c->file_left = (size_t)length;
    return out;
}

// Answers one request into the connection's send buffer. A fetch leaves the file range to be sent behind it, and three bytes
// (the tags that close partition, topic and body) behind that.
static int answer(struct connection *c, const uint8_t *frame, size_t length) {
    const uint8_t *end = frame + length, *body = skip_header(frame, end);
    if (!body) return -1;
    uint16_t api = get16(frame);
    uint8_t *start = c->out + c->out_used, *out = start + 4;
    out = put32(out, get32(frame + 4));
    out = put8(out, 0);
    out = api == API_PRODUCE ? produce(body, end, out) : api == API_FETCH ? fetch(c, body, end, out) : NULL;
    if (!out) return -1;
    size_t tail = api == API_FETCH ? c->file_left + 3 : 0;
    if (tail == 3) {
        out = put8(put16(out, 0), 0);
        tail = 0;
    }
    put32(start, (uint32_t)((size_t)(out - start) - 4 + tail));
    c->out_used += (size_t)(out - start);
    return 0;
}

// Sends what is waiting: bytes, then the file range, then the closing tags. 1 = all sent, 0 = the socket is full, -1 = gone.
static int flush_out(struct connection *c) {
    for (;;) {
        while (c->out_sent < c->out_used) {
            ssize_t sent = send(c->socket, c->out + c->out_sent, c->out_used - c->out_sent, MSG_NOSIGNAL | (c->file_left ? MSG_MORE : 0));
            if (sent < 0) return errno == EAGAIN ? 0 : -1;
            c->out_sent += (size_t)sent;
        }
        c->out_used = c->out_sent = 0;
        if (!c->file_left) return 1;
        while (c->file_left) {
            ssize_t sent = sendfile(c->socket, c->file, &c->file_at, c->file_left);
            if (sent < 0) return errno == EAGAIN ? 0 : -1;
            if (sent == 0) return -1;
            c->file_left -= (size_t)sent;
        }
        memset(c->out, 0, 3);
        c->out_used = 3;
    }
}

static int process(struct connection *c) {
    size_t at = 0;
    int result = 1;
    while (result == 1 && c->in_used - at >= 4) {
        size_t length = get32(c->in + at);
        if (length + 4 > c->in_capacity) {
            c->in_capacity = length + 4;
            c->in = realloc(c->in, c->in_capacity);
            if (!c->in) die("realloc");
        }
        if (c->in_used - at < length + 4) break;
        int64_t range_before = (int64_t)c->file_left;
        if (answer(c, c->in + at + 4, length) < 0) return -1;
        at += length + 4;
        // A file range has to leave before the next answer; so has a buffer that is nearly full.
        if ((int64_t)c->file_left != range_before || c->out_used > SEND_BYTES - RESPONSE_ROOM) result = flush_out(c);
    }
    if (result == 1) result = flush_out(c);
    if (at == c->in_used) {
        c->in_used = 0;
    } else if (at) {
        memmove(c->in, c->in + at, c->in_used - at);
        c->in_used -= at;
    }
    return result;
}

static void set_interest(struct connection *c, int wants_write) {
    if (c->wants_write == wants_write) return;
    c->wants_write = wants_write;
    struct epoll_event event = {.events = wants_write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->socket, &event);
}

static void close_connection(struct connection *c) {
    close(c->socket);
    free(c->in);
    free(c->out);
    free(c);
}

static void serve(struct connection *c, uint32_t events) {
    int result;
    if (c->wants_write) {
        result = flush_out(c);
        if (result == 1) result = process(c);
    } else {
        ssize_t got = recv(c->socket, c->in + c->in_used, c->in_capacity - c->in_used, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0 || (events & EPOLLERR)) return close_connection(c);
        c->in_used += (size_t)got;
        result = process(c);
    }
    if (result < 0) return close_connection(c);
    set_interest(c, result == 0);
}

static void accept_all(int listener) {
    int socket;
    while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int on = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        c->socket = socket;
        c->in = malloc(c->in_capacity = RECEIVE_BYTES);
        c->out = malloc(SEND_BYTES);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: baseline PORT DIRECTORY\n");
        return 2;
    }
    directory = argv[2];
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    // As the broker does on loopback: pacing (BBR) would double the cost of large answers, and the noise with it.
    setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0) die("listen");
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr, events[i].events);
            else accept_all(listener);
        }
    }
}
