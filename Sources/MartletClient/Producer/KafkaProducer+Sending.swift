// The producer's engine: one pump on one event loop builds batches, asks the core what to send, sends it and takes in the answers.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

extension KafkaProducer {
    /// Has the pump run soon; many calls in a row make one run.
    func wake() {
        guard !isPumpScheduled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        eventLoop.execute { self.pump() }
    }

    private func pump() {
        isPumpScheduled.store(false, ordering: .sequentiallyConsistent)
        let now = SystemClock.monotonicMilliseconds()
        let (expired, closed) = state.withLock { state in
            (state.core.expire(now: now, reason: state.obstacle), state.core.closeReadyBatches(now: now))
        }
        settle(expired)
        build(closed)
        let view = cluster.view
        let plan = state.withLock { state -> ProducerPlan in
            if state.viewUpdatedAt != view.updatedAt { state.update(from: view) }
            let plan = state.core.drain(
                now: now, leader: { view.leader(of: $0) },
                isConnected: { node in
                    if cluster.openConnection(toNode: node, purpose: .produce) != nil { return true }
                    return false
                })
            state.timerDeadline = plan.nextDeadline
            return plan
        }
        for request in plan.requests { dispatch(request, view) }
        connectToLeaders(view)
        if !plan.topicsWithoutLeader.isEmpty { refresh() }
        if plan.needsProducerID { requestProducerID() }
        schedule(plan.nextDeadline, now: now)
        // A partition sends one batch per drain; go on while that moves something.
        if !plan.requests.isEmpty { wake() }
    }

    private func build(_ closed: [(id: UInt64, partition: TopicPartition, builder: RecordBatchBuilder)]) {
        for (id, partition, builder) in closed {
            do throws(RecordBatchError) {
                let bytes = try builder.build()
                state.withLock { $0.core.store(bytes, of: id, in: partition) }
            } catch {
                let failure = KafkaError(error)
                settle(state.withLock { $0.core.failWaiting(failure, id: id) })
            }
        }
    }

    private func schedule(_ deadline: Int64, now: Int64) {
        timer.value?.cancel()
        timer.value = nil
        guard deadline < .max else { return }
        timer.value = eventLoop.scheduleTask(in: .milliseconds(max(1, deadline - now))) { self.wake() }
    }

    // MARK: Requests

    private func dispatch(_ dispatch: ProduceDispatch, _ view: ClusterView) {
        guard let connection = cluster.openConnection(toNode: dispatch.node, purpose: .produce) else {
            let error = KafkaError(.disconnected, "the connection to broker \(dispatch.node) was lost", isRetriable: true)
            return finish(dispatch, .failure(error), version: 0)
        }
        var request = ProduceRequest()
        request.acks = configuration.acknowledgements.rawValue
        request.timeoutMs = configuration.client.requestTimeout.clampedMilliseconds
        var hasIDs = true
        var positions: [String: Int] = [:]
        for (partition, bytes) in dispatch.batches {
            var data = ProduceRequest.PartitionProduceData()
            data.index = partition.partition
            data.records = bytes
            if let position = positions[partition.topic] {
                request.topicData[position].partitionData.append(data)
            } else {
                var topic = ProduceRequest.TopicProduceData()
                topic.name = partition.topic
                topic.topicId = view.topics[partition.topic]?.topicID ?? .zero
                hasIDs = hasIDs && topic.topicId != .zero
                topic.partitionData = [data]
                positions[partition.topic] = request.topicData.count
                request.topicData.append(topic)
            }
        }
        do throws(KafkaError) {
            let version = try connection.versions.version(of: .produce, allowed: 3...(hasIDs ? 13 : 12))
            let frame = try connection.encode(request, version: version)
            let expects = configuration.acknowledgements != .none
            connection.submit(frame, api: .produce, timeout: configuration.client.requestTimeout, expectsResponse: expects) { result in
                self.finish(dispatch, result, version: version)
            }
        } catch {
            finish(dispatch, .failure(error), version: 0)
        }
    }

    private func finish(_ dispatch: ProduceDispatch, _ result: Result<ByteBuffer, KafkaError>, version: Int16) {
        var outcomes: [TopicPartition: BatchOutcome] = [:]
        var missing = KafkaError(.disconnected, "the broker's answer does not mention the partition", isRetriable: true)
        switch result {
        case .failure(let error):
            missing = error
            if !error.isRetriable, !error.isConnectionLoss {
                for (partition, _) in dispatch.batches { outcomes[partition] = .refused(.unsupportedVersion, error.explanation) }
            }
        case .success(let frame):
            if configuration.acknowledgements == .none {
                for (partition, _) in dispatch.batches { outcomes[partition] = .written(baseOffset: -1, logAppendTime: -1) }
            } else {
                do throws(KafkaError) {
                    let response = try BrokerConnection.decode(frame, as: ProduceResponse.self, version: version)
                    outcomes = Self.outcomes(of: response, cluster)
                } catch {
                    missing = error
                }
            }
        }
        let now = SystemClock.monotonicMilliseconds()
        let (finished, refreshes) = state.withLock { state in
            state.core.complete(requestID: dispatch.requestID, now: now) { outcomes[$0] ?? .lost(missing) }
        }
        settle(finished)
        if refreshes { refresh() }
        wake()
    }

