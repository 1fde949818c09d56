// CRC-32C in the fastest way the running processor knows. Kafka's batches, producer snapshots and indexes all use it; the data
// path computes it once for every byte received, so a table alone would be the broker's largest cost.
#ifndef MARTLET_CCHECKSUMS_H
#define MARTLET_CCHECKSUMS_H
#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli) of `length` bytes, continuing from `crc` (0 to start).
uint32_t martlet_crc32c(uint32_t crc, const void *bytes, size_t length);

/// How many implementations this processor can run; at least 1, the portable one at index 0.
int martlet_crc32c_implementation_count(void);

/// The name of the implementation at `index`, such as "portable" or "sse4.2-clmul"; NULL outside the range.
const char *martlet_crc32c_implementation_name(int index);

/// The index of the implementation that `martlet_crc32c` uses: the fastest.
int martlet_crc32c_selected_implementation(void);

/// CRC-32C by the implementation at `index`, for tests and measurements; outside the range the portable one.
uint32_t martlet_crc32c_with(int index, uint32_t crc, const void *bytes, size_t length);
#endif
