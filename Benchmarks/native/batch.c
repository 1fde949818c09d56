// Builds the batches that are sent: real version 2 record batches with correct CRC, plain or compressed, so that whatever the
// server checks, it finds in order.
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zstd.h>

#include "CChecksums.h"
#include "loadgen.h"
#include "wire.h"

// Text that compresses to about half its size, as logged events do, and is the same in every run.
static void fill_value(uint8_t *at, int length, uint64_t *state) {
    static const char *words[] = {"order", "customer", "created", "shipped", "\"id\":", "\"total\":", "warehouse", "2026-", "status", "pending"};
    int used = 0;
    while (used < length) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        char piece[64];
        int size = snprintf(piece, sizeof piece, "%s%016llx,", words[(*state >> 33) % 10], (unsigned long long)*state);
        for (int i = 0; i < size && used < length; i++) at[used++] = (uint8_t)piece[i];
    }
}

static size_t put_records(uint8_t *at, const struct options *options) {
    uint8_t *start = at, *value = malloc((size_t)options->value_bytes + 1);
    uint64_t state = 42;
    for (int i = 0; i < options->records; i++) {
        uint8_t head[32], *end = head;
        end = put8(end, 0);
        end = put_varint(end, 0);
        end = put_varint(end, i);
        end = put_varint(end, -1);
        end = put_varint(end, options->value_bytes);
        size_t head_length = (size_t)(end - head);
        at = put_varint(at, (int32_t)head_length + options->value_bytes + 1);
        memcpy(at, head, head_length);
        fill_value(value, options->value_bytes, &state);
        memcpy(at + head_length, value, (size_t)options->value_bytes);
        at = put8(at + head_length + options->value_bytes, 0);
    }
    free(value);
    return (size_t)(at - start);
}

void build_batch(struct batch *batch, const struct options *options) {
    size_t plain_capacity = (size_t)options->records * ((size_t)options->value_bytes + 48), packed_length = 0;
    uint8_t *plain = malloc(plain_capacity);
    size_t plain_length = put_records(plain, options);
    batch->bytes = malloc(plain_capacity * 2 + 1024);
    uint8_t *body = batch->bytes + BATCH_HEADER_BYTES;
    uint16_t attributes = 0;
    if (!strcmp(options->compression, "none")) {
        memcpy(body, plain, packed_length = plain_length);
    } else if (!strcmp(options->compression, "lz4")) {
        attributes = 3;
        packed_length = LZ4F_compressFrame(body, plain_capacity * 2, plain, plain_length, NULL);
        if (LZ4F_isError(packed_length)) give_up("lz4: %s", LZ4F_getErrorName(packed_length));
    } else if (!strcmp(options->compression, "zstd")) {
        attributes = 4;
        packed_length = ZSTD_compress(body, plain_capacity * 2, plain, plain_length, 3);
        if (ZSTD_isError(packed_length)) give_up("zstd: %s", ZSTD_getErrorName(packed_length));
    } else {
        give_up("unknown compression %s", options->compression);
    }
    free(plain);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t timestamp = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    batch->length = BATCH_HEADER_BYTES + packed_length;
    batch->records = options->records;
    uint8_t *at = batch->bytes;
    at = put64(at, 0);
    at = put32(at, (uint32_t)(batch->length - BATCH_LOG_OVERHEAD));
    at = put32(at, (uint32_t)-1);
    at = put8(at, 2);
    at = put32(at, 0);
    at = put16(at, attributes);
    at = put32(at, (uint32_t)options->records - 1);
    at = put64(at, timestamp);
    at = put64(at, timestamp);
    at = put64(at, (uint64_t)-1);
    at = put16(at, (uint16_t)-1);
    at = put32(at, (uint32_t)-1);
    put32(at, (uint32_t)options->records);
    put32(batch->bytes + BATCH_CRC_AT,
          martlet_crc32c(0, batch->bytes + BATCH_ATTRIBUTES_AT, batch->length - BATCH_ATTRIBUTES_AT));
}
