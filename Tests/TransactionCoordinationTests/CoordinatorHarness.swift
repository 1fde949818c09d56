// A coordinator with a log in memory: writes are committed at once unless a test holds them.
import KafkaMessages
import KafkaWire
import Primitives

@testable import TransactionCoordination

struct CoordinatorHarness {
    var coordinator: TransactionCoordinator
    var now: Timestamp = 1_000
    var version: Int16
    var newProducerID: ProducerID = 100
    /// Everything that was written, in order.
    var log: [TransactionRecord] = []
    /// Markers that have been asked for and not answered.
    var markers: [TransactionMarkers] = []
    /// Writes are kept here instead of being committed.
    var holdsWrites = false
    var held: [TransactionWrite] = []

    init(version: Int16 = 2, epoch: LeaderEpoch = 7, configuration: TransactionCoordinatorConfiguration = .init()) {
        self.version = version
        coordinator = TransactionCoordinator(configuration: configuration, epoch: epoch)
        take(coordinator.loaded(moment: moment))
    }

    /// The coordinator that takes over with the log of this one.
    func successor(epoch: LeaderEpoch) -> CoordinatorHarness {
        var next = self
        next.coordinator = TransactionCoordinator(configuration: coordinator.configuration, epoch: epoch)
        next.markers = []
        next.held = []
        for record in log { next.coordinator.replay(record) }
        next.take(next.coordinator.loaded(moment: next.moment))
        return next
    }

    var moment: TransactionMoment { TransactionMoment(now: now, serverVersion: version) }

    @discardableResult
    mutating func take<Response>(_ result: TransactionResult<Response>) -> Response {
        for effect in result.effects { if case .writeMarkers(let asked) = effect { markers.append(asked) } }
        if let write = result.write {
            if holdsWrites { held.append(write) } else { commit(write) }
        }
        return result.response
    }

    mutating func commit(_ write: TransactionWrite) {
        log += write.records
        take(coordinator.committed(write, moment: moment))
    }

    mutating func releaseWrites() {
        holdsWrites = false
        let writes = held
        held = []
        for write in writes { commit(write) }
    }

    mutating func loseWrites() {
        holdsWrites = false
        for write in held { coordinator.failed(write) }
        held = []
    }

    // MARK: Requests

    mutating func initialize(
        _ id: String = "t", timeout: Int32 = 60_000, expecting: ProducerIdentity = .none,
        change: (inout InitProducerIdRequest) -> Void = { _ in }
    ) -> InitProducerIDOutcome {
        var request = InitProducerIdRequest()
        request.transactionalId = id
        request.transactionTimeoutMs = timeout
        request.producerId = expecting.id
        request.producerEpoch = expecting.epoch
        change(&request)
        let outcome = take(coordinator.initProducerID(request, newProducerID: nil, moment: moment))
        guard outcome == .needsProducerID else { return outcome }
        defer { newProducerID += 1 }
        return take(coordinator.initProducerID(request, newProducerID: newProducerID, moment: moment))
    }

    /// A producer that has been let in.
    mutating func producer(_ id: String = "t", timeout: Int32 = 60_000) -> ProducerIdentity {
        guard case .initialized(let producer) = initialize(id, timeout: timeout) else { return .none }
        return producer
    }

    mutating func add(
        _ partitions: [TopicPartition], to id: String = "t", _ producer: ProducerIdentity, clientVersion: Int16? = nil
    ) -> ErrorCode {
        take(
            coordinator.addPartitions(
                partitions, to: id, producer: producer, clientVersion: clientVersion ?? (version >= 2 ? 2 : 0), moment: moment))
    }

    mutating func end(
        _ id: String = "t", _ producer: ProducerIdentity, _ outcome: TransactionOutcome, clientVersion: Int16? = nil
    ) -> EndTransactionOutcome {
        let version = clientVersion ?? (self.version >= 2 ? 2 : 0)
        let answer = take(
            coordinator.endTransaction(
                id, producer: producer, outcome: outcome, clientVersion: version, newProducerID: nil, moment: moment))
        guard answer == .needsProducerID else { return answer }
        defer { newProducerID += 1 }
        return take(
            coordinator.endTransaction(
                id, producer: producer, outcome: outcome, clientVersion: version, newProducerID: newProducerID, moment: moment))
    }

    /// Every marker that was asked for is written.
    mutating func writeMarkers() {
        let asked = markers
        markers = []
        for markers in asked { take(coordinator.markersWritten(markers, partitions: markers.partitions, moment: moment)) }
    }

    mutating func abortTimedOut() {
        for id in coordinator.timedOut(now: now) {
            if !take(coordinator.abortTimedOut(id, newProducerID: nil, moment: moment)) {
                take(coordinator.abortTimedOut(id, newProducerID: newProducerID, moment: moment))
                newProducerID += 1
            }
        }
    }

    /// Whether there may be more.
    mutating func removeExpired() -> Bool { take(coordinator.removeExpired(maximum: 3, moment: moment)) }

    func state(_ id: String = "t") -> TransactionState? { coordinator.metadata(of: id)?.state }
    func identity(_ id: String = "t") -> ProducerIdentity? { coordinator.metadata(of: id)?.identity }
}

extension TopicPartition: ExpressibleByStringLiteral {
    public init(stringLiteral value: String) {
        let dash = value.lastIndex(of: "-")!
        self.init(String(value[..<dash]), Int32(value[value.index(after: dash)...])!)
    }
}
