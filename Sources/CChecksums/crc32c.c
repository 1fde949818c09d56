// Chooses the implementation when the program is loaded, and holds the portable one: slicing by eight, which looks up eight
// bytes at a time in eight tables.
#include "CChecksums.h"
#include "crc32c_internal.h"

#define MAXIMUM_IMPLEMENTATIONS 4

static uint32_t tables[8][256];
static struct martlet_crc32c_implementation implementations[MAXIMUM_IMPLEMENTATIONS];
static int implementation_count;
static martlet_crc32c_function selected;

static uint32_t update_by_bytes(uint32_t state, const uint8_t *bytes, size_t length) {
    while (length--) state = (state >> 8) ^ tables[0][(state ^ *bytes++) & 0xff];
    return state;
}

static uint32_t update_portable(uint32_t state, const uint8_t *bytes, size_t length) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (length >= 8) {
        uint64_t word = martlet_load64(bytes) ^ state;
        state = tables[7][word & 0xff] ^ tables[6][(word >> 8) & 0xff] ^ tables[5][(word >> 16) & 0xff] ^
                tables[4][(word >> 24) & 0xff] ^ tables[3][(word >> 32) & 0xff] ^ tables[2][(word >> 40) & 0xff] ^
                tables[1][(word >> 48) & 0xff] ^ tables[0][word >> 56];
        bytes += 8;
        length -= 8;
    }
#endif
    return update_by_bytes(state, bytes, length);
}

// Before main, so that no call needs a check and no thread can see half a table.
__attribute__((constructor)) static void prepare(void) {
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t state = value;
        for (int bit = 0; bit < 8; bit++) state = state & 1 ? (state >> 1) ^ 0x82f63b78u : state >> 1;
        tables[0][value] = state;
    }
    for (int table = 1; table < 8; table++) {
        for (int value = 0; value < 256; value++) {
            uint32_t before = tables[table - 1][value];
            tables[table][value] = (before >> 8) ^ tables[0][before & 0xff];
        }
    }
    implementations[0] = (struct martlet_crc32c_implementation){"portable", update_portable};
    implementation_count = 1 + martlet_crc32c_detect(implementations + 1, MAXIMUM_IMPLEMENTATIONS - 1);
    selected = implementations[implementation_count - 1].update;
}

uint32_t martlet_crc32c(uint32_t crc, const void *bytes, size_t length) {
    return ~selected(~crc, bytes, length);
}

int martlet_crc32c_implementation_count(void) {
    return implementation_count;
}

const char *martlet_crc32c_implementation_name(int index) {
    return index >= 0 && index < implementation_count ? implementations[index].name : NULL;
}

int martlet_crc32c_selected_implementation(void) {
    return implementation_count - 1;
}

uint32_t martlet_crc32c_with(int index, uint32_t crc, const void *bytes, size_t length) {
    if (index < 0 || index >= implementation_count) index = 0;
    return ~implementations[index].update(~crc, bytes, length);
}
