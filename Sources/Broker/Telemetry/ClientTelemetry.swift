// The metrics of clients (KIP-714): who pushes what, and the last values of everything pushed, for the Prometheus endpoint. Instances, series
// and what is shown of them are bounded.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Observability
import Primitives
import RecordBatches
import Synchronization

/// The clients that push metrics to this broker. Times are monotonic milliseconds.
final class ClientTelemetry: Sendable {
    /// As many clients as Kafka's brokers keep.
    static let maximumInstances = 16_384
    /// Series of all clients together, and of one.
    static let maximumSeries = 100_000
    static let maximumSeriesOfInstance = 1000
    /// How long a client is remembered at least.
    private static let retentionMilliseconds: Int64 = 60_000
    private static let compressionTypes: [CompressionType] = [.zstd, .lz4, .gzip, .snappy]

    struct SeriesKey: Hashable {
        var name: String
        var attributes: [PushedPoint.Attribute]
    }

    struct Series {
        var isCounter: Bool
        var value: Double
    }

    private struct Instance {
        var client: TelemetryClient
        var plan = TelemetryPlan()
        var subscriptionID: Int32 = 0
        var version = -1
        var lastGet: Int64 = .min / 2
        var lastPush: Int64 = .min / 2
        var lastSeen: Int64
        var isTerminating = false
        var lastError = ErrorCode.none
        var series: OrderedDictionary<SeriesKey, Series> = [:]
    }

    private struct State {
        var subscriptions = ClientMetricsSubscriptions()
        var version = 0
        var instances: OrderedDictionary<KafkaUUID, Instance> = [:]
        var seriesCount = 0
    }

    private let maximumBytes: Int
    private let state = Mutex(State())
    private let unknownSubscriptions = Counter()
    private let throttled = Counter()
    private let unreadable = Counter()
    private let pushes = Counter()

    /// - Parameter maximumBytes: `telemetry.max.bytes`.
    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    func update(_ subscriptions: ClientMetricsSubscriptions) {
        state.withLock { state in
            state.subscriptions = subscriptions
            state.version += 1
        }
    }

    /// Says what a client is to push, and how often.
    func subscriptions(of client: TelemetryClient, now: Int64) -> GetTelemetrySubscriptionsResponse {
        var client = client
        if client.instanceID == .zero { client.instanceID = KafkaUUID.random() }
        var response = GetTelemetrySubscriptionsResponse()
        state.withLock { state in
            withInstance(of: client, now, &state) { instance in
                let elapsed = now - max(instance.lastGet, instance.lastPush)
                if elapsed >= Int64(instance.plan.intervalMilliseconds) {
                    instance.lastGet = now
                } else if instance.lastError != .unknownSubscriptionId, instance.lastError != .unsupportedCompressionType {
                    throttled.increment()
                    response.errorCode = .throttlingQuotaExceeded
                    return
                }
                instance.lastError = .none
                response.clientInstanceId = client.instanceID
                response.subscriptionId = instance.subscriptionID
                response.requestedMetrics = instance.plan.metrics
                response.acceptedCompressionTypes = Self.compressionTypes.map { Int8($0.rawValue) }
                response.pushIntervalMs = instance.plan.intervalMilliseconds
                response.telemetryMaxBytes = Int32(clamping: maximumBytes)
                response.deltaTemporality = true
            }
        }
        return response
    }

