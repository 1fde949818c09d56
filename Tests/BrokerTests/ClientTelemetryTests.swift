// What clients push: the encoding, what is kept of it, and Kafka's rules of who may push when.
import KafkaMessages
import KafkaWire
import NIOCore
import Observability
import Primitives
import RecordBatches
import Testing

@testable import Broker

@Suite("Broker: client telemetry")
struct ClientTelemetryTests {
    // MARK: protocol buffers, written by hand

    private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        var length = bytes.count
        var prefix: [UInt8] = []
        while length > 127 {
            prefix.append(UInt8(length & 0x7f) | 0x80)
            length >>= 7
        }
        return [number << 3 | 2] + prefix + [UInt8(length)] + bytes
    }

    private static func text(_ number: UInt8, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }

    private static func fixed(_ number: UInt8, _ bits: UInt64) -> [UInt8] {
        [number << 3 | 1] + (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) }
    }

    private static func gauge(_ name: String, _ value: Double, label: (String, String)? = nil) -> [UInt8] {
        var point = fixed(4, value.bitPattern)
        if let label { point += field(7, text(1, label.0) + field(2, text(1, label.1))) }
        return field(2, text(1, name) + field(5, field(1, point)))
    }

    private static func sum(_ name: String, _ value: Int64, isDelta: Bool) -> [UInt8] {
        field(2, text(1, name) + field(7, field(1, fixed(6, UInt64(bitPattern: value))) + [2 << 3, isDelta ? 1 : 2] + [3 << 3, 1]))
    }

    private static func payload(_ metrics: [UInt8]...) -> [UInt8] { field(1, field(2, metrics.flatMap { $0 })) }

    @Test func pointsAreRead() throws {
        let bytes = Self.payload(
            Self.gauge("a.b", 1.5, label: ("node", "3")), Self.sum("c.total", 7, isDelta: true), Self.sum("d.total", -1, isDelta: false))
        #expect(
            try MetricsPayload(bytes).points == [
                PushedPoint(name: "a.b", kind: .gauge, value: 1.5, attributes: [.init(name: "node", value: "3")]),
                PushedPoint(name: "c.total", kind: .delta, isMonotonic: true, value: 7),
                PushedPoint(name: "d.total", kind: .cumulative, isMonotonic: true, value: -1),
            ])
        #expect(try MetricsPayload([]).points.isEmpty)
    }

    @Test func damageIsNoticedAndNeverMore() {
        let whole = Self.payload(Self.gauge("a.b", 1.5, label: ("node", "3")), Self.sum("c.total", 7, isDelta: true))
        for length in 1..<whole.count {
            #expect(throws: PayloadFailure.self) { try MetricsPayload(Array(whole.prefix(length))) }
        }
        var random = SeededRandom(seed: 11)
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
            _ = try? MetricsPayload(bytes)
        }
        let many = Self.payload(
            Self.field(2, Self.text(1, "x") + Self.field(5, (0...5000).flatMap { _ in Self.field(1, Self.fixed(4, 0)) })))
        #expect(throws: PayloadFailure.tooManyPoints) { try MetricsPayload(many) }
    }

    // MARK: rules

    private static let client = TelemetryClient(
        instanceID: KafkaUUID(mostSignificantBits: 5, leastSignificantBits: 6), clientID: "c", softwareName: "tests", softwareVersion: "1",
        address: "127.0.0.1", port: "1")

    private static func push(
        _ subscription: Int32, _ bytes: [UInt8] = [], type: Int8 = 0, terminating: Bool = false
    ) -> PushTelemetryRequest {
        var request = PushTelemetryRequest()
        request.clientInstanceId = client.instanceID
        request.subscriptionId = subscription
        request.compressionType = type
        request.terminating = terminating
        request.metrics = ByteBuffer(bytes: bytes)
        return request
    }

    private func text(_ telemetry: ClientTelemetry) -> String {
        var text = PrometheusText()
        telemetry.write(to: &text)
        return String(buffer: text.buffer)
    }

    @Test func whoComesBeforeItsTimeIsThrottled() {
        let telemetry = ClientTelemetry(maximumBytes: 1000)
        let interval = Int64(TelemetryPlan.defaultIntervalMilliseconds)
        let now = SystemClock.monotonicMilliseconds()
        let first = telemetry.subscriptions(of: Self.client, now: now)
        #expect(first.errorCode == .none && first.requestedMetrics.isEmpty && first.pushIntervalMs == 300_000)
        #expect(first.acceptedCompressionTypes == [4, 3, 1, 2] && first.deltaTemporality && first.telemetryMaxBytes == 1000)
        #expect(telemetry.subscriptions(of: Self.client, now: now + 1).errorCode == .throttlingQuotaExceeded)
        // The first push after asking may come at once, the next one may not.
        #expect(telemetry.push(Self.push(first.subscriptionId), from: Self.client, now: now + 2) == .none)
        #expect(telemetry.push(Self.push(first.subscriptionId), from: Self.client, now: now + 3) == .throttlingQuotaExceeded)
        #expect(telemetry.push(Self.push(first.subscriptionId), from: Self.client, now: now + 2 + interval) == .none)
        // A change lets everybody ask anew, and pushes for what was asked before are refused.
        telemetry.update(ClientMetricsSubscriptions())
        #expect(telemetry.push(Self.push(first.subscriptionId + 1), from: Self.client, now: now + 3 + interval) == .unknownSubscriptionId)
        #expect(telemetry.subscriptions(of: Self.client, now: now + 4 + interval).errorCode == .none)
    }

    @Test func whatCannotBeTakenIsRefused() {
        let now = SystemClock.monotonicMilliseconds()
        func ask(_ request: (Int32) -> PushTelemetryRequest) -> ErrorCode {
            let telemetry = ClientTelemetry(maximumBytes: 100)
            let id = telemetry.subscriptions(of: Self.client, now: now).subscriptionId
            return telemetry.push(request(id), from: Self.client, now: now)
        }
        #expect(ask { Self.push($0, type: 9) } == .unsupportedCompressionType)
        #expect(ask { Self.push($0, [UInt8](repeating: 0, count: 101)) } == .telemetryTooLarge)
        #expect(ask { Self.push($0, [0xff]) } == .invalidRecord)
        #expect(ask { Self.push($0, [1, 2, 3], type: 4) } == .invalidRecord)
        var nobody = Self.client
        nobody.instanceID = .zero
        #expect(ClientTelemetry(maximumBytes: 100).push(Self.push(1), from: nobody, now: now) == .invalidRequest)
        let telemetry = ClientTelemetry(maximumBytes: 100)
        let id = telemetry.subscriptions(of: Self.client, now: now).subscriptionId
        #expect(telemetry.push(Self.push(id, terminating: true), from: Self.client, now: now) == .none)
        #expect(telemetry.push(Self.push(id), from: Self.client, now: now) == .invalidRequest)
    }

    @Test func deltasAddUpAndGaugesDoNot() throws {
        let telemetry = ClientTelemetry(maximumBytes: 1000)
        let now = SystemClock.monotonicMilliseconds()
        let id = telemetry.subscriptions(of: Self.client, now: now).subscriptionId
        let bytes = Self.payload(
            Self.gauge("org.apache.kafka.producer.queue", 3, label: ("node-id", "1")), Self.sum("sent.total", 5, isDelta: true))
        var compressed = ByteBuffer()
        try Compression.zstd.compress(ByteBuffer(bytes: bytes), into: &compressed)
        for round in 0..<2 as Range<Int64> {
            var request = Self.push(id, type: 4)
            request.metrics = compressed
            #expect(telemetry.push(request, from: Self.client, now: now + round * 300_000) == .none)
        }
        let shown = text(telemetry)
        #expect(shown.contains("# TYPE kafka_client_producer_queue gauge\n"))
        #expect(shown.contains("# TYPE kafka_client_sent_total counter\n"))
        let queue = try #require(shown.split(separator: "\n").first { $0.hasPrefix("kafka_client_producer_queue{") })
        #expect(queue.hasSuffix(" 3.0") && queue.contains("client_id=\"c\"") && queue.contains("node_id=\"1\""))
        #expect(shown.split(separator: "\n").first { $0.hasPrefix("kafka_client_sent_total{") }?.hasSuffix(" 10.0") == true)
        telemetry.disconnected(Self.client.instanceID)
        #expect(!text(telemetry).contains("kafka_client_sent_total{"))
    }

    @Test func clientsThatPushTooMuchAreBounded() {
        let telemetry = ClientTelemetry(maximumBytes: 1_000_000)
        let now = SystemClock.monotonicMilliseconds()
        let id = telemetry.subscriptions(of: Self.client, now: now).subscriptionId
        let bytes = Self.field(1, Self.field(2, (0..<3000).flatMap { Self.gauge("m\($0)", 1) }))
        #expect(telemetry.push(Self.push(id, bytes), from: Self.client, now: now) == .none)
        let count = text(telemetry).split(separator: "\n").count { $0.hasPrefix("kafka_client_m") }
        #expect(count == ClientTelemetry.maximumSeriesOfInstance)
    }
}
