// CRC-32C by the SSE4.2 instruction. It takes three cycles but a new one can start in each, so three independent lanes run at
// once; a carry-less multiplication then moves the first two lanes' results to where the third ends.
#include "crc32c_internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

__attribute__((target("sse4.2"))) static uint32_t update_serial(uint32_t state, const uint8_t *bytes, size_t length) {
    uint64_t wide = state;
    while (length >= 8) {
        wide = _mm_crc32_u64(wide, martlet_load64(bytes));
        bytes += 8;
        length -= 8;
    }
    state = (uint32_t)wide;
    while (length--) state = _mm_crc32_u8(state, *bytes++);
    return state;
}

// Moving a state over n bytes multiplies it by x^(8n) modulo the polynomial. The product of two reflected 32-bit values comes
// out multiplied by x, and the final crc32 instruction reduces it and multiplies by x^32: hence x^(8n - 33) as the factor.
#define THREE_LANES(LANE, SHIFT_ONE, SHIFT_TWO)                                                                        \
    while (length >= 3 * (LANE)) {                                                                                     \
        uint64_t first = state, second = 0, third = 0;                                                                 \
        const uint8_t *end = bytes + (LANE) - 8;                                                                       \
        for (; bytes < end; bytes += 8) {                                                                              \
            first = _mm_crc32_u64(first, martlet_load64(bytes));                                                       \
            second = _mm_crc32_u64(second, martlet_load64(bytes + (LANE)));                                            \
            third = _mm_crc32_u64(third, martlet_load64(bytes + 2 * (LANE)));                                          \
        }                                                                                                              \
        first = _mm_crc32_u64(first, martlet_load64(bytes));                                                           \
        second = _mm_crc32_u64(second, martlet_load64(bytes + (LANE)));                                                \
        __m128i far = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)first), _mm_cvtsi64_si128(SHIFT_TWO), 0);      \
        __m128i near = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)second), _mm_cvtsi64_si128(SHIFT_ONE), 0);    \
        uint64_t moved = (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(far, near));                                        \
        state = (uint32_t)_mm_crc32_u64(third, martlet_load64(bytes + 2 * (LANE)) ^ moved);                            \
        bytes += 2 * (LANE) + 8;                                                                                       \
        length -= 3 * (LANE);                                                                                          \
    }

__attribute__((target("sse4.2,pclmul"))) static uint32_t update_three_lanes(
    uint32_t state, const uint8_t *bytes, size_t length) {
    THREE_LANES(4096, 0x82f89c77, 0x54a86326)
    THREE_LANES(256, 0xb9e02b86, 0xdd7e3b0c)
    THREE_LANES(64, 0x9e4addf8, 0x0d3b6092)
    return update_serial(state, bytes, length);
}

int martlet_crc32c_detect(struct martlet_crc32c_implementation *found, int room) {
    unsigned eax, ebx, ecx, edx;
    int count = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_SSE4_2)) return 0;
    if (count < room) found[count++] = (struct martlet_crc32c_implementation){"sse4.2", update_serial};
    if ((ecx & bit_PCLMUL) && count < room)
        found[count++] = (struct martlet_crc32c_implementation){"sse4.2-clmul", update_three_lanes};
    return count;
}
#endif
