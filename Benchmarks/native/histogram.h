// Latencies in log-linear buckets: 64 steps in every power of two of nanoseconds, so a percentile is off by less than 2 %.
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H
#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total, largest;
};

static inline int histogram_bucket(uint64_t value) {
    if (value < HISTOGRAM_STEPS) return (int)value;
    int exponent = 63 - __builtin_clzll(value) - 6;
    return (exponent + 1) * HISTOGRAM_STEPS + (int)((value >> exponent) - HISTOGRAM_STEPS);
}

static inline uint64_t histogram_value(int bucket) {
    if (bucket < HISTOGRAM_STEPS) return (uint64_t)bucket;
    int exponent = bucket / HISTOGRAM_STEPS - 1;
    return ((uint64_t)(bucket % HISTOGRAM_STEPS) + HISTOGRAM_STEPS + 1) << exponent;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
    if (value > histogram->largest) histogram->largest = value;
}

// The smallest bucket bound that at least `share` of the values do not exceed.
static inline uint64_t histogram_percentile(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->total), seen = 0;
    if (wanted == 0) wanted = 1;
    for (int bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted) return histogram_value(bucket) < histogram->largest ? histogram_value(bucket) : histogram->largest;
    }
    return histogram->largest;
}
#endif
