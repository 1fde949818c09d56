// The requests of transactional producers and of administrators, each handed to the shard that its transactional id belongs to.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import TransactionCoordination

extension TransactionRuntime {
    /// InitProducerId with a transactional id.
    public func initProducerID(
        _ request: InitProducerIdRequest, completion: @escaping @Sendable (Result<ProducerIdentity, CoordinatorLogError>) -> Void
    ) {
        initProducerID(request, newProducerID: nil, completion: completion)
    }

    private func initProducerID(
        _ request: InitProducerIdRequest, newProducerID: ProducerID?,
        completion: @escaping @Sendable (Result<ProducerIdentity, CoordinatorLogError>) -> Void
    ) {
        let moment = moment
        shard(for: request.transactionalId ?? "").submit(
            moment: moment, step: { $0.initProducerID(request, newProducerID: newProducerID, moment: moment) }, failed: { .refused($0) }
        ) { [self] outcome in
            switch outcome {
            case .initialized(let producer): completion(.success(producer))
            case .refused(let error): completion(.failure(CoordinatorLogError(error)))
            case .needsProducerID:
                environment.newProducerID { [self] id in
                    // As Kafka answers while its block of ids is on its way.
                    guard let id else { return completion(.failure(CoordinatorLogError(.coordinatorLoadInProgress))) }
                    initProducerID(request, newProducerID: id, completion: completion)
                }
            }
        }
    }

    /// AddPartitionsToTxn for one transactional id; AddOffsetsToTxn with the group's partition of __consumer_offsets.
    public func addPartitions(
        _ partitions: [TopicPartition], to id: String, producer: ProducerIdentity, clientVersion: Int16,
        completion: @escaping @Sendable (ErrorCode) -> Void
    ) {
        onceEnded(id, isEnding: { $0 == .concurrentTransactions }, completion: completion) { [self] answer in
            let moment = moment
            shard(for: id).submit(
                moment: moment,
                step: { $0.addPartitions(partitions, to: id, producer: producer, clientVersion: clientVersion, moment: moment) },
                failed: { $0 }, completion: answer)
        }
    }

    /// AddPartitionsToTxn that only asks; one answer for each partition.
    public func verifyPartitions(_ partitions: [TopicPartition], in id: String, producer: ProducerIdentity) -> [ErrorCode] {
        switch shard(for: id).read({ $0.verifyPartitions(partitions, in: id, producer: producer) }) {
        case .success(let errors): errors
        case .failure(let error): partitions.map { _ in error.code }
        }
    }

    /// EndTxn.
    public func endTransaction(
        _ id: String, producer: ProducerIdentity, outcome: TransactionOutcome, clientVersion: Int16,
        completion: @escaping @Sendable (Result<ProducerIdentity, CoordinatorLogError>) -> Void
    ) {
        onceEnded(
            id,
            isEnding: { answer in if case .failure(let error) = answer { error.code == .concurrentTransactions } else { false } },
            completion: completion
        ) { [self] answer in end(id, producer, outcome, clientVersion, newProducerID: nil, completion: answer) }
    }

    private func end(
        _ id: String, _ producer: ProducerIdentity, _ outcome: TransactionOutcome, _ clientVersion: Int16, newProducerID: ProducerID?,
        completion: @escaping @Sendable (Result<ProducerIdentity, CoordinatorLogError>) -> Void
    ) {
        let moment = moment
        shard(for: id).submit(
            moment: moment,
            step: {
                $0.endTransaction(
                    id, producer: producer, outcome: outcome, clientVersion: clientVersion, newProducerID: newProducerID, moment: moment)
            }, failed: { .refused($0) }
        ) { [self] answer in
            switch answer {
            case .ended(let producer): completion(.success(producer))
            case .refused(let error): completion(.failure(CoordinatorLogError(error)))
            case .needsProducerID:
                environment.newProducerID { [self] fresh in
                    guard let fresh else { return completion(.failure(CoordinatorLogError(.coordinatorLoadInProgress))) }
                    end(id, producer, outcome, clientVersion, newProducerID: fresh, completion: completion)
                }
            }
        }
    }

