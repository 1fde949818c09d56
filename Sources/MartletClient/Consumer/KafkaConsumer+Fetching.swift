// Fetching ahead: one request per broker at a time, for every partition that has room; and finding positions to begin at.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

extension KafkaConsumer {
    typealias Wanted = (partition: TopicPartition, offset: Offset, generation: UInt64)

    /// Starts whatever fetches are possible now. Cheap when there are none; called whenever something changed.
    func startFetching() {
        locatePositions()
        let view = cluster.view
        let now = SystemClock.monotonicMilliseconds()
        var hasLeaderless = false
        let requests = state.withLock { state -> [(NodeID, [Wanted])] in
            guard !state.isClosed else { return [] }
            var requests: [(NodeID, [Wanted])] = []
            for node in view.brokers.keys where !state.fetchingNodes.contains(node) && state.fetchNotBefore[node, default: 0] <= now {
                let wanted = state.consumption.takeFetchable(
                    limit: configuration.partitionMaximumBytes, memory: configuration.bufferMemory
                ) { view.leader(of: $0) == node }
                if !wanted.isEmpty {
                    state.fetchingNodes.insert(node)
                    requests.append((node, wanted))
                }
            }
            hasLeaderless = state.consumption.partitions.keys.contains { view.leader(of: $0) == nil }
            return requests
        }
        for (node, wanted) in requests {
            Task { [weak self] in await self?.fetch(from: node, wanted) }
        }
        if hasLeaderless { refreshLater() }
    }

    /// Fresh metadata, and another look.
    private func refreshLater() {
        let starts = state.withLock { state in
            guard !state.isLocating, !state.isClosed else { return false }
            state.isLocating = true
            return true
        }
        guard starts else { return }
        Task { [self] in
            _ = try? await cluster.refreshMetadata()
            try? await Task.sleep(for: configuration.client.retryBackoff)
            state.withLock { $0.isLocating = false }
            startFetching()
        }
    }

    private func fetch(from node: NodeID, _ wanted: [Wanted]) async {
        var needsRefresh = false
        do throws(KafkaError) {
            let view = cluster.view
            let (request, hasIDs) = fetchRequest(wanted, view)
            let response = try await cluster.send(
                request, to: .node(node), purpose: .fetch,
                timeout: configuration.client.requestTimeout + configuration.fetchMaximumWait, allowed: 4...(hasIDs ? 18 : 12))
            try response.errorCode.check(about: "fetch from broker \(node)")
            needsRefresh = receive(response, wanted, view)
        } catch {
            needsRefresh = true
            if !error.isRetriable, error.kind != .closed, error.kind != .cancelled, error.kind != .broker { report(error) }
        }
        if needsRefresh {
            _ = try? await cluster.refreshMetadata()
            let pause = configuration.client.retryBackoff.wholeMilliseconds
            state.withLock { $0.fetchNotBefore[node] = SystemClock.monotonicMilliseconds() + pause }
            // The application may be waiting; look again when the pause is over.
            _ = configuration.client.eventLoopGroup.next().scheduleTask(in: .milliseconds(pause + 1)) { [weak self] in
                self?.startFetching()
            }
        }
        state.withLock { state in
            state.fetchingNodes.remove(node)
            for item in wanted { state.consumption.fetchEnded(item.partition, generation: item.generation) }
        }
        wakeApplication()
        startFetching()
    }

    private func fetchRequest(_ wanted: [Wanted], _ view: ClusterView) -> (FetchRequest, hasIDs: Bool) {
        var request = FetchRequest()
        request.maxWaitMs = configuration.fetchMaximumWait.clampedMilliseconds
        request.minBytes = Int32(clamping: configuration.fetchMinimumBytes)
        request.maxBytes = Int32(clamping: configuration.fetchMaximumBytes)
        request.isolationLevel = configuration.isolation.rawValue
        var hasIDs = true
        var positions: [String: Int] = [:]
        for (item, offset, _) in wanted {
            var partition = FetchRequest.FetchPartition()
            partition.partition = item.partition
            partition.fetchOffset = offset
            partition.partitionMaxBytes = Int32(clamping: configuration.partitionMaximumBytes)
            partition.currentLeaderEpoch = view.description(of: item)?.leaderEpoch ?? -1
            if let position = positions[item.topic] {
                request.topics[position].partitions.append(partition)
            } else {
                var topic = FetchRequest.FetchTopic()
                topic.topic = item.topic
                topic.topicId = view.topics[item.topic]?.topicID ?? .zero
                hasIDs = hasIDs && topic.topicId != .zero
                topic.partitions = [partition]
                positions[item.topic] = request.topics.count
                request.topics.append(topic)
            }
        }
        return (request, hasIDs)
    }