    /// Takes what a client pushes.
    func push(_ request: PushTelemetryRequest, from client: TelemetryClient, now: Int64) -> ErrorCode {
        let reserved = [KafkaUUID.zero, KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 1)]
        guard !reserved.contains(client.instanceID) else { return .invalidRequest }
        let error = state.withLock { state in
            withInstance(of: client, now, &state) { instance -> ErrorCode in
                let error = refusal(of: request, by: &instance, now)
                instance.isTerminating = request.terminating
                instance.lastError = error
                return error
            }
        }
        guard error == .none else { return error }
        pushes.increment()
        guard request.metrics.readableBytes > 0 else { return .none }
        guard let points = points(in: request) else {
            unreadable.increment()
            state.withLock { $0.instances[client.instanceID]?.lastError = .invalidRecord }
            return .invalidRecord
        }
        state.withLock { store(points, of: client.instanceID, &$0) }
        return .none
    }

    private func refusal(of request: PushTelemetryRequest, by instance: inout Instance, _ now: Int64) -> ErrorCode {
        if instance.isTerminating { return .invalidRequest }
        let isDue = instance.lastGet > instance.lastPush || now - instance.lastPush >= Int64(instance.plan.intervalMilliseconds)
        if isDue { instance.lastPush = now }
        if !isDue, !request.terminating {
            throttled.increment()
            return .throttlingQuotaExceeded
        }
        if request.subscriptionId != instance.subscriptionID {
            unknownSubscriptions.increment()
            return .unknownSubscriptionId
        }
        if UInt8(exactly: request.compressionType).flatMap({ CompressionType(rawValue: $0) }) == nil { return .unsupportedCompressionType }
        return request.metrics.readableBytes > maximumBytes ? .telemetryTooLarge : .none
    }

    private func points(in request: PushTelemetryRequest) -> [PushedPoint]? {
        guard let type = UInt8(exactly: request.compressionType).flatMap({ CompressionType(rawValue: $0) }),
            let bytes = try? Compression.decompress(request.metrics, type: type, maximumSize: maximumBytes)
        else { return nil }
        return try? MetricsPayload(Array(bytes.readableBytesView)).points
    }

    private func store(_ points: [PushedPoint], of id: KafkaUUID, _ state: inout State) {
        guard var instance = state.instances[id] else { return }
        for point in points {
            let key = SeriesKey(name: point.name, attributes: point.attributes)
            if instance.series[key] == nil {
                guard instance.series.count < Self.maximumSeriesOfInstance, state.seriesCount < Self.maximumSeries else { continue }
                state.seriesCount += 1
            }
            let before = point.kind == .delta ? instance.series[key]?.value ?? 0 : 0
            instance.series[key] = Series(isCounter: point.kind != .gauge && point.isMonotonic, value: before + point.value)
        }
        state.instances[id] = instance
    }

    /// The connection that a client used last has ended: what it pushed is history.
    func disconnected(_ id: KafkaUUID) {
        state.withLock { Self.remove(id, &$0) }
    }

    private static func remove(_ id: KafkaUUID, _ state: inout State) {
        guard let instance = state.instances.removeValue(forKey: id) else { return }
        state.seriesCount -= instance.series.count
    }

    private func withInstance<Result>(
        of client: TelemetryClient, _ now: Int64, _ state: inout State, _ body: (inout Instance) -> Result
    ) -> Result {
        var instance = state.instances[client.instanceID] ?? Instance(client: client, lastSeen: now)
        if state.instances[client.instanceID] == nil { makeRoom(now, &state) }
        if instance.version != state.version {
            instance.version = state.version
            instance.plan = state.subscriptions.plan(for: client)
            instance.subscriptionID = Self.subscriptionID(instance.plan, client.instanceID)
            // Whoever asks after a change need not wait.
            instance.lastGet = .min / 2
            instance.lastPush = .min / 2
        }
        instance.lastSeen = now
        defer { state.instances[client.instanceID] = instance }
        return body(&instance)
    }

    private static func subscriptionID(_ plan: TelemetryPlan, _ id: KafkaUUID) -> Int32 {
        let text = "\(plan.metrics.joined(separator: ",")) \(plan.intervalMilliseconds) \(id)"
        return Int32(bitPattern: CRC32C.checksum(ByteBuffer(string: text)))
    }

    private func makeRoom(_ now: Int64, _ state: inout State) {
        guard state.instances.count >= Self.maximumInstances else { return }
        expire(now, &state)
        guard state.instances.count >= Self.maximumInstances else { return }
        if let oldest = state.instances.min(by: { $0.value.lastSeen < $1.value.lastSeen })?.key { Self.remove(oldest, &state) }
    }

    private func expire(_ now: Int64, _ state: inout State) {
        for (id, instance) in state.instances
        where now - instance.lastSeen > max(Self.retentionMilliseconds, 3 * Int64(instance.plan.intervalMilliseconds)) {
            Self.remove(id, &state)
        }
    }

    // MARK: Numbers

    /// Writes everything that clients pushed, and how many there are.
    func write(to text: inout PrometheusText) {
        let instances = state.withLock { state in
            expire(SystemClock.monotonicMilliseconds(), &state)
            return state.instances.values.map { ($0.client, $0.series) }
        }
        guard !instances.isEmpty || pushes.value > 0 else { return }
        text.single("kafka_server_client_metrics_instance_count", .gauge, help: "Clients that push metrics.", instances.count)
        text.single("kafka_server_client_metrics_plugin_export_count", .counter, help: "Pushes of metrics taken.", pushes.value)
        text.single("kafka_server_client_metrics_plugin_error_count", .counter, help: "Pushes that could not be read.", unreadable.value)
        text.single("kafka_server_client_metrics_throttle_count", .counter, help: "Requests before their time.", throttled.value)
        text.single(
            "kafka_server_client_metrics_unknown_subscription_request_count", .counter, help: "Pushes for what is asked no more.",
            unknownSubscriptions.value)
        var families: OrderedDictionary<String, [(client: TelemetryClient, key: SeriesKey, series: Series)]> = [:]
        for (client, series) in instances {
            for (key, value) in series { families[PushedName.family(key.name), default: []].append((client, key, value)) }
        }
        for (name, samples) in families {
            guard let isCounter = samples.first?.series.isCounter else { continue }
            text.family(name, isCounter ? .counter : .gauge, help: "Pushed by clients as \(samples[0].key.name).")
            for sample in samples where sample.series.isCounter == isCounter {
                let client = sample.client
                // What a client calls its own, or twice, does not make a page that cannot be read.
                var labels = [
                    ("client_instance_id", client.instanceID.description), ("client_id", client.clientID),
                    ("client_software_name", client.softwareName), ("client_software_version", client.softwareVersion),
                ]
                for attribute in sample.key.attributes {
                    let label = PushedName.label(attribute.name)
                    if !labels.contains(where: { $0.0 == label }) { labels.append((label, attribute.value)) }
                }
                text.sample(name, labels: labels, sample.series.value)
            }
        }
    }
}

/// Names as Prometheus has them.
enum PushedName {
    /// `org.apache.kafka.producer.x` becomes `kafka_client_producer_x`: nothing that a client pushes can be taken for the broker's own.
    static func family(_ name: String) -> String {
        let prefix = "org.apache.kafka."
        return "kafka_client_" + plain(name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name)
    }

    static func label(_ name: String) -> String {
        let plain = plain(name)
        return plain.first?.isNumber == true ? "_" + plain : plain
    }

    private static func plain(_ name: String) -> String {
        String(
            decoding: name.utf8.map { byte -> UInt8 in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    byte
                default: UInt8(ascii: "_")
                }
            }, as: UTF8.self)
    }
}
