// `kafka-consumer-perf-test`: reads records as fast as it goes and says how fast that was.
import MartletClient
import Primitives
import Synchronization

enum ConsumerPerformanceTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-consumer-perf-test", "This tool is used to verify the consumer performance.",
        [
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: Brokers to begin with."),
            .value("broker-list", as: "broker-list", "Former name of --bootstrap-server."),
            .value("topic", as: "topic", "REQUIRED: The topic to read."), .value("group", as: "gid", "The consumer's group."),
            .value("include", as: "Java regex (String)", "A regular expression of topics to read."),
            .value("fetch-size", as: "size", .integer, default: "1048576", "Bytes of a partition in one answer."),
            .flag("from-latest", "Begin at the end where the group has no offset."),
            .value("socket-buffer-size", as: "size", .integer, default: "2097152", "Accepted; the system sizes its buffers."),
            .value("threads", as: "count", .integer, default: "10", "Accepted for compatibility."),
            .value("consumer.config", as: "config file", "Properties of the consumer."),
            .value("command-config", as: "config file", "Properties of the consumer."),
            .value("command-property", as: "prop", "A property of the consumer."),
            .flag("print-metrics", "Accepted; there are no client metrics to print."),
            .flag("show-detailed-stats", "A line for each interval instead of one in the end."),
            .value("timeout", as: "milliseconds", .long, default: "10000", "The longest time between records."),
            .value("messages", as: "count", .long, "REQUIRED: How many records."),
            .value("num-records", as: "count", .long, "How many records."),
            .value("reporting-interval", as: "interval_ms", .long, default: "5000", "Milliseconds between lines."),
            .value("date-format", as: "date format", default: "yyyy-MM-dd HH:mm:ss:SSS", "Only the default one is known."),
            .flag("hide-header", "No titles."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        var options = try syntax.parse(arguments)
        for (name, other) in [("bootstrap-server", "broker-list"), ("messages", "num-records"), ("consumer.config", "command-config")]
        where !options.has(name) && options.has(other) {
            options = options.replacing(name, with: other)
        }
        try syntax.require(options, "topic", "messages", "bootstrap-server")
        var properties = try ToolProperties(file: options.value("consumer.config"))
        properties.add(options.values("command-property"))
        properties["group.id"] = options.value("group") ?? "perf-consumer-\(Int.random(in: 0..<100_000))"
        properties["max.partition.fetch.bytes"] = options.value("fetch-size")
        properties["auto.offset.reset"] = options.has("from-latest") ? "latest" : "earliest"
        properties["check.crcs"] = "false"
        let configuration = try properties.consumer(options.value("bootstrap-server") ?? "", clientID: "perf-consumer-client")
        let isDetailed = options.has("show-detailed-stats")
        if !options.has("hide-header") {
            Terminal.print(
                (isDetailed ? "time, threadId, " : "start.time, end.time, ")
                    + "data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, "
                    + "fetch.nMsg.sec")
        }
        do throws(KafkaError) {
            let run = ConsumerRun(options, isDetailed: isDetailed)
            try await run.perform(configuration)
        } catch {
            Terminal.complain(error.javaText)
            return 1
        }
        return 0
    }
}

private struct ConsumerRun {
    private let topic: String
    private let wanted: Int
    private let timeout: Int64
    private let interval: Int64
    private let isDetailed: Bool

    init(_ options: ToolOptions, isDetailed: Bool) {
        topic = options.value("topic") ?? ""
        wanted = options.integer("messages") ?? 0
        timeout = Int64(options.integer("timeout") ?? 10_000)
        interval = Int64(options.integer("reporting-interval") ?? 5000)
        self.isDetailed = isDetailed
    }

    /// Milliseconds that joining took, filled by the rebalance listener.
    private final class Joining: Sendable {
        private let state = Mutex((since: SystemClock.monotonicMilliseconds(), total: Int64(0)))

        func begin() { state.withLock { $0.since = SystemClock.monotonicMilliseconds() } }
        func end() { state.withLock { $0.total += SystemClock.monotonicMilliseconds() - $0.since } }
        var total: Int64 { state.withLock { $0.total } }
    }

    private struct Counts {
        var messages = 0
        var bytes = 0
    }

    func perform(_ configuration: ConsumerConfiguration) async throws(KafkaError) {
        let consumer = try KafkaConsumer(configuration)
        let joining = Joining()
        let start = SystemClock.now()
        let began = SystemClock.monotonicMilliseconds()
        try await consumer.subscribe(
            [topic], listener: RebalanceListener(onAssigned: { _ in joining.end() }, onRevoked: { _ in joining.begin() }))
        var total = Counts()
        var last = Counts()
        var lastReport = began
        var lastRecord = began
        while total.messages < wanted, SystemClock.monotonicMilliseconds() - lastRecord <= timeout {
            let records = try await consumer.poll(maximumRecords: 500, timeout: .milliseconds(100))
            let now = SystemClock.monotonicMilliseconds()
            if !records.isEmpty { lastRecord = now }
            for record in records {
                total.messages += 1
                total.bytes += (record.key?.readableBytes ?? 0) + (record.value?.readableBytes ?? 0)
            }
            guard now - lastReport >= interval else { continue }
            if isDetailed { report(total, last, now - lastReport, joining.total) }
            lastReport = now
            last = total
        }
        if total.messages < wanted {
            Terminal.print(
                "WARNING: Exiting before consuming the expected number of messages: timeout (\(timeout) ms) exceeded. You can use the "
                    + "--timeout option to increase the timeout.")
        }
        let elapsed = SystemClock.monotonicMilliseconds() - began
        try await consumer.close()
        if !isDetailed { summarize(total, start, elapsed, joining.total) }
    }

    private func rates(_ counts: Counts, _ milliseconds: Int64) -> (megabytes: String, messages: String) {
        let seconds = Double(max(1, milliseconds)) / 1000
        return (
            NumberText.fixed(Double(counts.bytes) / 1_048_576 / seconds, 4), NumberText.fixed(Double(counts.messages) / seconds, 4)
        )
    }

    private func report(_ total: Counts, _ last: Counts, _ elapsed: Int64, _ joining: Int64) {
        let since = Counts(messages: total.messages - last.messages, bytes: total.bytes - last.bytes)
        let (megabytes, messages) = rates(since, elapsed)
        let fetching = elapsed - joining
        let (fetchMegabytes, fetchMessages) = fetching <= 0 ? ("0.0000", "0.0000") : rates(since, fetching)
        Terminal.print(
            "\(Self.time(SystemClock.now())), 0, \(NumberText.fixed(Double(total.bytes) / 1_048_576, 4)), \(megabytes), \(total.messages), "
                + "\(messages), \(joining), \(fetching), \(fetchMegabytes), \(fetchMessages)")
    }

    private func summarize(_ total: Counts, _ start: Int64, _ elapsed: Int64, _ joining: Int64) {
        let (megabytes, messages) = rates(total, elapsed)
        let (fetchMegabytes, fetchMessages) = rates(total, elapsed - joining)
        Terminal.print(
            "\(Self.time(start)), \(Self.time(start + elapsed)), \(NumberText.fixed(Double(total.bytes) / 1_048_576, 4)), \(megabytes), "
                + "\(total.messages), \(messages), \(joining), \(elapsed - joining), \(fetchMegabytes), \(fetchMessages)")
    }

    /// `2026-11-28 21:14:42:609`, in UTC.
    private static func time(_ timestamp: Int64) -> String {
        let text = TimeText.of(timestamp)
        return text.replacing("T", with: " ").replacing(".", with: ":").replacing("Z", with: "")
    }
}
