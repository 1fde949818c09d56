// Metrics as Prometheus reads them, health as Kubernetes asks for it, log lines as people and machines read them.
import Glibc
import Logging
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import Testing

@testable import Observability

/// The samples of an exposition, checked against the format's rules on the way.
struct ParsedMetrics {
    var samples: [String: Double] = [:]
    var types: [String: String] = [:]

    init(_ text: String) throws {
        var family = ""
        var finished: Set<String> = []
        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# HELP ") {
                finished.insert(family)
                family = String(line.split(separator: " ")[2])
                #expect(!finished.contains(family), "\(family) appears twice")
            } else if line.hasPrefix("# TYPE ") {
                let words = line.split(separator: " ")
                #expect(words.count == 4 && words[2] == family)
                types[family] = String(words[3])
            } else {
                let match = try #require(
                    try /([a-z_][a-z0-9_]*)(\{(?:[a-zA-Z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)/.wholeMatch(in: line),
                    "not a sample: \(line)")
                #expect(match.1.hasPrefix(family), "\(line) is not of family \(family)")
                let key = String(match.1) + String(match.2 ?? "")
                #expect(samples[key] == nil, "\(key) appears twice")
                let value: Double = try #require(Double(match.3), "\(line)")
                samples[key] = value
            }
        }
    }
}

@Suite("Metrics")
struct MetricsTests {
    private static func metrics() -> KafkaMetrics {
        KafkaMetrics(
            requestKinds: [
                RequestKind(apiKey: 0, name: "Produce", highestVersion: 13), RequestKind(apiKey: 1, name: "Fetch", highestVersion: 17),
            ], version: "1.2.3")
    }

    @Test("Traffic appears under the names that Kafka's dashboards ask for")
    func names() throws {
        let metrics = Self.metrics()
        metrics.topic("orders").messagesIn.increment(by: 10)
        metrics.topic("orders").bytesIn.increment(by: 1000)
        metrics.topic("payments \"x\"\\").messagesIn.increment(by: 5)
        metrics.topic("gone").messagesIn.increment(by: 3)
        metrics.removeTopic("gone")
        metrics.request(0).count(version: 9, bytes: 100)
        metrics.request(0).count(version: 9, bytes: 100)
        metrics.request(0).count(version: 99, bytes: 1)
        metrics.request(77).count(version: 0, bytes: 1)
        metrics.request(0).recordTotal(nanoseconds: 2_000_000)
        metrics.request(0).count(error: "NOT_LEADER_OR_FOLLOWER")
        metrics.observeConnections { [.init(listener: "PLAIN", networkProcessor: 1, count: 4)] }
        metrics.observeState {
            var state = KafkaState()
            var partition = KafkaState.Partition(topic: "orders", partition: 3)
            partition.size = 4096
            partition.logStartOffset = 7
            partition.logEndOffset = 107
            partition.isUnderMinISR = true
            state.partitions = [partition]
            state.leaderCount = 1
            state.activeControllerCount = 1
            state.raft = .init()
            state.raft?.currentState = "leader"
            return state
        }
        let parsed = try ParsedMetrics(String(buffer: metrics.registry.scrape()))
        let expected: [String: Double] = [
            #"kafka_server_brokertopicmetrics_messagesin_total{topic="orders"}"#: 10,
            #"kafka_server_brokertopicmetrics_messagesin_total{topic="payments \"x\"\\"}"#: 5,
            "kafka_server_brokertopicmetrics_messagesin_total": 18,
            #"kafka_server_brokertopicmetrics_bytesin_total{topic="orders"}"#: 1000,
            #"kafka_network_requestmetrics_requests_total{request="Produce",version="9"}"#: 2,
            #"kafka_network_requestmetrics_requests_total{request="Produce",version="unknown"}"#: 1,
            #"kafka_network_requestmetrics_requests_total{request="Unknown",version="0"}"#: 1,
            #"kafka_network_requestmetrics_errors_total{request="Produce",error="NOT_LEADER_OR_FOLLOWER"}"#: 1,
            #"kafka_network_requestmetrics_totaltimems_count{request="Produce"}"#: 1,
            #"kafka_server_socket_server_metrics_connection_count{listener="PLAIN",networkProcessor="1"}"#: 4,
            #"kafka_log_log_size{topic="orders",partition="3"}"#: 4096,
            #"kafka_log_log_logstartoffset{topic="orders",partition="3"}"#: 7,
            #"kafka_log_log_logendoffset{topic="orders",partition="3"}"#: 107,
            #"kafka_cluster_partition_underminisr{topic="orders",partition="3"}"#: 1,
            "kafka_server_replicamanager_partitioncount": 1,
            "kafka_server_replicamanager_leadercount": 1,
            "kafka_server_replicamanager_underreplicatedpartitions": 0,
            "kafka_controller_kafkacontroller_activecontrollercount": 1,
            #"kafka_server_raftmetrics_current_state{current_state="leader"}"#: 1,
            #"martlet_build_info{version="1.2.3"}"#: 1,
        ]
        for (name, value) in expected {
            #expect(parsed.samples[name] == value, "\(name) is \(parsed.samples[name].map { "\($0)" } ?? "missing")")
        }
        #expect(parsed.types["kafka_network_requestmetrics_totaltimems"] == "summary")
        let median = try #require(parsed.samples[#"kafka_network_requestmetrics_totaltimems{request="Produce",quantile="0.50"}"#])
        #expect(abs(median - 2) < 0.13)
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            #expect(parsed.samples[name] ?? 0 > 0, "\(name)")
        }
    }

    @Test("Quantiles are right within the width of a bucket, and old durations are forgotten")
    func quantiles() {
        let histogram = LatencyHistogram(now: 0)
        var random = SeededRandom(seed: 4)
        let durations = (0..<10_000).map { _ in Int64.random(in: 1000...5_000_000, using: &random) }
        for duration in durations { histogram.record(nanoseconds: duration) }
        let sorted = durations.sorted()
        for (quantile, value) in zip([0.5, 0.95, 0.99, 1], histogram.quantiles([0.5, 0.95, 0.99, 1], now: 1)) {
            let exact = Double(sorted[min(9999, Int(quantile * 10_000) - 1)])
            #expect(abs(value - exact) / exact < 0.07, "\(quantile): \(value) instead of \(exact)")
        }
        #expect(histogram.count == 10_000)
        #expect(histogram.sumNanoseconds == Int(durations.reduce(0, +)))
        let minute: Int64 = 60_000_000_000
        _ = histogram.quantiles([0.5], now: minute)
        _ = histogram.quantiles([0.5], now: 2 * minute)
        #expect(histogram.quantiles([0.5], now: 3 * minute) == [0])
        #expect(histogram.count == 10_000)
    }

    @Test("Every duration falls into the bucket that contains it")
    func buckets() {
        for exponent in 0..<40 {
            for value in [UInt64(1) << UInt64(exponent), (UInt64(1) << UInt64(exponent)) * 2 - 1] {
                let middle = LatencyHistogram.middle(ofBucket: LatencyHistogram.bucket(of: value))
                #expect(abs(middle - Double(value)) <= max(0.5, Double(value) * 0.0626))
            }
        }
        #expect(LatencyHistogram.bucket(of: .max) == LatencyHistogram.bucket(of: 1 << 50))
    }

    @Test("Counting from several threads loses nothing")
    func concurrentCounting() {
        let metrics = Self.metrics()
        let threads = NIOThreadPool(numberOfThreads: 4)
        threads.start()
        let done = Atomic<Int>(0)
        for _ in 0..<4 {
            threads.submit { _ in
                for _ in 0..<10_000 {
                    metrics.topic("t").messagesIn.increment()
                    metrics.request(1).recordTotal(nanoseconds: 5)
                }
                done.wrappingAdd(1, ordering: .sequentiallyConsistent)
            }
        }
        #expect(eventually { done.load(ordering: .sequentiallyConsistent) == 4 })
        #expect(metrics.topic("t").messagesIn.value == 40_000)
        #expect(metrics.request(1).totalTime?.count == 40_000)
        try? threads.syncShutdownGracefully()
    }
}

