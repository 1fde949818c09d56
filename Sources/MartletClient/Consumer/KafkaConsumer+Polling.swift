// Handing records to the application: one by one, several at once, or batches as they were stored.
import Primitives

extension KafkaConsumer {
    /// Records one after another. The iteration ends when the consumer is closed.
    public var records: Records { Records(consumer: self) }

    /// Batches one after another, as they were stored. The iteration ends when the consumer is closed.
    public var batches: Batches { Batches(consumer: self) }

    /// An endless sequence of records.
    public struct Records: AsyncSequence, Sendable {
        public typealias Element = ConsumerRecord
        public typealias Failure = KafkaError
        let consumer: KafkaConsumer

        public func makeAsyncIterator() -> Iterator { Iterator(consumer: consumer) }

        public struct Iterator: AsyncIteratorProtocol {
            let consumer: KafkaConsumer

            public mutating func next() async throws(KafkaError) -> ConsumerRecord? {
                try await next(isolation: #isolation)
            }

            public mutating func next(isolation actor: isolated (any Actor)?) async throws(KafkaError) -> ConsumerRecord? {
                try await consumer.next(before: nil) { $0.takeRecord($1) }
            }
        }
    }

    /// An endless sequence of batches.
    public struct Batches: AsyncSequence, Sendable {
        public typealias Element = ConsumerBatch
        public typealias Failure = KafkaError
        let consumer: KafkaConsumer

        public func makeAsyncIterator() -> Iterator { Iterator(consumer: consumer) }

        public struct Iterator: AsyncIteratorProtocol {
            let consumer: KafkaConsumer

            public mutating func next() async throws(KafkaError) -> ConsumerBatch? {
                try await next(isolation: #isolation)
            }

            public mutating func next(isolation actor: isolated (any Actor)?) async throws(KafkaError) -> ConsumerBatch? {
                try await consumer.next(before: nil) { state, _ in .success(state.takeBatch()) }
            }
        }
    }

    /// Waits for records and returns as many as are there; none when the time is over.
    ///
    /// - Parameter maximumRecords: at most this many (`max.poll.records`).
    public func poll(maximumRecords: Int = 500, timeout: Duration) async throws(KafkaError) -> [ConsumerRecord] {
        let deadline = SystemClock.monotonicMilliseconds() &+ timeout.wholeMilliseconds
        return try await next(before: deadline) { state, consumer in
            var records: [ConsumerRecord] = []
            while records.count < maximumRecords {
                switch state.takeRecord(consumer) {
                case .success(nil): return .success(records.isEmpty ? nil : records)
                case .success(let record?): records.append(record)
                case .failure(let error):
                    guard !records.isEmpty else { return .failure(error) }
                    state.pendingError = error
                    return .success(records)
                }
            }
            return .success(records)
        } ?? []
    }

    /// Waits for the next batch; nil when the time is over or the consumer was closed.
    public func nextBatch(timeout: Duration) async throws(KafkaError) -> ConsumerBatch? {
        let deadline = SystemClock.monotonicMilliseconds() &+ timeout.wholeMilliseconds
        return try await next(before: deadline) { state, _ in .success(state.takeBatch()) }
    }

    /// Takes what is there or waits for it.
    fileprivate func next<Value: Sendable>(
        before deadline: Int64?, _ take: (inout State, KafkaConsumer) -> Result<Value?, KafkaError>
    ) async throws(KafkaError) -> Value? {
        var isFirst = true
        while true {
            let waiter = Completion<Void>()
            var released: [Completion<Void>] = []
            var result: Result<Value?, KafkaError> = .success(nil)
            var isOver = false
            state.withLock { state in
                if isFirst { released = state.applicationReturned() }
                guard !state.isClosed else {
                    isOver = true
                    return
                }
                if let error = state.pendingError.take() {
                    result = .failure(error)
                    return
                }
                // While a rebalance waits for its turn, nothing more is handed out.
                if released.isEmpty { result = take(&state, self) }
                switch result {
                case .success(nil): state.recordWaiters.append(waiter)
                case .success, .failure: state.isApplicationBusy = true
                }
            }
            for waiting in released { waiting.finish(.success(())) }
            isFirst = false
            if isOver { return nil }
            if let value = try result.get() {
                startFetchingIfLow()
                return value
            }
            startFetching()
            let now = SystemClock.monotonicMilliseconds()
            guard now < deadline ?? .max else { return nil }
            try await wait(waiter, milliseconds: (deadline ?? .max) - now)
        }
    }

    private func wait(_ waiter: Completion<Void>, milliseconds: Int64) async throws(KafkaError) {
        // A look now and then bounds what a lost wake-up could cost, and keeps metadata fresh.
        let timer = configuration.client.eventLoopGroup.next().scheduleTask(in: .milliseconds(max(1, min(milliseconds, 1000)))) {
            waiter.finish(.success(()))
        }
        defer { timer.cancel() }
        try await waiter.value()
        state.withLock { $0.recordWaiters.removeAll { $0 === waiter } }
    }

    private func startFetchingIfLow() {
        // Half a buffer is enough to go on with; looking at every record would cost more than it brings.
        let isLow = state.withLock { $0.currentIndex <= 1 }
        if isLow { startFetching() }
    }
}

extension KafkaConsumer.State {
    /// The application came back for more: what it had counts as read. Returns those who waited for this moment.
    mutating func applicationReturned() -> [Completion<Void>] {
        confirm()
        isApplicationBusy = false
        lastPoll = SystemClock.monotonicMilliseconds()
        guard !pollWaiters.isEmpty else { return [] }
        defer { pollWaiters = [] }
        return pollWaiters
    }

    mutating func takeRecord(_ consumer: KafkaConsumer) -> Result<ConsumerRecord?, KafkaError> {
        while true {
            if let batch = currentBatch {
                if currentIndex < current.count {
                    let record = current[currentIndex]
                    currentIndex += 1
                    let next = currentIndex == current.count ? max(batch.nextOffset, record.offset + 1) : record.offset + 1
                    handOut(batch.partition, next, record.leaderEpoch)
                    return .success(record)
                }
                handOut(batch.partition, batch.nextOffset, -1)
                currentBatch = nil
            }
            guard let batch = consumption.popBatch() else { return .success(nil) }
            do throws(KafkaError) {
                current = try batch.records()
            } catch {
                return .failure(error)
            }
            currentIndex = 0
            currentBatch = (batch.partition, batch.nextOffset, 0)
        }
    }

    mutating func takeBatch() -> ConsumerBatch? {
        // Records of a batch that was begun one by one are over with it.
        currentBatch = nil
        current = []
        currentIndex = 0
        guard let batch = consumption.popBatch() else { return nil }
        handOut(batch.partition, batch.nextOffset, batch.leaderEpoch)
        return batch
    }

    private mutating func handOut(_ partition: TopicPartition, _ next: Offset, _ epoch: LeaderEpoch) {
        consumption.partitions[partition]?.position = next
        unconfirmed[partition] = (next, epoch)
    }
}
