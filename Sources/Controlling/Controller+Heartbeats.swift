// BrokerHeartbeat: a broker says that it lives and what it wants; the controller decides whether it may serve, has to wait, or may go.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

/// How the controller sees a broker.
enum BrokerControlState: Sendable {
    case fenced
    case unfenced
    case controlledShutdown
    case shutdownNow

    var isFenced: Bool { self == .fenced || self == .shutdownNow }
}

extension Controller {
    /// Decides a BrokerHeartbeat request.
    ///
    /// - Parameters:
    ///   - nextOffset: the offset at which the first record of the answer will lie.
    ///   - now: monotonic milliseconds, of the clock of `activated(now:)`.
    /// - Throws: STALE_BROKER_EPOCH.
    public mutating func brokerHeartbeat(
        _ request: BrokerHeartbeatRequest, nextOffset: Offset, now: Int64
    ) throws(RequestFailure) -> ControllerResult<BrokerHeartbeatResponse> {
        let broker = try checkedBroker(request.brokerId, epoch: request.brokerEpoch)
        sessions.contacted(broker.id, epoch: broker.epoch, now: now)
        let registrationOffset = offsetOfRegistration(broker)
        let current = controlState(of: broker)
        let next = nextState(after: current, of: broker, request, registrationOffset: registrationOffset)
        var records: [VersionedRecord] = []
        if next != current {
            switch next {
            case .fenced, .shutdownNow: records = fencingRecords(broker)
            case .unfenced: records = unfencingRecords(broker)
            case .controlledShutdown: records = controlledShutdownRecords(broker)
            }
        }
        if version.supportsDirectoryAssignment { records += offlineDirectoryRecords(broker, request.offlineLogDirs) }
        if version >= .cordonedDirectories, let cordoned = request.cordonedLogDirs {
            records += cordonedDirectoryRecords(broker, cordoned)
        }
        sessions[broker.id, broker.epoch]?.metadataOffset = request.currentMetadataOffset
        if next == .controlledShutdown {
            if current != .controlledShutdown {
                sessions[broker.id, broker.epoch]?.controlledShutdownOffset = nextOffset + Offset(records.count) - 1
            }
        } else {
            sessions[broker.id, broker.epoch]?.controlledShutdownOffset = nil
            // It was told to go: whoever comes under its id now is its successor, and need not wait for the session to run out.
            if next == .shutdownNow { sessions[broker.id, broker.epoch]?.lastContact = nil }
        }
        var response = BrokerHeartbeatResponse()
        response.isCaughtUp = request.currentMetadataOffset >= registrationOffset
        response.isFenced = next.isFenced
        response.shouldShutDown = next == .shutdownNow
        return ControllerResult(response, records: records, isAtomic: false)
    }

    /// Where the broker's registration lies. A controller that loaded it from a snapshot only knows that it is not after the image it
    /// started from.
    private func offsetOfRegistration(_ broker: BrokerRegistration) -> Offset {
        max(registrationOffsets[broker.id] ?? startOffset, broker.epoch)
    }

    /// In controlled shutdown is who has been told so by this controller; after a failover a broker asks again.
    func controlState(of broker: BrokerRegistration) -> BrokerControlState {
        if broker.isFenced { return .fenced }
        return isShuttingDown(broker) ? .controlledShutdown : .unfenced
    }

    /// The broker has begun its controlled shutdown under this controller.
    func isShuttingDown(_ broker: BrokerRegistration) -> Bool {
        // The records of its begin may not have reached the log; then the image does not show it.
        broker.isInControlledShutdown && !broker.isFenced && sessions[broker.id, broker.epoch]?.controlledShutdownOffset != nil
    }

    private func nextState(
        after current: BrokerControlState, of broker: BrokerRegistration, _ request: BrokerHeartbeatRequest, registrationOffset: Offset
    ) -> BrokerControlState {
        let leads = partitions.leadershipCount(broker.id) > 0
        switch current {
        case .fenced:
            if request.wantShutDown { return .shutdownNow }
            return !request.wantFence && request.currentMetadataOffset >= registrationOffset ? .unfenced : .fenced
        case .unfenced:
            if request.wantFence { return request.wantShutDown ? .shutdownNow : .fenced }
            if request.wantShutDown { return leads ? .controlledShutdown : .shutdownNow }
            return .unfenced
        case .controlledShutdown:
            // It stays until everybody has learned who leads in its place, for clients are sent on by their answers.
            guard !leads, let offset = sessions[broker.id, broker.epoch]?.controlledShutdownOffset else { return .controlledShutdown }
            return offset <= lowestActiveOffset(without: broker.id) ? .shutdownNow : .controlledShutdown
        case .shutdownNow: return .shutdownNow
        }
    }

    /// How far the slowest broker is that serves and does not stop.
    private func lowestActiveOffset(without stopping: NodeID) -> Offset {
        var lowest = Offset.max
        for broker in image.cluster.brokers.values where broker.id != stopping && !broker.isFenced && !isShuttingDown(broker) {
            lowest = min(lowest, sessions[broker.id, broker.epoch]?.metadataOffset ?? -1)
        }
        return lowest
    }

    /// A directory that failed takes the replicas in it away.
    private func offlineDirectoryRecords(_ broker: BrokerRegistration, _ offline: [KafkaUUID]) -> [VersionedRecord] {
        let failed = broker.logDirectories.filter(offline.contains)
        if failed.isEmpty { return [] }
        let affected = partitions.inSync(broker.id)
        var records = leaderChanges(affected, removing: broker.id) { partition in
            partition.directory(of: broker.id).map(failed.contains) ?? false
        }
        let online = broker.logDirectories.filter { !offline.contains($0) }
        records.append(registrationChange(broker, version: 2) { $0.logDirs = online })
        return records
    }

    private func cordonedDirectoryRecords(_ broker: BrokerRegistration, _ cordoned: [KafkaUUID]) -> [VersionedRecord] {
        if let known = broker.cordonedLogDirectories, Set(known) == Set(cordoned) { return [] }
        return [registrationChange(broker, version: 3) { $0.cordonedLogDirs = cordoned }]
    }
}
