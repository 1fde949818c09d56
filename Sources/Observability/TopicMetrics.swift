// Kafka's BrokerTopicMetrics: traffic per topic and over all topics.
import Synchronization

/// Counters of one topic. Whoever serves the topic keeps a reference, so that counting needs no look-up.
public final class TopicMetrics: Sendable {
    public let messagesIn = Counter()
    public let bytesIn = Counter()
    public let bytesOut = Counter()
    public let bytesRejected = Counter()
    public let totalProduceRequests = Counter()
    public let failedProduceRequests = Counter()
    public let totalFetchRequests = Counter()
    public let failedFetchRequests = Counter()
    public let produceMessageConversions = Counter()
    public let fetchMessageConversions = Counter()
    public let invalidMagicNumberRecords = Counter()
    public let invalidMessageCRCRecords = Counter()
    public let invalidOffsetOrSequenceRecords = Counter()
    public let noKeyCompactedTopicRecords = Counter()

    init() {}

    static let families: [(name: String, help: String, counter: KeyPath<TopicMetrics, Counter> & Sendable)] = [
        ("messagesin", "Records appended by producers.", \.messagesIn),
        ("bytesin", "Bytes of record batches appended by producers.", \.bytesIn),
        ("bytesout", "Bytes of record batches sent to consumers.", \.bytesOut),
        ("bytesrejected", "Bytes of record batches refused for their size.", \.bytesRejected),
        ("totalproducerequests", "Produce requests, one per topic named in them.", \.totalProduceRequests),
        ("failedproducerequests", "Produce requests that failed for the topic.", \.failedProduceRequests),
        ("totalfetchrequests", "Fetch requests, one per topic named in them.", \.totalFetchRequests),
        ("failedfetchrequests", "Fetch requests that failed for the topic.", \.failedFetchRequests),
        ("producemessageconversions", "Produced batches that had to be rewritten.", \.produceMessageConversions),
        ("fetchmessageconversions", "Fetched batches that had to be rewritten.", \.fetchMessageConversions),
        ("invalidmagicnumberrecords", "Batches refused for their magic number.", \.invalidMagicNumberRecords),
        ("invalidmessagecrcrecords", "Batches refused for their checksum.", \.invalidMessageCRCRecords),
        ("invalidoffsetorsequencerecords", "Batches refused for their offsets or sequence.", \.invalidOffsetOrSequenceRecords),
        ("nokeycompactedtopicrecords", "Records without key refused by a compacted topic.", \.noKeyCompactedTopicRecords),
    ]
}

/// All topics' counters; children come into being when a topic is first served.
final class TopicMetricsTable: Sendable {
    private struct State {
        var topics: [String: TopicMetrics] = [:]
        // What deleted topics had counted, so that the totals never go back.
        var retired = [Int](repeating: 0, count: TopicMetrics.families.count)
    }

    private let state = Mutex(State())

    func topic(_ name: String) -> TopicMetrics {
        state.withLock { state in
            if let metrics = state.topics[name] { return metrics }
            let metrics = TopicMetrics()
            state.topics[name] = metrics
            return metrics
        }
    }

    func remove(_ name: String) {
        state.withLock { state in
            guard let metrics = state.topics.removeValue(forKey: name) else { return }
            for (index, family) in TopicMetrics.families.enumerated() {
                state.retired[index] += metrics[keyPath: family.counter].value
            }
        }
    }

    func write(to text: inout PrometheusText) {
        let (topics, retired) = state.withLock { state in
            (state.topics.sorted { $0.key < $1.key }, state.retired)
        }
        for (index, family) in TopicMetrics.families.enumerated() {
            let name = "kafka_server_brokertopicmetrics_\(family.name)_total"
            text.family(name, .counter, help: family.help)
            var total = retired[index]
            for (topic, metrics) in topics {
                let value = metrics[keyPath: family.counter].value
                total += value
                text.sample(name, ["topic": topic], value)
            }
            text.sample(name, [:], total)
        }
    }
}
