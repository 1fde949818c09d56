// One fetch of one broker of the source: the request, and what its answer means for each partition.
import KafkaMessages
import KafkaWire
import MartletClient
import Mirroring
import NIOCore
import Primitives
import RecordBatches

/// A partition to fetch, and from where.
struct WantedPartition: Sendable {
    var source: TopicPartition
    var target: TopicPartition
    var position: Int64
}

/// What a fetch brought of one partition.
struct FetchedPart: Sendable {
    var source: TopicPartition
    var target: TopicPartition
    /// The offset that was asked for.
    var start: Int64
    /// The offset after everything that is in here, passed over or copied.
    var next: Int64
    var copies: [CopiedBatch]
    /// Bytes as stored on the source.
    var bytes: Int
    /// What was done to the records.
    var counts = RewriteCounts()
    /// Offsets of origins in the copies, by the way that they came.
    var passed: [RecordPath: OffsetRanges] = [:]
    /// Nil without provenance.
    var rule: ProvenanceRule?
}

/// What a fetch brought.
struct FetchedRound: Sendable {
    var parts: [FetchedPart] = []
    /// The ends of partitions on the source: the high watermarks.
    var ends: [(partition: TopicPartition, end: Int64)] = []
    /// Partitions whose offset is not there.
    var outOfRange: [TopicPartition] = []
    var failures: [(partition: TopicPartition, error: KafkaError)] = []
    /// Records that were refused; their partitions are among the failures too.
    var refused: [(partition: TopicPartition, offset: Int64)] = []
    /// Whether leaders should be looked up again.
    var isStale = false
}

struct SourceFetching {
    let cluster: ClusterClient
    let fetch: FetchSettings
    let produce: ProduceSettings
    let records: RecordSettings

    /// Fetches from a broker; waits for records for as long as the settings say.
    func fetch(_ wanted: [WantedPartition], from node: NodeID) async throws(KafkaError) -> FetchedRound {
        let view = cluster.view
        let (request, hasIDs) = request(wanted, view)
        let response = try await cluster.send(
            request, to: .node(node), purpose: .fetch, timeout: cluster.configuration.requestTimeout + fetch.maximumWait,
            allowed: 4...(hasIDs ? 17 : 12))
        try response.errorCode.check(about: "fetch from broker \(node)")
        var asked: [TopicPartition: WantedPartition] = [:]
        for item in wanted { asked[item.source] = item }
        var round = FetchedRound()
        for topic in response.responses {
            let name = topic.topic.isEmpty ? view.topicNames[topic.topicId] ?? "" : topic.topic
            for data in topic.partitions {
                guard let item = asked[TopicPartition(name, data.partitionIndex)] else { continue }
                take(data, item, view.topics[name]?.topicID ?? .zero, &round)
            }
        }
        return round
    }

    private func request(_ wanted: [WantedPartition], _ view: ClusterView) -> (FetchRequest, hasIDs: Bool) {
        var request = FetchRequest()
        request.maxWaitMs = fetch.maximumWait.clampedMilliseconds
        request.minBytes = fetch.minimumBytes
        request.maxBytes = fetch.maximumBytes
        request.isolationLevel = fetch.isolation.rawValue
        var hasIDs = true
        var positions: [String: Int] = [:]
        for item in wanted {
            var partition = FetchRequest.FetchPartition()
            partition.partition = item.source.partition
            partition.fetchOffset = item.position
            partition.partitionMaxBytes = fetch.partitionMaximumBytes
            partition.currentLeaderEpoch = view.description(of: item.source)?.leaderEpoch ?? -1
            if let position = positions[item.source.topic] {
                request.topics[position].partitions.append(partition)
            } else {
                var topic = FetchRequest.FetchTopic()
                topic.topic = item.source.topic
                topic.topicId = view.topics[item.source.topic]?.topicID ?? .zero
                hasIDs = hasIDs && topic.topicId != .zero
                topic.partitions = [partition]
                positions[item.source.topic] = request.topics.count
                request.topics.append(topic)
            }
        }
        return (request, hasIDs)
    }

    private func take(
        _ data: FetchResponse.PartitionData, _ item: WantedPartition, _ topicID: TopicID, _ round: inout FetchedRound
    ) {
        guard data.errorCode == .none else {
            if data.errorCode == .offsetOutOfRange {
                round.outOfRange.append(item.source)
            } else if data.errorCode.isRetriable || data.errorCode.refreshesMetadata {
                round.isStale = true
            } else {
                round.failures.append((item.source, KafkaError(data.errorCode, about: "\(item.source)")))
            }
            return
        }
        round.ends.append((item.source, data.highWatermark))
        guard let bytes = data.records, bytes.readableBytes > 0 else { return }
        let reader = FetchedRecords(
            partition: item.source, isolation: fetch.isolation, verifiesChecksums: fetch.verifiesChecksums,
            maximumDecompressedSize: RecordBatch.defaultMaximumDecompressedSize)
        do throws(RecordBatchError) {
            let batches = try reader.batches(
                in: bytes, position: item.position, aborted: (data.abortedTransactions ?? []).map { ($0.producerId, $0.firstOffset) })
            guard let last = batches.last else { return }
            let rule = records.rule(item.source, topicID)
            var rewriting = records.rewriting(item, rule)
            let copies = try BatchCopying.copies(of: batches, produce, &rewriting)
            if let refused = rewriting?.refused {
                round.refused.append((item.source, refused.offset))
                round.failures.append(
                    (item.source, .invalidContent("\(item.source) at offset \(refused.offset): \(refused.reason)")))
                // What is before it can go on.
                guard refused.offset > item.position else { return }
            }
            round.parts.append(
                FetchedPart(
                    source: item.source, target: item.target, start: item.position,
                    next: rewriting?.refused?.offset ?? last.nextOffset, copies: copies,
                    bytes: batches.reduce(0) { $0 + $1.storedBytes }, counts: rewriting?.counts ?? RewriteCounts(),
                    passed: rewriting?.passed(from: item.position, to: last.nextOffset) ?? [:], rule: rule))
        } catch {
            round.failures.append((item.source, KafkaError(.corruptRecords, "\(item.source) at offset \(item.position): \(error)")))
        }
    }
}