@Suite("Admin endpoint")
struct AdminServerTests {
    private static func get(_ port: Int, _ path: String, method: String = "GET") throws -> (status: Int, body: String) {
        let client = try TestClient(port: port)
        try client.write(Array("\(method) \(path) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".utf8))
        var bytes: [UInt8] = []
        while let byte = try? client.read(1) { bytes += byte }
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        let status = try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) })
        return (status, parts.count > 1 ? String(parts[1]) : "")
    }

    private static func withAdmin(_ body: (Int, NodeHealth, AdminServer) throws -> Void) throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let health = NodeHealth()
        let registry = MetricsRegistry()
        registry.register { $0.single("answer", .gauge, help: "of all", 42) }
        let admin = AdminServer(eventLoopGroup: group, health: health, registry: registry, logger: LogCollector().logger)
        let port = try admin.start(host: "127.0.0.1", port: 0)
        defer {
            admin.close()
            try? group.syncShutdownGracefully()
        }
        try body(port, health, admin)
    }

    @Test("Ready follows the node, with progress until then; live only fails when the node cannot go on")
    func health() throws {
        try Self.withAdmin { port, health, _ in
            health.report(.init(phase: "recovering logs", done: 250, total: 1000, unit: "partitions"))
            var answer = try Self.get(port, "/health/ready")
            #expect(answer.status == 503)
            #expect(answer.body.contains(#""phase":"recovering logs","done":250,"total":1000,"unit":"partitions","percent":25"#))
            #expect(try Self.get(port, "/health/live").status == 200)
            health.reportReady()
            #expect(try Self.get(port, "/health/ready?verbose").status == 200)
            health.setImpediment("log directory", "/data/1 failed")
            answer = try Self.get(port, "/health/ready")
            #expect(answer.status == 503)
            #expect(answer.body.contains(#""impediments":{"log directory":"/data/1 failed"}"#))
            health.setImpediment("log directory", nil)
            #expect(try Self.get(port, "/health/ready").status == 200)
            health.reportStopping()
            #expect(try Self.get(port, "/health/ready").status == 503)
            health.reportFailure("all log directories failed")
            #expect(try Self.get(port, "/health/live").status == 503)
        }
    }

    @Test("Metrics, added routes, unknown paths and methods")
    func routes() throws {
        try Self.withAdmin { port, _, admin in
            let metrics = try Self.get(port, "/metrics")
            #expect(metrics.status == 200)
            #expect(try ParsedMetrics(metrics.body).samples == ["answer": 42])
            #expect(try Self.get(port, "/nothing").status == 404)
            #expect(try Self.get(port, "/metrics", method: "DELETE").status == 405)
            let head = try Self.get(port, "/metrics", method: "HEAD")
            #expect(head.status == 200 && head.body.isEmpty)
            admin.addRoute("/extra") { .json("{\"query\":\"\($0.query ?? "")\"}") }
            #expect(try Self.get(port, "/extra?a=1").body == "{\"query\":\"a=1\"}")
        }
    }

    @Test("More clients than the bound are turned away, and the others go on")
    func bounded() throws {
        try Self.withAdmin { port, _, _ in
            let clients = try (0..<AdminServer.maximumClients).map { _ in try TestClient(port: port) }
            let request = Array("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            for client in clients {
                try client.write(request)
                #expect(try client.read(12) == Array("HTTP/1.1 200".utf8))
            }
            #expect(try TestClient(port: port).isClosedByServer())
            try clients[3].write(request)
        }
    }
}

