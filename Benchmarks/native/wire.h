// The few pieces of Kafka's wire format that both the baseline and the load generator need: big-endian integers, unsigned
// varints, and the fixed positions inside a version 2 record batch.
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { API_PRODUCE = 0, API_FETCH = 1, API_CREATE_TOPICS = 19 };
enum { PRODUCE_VERSION = 9, FETCH_VERSION = 12, CREATE_TOPICS_VERSION = 7 };

// Positions in a batch's header.
enum {
    BATCH_LENGTH_AT = 8,
    BATCH_CRC_AT = 17,
    BATCH_ATTRIBUTES_AT = 21,
    BATCH_LAST_OFFSET_DELTA_AT = 23,
    BATCH_HEADER_BYTES = 61,
    BATCH_LOG_OVERHEAD = 12,
};

static inline uint8_t *put8(uint8_t *at, uint8_t value) { *at = value; return at + 1; }
static inline uint8_t *put16(uint8_t *at, uint16_t value) { value = htobe16(value); memcpy(at, &value, 2); return at + 2; }
static inline uint8_t *put32(uint8_t *at, uint32_t value) { value = htobe32(value); memcpy(at, &value, 4); return at + 4; }
static inline uint8_t *put64(uint8_t *at, uint64_t value) { value = htobe64(value); memcpy(at, &value, 8); return at + 8; }

static inline uint16_t get16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return be16toh(value); }
static inline uint32_t get32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return be32toh(value); }
static inline uint64_t get64(const uint8_t *at) { uint64_t value; memcpy(&value, at, 8); return be64toh(value); }

static inline uint8_t *put_uvarint(uint8_t *at, uint32_t value) {
    while (value >= 0x80) { *at++ = (uint8_t)(value | 0x80); value >>= 7; }
    *at++ = (uint8_t)value;
    return at;
}

// Zigzag, as record fields are.
static inline uint8_t *put_varint(uint8_t *at, int32_t value) { return put_uvarint(at, ((uint32_t)value << 1) ^ (uint32_t)(value >> 31)); }

// Returns NULL when the bytes end inside the number.
static inline const uint8_t *get_uvarint(const uint8_t *at, const uint8_t *end, uint32_t *value) {
    uint32_t result = 0;
    for (int shift = 0; shift < 35 && at < end; shift += 7) {
        uint8_t byte = *at++;
        result |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) { *value = result; return at; }
    }
    return NULL;
}

static inline uint8_t *put_compact_string(uint8_t *at, const char *text) {
    size_t length = strlen(text);
    at = put_uvarint(at, (uint32_t)length + 1);
    memcpy(at, text, length);
    return at + length;
}

static inline int64_t batch_next_offset(const uint8_t *batch) {
    return (int64_t)get64(batch) + (int32_t)get32(batch + BATCH_LAST_OFFSET_DELTA_AT) + 1;
}
#endif
