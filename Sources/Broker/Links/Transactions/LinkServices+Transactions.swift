// Questions about a source's transactions between the brokers of this cluster: asked by leaders of mirrors, answered by whoever coordinates
// links.
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Network
import Primitives
import Runtime

extension LinkServices {
    private static let retryMilliseconds: Int64 = 100
    private static let answerMilliseconds: Int64 = 5_000

    // MARK: Asking

    /// Asks the coordinator, wherever it is; calls back with nil when it cannot be asked.
    private func askCoordinator(_ operation: LinkOperation, _ body: JSONValue, done: @escaping @Sendable (JSONValue?) -> Void) {
        guard let services, let connections else { return done(nil) }
        let leader = services.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
        if leader == nodeID {
            tasks.begin { [self] in
                let response = await answerAboutTransactions(operation, body)
                done(response.errorCode == .none ? response.json : nil)
            }
            return
        }
        guard leader >= 0, let address = services.replication.address(of: leader) else { return done(nil) }
        connections.send(ManageLinksRequest(operation, body), to: address, timeoutMilliseconds: Self.answerMilliseconds * 2) { result in
            guard case .success(let response) = result, response.errorCode == .none else { return done(nil) }
            done(response.json)
        }
    }

    /// Ends what a mirror that stops has open: as the source decided where that is recorded, else by aborting. What is recorded as committed
    /// and still held is appended first.
    func endOpenTransactions(_ partition: Partition, link: String) {
        let name = partition.topicPartition
        guard state.withLock({ !$0.ended.contains(name) && $0.ending.insert(name).inserted }) else { return }
        let done: @Sendable (SurrenderedMirror?) -> Void = { [self] surrendered in
            if let surrendered { state.withLock { $0.surrendered[name] = surrendered } }
            askForEnds(partition, link: link)
        }
        guard let source = source(of: link) else { return done(nil) }
        source.surrender(name, done)
    }

    private func askForEnds(_ partition: Partition, link: String) {
        let name = partition.topicPartition
        let end = (try? partition.withLog { $0.logEndOffset }) ?? 0
        let body: JSONValue = [
            "link": .string(link), "topic": .string(name.topic), "partition": .integer(Int64(name.partition)), "end": .integer(end),
        ]
        askCoordinator(.endTransactions, body) { [self] answer in
            guard let answer, let services else { return endLater(name) }
            let released = (answer["released"]?.arrayValue ?? []).compactMap { entry -> ReleasedMarker? in
                guard let id = entry["producer"]?.integerValue, let epoch = entry["epoch"]?.integerValue,
                    let offset = entry["offset"]?.integerValue
                else { return nil }
                return ReleasedMarker(producer: id, epoch: Int16(clamping: epoch), offset: offset)
            }
            services.backgroundWork.run { [self] in finish(partition, released) }
        }
    }

    /// Tries again after a while.
    private func endLater(_ name: TopicPartition) {
        let eventLoop = state.withLock { state in
            state.ending.remove(name)
            return state.isClosed ? nil : state.eventLoopGroup?.next()
        }
        eventLoop?.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { [self] in
            services?.backgroundWork.run { [self] in reconcile() }
        }
    }

    private func finish(_ partition: Partition, _ released: [ReleasedMarker]) {
        let name = partition.topicPartition
        do throws(PartitionError) {
            var end = (try? partition.withLog { $0.logEndOffset }) ?? 0
            if let surrendered = state.withLock({ $0.surrendered[name] }), let records = surrendered.records(upTo: released, from: end) {
                end = try partition.appendMirrored(
                    records, leaderEpoch: partition.leadership.leaderEpoch, sourceStartOffset: surrendered.sourceStart, access: .ending,
                    now: SystemClock.now()
                ).position.logEndOffset
            }
            var committed: [ProducerID: Int16] = [:]
            for marker in released where marker.offset >= end && committed[marker.producer] == nil {
                committed[marker.producer] = marker.epoch
            }
            let count = try partition.endMirroredTransactions(committed: committed, now: SystemClock.now())
            state.withLock { state in
                state.surrendered[name] = nil
                state.ending.remove(name)
                state.ended.insert(name)
            }
            guard count > 0 else { return }
            logger.info(
                "transactions that the source had open are ended", metadata: ["partition": "\(name)", "transactions": "\(count)"])
        } catch {
            // Whoever leads now does it; if that is this broker still, it tries again.
            logger.warning(
                "transactions that the source had open cannot be ended yet", metadata: ["partition": "\(name)", "reason": "\(error)"])
            if case .notLeader = error { state.withLock { $0.surrendered[name] = nil } }
            endLater(name)
        }
    }