    /// Returns whether metadata should be refreshed.
    private func receive(_ response: FetchResponse, _ wanted: [Wanted], _ view: ClusterView) -> Bool {
        var needsRefresh = false
        var asked: [TopicPartition: Wanted] = [:]
        for item in wanted { asked[item.partition] = item }
        for topic in response.responses {
            let name = topic.topic.isEmpty ? view.topicNames[topic.topicId] ?? "" : topic.topic
            for data in topic.partitions {
                guard let item = asked[TopicPartition(name, data.partitionIndex)] else { continue }
                if data.errorCode == .none {
                    accept(data, item)
                } else if handle(data.errorCode, item) {
                    needsRefresh = true
                }
            }
        }
        return needsRefresh
    }

    private func accept(_ data: FetchResponse.PartitionData, _ item: Wanted) {
        guard let bytes = data.records, bytes.readableBytes > 0 else { return }
        let reader = FetchedRecords(
            partition: item.partition, isolation: configuration.isolation, verifiesChecksums: configuration.verifiesChecksums,
            maximumDecompressedSize: configuration.maximumDecompressedBatchSize,
            handsOutControlBatches: configuration.handsOutControlBatches)
        do throws(RecordBatchError) {
            let batches = try reader.batches(
                in: bytes, position: item.offset,
                aborted: (data.abortedTransactions ?? []).map { ($0.producerId, $0.firstOffset) })
            state.withLock {
                $0.consumption.fetched(
                    batches, partition: item.partition, generation: item.generation, highWatermark: data.highWatermark)
            }
        } catch {
            report(KafkaError(.corruptRecords, "\(item.partition) at offset \(item.offset): \(error)"))
        }
    }

    private func handle(_ code: ErrorCode, _ item: Wanted) -> Bool {
        switch code {
        case .offsetOutOfRange:
            if configuration.offsetReset == .none {
                report(KafkaError(code, "offset \(item.offset) of \(item.partition) is not there, and there is no reset policy"))
                return true
            }
            state.withLock { state in
                guard state.consumption.partitions[item.partition]?.generation == item.generation else { return }
                _ = state.consumption.request(.reset, for: item.partition)
            }
            return false
        case .topicAuthorizationFailed, .corruptMessage, .unsupportedCompressionType:
            report(KafkaError(code, about: "\(item.partition)"))
            return true
        default: return true
        }
    }

    // MARK: Where to begin

    /// Finds positions of partitions that have none.
    private func locatePositions() {
        let pending = state.withLock { state -> [(TopicPartition, PendingPosition)] in
            guard !state.isLocating, !state.isClosed else { return [] }
            let pending = state.consumption.partitions.compactMap { partition, found in found.pendingQuery.map { (partition, $0) } }
            if !pending.isEmpty { state.isLocating = true }
            return pending
        }
        guard !pending.isEmpty else { return }
        Task { [self] in
            var failure: KafkaError?
            do throws(KafkaError) {
                try await locate(pending)
            } catch {
                failure = error
            }
            if let failure {
                if !failure.isRetriable, failure.kind != .closed, failure.kind != .cancelled { report(failure) }
                try? await Task.sleep(for: configuration.client.retryBackoff)
            }
            state.withLock { $0.isLocating = false }
            startFetching()
        }
    }

    private func locate(_ pending: [(partition: TopicPartition, query: PendingPosition)]) async throws(KafkaError) {
        var queries: [(partition: TopicPartition, query: OffsetQuery)] = []
        var origins: [TopicPartition: PendingPosition] = [:]
        var unknown: [TopicPartition] = []
        let waiting = pending.filter { $0.query == .committed }.map(\.partition)
        var committed: [TopicPartition: CommittedOffset] = [:]
        if !waiting.isEmpty, let group = configuration.group {
            committed = try await cluster.committedOffsets(group: group, partitions: waiting, requireStable: true)
        }
        for (partition, origin) in pending {
            origins[partition] = origin
            switch origin {
            case .query(let query): queries.append((partition, query))
            case .committed:
                if let offset = committed[partition]?.offset {
                    state.withLock { $0.consumption.found(offset, for: partition, query: origin, isCommitted: true) }
                } else {
                    fallthrough
                }
            case .reset:
                switch configuration.offsetReset {
                case .earliest: queries.append((partition, .earliest))
                case .latest: queries.append((partition, .latest))
                case .none: unknown.append(partition)
                }
            }
        }
        let found = try await cluster.offsets(queries, isolation: configuration.isolation)
        // A time after the last record means the end.
        let beyond = found.filter { $0.value.offset < 0 }.map(\.key).sorted()
        let ends = try await cluster.offsets(beyond.map { ($0, .latest) }, isolation: configuration.isolation)
        state.withLock { state in
            for (partition, offset) in found {
                guard let origin = origins[partition] else { continue }
                let position = offset.offset >= 0 ? offset.offset : ends[partition]?.offset ?? 0
                state.consumption.found(position, for: partition, query: origin)
            }
        }
        if let first = unknown.first {
            throw KafkaError(.noOffset, "there is no committed offset of \(first), and no reset policy")
        }
    }
}
