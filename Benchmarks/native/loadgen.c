// The load generator: `create`, `produce` or `consume`, against the broker or the baseline alike. Prints one line of JSON with
// throughput, latency percentiles, and the CPU time and peak memory of the server process named by --pid.
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

// All threads of the process together, those that have ended included.
static double cpu_seconds(int process) {
    clockid_t clock;
    struct timespec used;
    if (!process) return 0;
    if (clock_getcpuclockid(process, &clock) || clock_gettime(clock, &used)) give_up("no CPU clock of process %d", process);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static long status_kilobytes(int process, const char *field) {
    char path[64], line[256];
    long value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", process);
    FILE *file = process ? fopen(path, "r") : NULL;
    if (!file) return 0;
    size_t length = strlen(field);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, field, length) && line[length] == ':') value = atol(line + length + 1);
    fclose(file);
    return value;
}

// Lets the peak start anew, so that it is this run's.
static void reset_peak(int process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/clear_refs", process);
    FILE *file = process ? fopen(path, "w") : NULL;
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

static void report(const struct result *result, double cpu, int process) {
    const struct histogram *latencies = &result->latencies;
    printf("{\"requests\":%lld,\"records\":%lld,\"bytes\":%lld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,", (long long)result->requests,
           (long long)result->records, (long long)result->bytes, result->seconds, cpu);
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,", (double)histogram_percentile(latencies, 0.5) / 1e3,
           (double)histogram_percentile(latencies, 0.99) / 1e3, (double)histogram_percentile(latencies, 0.999) / 1e3,
           (double)latencies->largest / 1e3);
    printf("\"peak_kb\":%ld,\"resident_kb\":%ld}\n", status_kilobytes(process, "VmHWM"), status_kilobytes(process, "VmRSS"));
}

static struct options parse(int argc, char **argv) {
    struct options options = {.connections = 4, .depth = 4, .partitions = 4, .records = 126, .value_bytes = 1024, .fetch_bytes = 1 << 20,
                              .acks = 1, .topic = "bench", .compression = "none"};
    enum { PORT = 1, TOPIC, PARTITIONS, CONNECTIONS, DEPTH, RECORDS, VALUE, COMPRESSION, BYTES, REQUESTS, WARM_UP, FETCH, ACKS, PID };
    static const struct option names[] = {
        {"port", 1, 0, PORT}, {"topic", 1, 0, TOPIC}, {"partitions", 1, 0, PARTITIONS}, {"connections", 1, 0, CONNECTIONS},
        {"depth", 1, 0, DEPTH}, {"records", 1, 0, RECORDS}, {"value-bytes", 1, 0, VALUE}, {"compression", 1, 0, COMPRESSION},
        {"bytes", 1, 0, BYTES}, {"requests", 1, 0, REQUESTS}, {"warm-up", 1, 0, WARM_UP}, {"fetch-bytes", 1, 0, FETCH},
        {"acks", 1, 0, ACKS}, {"pid", 1, 0, PID}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
            case PORT: options.port = atoi(optarg); break;
            case TOPIC: options.topic = optarg; break;
            case PARTITIONS: options.partitions = atoi(optarg); break;
            case CONNECTIONS: options.connections = atoi(optarg); break;
            case DEPTH: options.depth = atoi(optarg); break;
            case RECORDS: options.records = atoi(optarg); break;
            case VALUE: options.value_bytes = atoi(optarg); break;
            case COMPRESSION: options.compression = optarg; break;
            case BYTES: options.bytes = atoll(optarg); break;
            case REQUESTS: options.requests = atoll(optarg); break;
            case WARM_UP: options.warm_up_requests = atoll(optarg); break;
            case FETCH: options.fetch_bytes = atoi(optarg); break;
            case ACKS: options.acks = atoi(optarg); break;
            case PID: options.process = atoi(optarg); break;
            default: exit(2);
        }
    }
    if (options.connections < 1 || options.partitions < 1 || options.records < 1 || options.value_bytes < 0) give_up("numbers must be positive");
    if (options.depth < 1 || options.depth > MAX_DEPTH) give_up("--depth goes from 1 to %d", MAX_DEPTH);
    if (strlen(options.topic) > 200) give_up("the topic's name is too long");
    return options;
}

int main(int argc, char **argv) {
    static struct result result;
    struct options options = parse(argc, argv);
    const char *mode = optind < argc ? argv[optind] : "";
    if (!strcmp(mode, "create")) {
        create_topic(&options);
        return 0;
    }
    if (strcmp(mode, "produce") && strcmp(mode, "consume")) give_up("usage: loadgen create|produce|consume --port PORT ...");
    if (!options.bytes && !options.requests) give_up("say how much: --bytes or --requests");
    reset_peak(options.process);
    double before = cpu_seconds(options.process);
    if (!strcmp(mode, "produce")) run_produce(&options, &result);
    else run_consume(&options, &result);
    report(&result, cpu_seconds(options.process) - before, options.process);
    return 0;
}
