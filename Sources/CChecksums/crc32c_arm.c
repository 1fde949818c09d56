// CRC-32C by the instruction that ARMv8.1 requires and ARMv8.0 may have; and the answer for processors of no known kind.
#include "crc32c_internal.h"

#if defined(__aarch64__)
#include <arm_acle.h>
#if defined(__linux__)
#include <sys/auxv.h>
#define MARTLET_HWCAP_CRC32 (1 << 7)
#endif

__attribute__((target("crc"))) static uint32_t update_instruction(uint32_t state, const uint8_t *bytes, size_t length) {
    while (length >= 8) {
        state = __crc32cd(state, martlet_load64(bytes));
        bytes += 8;
        length -= 8;
    }
    while (length--) state = __crc32cb(state, *bytes++);
    return state;
}

int martlet_crc32c_detect(struct martlet_crc32c_implementation *found, int room) {
#if defined(__linux__)
    if (!(getauxval(AT_HWCAP) & MARTLET_HWCAP_CRC32)) return 0;
#endif
    if (room < 1) return 0;
    found[0] = (struct martlet_crc32c_implementation){"armv8-crc", update_instruction};
    return 1;
}

#elif !defined(__x86_64__)

int martlet_crc32c_detect(struct martlet_crc32c_implementation *found, int room) {
    (void)found;
    (void)room;
    return 0;
}
#endif
