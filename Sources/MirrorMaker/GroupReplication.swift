// How far groups are, for the other side: checkpoints, and group offsets of groups that nobody uses there.
import Logging
import MartletClient
import Mirroring
import NIOCore
import Primitives
import Synchronization

/// Checkpoints and group offsets of one flow.
final class GroupReplication: Sendable {
    private struct Books {
        var groups: [String] = []
        /// The last checkpoint by group and partition on the target.
        var last: [String: [TopicPartition: Checkpoint]] = [:]
    }

    private let state: FlowState
    private let producer: KafkaProducer
    private let books = Mutex(Books())

    private var flow: MirrorFlow { state.flow }

    init(_ state: FlowState) throws(KafkaError) {
        self.state = state
        var configuration = ProducerConfiguration(state.clients.targetProducer)
        configuration.allowTopicCreation = false
        producer = try KafkaProducer(configuration)
    }

    func close() async { try? await producer.close() }

    /// Reads the checkpoints that were written before.
    func load() async throws(KafkaError) {
        var last: [String: [TopicPartition: Checkpoint]] = [:]
        try await TopicReading.readAll(flow.checkpointsTopic, state.clients.targetConsumer) { record in
            guard let key = record.key, let value = record.value, let checkpoint = try? Checkpoint(key: key, value: value) else { return }
            last[checkpoint.group, default: [:]][checkpoint.partition] = checkpoint
        }
        books.withLock { $0.last = last }
    }

    /// Looks which groups of the source are replicated.
    func refreshGroups() async throws(KafkaError) {
        let found = try await state.sourceAdmin.listGroups().filter { listing in
            (listing.protocolType == "consumer" || listing.protocolType.isEmpty) && listing.type.lowercased() != "share"
                && listing.type.lowercased() != "streams" && flow.groups.matches(listing.group)
        }
        books.withLock { $0.groups = found.map(\.group) }
    }

    /// Writes a checkpoint for every group and partition that went on since the last time.
    func emitCheckpoints() async throws(KafkaError) {
        let started = SystemClock.now()
        var written: [Checkpoint] = []
        for group in books.withLock({ $0.groups }) {
            let offsets = try await state.sourceAdmin.listGroupOffsets(group)
            for checkpoint in checkpoints(of: group, offsets) {
                let record = ProducerRecord(
                    topic: flow.checkpointsTopic, partition: 0, keyBytes: checkpoint.key, valueBytes: checkpoint.value, timestamp: started)
                try await producer.enqueue(record)
                written.append(checkpoint)
            }
        }
        try await producer.flush()
        let latency = SystemClock.now() - started
        books.withLock { books in
            for checkpoint in written { books.last[checkpoint.group, default: [:]][checkpoint.partition] = checkpoint }
        }
        state.contents.withLock { state in
            for checkpoint in written { state.checkpointFigures[checkpoint.group, default: Spread()].add(latency) }
        }
    }

    /// Where records of the target begin that a group has not read on the source: in topics of the same name their order differs, so
    /// that they may be before what it has not read of the source's own.
    ///
    /// - Returns: by partition; nil for one of which it is not known.
    private func limits(_ offsets: [TopicPartition: CommittedOffset]) -> [TopicPartition: Int64?] {
        let reverse = state.reverse.withLock { $0 }
        guard reverse.exists else { return [:] }
        var limits: [TopicPartition: Int64?] = [:]
        reverse.state?.contents.withLock { other in
            for (partition, committed) in offsets {
                let remote = flow.policy.remoteTopic(partition.topic)
                // What does not come back has nothing there that the group could miss.
                guard reverse.state?.flow.replicates(remote, other.rules) == true else { continue }
                let copied = other.partitions[TopicPartition(remote, partition.partition)]
                limits[partition] = .some(copied?.position == nil ? nil : copied?.translation.upstream(of: committed.offset))
            }
        }
        return limits
    }

    private func checkpoints(of group: String, _ offsets: [TopicPartition: CommittedOffset]) -> [Checkpoint] {
        let last = books.withLock { $0.last[group] ?? [:] }
        let rules = state.contents.withLock { $0.rules }
        let limits = limits(offsets)
        return state.contents.withLock { state in
            offsets.sorted { $0.key < $1.key }.compactMap { partition, committed in
                guard flow.chooses(partition.topic, rules), let copied = state.partitions[partition], copied.position != nil,
                    let behind = copied.translation.downstream(of: committed.offset),
                    let downstream = limits[partition].map({ $0.map { min($0, behind) } }) ?? behind
                else { return nil }
                let checkpoint = Checkpoint(
                    group: group, partition: copied.target, upstreamOffset: committed.offset, downstreamOffset: downstream,
                    metadata: committed.metadata)
                return checkpoint.isMoreRecent(than: last[copied.target]) ? checkpoint : nil
            }
        }
    }

    /// Sets the offsets of groups on the target that have no members there: forward only.
    func syncGroupOffsets() async throws(KafkaError) {
        for group in books.withLock({ $0.groups }) {
            let checkpoints = books.withLock { $0.last[group] ?? [:] }
            guard !checkpoints.isEmpty, try await isIdle(group) else { continue }
            let present = try await state.targetAdmin.listGroupOffsets(group)
            var wanted: [TopicPartition: CommittedOffset] = [:]
            for (partition, checkpoint) in checkpoints where (present[partition]?.offset ?? -1) < checkpoint.downstreamOffset {
                wanted[partition] = CommittedOffset(checkpoint.downstreamOffset, metadata: checkpoint.metadata)
            }
            guard !wanted.isEmpty else { continue }
            do throws(KafkaError) {
                try await state.targetAdmin.alterGroupOffsets(group, wanted)
            } catch {
                // A member that joined just now owns the offsets.
                state.logger.warning(
                    "group offsets cannot be set; a consumer of the group may have started on the target",
                    metadata: ["flow": "\(flow.name)", "group": "\(group)", "error": "\(error)"])
            }
        }
    }

    /// Whether nobody uses the group on the target, or it does not exist there.
    private func isIdle(_ group: String) async throws(KafkaError) -> Bool {
        do throws(KafkaError) {
            let description = try await state.targetAdmin.describeGroup(group)
            return description.members.isEmpty && (description.state == "Empty" || description.state == "Dead")
        } catch {
            if error.codeName == "GROUP_ID_NOT_FOUND" { return true }
            throw error
        }
    }
}
