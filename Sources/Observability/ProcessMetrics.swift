// What the kernel says about this process, under the names every Prometheus client library uses, and Kafka's two disk counters.
import Glibc
import Primitives

/// Process metrics from `/proc/self`; whatever cannot be read is left out.
enum ProcessMetrics {
    private static let startTime = Double(SystemClock.now()) / 1000

    /// Remembers the time of start; called early in the process' life.
    static func noteStart() {
        _ = startTime
    }

    static func write(to text: inout PrometheusText) {
        var usage = rusage()
        if getrusage(RUSAGE_SELF.rawValue, &usage) == 0 {
            let seconds =
                Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1_000_000
            text.single("process_cpu_seconds_total", .counter, help: "User and system CPU time.", seconds)
        }
        if let pages = readFile("/proc/self/statm")?.split(separator: " ").prefix(2).map({ Int($0) ?? 0 }), pages.count == 2 {
            let pageSize = sysconf(Int32(_SC_PAGESIZE))
            text.single("process_virtual_memory_bytes", .gauge, help: "Virtual memory.", pages[0] * pageSize)
            text.single("process_resident_memory_bytes", .gauge, help: "Resident memory.", pages[1] * pageSize)
        }
        if let descriptors = openDescriptors() {
            text.single("process_open_fds", .gauge, help: "Open file descriptors.", descriptors)
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            text.single("process_max_fds", .gauge, help: "Bound on open file descriptors.", Int(clamping: limit.rlim_cur))
        }
        text.single("process_start_time_seconds", .gauge, help: "Start of the process since 1970.", startTime)
        if let counts = readFile("/proc/self/io") {
            for line in counts.split(separator: "\n") {
                let parts = line.split(separator: ":")
                guard parts.count == 2, let value = Int(parts[1].drop { $0 == " " }) else { continue }
                if parts[0] == "read_bytes" {
                    text.single("kafka_server_kafkaserver_linux_disk_read_bytes", .gauge, help: "Bytes read from disks.", value)
                } else if parts[0] == "write_bytes" {
                    text.single("kafka_server_kafkaserver_linux_disk_write_bytes", .gauge, help: "Bytes written to disks.", value)
                }
            }
        }
    }

    private static func readFile(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    private static func openDescriptors() -> Int? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil {
            count += 1
        }
        // Without ".", ".." and the descriptor of this listing.
        return max(0, count - 3)
    }
}
