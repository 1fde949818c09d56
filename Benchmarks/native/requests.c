// The three requests the load generator speaks, at one fixed version each: CreateTopics 7, Produce 9, Fetch 12.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadgen.h"
#include "wire.h"

// Names the topic in an answer that has one topic with one partition; what follows is the partition. NULL if it has not.
static const uint8_t *only_partition(const uint8_t *at, const uint8_t *end) {
    uint32_t topics, name, partitions;
    if (!(at = get_uvarint(at, end, &topics)) || topics != 2 || !(at = get_uvarint(at, end, &name)) || (size_t)(end - at) < name) return NULL;
    at = get_uvarint(at + name - 1, end, &partitions);
    return at && partitions == 2 && end - at >= 4 ? at + 4 : NULL;
}

static size_t produce_batch_bytes;

static void make_produce(struct client *client, const struct options *options) {
    uint8_t *at = put_request_header(client->before + 4, API_PRODUCE, PRODUCE_VERSION, client->next_correlation);
    at = put8(at, 0);  // no transactional id
    at = put16(at, (uint16_t)options->acks);
    at = put32(at, 30000);
    at = put_compact_string(put_uvarint(at, 2), options->topic);
    at = put32(put_uvarint(at, 2), (uint32_t)client->partition);
    at = put_uvarint(at, (uint32_t)produce_batch_bytes + 1);
    client->before_length = (size_t)(at - client->before);
    memset(client->after, 0, client->after_length = 3);  // the tags of partition, topic and body
    put32(client->before, (uint32_t)(client->before_length - 4 + produce_batch_bytes + client->after_length));
}

static int64_t handle_produce(struct client *client, const uint8_t *frame, size_t length) {
    const uint8_t *at = only_partition(frame + 5, frame + length);
    if (!at || frame + length - at < 2) give_up("a produce answer that cannot be read");
    if (get16(at)) give_up("produce to partition %d failed with error %d", client->partition, (int16_t)get16(at));
    return (int64_t)produce_batch_bytes;
}

void run_produce(const struct options *given, struct result *result) {
    struct options options = *given;
    struct batch batch;
    build_batch(&batch, &options);
    produce_batch_bytes = batch.length;
    if (options.bytes) options.requests = (options.bytes + (int64_t)batch.length - 1) / (int64_t)batch.length;
    drive(&options, &batch, make_produce, handle_produce, result);
    result->records = result->requests * batch.records;
    free(batch.bytes);
}

static int64_t fetched_records;

static void make_fetch(struct client *client, const struct options *options) {
    uint8_t *at = put_request_header(client->before + 4, API_FETCH, FETCH_VERSION, client->next_correlation);
    at = put32(at, (uint32_t)-1);  // not a replica
    at = put32(at, 0);  // an answer at once, at the end of the partition too: the baseline cannot wait
    at = put32(at, 0);
    at = put32(at, (uint32_t)options->fetch_bytes);
    at = put8(at, 0);  // read uncommitted
    at = put32(at, 0);  // no session
    at = put32(at, (uint32_t)-1);
    at = put_compact_string(put_uvarint(at, 2), options->topic);
    at = put32(put_uvarint(at, 2), (uint32_t)client->partition);
    at = put32(at, (uint32_t)-1);
    at = put64(at, (uint64_t)client->offset);
    at = put32(at, (uint32_t)-1);
    at = put64(at, (uint64_t)-1);
    at = put32(at, (uint32_t)options->fetch_bytes);
    at = put16(at, 0);  // the tags of partition and topic
    at = put_uvarint(at, 1);  // nothing to forget
    at = put_uvarint(at, 1);  // no rack
    at = put8(at, 0);
    client->before_length = (size_t)(at - client->before);
    client->after_length = 0;
    put32(client->before, (uint32_t)client->before_length - 4);
}

// Walks the batches that arrived whole; at the end of the partition the client starts over.
static int64_t handle_fetch(struct client *client, const uint8_t *frame, size_t length) {
    const uint8_t *end = frame + length;
    if (length < 15) give_up("a fetch answer that cannot be read");
    if (get16(frame + 9)) give_up("fetch failed with error %d", (int16_t)get16(frame + 9));
    const uint8_t *at = only_partition(frame + 15, end);
    uint32_t aborted, bytes;
    if (!at || end - at < 27) give_up("a fetch answer that cannot be read");
    if (get16(at)) give_up("fetch from partition %d at %lld failed with error %d", client->partition, (long long)client->offset, (int16_t)get16(at));
    at = get_uvarint(at + 26, end, &aborted);
    if (!at || aborted > 1 || end - at < 5) give_up("a fetch answer with aborted transactions");
    at = get_uvarint(at + 4, end, &bytes);
    if (!at || bytes > (uint32_t)(end - at) + 1) give_up("a fetch answer that cannot be read");
    const uint8_t *records_end = bytes ? at + bytes - 1 : at;
    int64_t taken = 0, before = client->offset;
    while (records_end - at >= BATCH_HEADER_BYTES) {
        int64_t size = (int64_t)get32(at + BATCH_LENGTH_AT) + BATCH_LOG_OVERHEAD;
        if (size > records_end - at) break;
        client->offset = batch_next_offset(at);
        taken += size;
        at += size;
    }
    fetched_records += client->offset - before;
    if (taken == 0) client->offset = 0;
    return taken;
}

void run_consume(const struct options *given, struct result *result) {
    struct options options = *given;
    if (options.bytes) options.requests = (options.bytes + options.fetch_bytes - 1) / options.fetch_bytes;
    options.depth = 1;  // the next offset is known only when the answer is there
    fetched_records = 0;
    drive(&options, NULL, make_fetch, handle_fetch, result);
    result->records = fetched_records;
}

static void receive_exactly(int socket, uint8_t *at, size_t length) {
    while (length) {
        ssize_t got = recv(socket, at, length, 0);
        if (got <= 0) give_up("the connection was closed by the server");
        at += got;
        length -= (size_t)got;
    }
}

void create_topic(const struct options *options) {
    uint8_t frame[1024], *at = put_request_header(frame + 4, API_CREATE_TOPICS, CREATE_TOPICS_VERSION, 0);
    at = put_compact_string(put_uvarint(at, 2), options->topic);
    at = put32(at, (uint32_t)options->partitions);
    at = put16(at, 1);
    at = put_uvarint(at, 1);  // no assignments
    at = put_uvarint(at, 1);  // no configs
    at = put8(at, 0);
    at = put32(at, 60000);
    at = put8(at, 0);
    at = put8(at, 0);
    put32(frame, (uint32_t)(at - frame) - 4);
    int socket = connect_to(options->port);
    if (send(socket, frame, (size_t)(at - frame), MSG_NOSIGNAL) != at - frame) give_up("cannot send");
    receive_exactly(socket, frame, 4);
    size_t length = get32(frame);
    uint8_t *answer = malloc(length);
    receive_exactly(socket, answer, length);
    uint32_t topics, name;
    const uint8_t *position = length < 10 ? NULL : get_uvarint(answer + 9, answer + length, &topics);
    if (!position || topics != 2 || !(position = get_uvarint(position, answer + length, &name)) ||
        (size_t)(answer + length - position) < name + 17)
        give_up("a CreateTopics answer that cannot be read");
    int16_t error = (int16_t)get16(position + name - 1 + 16);
    if (error && error != 36) give_up("cannot create topic %s: error %d", options->topic, error);
    free(answer);
    close(socket);
}
