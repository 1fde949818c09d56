// Throttling of replication (KIP-73): the rates of this broker, and which of its replicas they are for.
import ClusterMetadata
import ConfigDefinitions
import Configuration
import Primitives
import Replication
import Synchronization

/// One direction's rate, shared by all partitions of the node.
final class ReplicationThrottle: Sendable {
    private let quota: Mutex<ReplicationQuota>
    /// Asked before the lock is taken: nearly always nothing is limited.
    private let limited = Atomic<Bool>(false)

    init(_ settings: ReplicationSettings) {
        quota = Mutex(ReplicationQuota(samples: settings.quotaWindows, milliseconds: settings.quotaWindowMilliseconds))
    }

    init(samples: Int, milliseconds: Int64) {
        quota = Mutex(ReplicationQuota(samples: samples, milliseconds: milliseconds))
    }

    /// Sets the bound in bytes a second; `.max` for none.
    func update(bytesPerSecond: Int64) {
        quota.withLock { $0.bytesPerSecond = bytesPerSecond }
        limited.store(bytesPerSecond != .max, ordering: .relaxed)
    }

    var isLimited: Bool { limited.load(ordering: .relaxed) }

    /// How long throttled replicas have to wait; 0 while they need not.
    var pauseMilliseconds: Int64 {
        guard isLimited else { return 0 }
        return quota.withLock { $0.millisecondsUntilWithin(now: SystemClock.monotonicMilliseconds()) }
    }

    var isExceeded: Bool { pauseMilliseconds > 0 }

    func record(bytes: Int) {
        guard bytes > 0 else { return }
        quota.withLock { $0.record(bytes: bytes, now: SystemClock.monotonicMilliseconds()) }
    }
}

/// In which directions a replica on this broker is throttled.
struct ReplicaThrottling: Sendable, Hashable {
    /// As leader it holds back what replicas out of sync ask for.
    var leader = false
    /// As follower it holds back its own fetches while it is out of sync.
    var follower = false
}

/// `leader.replication.throttled.replicas` and `follower.replication.throttled.replicas` of one topic, as far as one broker goes.
struct TopicThrottling {
    private enum Replicas {
        case none
        case all
        case some(Set<Int32>)

        /// - Parameter text: `*`, or partition:broker with commas between.
        init(_ text: String?, broker: NodeID) {
            let entries = (text ?? "").split(separator: ",").map { $0.filter { !$0.isWhitespace } }.filter { !$0.isEmpty }
            if entries == ["*"] {
                self = .all
                return
            }
            let partitions = entries.compactMap { entry -> Int32? in
                let parts = entry.split(separator: ":")
                return parts.count == 2 && Int32(parts[1]) == broker ? Int32(parts[0]) : nil
            }
            self = partitions.isEmpty ? .none : .some(Set(partitions))
        }

        func contains(_ partition: Int32) -> Bool {
            switch self {
            case .none: false
            case .all: true
            case .some(let partitions): partitions.contains(partition)
            }
        }
    }

    private let leader: Replicas
    private let follower: Replicas

    init(_ image: MetadataImage, topic: String, broker: NodeID) {
        let values = image.configurations.values(of: ConfigResource(.topic, topic))
        leader = Replicas(values["leader.replication.throttled.replicas"], broker: broker)
        follower = Replicas(values["follower.replication.throttled.replicas"], broker: broker)
    }

    func of(_ partition: Int32) -> ReplicaThrottling {
        ReplicaThrottling(leader: leader.contains(partition), follower: follower.contains(partition))
    }
}

extension ReplicationServices {
    /// Takes over the rates that the dynamic configuration sets for this broker.
    func update(rates layers: BrokerConfigLayers) {
        func rate(_ key: String) -> Int64 {
            if case .long(let value)? = layers.value(key) { return value }
            return .max
        }
        environment.leaderThrottle.update(bytesPerSecond: rate("leader.replication.throttled.rate"))
        environment.followerThrottle.update(bytesPerSecond: rate("follower.replication.throttled.rate"))
        moveThrottle.update(bytesPerSecond: rate("replica.alter.log.dirs.io.max.bytes.per.second"))
    }
}
