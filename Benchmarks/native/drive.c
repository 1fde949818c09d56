// Drives the connections: every one keeps `depth` requests in flight until the number wanted is answered. One thread and
// epoll; the latency of a request runs from its first byte leaving to its whole answer being there.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"
#include "wire.h"

uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void give_up(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "loadgen: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

int connect_to(int port) {
    int client = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    // Requests arrive as fast as they are sent wherever the system paces (BBR): its timers are noise here.
    setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (connect(client, (struct sockaddr *)&address, sizeof address) < 0) give_up("cannot connect to port %d: %s", port, strerror(errno));
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return client;
}

uint8_t *put_request_header(uint8_t *at, uint16_t api, uint16_t version, int32_t correlation) {
    at = put16(at, api);
    at = put16(at, version);
    at = put32(at, (uint32_t)correlation);
    at = put16(at, 7);
    memcpy(at, "loadgen", 7);
    return put8(at + 7, 0);
}

struct drive_state {
    const struct options *options;
    const struct batch *payload;
    request_maker make;
    response_handler handle;
    struct result *result;
    int poller;
    int64_t started, answered;
};

// Sends as much as the socket takes. A request counts as in flight from its first byte.
static void send_some(struct drive_state *state, struct client *client) {
    while (client->sending || (client->in_flight < state->options->depth && state->started < state->options->requests)) {
        if (!client->sending) {
            state->make(client, state->options);
            client->sent_at[client->next_correlation % MAX_DEPTH] = nanoseconds();
            client->next_correlation++;
            client->in_flight++;
            client->sending = 1;
            client->sent = 0;
            state->started++;
        }
        size_t payload = state->payload ? state->payload->length : 0, skip = client->sent;
        struct iovec parts[3] = {{client->before, client->before_length},
                                 {state->payload ? state->payload->bytes : NULL, payload},
                                 {client->after, client->after_length}};
        for (int i = 0; i < 3; i++) {
            size_t step = skip < parts[i].iov_len ? skip : parts[i].iov_len;
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + step;
            parts[i].iov_len -= step;
            skip -= step;
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
        ssize_t sent = sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) give_up("connection %d: %s", client->index, strerror(errno));
        client->sent += (size_t)sent;
        if (client->sent == client->before_length + payload + client->after_length) client->sending = 0;
    }
    struct epoll_event event = {.events = EPOLLIN | (client->sending ? EPOLLOUT : 0), .data.ptr = client};
    epoll_ctl(state->poller, EPOLL_CTL_MOD, client->socket, &event);
}

static void receive_some(struct drive_state *state, struct client *client) {
    ssize_t got = recv(client->socket, client->in + client->in_used, client->in_capacity - client->in_used, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) give_up("connection %d was closed by the server", client->index);
    client->in_used += (size_t)got;
    size_t at = 0;
    while (client->in_used - at >= 4) {
        size_t length = get32(client->in + at);
        if (length + 4 > client->in_capacity) {
            client->in = realloc(client->in, client->in_capacity = length + 4);
            if (!client->in) give_up("no memory for an answer of %zu bytes", length);
        }
        if (client->in_used - at < length + 4) break;
        const uint8_t *frame = client->in + at + 4;
        if (length < 5 || (int32_t)get32(frame) != client->answered_correlation) give_up("answers out of order on connection %d", client->index);
        uint64_t now = nanoseconds();
        state->answered++;
        if (state->answered > state->options->warm_up_requests)
            histogram_add(&state->result->latencies, now - client->sent_at[client->answered_correlation % MAX_DEPTH]);
        client->answered_correlation++;
        client->in_flight--;
        state->result->bytes += state->handle(client, frame, length);
        at += length + 4;
    }
    memmove(client->in, client->in + at, client->in_used - at);
    client->in_used -= at;
}

void drive(const struct options *options, const struct batch *payload, request_maker make, response_handler handle, struct result *result) {
    struct drive_state state = {.options = options, .payload = payload, .make = make, .handle = handle, .result = result};
    state.poller = epoll_create1(0);
    struct client *clients = calloc((size_t)options->connections, sizeof *clients);
    for (int i = 0; i < options->connections; i++) {
        clients[i].index = i;
        clients[i].partition = i % options->partitions;
        clients[i].socket = connect_to(options->port);
        clients[i].in = malloc(clients[i].in_capacity = 64 * 1024);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(state.poller, EPOLL_CTL_ADD, clients[i].socket, &event);
    }
    uint64_t start = nanoseconds();
    for (int i = 0; i < options->connections; i++) send_some(&state, &clients[i]);
    struct epoll_event events[64];
    while (state.answered < options->requests) {
        int count = epoll_wait(state.poller, events, 64, 30000);
        if (count == 0) give_up("no answer for 30 seconds, %lld of %lld requests answered", (long long)state.answered, (long long)options->requests);
        for (int i = 0; i < count; i++) {
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive_some(&state, events[i].data.ptr);
            send_some(&state, events[i].data.ptr);
        }
    }
    result->seconds = (double)(nanoseconds() - start) / 1e9;
    result->requests = state.answered;
    for (int i = 0; i < options->connections; i++) {
        close(clients[i].socket);
        free(clients[i].in);
    }
    free(clients);
    close(state.poller);
}
