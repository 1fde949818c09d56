// What becomes of the source's transactions in a mirror that stops: what is not settled is cut off, what is open is aborted. And who waits
// for transactions to be settled.
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
import Storage

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

    /// Ends a mirror: cuts off what is not settled, and aborts what is open then.
    func endOpenTransactions(_ partition: Partition, link: String) {
        let name = partition.topicPartition
        guard state.withLock({ !$0.ended.contains(name) && $0.ending.insert(name).inserted }) else { return }
        source(of: link)?.stop(name)
        let body: JSONValue = [
            "link": .string(link), "topic": .string(name.topic), "partition": .integer(Int64(name.partition)),
        ]
        askCoordinator(.endTransactions, body) { [self] answer in
            guard let answer, let services else { return endLater(name) }
            let settled = answer["settled"]?.integerValue.map { SettledMirror(end: $0, stable: answer["stable"]?.integerValue ?? 0) }
            services.backgroundWork.run { [self] in finish(partition, settled: settled, link: link) }
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

    /// - Parameter settled: what comes behind is cut off from the next transaction on that was committed; nil when nothing is.
    private func finish(_ partition: Partition, settled: SettledMirror?, link: String) {
        let name = partition.topicPartition
        do throws(PartitionError) {
            if let settled, try !cutUnsettled(partition, behind: settled) { return endLater(name) }
            let count = try partition.abortMirroredTransactions(now: SystemClock.now())
            state.withLock { state in
                state.ending.remove(name)
                state.ended.insert(name)
            }
            source(of: link)?.markers.forget(name)
            guard count > 0 else { return }
            logger.info(
                "transactions that the source had open are aborted", metadata: ["partition": "\(name)", "transactions": "\(count)"])
        } catch {
            // Whoever leads now does it; if that is this broker still, it tries again.
            logger.warning(
                "transactions that the source had open cannot be ended yet", metadata: ["partition": "\(name)", "reason": "\(error)"])
            endLater(name)
        }
    }

    /// Cuts a mirror at the first transaction that is not committed on all mirrors, and keeps what is cut off aside.
    ///
    /// - Returns: false when that takes another leader epoch first.
    private func cutUnsettled(_ partition: Partition, behind settled: SettledMirror) throws(PartitionError) -> Bool {
        guard let position = partition.endingPosition else { throw .notLeader }
        let path: String
        let offset: Offset
        do throws(StorageError) {
            guard let first = try MirroredMarkers.firstCommit(in: partition, behind: settled) else { return true }
            guard position.mayCut else {
                needsNewEpoch(partition, position.leaderEpoch)
                return false
            }
            offset = first
            path = try keepCutRecords(of: partition, from: offset)
        } catch {
            throw .storage(error)
        }
        _ = try partition.cutMirror(to: offset, leaderEpoch: position.leaderEpoch, access: .ending, now: SystemClock.now())
        logger.warning(
            "records from a transaction on that is not complete on all mirrors are cut off",
            metadata: [
                "partition": "\(partition.topicPartition)", "from": "\(offset)", "to": "\(position.logEndOffset - 1)", "keptIn": "\(path)",
            ])
        return true
    }

    /// Waits until all that the source has committed by now is committed here, so that offsets which went with it may be copied.
    ///
    /// - Parameter topics: the mirrors that count; nil for all of them.
    func awaitTransactions(link: String, in topics: [String]? = nil) async -> Bool {
        let all: JSONValue = ["link": .string(link)]
        let question =
            topics.map { topics -> JSONValue in
                ["link": .string(link), "topics": .array(topics.map { .string($0) })]
            } ?? all
        return await withCheckedContinuation { continuation in
            askCoordinator(.awaitTransactions, question) { answer in
                continuation.resume(returning: answer?["done"]?.boolValue ?? false)
            }
        }
    }

    // MARK: Answering

    /// - Parameter operation: `endTransactions` or `awaitTransactions`.
    func answerAboutTransactions(_ operation: LinkOperation, _ body: JSONValue) async -> ManageLinksResponse {
        let link = body["link"]?.stringValue ?? ""
        do throws(LinkCallFailure) {
            if operation == .endTransactions { return try await settledEnd(link, body) }
            let topics = body["topics"]?.arrayValue.map { Set($0.compactMap(\.stringValue)) }
            return ManageLinksResponse(["done": .bool(await hasCommittedAll(link, in: topics))])
        } catch {
            return ManageLinksResponse(.coordinatorNotAvailable, error.description)
        }
    }

    private func settledEnd(_ link: String, _ body: JSONValue) async throws(LinkCallFailure) -> ManageLinksResponse {
        let partition = TopicPartition(body["topic"]?.stringValue ?? "", Int32(clamping: body["partition"]?.integerValue ?? -1))
        // By way of the log: what is settled counts once it is committed.
        let settled = try await change { coordinator in (coordinator.transactions[link]?.mirrors[partition], []) }
        return ManageLinksResponse([
            "settled": settled.map { .integer($0.end) } ?? .null, "stable": settled.map { .integer($0.stable) } ?? .null,
        ])
    }

    private func hasCommittedAll(_ link: String, in topics: Set<String>?) async -> Bool {
        guard let watch = watches.withLock({ $0[link] }), let source = source(of: link) else {
            // Of links that do not keep transactions whole nothing is to be waited for.
            return (image.links[link].flatMap { try? LinkSettings($0.configuration) })?.keepsTransactionsWhole == false
        }
        // Of a source that does not let its decisions be read nothing is to be waited for either.
        if watch.hasProblem { return true }
        guard let ends = try? await TransactionLogReader(watch: watch).currentEnds(source) else { return false }
        return await watch.awaitSettled(before: ends, in: topics, milliseconds: Self.answerMilliseconds)
    }
}