    private static func outcomes(of response: ProduceResponse, _ cluster: ClusterClient) -> [TopicPartition: BatchOutcome] {
        var outcomes: [TopicPartition: BatchOutcome] = [:]
        for topic in response.responses {
            let name = topic.name.isEmpty ? cluster.state.withLock { $0.view.topicNames[topic.topicId] } ?? "" : topic.name
            for found in topic.partitionResponses {
                let partition = TopicPartition(name, found.index)
                if found.errorCode == .none {
                    outcomes[partition] = .written(baseOffset: found.baseOffset, logAppendTime: found.logAppendTimeMs)
                } else {
                    let leader = found.currentLeader
                    if leader.leaderId >= 0 {
                        cluster.state.withLock { $0.view.learnLeader(leader.leaderId, epoch: leader.leaderEpoch, of: partition) }
                    }
                    outcomes[partition] = .refused(
                        found.errorCode, found.errorMessage ?? found.recordErrors.first?.batchIndexErrorMessage)
                }
            }
        }
        return outcomes
    }

    // MARK: What the pump waits for

    private func connectToLeaders(_ view: ClusterView) {
        let missing = state.withLock { state -> [NodeID] in
            var nodes: Set<NodeID> = []
            for (partition, queued) in state.core.partitions where !queued.queue.isEmpty {
                if let leader = view.leader(of: partition) { nodes.insert(leader) }
            }
            let missing = nodes.filter {
                !state.connecting.contains($0) && cluster.openConnection(toNode: $0, purpose: .produce) == nil
            }
            state.connecting.formUnion(missing)
            return missing.sorted()
        }
        for node in missing {
            Task { [self] in
                do throws(KafkaError) {
                    _ = try await cluster.connection(toNode: node, purpose: .produce)
                    state.withLock {
                        $0.obstacle = nil
                        _ = $0.connecting.remove(node)
                    }
                } catch {
                    _ = try? await cluster.refreshMetadata()
                    state.withLock {
                        $0.obstacle = error
                        _ = $0.connecting.remove(node)
                    }
                }
                wake()
            }
        }
    }

    private func refresh() {
        let starts = state.withLock { state in
            defer { state.isRefreshing = true }
            return !state.isRefreshing && !state.isClosed || (state.isClosed && !state.isRefreshing && !state.core.isEmpty)
        }
        guard starts else { return }
        Task { [self] in
            do throws(KafkaError) { try await cluster.refreshMetadata() } catch { state.withLock { $0.obstacle = error } }
            try? await Task.sleep(for: configuration.client.retryBackoff)
            state.withLock { $0.isRefreshing = false }
            wake()
        }
    }

    private func requestProducerID() {
        let starts = state.withLock { state in
            defer { state.isRequestingProducerID = true }
            return !state.isRequestingProducerID
        }
        guard starts else { return }
        Task { [self] in
            var request = InitProducerIdRequest()
            request.transactionalId = nil
            request.transactionTimeoutMs = .max
            do throws(KafkaError) {
                let response = try await cluster.retrying(timeout: configuration.deliveryTimeout) { [request] () throws(KafkaError) in
                    let response = try await self.cluster.send(request, to: .any)
                    try response.errorCode.check(about: "InitProducerId")
                    return response
                }
                state.withLock {
                    $0.core.assign(producerID: response.producerId, epoch: response.producerEpoch)
                    $0.isRequestingProducerID = false
                }
            } catch {
                settle(
                    state.withLock {
                        $0.obstacle = error
                        $0.isRequestingProducerID = false
                        return error.isRetriable ? [] : $0.core.failWaiting(error)
                    })
            }
            wake()
        }
    }

    // MARK: Results

    /// Tells everyone who waits for finished batches.
    func settle(_ finished: [FinishedBatch]) {
        guard !finished.isEmpty else { return }
        for item in finished { report(item) }
        let woken = state.withLock { state -> [Completion<Void>] in
            var woken = state.spaceWaiters
            state.spaceWaiters.removeAll()
            for item in finished where item.batch.deliveries.count < item.batch.recordCount {
                if case .failure(let error) = item.result, state.unclaimedError == nil { state.unclaimedError = error }
            }
            if !state.flushWaiters.isEmpty {
                let core = state.core
                woken += state.flushWaiters.filter { core.isFinished(through: $0.through) }.map(\.completion)
                state.flushWaiters.removeAll { core.isFinished(through: $0.through) }
            }
            return woken
        }
        for waiter in woken { waiter.finish(.success(())) }
    }

    private func report(_ item: FinishedBatch) {
        let batch = item.batch
        if let onBatch = configuration.onBatch {
            var delivery = BatchDelivery(
                partition: batch.partition, recordCount: batch.recordCount, bytes: batch.bytes?.readableBytes ?? 0,
                latencyNanoseconds: SystemClock.monotonicNanoseconds() - batch.createdAtNanoseconds, baseOffset: -1)
            switch item.result {
            case .success(let written): delivery.baseOffset = written.baseOffset
            case .failure(let error): delivery.error = error
            }
            onBatch(delivery)
        }
        for (index, timestamp, handler) in batch.deliveries {
            handler(
                item.result.map { written in
                    RecordMetadata(
                        topic: batch.partition.topic, partition: batch.partition.partition,
                        offset: written.baseOffset < 0 ? -1 : written.baseOffset + Int64(index),
                        timestamp: written.logAppendTime >= 0 ? written.logAppendTime : timestamp)
                })
        }
    }
}