    /// Waits until all that the source has committed by now is committed here, so that offsets which went with it may be copied.
    func awaitTransactions(link: String) async -> Bool {
        await withCheckedContinuation { continuation in
            askCoordinator(.awaitTransactions, ["link": .string(link)]) { answer in
                continuation.resume(returning: answer?["done"]?.boolValue ?? false)
            }
        }
    }

    // MARK: Answering

    /// Which of these markers may be appended; answered when one may, or after a while.
    func permitMarkers(_ body: JSONValue, done: @escaping @Sendable (ManageLinksResponse) -> Void) {
        guard let watch = watches.withLock({ $0[body["link"]?.stringValue ?? ""] }) else {
            let code = ErrorCode.coordinatorNotAvailable
            return done(ManageLinksResponse(code, code.defaultMessage))
        }
        let markers = (body["markers"]?.arrayValue ?? []).compactMap { HeldMarker($0) }
        watch.ask(markers) { permitted in
            guard let permitted else {
                return done(ManageLinksResponse(.coordinatorNotAvailable, ErrorCode.coordinatorNotAvailable.defaultMessage))
            }
            done(ManageLinksResponse(["permitted": .array(permitted.map(\.json))]))
        }
    }

    /// - Parameter operation: `endTransactions` or `awaitTransactions`.
    func answerAboutTransactions(_ operation: LinkOperation, _ body: JSONValue) async -> ManageLinksResponse {
        let link = body["link"]?.stringValue ?? ""
        do throws(LinkCallFailure) {
            if operation == .endTransactions { return try await endings(link, body) }
            return ManageLinksResponse(["done": .bool(await hasCommittedAll(link))])
        } catch {
            return ManageLinksResponse(.coordinatorNotAvailable, error.description)
        }
    }

    private func endings(_ link: String, _ body: JSONValue) async throws(LinkCallFailure) -> ManageLinksResponse {
        let partition = TopicPartition(body["topic"]?.stringValue ?? "", Int32(clamping: body["partition"]?.integerValue ?? -1))
        let end = body["end"]?.integerValue ?? 0
        // By way of the log: what is released counts once it is committed.
        let recorded = try await change { coordinator in (coordinator.transactions[link] ?? RecordedTransactions(), []) }
        let released = recorded.markers(in: partition, from: end).map { producer, offset -> JSONValue in
            ["producer": .integer(producer.id), "epoch": .integer(Int64(producer.epoch)), "offset": .integer(offset)]
        }
        return ManageLinksResponse(["released": .array(released)])
    }

    private func hasCommittedAll(_ link: String) async -> Bool {
        guard let watch = watches.withLock({ $0[link] }), let source = source(of: link) else {
            // Of links that do not keep transactions whole nothing is to be waited for.
            return (image.links[link].flatMap { try? LinkSettings($0.configuration) })?.keepsTransactionsWhole == false
        }
        guard let ends = try? await TransactionLogReader(watch: watch).currentEnds(source) else { return false }
        return await watch.awaitReleases(before: ends, milliseconds: Self.answerMilliseconds)
    }
}

extension LinkServices {
    func askAbout(_ markers: [HeldMarker], link: String, done: @escaping @Sendable ([HeldMarker]?) -> Void) {
        guard let services, let connections else { return done(nil) }
        let leader = services.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
        if leader == nodeID {
            guard let watch = watches.withLock({ $0[link] }) else { return done(nil) }
            return watch.ask(markers, done)
        }
        guard leader >= 0, let address = services.replication.address(of: leader) else { return done(nil) }
        let body: JSONValue = ["link": .string(link), "markers": .array(markers.map(\.json))]
        connections.send(ManageLinksRequest(.permitMarkers, body), to: address, timeoutMilliseconds: 5_000) { result in
            guard case .success(let response) = result, response.errorCode == .none, let body = response.json else { return done(nil) }
            done((body["permitted"]?.arrayValue ?? []).compactMap { HeldMarker($0) })
        }
    }
}

extension HeldMarker {
    fileprivate var json: JSONValue {
        [
            .string(partition.topic), .integer(Int64(partition.partition)), .integer(producer.id), .integer(Int64(producer.epoch)),
            .integer(offset), .integer(timestamp),
        ]
    }

    fileprivate init?(_ value: JSONValue) {
        guard let parts = value.arrayValue, parts.count == 6, let topic = parts[0].stringValue, let partition = parts[1].integerValue,
            let id = parts[2].integerValue, let epoch = parts[3].integerValue, let offset = parts[4].integerValue,
            let timestamp = parts[5].integerValue
        else { return nil }
        self.init(
            partition: TopicPartition(topic, Int32(clamping: partition)),
            producer: TransactionProducer(id: id, epoch: Int16(clamping: epoch)), offset: offset, timestamp: timestamp)
    }
}
