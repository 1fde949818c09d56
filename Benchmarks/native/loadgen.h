// What the parts of the load generator share: its options, what it measured, and one connection's state.
#ifndef BENCH_LOADGEN_H
#define BENCH_LOADGEN_H
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

struct options {
    int port, connections, depth, partitions, records, value_bytes, fetch_bytes, acks, process;
    int64_t bytes, requests, warm_up_requests;
    const char *topic, *compression;
};

struct result {
    struct histogram latencies;
    int64_t requests, bytes, records;
    double seconds;
};

// One batch, ready to be sent: built once, sent many times.
struct batch {
    uint8_t *bytes;
    size_t length;
    int32_t records;
};

enum { MAX_DEPTH = 64 };

struct client {
    int socket, index, partition;
    // What is being sent: the request's own bytes around a shared payload.
    uint8_t before[512], after[16];
    size_t before_length, after_length, sent;
    int32_t next_correlation, answered_correlation;
    int in_flight, sending;
    uint64_t sent_at[MAX_DEPTH];
    uint8_t *in;
    size_t in_used, in_capacity;
    int64_t offset;
};

void build_batch(struct batch *batch, const struct options *options);

// Called with one whole response (without its size); returns the bytes of records it stands for.
typedef int64_t (*response_handler)(struct client *client, const uint8_t *frame, size_t length);
// Called before each request; fills `before` and `after`.
typedef void (*request_maker)(struct client *client, const struct options *options);

void drive(const struct options *options, const struct batch *payload, request_maker make, response_handler handle, struct result *result);

int connect_to(int port);
uint8_t *put_request_header(uint8_t *at, uint16_t api, uint16_t version, int32_t correlation);
void create_topic(const struct options *options);
void run_produce(const struct options *options, struct result *result);
void run_consume(const struct options *options, struct result *result);
_Noreturn void give_up(const char *format, ...);
uint64_t nanoseconds(void);
#endif