    /// DescribeTransactions for one transactional id.
    public func describe(_ id: String) -> DescribeTransactionsResponse.TransactionState {
        switch shard(for: id).read({ $0.describe(id) }) {
        case .success(let description): return description
        case .failure(let error):
            var description = DescribeTransactionsResponse.TransactionState()
            description.transactionalId = id
            description.errorCode = id.isEmpty ? .invalidRequest : error.code
            return description
        }
    }

    /// ListTransactions: the transactional ids of all partitions coordinated here.
    ///
    /// - Parameter matches: the pattern over ids.
    public func list(_ request: ListTransactionsRequest, matches: (String) -> Bool) -> ListTransactionsResponse {
        var response = ListTransactionsResponse()
        var filter = TransactionFilter(
            states: [], filtersStates: !request.stateFilters.isEmpty, producerIDs: Set(request.producerIdFilters),
            durationMilliseconds: request.durationFilter)
        for name in request.stateFilters {
            if let state = TransactionState(name: name) {
                filter.states.insert(state)
            } else {
                response.unknownStateFilters.append(name)
            }
        }
        let now = environment.now()
        for shard in shards {
            switch shard.read({ $0.list(filter, now: now, matches: matches) }) {
            case .success(let states): response.transactionStates += states
            case .failure(let error) where error.code == .notCoordinator: continue
            case .failure(let error):
                // A part is still being read: half a list would be taken for the whole.
                var refusal = ListTransactionsResponse()
                refusal.errorCode = error.code
                return refusal
            }
        }
        return response
    }

}

// MARK: - Metrics

extension TransactionRuntime {
    /// Transactional ids by state, over all partitions coordinated here.
    public func counts() -> [(state: TransactionState, count: Int)] {
        var totals: [Int] = TransactionState.allCases.map { _ in 0 }
        for shard in shards {
            guard case .success(let counts) = shard.read({ $0.counts }) else { continue }
            for (state, count) in counts { totals[Int(state.rawValue)] += count }
        }
        return TransactionState.allCases.map { (state: $0, count: totals[Int($0.rawValue)]) }.filter { $0.count > 0 }
    }

    /// Transactions whose end has to be written again.
    public var failedCompletionCount: Int {
        shards.reduce(0) { sum, shard in
            guard case .success(let count) = shard.read({ $0.failedCompletionCount }) else { return sum }
            return sum + count
        }
    }

    /// Transactions that have ended since the start.
    public func reading(of outcome: TransactionOutcome) -> EventReading { (outcome == .commit ? committed : aborted).reading }

    public var partitionCounts: CoordinatorPartitionCounts { CoordinatorPartitionCounts(shards.map(\.condition)) }

    /// How long loading partitions took lately.
    public var loadTimes: RecentTimes { loading.reading }
}

// MARK: - Waiting for the end of a transaction

extension TransactionRuntime {
    /// How long a request waits for the end of its producer's last transaction before it is told CONCURRENT_TRANSACTIONS. Kafka tells it at
    /// once; clients then come again 20 to 100 ms later, where markers are usually written within a few.
    static let endingMilliseconds: Int64 = 100

    /// Makes an attempt, and makes it again with each step of the shard for as long as its answer is that the transaction is just ending.
    private func onceEnded<Answer: Sendable>(
        _ id: String, isEnding: @escaping @Sendable (Answer) -> Bool, completion: @escaping @Sendable (Answer) -> Void,
        attempt: @escaping @Sendable (@escaping @Sendable (Answer) -> Void) -> Void
    ) {
        let shard = shard(for: id)
        let deadline = environment.now() + Self.endingMilliseconds
        @Sendable func go(isLast: Bool) {
            let steps = shard.steps
            attempt { answer in
                guard isEnding(answer), !isLast else { return completion(answer) }
                switch shard.wait(TransactionShard.Waiter(deadline: deadline, retry: go), since: steps) {
                case .waits: break
                case .changed: go(isLast: false)
                case .refused: completion(answer)
                }
            }
        }
        go(isLast: false)
    }
}
