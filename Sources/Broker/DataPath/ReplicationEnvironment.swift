// What all partitions of a node share for replication: settings, which brokers are alive, and the ways to the controller and to waiting
// coordinators. One object, so that a partition keeps one reference.
import Observability
import Primitives
import Replication
import Synchronization

/// The node's part of what a partition needs to replicate.
final class ReplicationEnvironment: Sendable {
    /// Brokers as the newest metadata has them.
    struct Brokers: Sendable {
        var live = LiveBrokers()
        var racks: [NodeID: String] = [:]
    }

    let nodeID: NodeID
    let settings: ReplicationSettings
    /// What this node sends as leader.
    let leaderThrottle: ReplicationThrottle
    /// What it takes as follower.
    let followerThrottle: ReplicationThrottle
    let unreachableLeaders = UnreachableLeaders()
    /// Nil where nobody counts, as in tests.
    let metrics: KafkaMetrics?
    private let known = Mutex(Brokers())
    private let proposals = Mutex<(@Sendable (Partition, InSyncReplicasProposal) -> Void)?>(nil)

    init(nodeID: NodeID, settings: ReplicationSettings = ReplicationSettings(), metrics: KafkaMetrics? = nil) {
        self.nodeID = nodeID
        self.metrics = metrics
        self.settings = settings
        leaderThrottle = ReplicationThrottle(settings)
        followerThrottle = ReplicationThrottle(settings)
    }

    var brokers: Brokers { known.withLock { $0 } }
    var live: LiveBrokers { known.withLock { $0.live } }

    func update(_ brokers: Brokers) { known.withLock { $0 = brokers } }

    /// Sets who brings proposals to the controller.
    func onProposal(_ send: @escaping @Sendable (Partition, InSyncReplicasProposal) -> Void) {
        proposals.withLock { $0 = send }
    }

    func submit(_ proposal: InSyncReplicasProposal, of partition: Partition) {
        if let send = proposals.withLock({ $0 }) { send(partition, proposal) }
    }
}

/// The keys `replica.*`.
struct ReplicationSettings: Sendable, Equatable {
    var fetchers = 1
    var fetchBackoffMilliseconds: Int64 = 1000
    var fetchMaxBytes: Int32 = 1_048_576
    var fetchMinBytes: Int32 = 1
    var fetchResponseMaxBytes: Int32 = 10_485_760
    var fetchWaitMaxMilliseconds: Int32 = 500
    var lagTimeMaxMilliseconds: Int64 = 30_000
    var socketTimeoutMilliseconds: Int64 = 30_000
    /// -1 leaves it to the system, which knows the way's length better than a fixed size.
    var socketReceiveBufferBytes = -1
    /// `replication.quota.window.num` and `.size.seconds`.
    var quotaWindows = 11
    var quotaWindowMilliseconds: Int64 = 1000
    /// `replica.selector.class` names the rack-aware selector (KIP-392).
    var isRackAware = false

    init() {}

    /// - Parameter value: a key's text as configured, or its default.
    init(_ value: (String) -> String?) {
        func number<T: FixedWidthInteger>(_ key: String, _ fallback: T) -> T { value(key).flatMap { T($0) } ?? fallback }
        fetchers = number("num.replica.fetchers", fetchers)
        fetchBackoffMilliseconds = number("replica.fetch.backoff.ms", fetchBackoffMilliseconds)
        fetchMaxBytes = number("replica.fetch.max.bytes", fetchMaxBytes)
        fetchMinBytes = number("replica.fetch.min.bytes", fetchMinBytes)
        fetchResponseMaxBytes = number("replica.fetch.response.max.bytes", fetchResponseMaxBytes)
        fetchWaitMaxMilliseconds = number("replica.fetch.wait.max.ms", fetchWaitMaxMilliseconds)
        lagTimeMaxMilliseconds = number("replica.lag.time.max.ms", lagTimeMaxMilliseconds)
        socketReceiveBufferBytes = number("replica.socket.receive.buffer.bytes", socketReceiveBufferBytes)
        socketTimeoutMilliseconds = number("replica.socket.timeout.ms", socketTimeoutMilliseconds)
        quotaWindows = number("replication.quota.window.num", quotaWindows)
        quotaWindowMilliseconds = number("replication.quota.window.size.seconds", quotaWindowMilliseconds / 1000) * 1000
        isRackAware = value("replica.selector.class")?.hasSuffix("RackAwareReplicaSelector") ?? false
    }
}
