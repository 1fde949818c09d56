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

    /// Ends what a mirror that stops has open: as the source decided where that is recorded, else by aborting.
    func endOpenTransactions(_ partition: Partition, link: String) {
        guard let open = partition.openMirroredTransactions else { return }
        let name = partition.topicPartition
        guard state.withLock({ $0.ending.insert(name).inserted }) else { return }
        let body: JSONValue = [
            "link": .string(link), "topic": .string(name.topic), "partition": .integer(Int64(name.partition)),
            "end": .integer(open.end), "producers": .array(open.producers.map { .integer($0) }),
        ]
        askCoordinator(.endTransactions, body) { [self] answer in
            state.withLock { _ = $0.ending.remove(name) }
            guard let answer, let services else {
                let eventLoop = state.withLock { $0.isClosed ? nil : $0.eventLoopGroup?.next() }
                eventLoop?.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { [self] in reconcileLater() }
                return
            }
            var committed: [ProducerID: Int16] = [:]
            for entry in answer["committed"]?.arrayValue ?? [] {
                guard let id = entry["producer"]?.integerValue, let epoch = entry["epoch"]?.integerValue else { continue }
                committed[id] = Int16(clamping: epoch)
            }
            let found = committed
            services.backgroundWork.run { [self] in write(partition, found) }
        }
    }

    /// For event loops: looks at all mirrors anew, elsewhere.
    private func reconcileLater() { services?.backgroundWork.run { [self] in reconcile() } }

    private func write(_ partition: Partition, _ committed: [ProducerID: Int16]) {
        let place: Logger.Metadata = ["partition": "\(partition.topicPartition)"]
        do throws(PartitionError) {
            let count = try partition.endMirroredTransactions(committed: committed, now: SystemClock.now())
            guard count > 0 else { return }
            let numbers: Logger.Metadata = ["committed": "\(committed.count)", "aborted": "\(count - committed.count)"]
            logger.info("transactions that the source had open are ended", metadata: place.merging(numbers) { first, _ in first })
        } catch {
            logger.error(
                "transactions that the source had open cannot be ended",
                metadata: place.merging(["reason": "\(error)"]) { first, _ in first })
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
        let committed = (body["producers"]?.arrayValue ?? []).compactMap { entry -> JSONValue? in
            guard let id = entry.integerValue, let marker = recorded.commitMarker(of: id, in: partition, end: end) else { return nil }
            return ["producer": .integer(id), "epoch": .integer(Int64(marker.epoch))]
        }
        return ManageLinksResponse(["committed": .array(committed)])
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