@Suite("Log lines")
struct StructuredLogTests {
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private static func collect(_ format: StructuredLog.Format) -> (StructuredLog, Lines) {
        let lines = Lines()
        return (StructuredLog(level: .info, format: format) { line in lines.all.withLock { $0.append(line) } }, lines)
    }

    @Test("Text lines: time, level, component, message, sorted keys, nothing that starts a line of its own")
    func text() throws {
        let (log, lines) = Self.collect(.text)
        var logger = log.logger("network")
        logger[metadataKey: "node"] = "1"
        logger.warning("bad\nFAKE line", metadata: ["z": "a b", "client": "10.0.0.1", "empty": ""])
        let line = try #require(lines.all.withLock { $0.first })
        let match = try #require(try /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)\n/.dotMatchesNewlines().wholeMatch(in: line))
        #expect(match.1 == #"WARN  network: bad FAKE line client=10.0.0.1 empty="" node=1 z="a b""#)
    }

    @Test("JSON lines escape what they must")
    func json() throws {
        let (log, lines) = Self.collect(.json)
        log.logger("storage").error("say \"hi\"\\ \u{1}", metadata: ["message": "other", "path": "/data"])
        let line = try #require(lines.all.withLock { $0.first })
        #expect(line.hasPrefix("{\"time\":\"20"))
        #expect(
            line.hasSuffix(
                #""level":"error","component":"storage","message":"say \"hi\"\\ \u0001","message_":"other","path":"/data"}"# + "\n"))
    }

    @Test("The level can be changed for all loggers at once and is not evaluated when disabled")
    func levels() {
        let (log, lines) = Self.collect(.text)
        let logger = log.logger("broker")
        var evaluated = 0
        func message() -> Logger.Message {
            evaluated += 1
            return "detail"
        }
        logger.debug(message())
        #expect(evaluated == 0 && lines.all.withLock { $0.isEmpty })
        log.minimumLevel = .debug
        logger.debug(message())
        #expect(evaluated == 1 && lines.all.withLock { $0.count } == 1)
        var own = logger
        own.logLevel = .error
        own.warning(message())
        #expect(evaluated == 1)
    }

    @Test("A component can have a level of its own, and follow the root again")
    func componentLevels() {
        let (log, lines) = Self.collect(.text)
        let network = log.logger("network")
        let broker = log.logger("broker")
        #expect(log.levels.map(\.name) == ["root", "broker", "network"])
        log.setLevel(.debug, of: "network")
        network.debug("seen")
        broker.debug("not seen")
        #expect(lines.all.withLock { $0.count } == 1)
        #expect(log.levels.map(\.level) == [.info, .info, .debug])
        log.setLevel(.error, of: StructuredLog.root)
        log.setLevel(nil, of: "network")
        network.warning("not seen")
        #expect(lines.all.withLock { $0.count } == 1 && log.levels.allSatisfy { $0.level == .error })
        log.setLevel(.trace, of: "unknown")
        #expect(log.levels.count == 3)
    }

    @Test("A repeated message is admitted once per interval with the number held back")
    func rateLimit() {
        let limiter = MessageRateLimiter(intervalMilliseconds: 1000)
        #expect(limiter.admit(now: 5) == 0)
        #expect(limiter.admit(now: 6) == nil)
        #expect(limiter.admit(now: 1004) == nil)
        #expect(limiter.admit(now: 1005) == 2)
        #expect(limiter.admit(now: 1006) == nil)
        #expect(limiter.admit(now: 9999) == 1)
    }
}
