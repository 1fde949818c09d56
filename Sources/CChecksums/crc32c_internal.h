// What the implementations of CRC-32C share: one shape of function. Each works on the inverted state, so that pieces chain
// without inverting twice.
#ifndef MARTLET_CRC32C_INTERNAL_H
#define MARTLET_CRC32C_INTERNAL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t (*martlet_crc32c_function)(uint32_t state, const uint8_t *bytes, size_t length);

struct martlet_crc32c_implementation {
    const char *name;
    martlet_crc32c_function update;
};

/// Fill `found` with what this processor supports beyond the portable way, slowest first; at most `room`. Returns how many.
int martlet_crc32c_detect(struct martlet_crc32c_implementation *found, int room);

static inline uint64_t martlet_load64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}
#endif
