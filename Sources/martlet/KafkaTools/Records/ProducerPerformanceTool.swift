// `kafka-producer-perf-test`: writes records as fast as it goes and says how fast that was.
import Configuration
import MartletClient
import NIOCore
import Primitives
import Synchronization

enum ProducerPerformanceTool: KafkaTool {
    static let syntax = ToolSyntax(
        "producer-performance", "This tool is used to verify the producer performance.", style: .brief,
        [
            .value("topic", as: "TOPIC", "The topic to write to."), .value("num-records", as: "NUM-RECORDS", .long, "How many records."),
            .value("record-size", as: "RECORD-SIZE", .integer, "Bytes of a record."),
            .value("payload-file", as: "PAYLOAD-FILE", "A file of records, of which one is chosen at random each time."),
            .flag("payload-monotonic", "Records are growing numbers."),
            .value("payload-delimiter", as: "PAYLOAD-DELIMITER", default: "\\n", "What ends a record of the file."),
            .value("throughput", as: "THROUGHPUT", .double, "Records a second, or -1 for as many as possible."),
            .value("producer-props", as: "PROP-NAME=PROP-VALUE", many: true, "Properties of the producer."),
            .value("command-property", as: "PROP-NAME=PROP-VALUE", many: true, "Properties of the producer."),
            .value("producer.config", as: "CONFIG-FILE", "Properties of the producer."),
            .value("command-config", as: "CONFIG-FILE", "Properties of the producer."),
            .value("bootstrap-server", as: "BOOTSTRAP-SERVERS", "Brokers to begin with, instead of bootstrap.servers."),
            .flag("print-metrics", "Accepted; there are no client metrics to print."),
            .value("transactional-id", as: "TRANSACTIONAL-ID", "Not available."),
            .value("transaction-duration-ms", as: "TRANSACTION-DURATION", .long, "Not available."),
            .value("reporting-interval", as: "INTERVAL-MS", .long, default: "5000", "Milliseconds between lines."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        let (properties, count, payloads) = try check(options)
        let servers = options.value("bootstrap-server") ?? properties["bootstrap.servers"] ?? ""
        let producer = try KafkaProducer(try properties.producer(servers, clientID: "perf-producer-client"))
        let stats = PerformanceStats(records: count, intervalMilliseconds: Int64(options.integer("reporting-interval") ?? 5000))
        let rate = options.double("throughput") ?? -1
        var pace = Pace(perSecond: rate > 0 ? rate : nil)
        let topic = options.value("topic") ?? ""
        var payloadSource = payloads
        do throws(KafkaError) {
            for index in 0..<count {
                let payload = payloadSource.next(index)
                do { try await pace.wait() } catch { break }
                let sent = SystemClock.monotonicNanoseconds()
                let size = payload.readableBytes
                try await producer.enqueue(ProducerRecord(topic: topic, keyBytes: nil, valueBytes: payload)) { result in
                    switch result {
                    case .success: stats.record((SystemClock.monotonicNanoseconds() - sent) / 1_000_000, bytes: size)
                    case .failure(let error): Terminal.complain(error.javaText)
                    }
                }
            }
            try await producer.close()
        } catch {
            Terminal.complain(error.javaText)
            return 1
        }
        stats.printTotal()
        return 0
    }

    private static func check(_ options: ToolOptions) throws -> (ToolProperties, Int, Payloads) {
        try syntax.require(options, "topic", "num-records", "throughput")
        let sources = ["record-size", "payload-file", "payload-monotonic"].filter { options.has($0) }
        guard sources.count == 1 else {
            throw syntax.mistake(
                sources.isEmpty
                    ? "one of the arguments --record-size --payload-file --payload-monotonic is required"
                    : "argument --\(sources[1]): not allowed with argument --\(sources[0])")
        }
        guard let count = options.integer("num-records"), count > 0 else {
            throw syntax.mistake("--num-records should be greater than zero")
        }
        let size = options.integer("record-size")
        if let size, size <= 0 { throw syntax.mistake("--record-size should be greater than zero") }
        let hasProperties = ["producer-props", "command-property", "producer.config", "command-config", "bootstrap-server"]
            .contains { options.has($0) }
        guard hasProperties else { throw syntax.mistake("Either --producer-props or --producer.config must be specified.") }
        if options.has("transactional-id") || options.has("transaction-duration-ms") {
            throw ToolExit.saying("transactions cannot be measured with this tool yet")
        }
        var properties = try ToolProperties(file: options.value("producer.config") ?? options.value("command-config"))
        properties.add(options.values("producer-props") + options.values("command-property"))
        return (properties, count, try Payloads(options, size: size))
    }
}

/// What records hold.
private struct Payloads {
    private let size: Int?
    private let lines: [ByteBuffer]
    /// The same records in every run.
    private var random = SeededRandom(seed: 0)

    init(_ options: ToolOptions, size: Int?) throws {
        self.size = size
        guard let path = options.value("payload-file") else {
            lines = []
            return
        }
        Terminal.print("Reading payloads from: \(LogFile.absolute(path))")
        guard case .success(let text) = ConfigurationFile.text(path), !text.isEmpty else {
            throw ToolExit.saying("File does not exist or empty file provided.")
        }
        let given = options.value("payload-delimiter") ?? "\\n"
        let delimiter = given == "\\n" ? "\n" : given
        var found = text.split(separator: delimiter, omittingEmptySubsequences: false).map { ByteBuffer(string: String($0)) }
        if found.last?.readableBytes == 0 { found.removeLast() }
        Terminal.print("Number of messages read: \(found.count)")
        lines = found
    }

    mutating func next(_ index: Int) -> ByteBuffer {
        if !lines.isEmpty { return lines[Int.random(in: 0..<lines.count, using: &random)] }
        guard let size else { return ByteBuffer(string: "\(index)") }
        var buffer = ByteBuffer()
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { bytes in
            var word: UInt64 = 0
            for position in 0..<size {
                if position % 8 == 0 { word = random.next() }
                bytes[position] = UInt8(ascii: "A") + UInt8(word & 0xff) % 26
                word >>= 8
            }
            return size
        }
        return buffer
    }
}

/// Counts deliveries and prints a line now and then. Filled from event loops.
private final class PerformanceStats: Sendable {
    private struct Window {
        var count = 0
        var bytes = 0
        var latency: Int64 = 0
        var maximum: Int64 = 0
    }

    private struct State {
        var total = Window()
        var window = Window()
        var windowStart: Int64
        var latencies: [Int64] = []
        var iteration = 0
    }

    private let state: Mutex<State>
    private let started = SystemClock.monotonicMilliseconds()
    private let interval: Int64
    /// One latency of so many is kept for the percentiles.
    private let sampling: Int

    init(records: Int, intervalMilliseconds: Int64) {
        interval = intervalMilliseconds
        sampling = max(1, records / min(records, 500_000))
        state = Mutex(State(windowStart: SystemClock.monotonicMilliseconds()))
    }

    func record(_ milliseconds: Int64, bytes: Int) {
        let now = SystemClock.monotonicMilliseconds()
        let line = state.withLock { state -> String? in
            Self.add(milliseconds, bytes, to: &state.total)
            Self.add(milliseconds, bytes, to: &state.window)
            if state.iteration % sampling == 0 { state.latencies.append(milliseconds) }
            state.iteration += 1
            guard now - state.windowStart >= interval else { return nil }
            defer {
                state.window = Window()
                state.windowStart = now
            }
            return Self.text(state.window, now - state.windowStart, places: 1) + "."
        }
        if let line { Terminal.print(line) }
    }

    private static func add(_ milliseconds: Int64, _ bytes: Int, to window: inout Window) {
        window.count += 1
        window.bytes += bytes
        window.latency += milliseconds
        window.maximum = max(window.maximum, milliseconds)
    }

    private static func text(_ window: Window, _ elapsed: Int64, places: Int) -> String {
        let seconds = Double(max(1, elapsed)) / 1000
        let rate = NumberText.fixed(Double(window.count) / seconds, 1)
        let megabytes = NumberText.fixed(Double(window.bytes) / seconds / 1_048_576, 2)
        let average = NumberText.fixed(Double(window.latency) / Double(max(1, window.count)), places)
        return "\(window.count) records sent, \(rate) records/sec (\(megabytes) MB/sec), \(average) ms avg latency, "
            + "\(NumberText.fixed(Double(window.maximum), places)) ms max latency"
    }

    func printTotal() {
        let elapsed = SystemClock.monotonicMilliseconds() - started
        let line = state.withLock { state in
            let sorted = state.latencies.sorted()
            let shares = [(0.5, "50th"), (0.95, "95th"), (0.99, "99th"), (0.999, "99.9th")].map { share, name in
                "\(sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]) ms \(name)"
            }
            return Self.text(state.total, elapsed, places: 2) + ", " + shares.joined(separator: ", ") + "."
        }
        Terminal.print(line)
    }
}
