// Brokers that were fenced a moment ago. A client that is told of new leaders and, in the same answer, no longer of the old one's broker may
// stumble: librdkafka ends that broker's thread while its partitions are still moving, and looks for their leaders again only a second later.
// So the first answer of Metadata to each client still names the broker. Kafka names a dead one for as long as its session lasts, nine seconds.
import ClusterMetadata
import Primitives
import Synchronization

/// Who was fenced, and when. Thread-safe.
final class DepartedBrokers: Sendable {
    /// After this a client has found out by itself.
    static let milliseconds: Int64 = 3000

    /// Monotonic milliseconds. No more than there are brokers.
    private let fenced = Mutex<[NodeID: Int64]>([:])

    /// Takes note of what an image changes.
    func take(_ changes: MetadataChanges, from old: ClusterImage, to new: ClusterImage, now: Int64) {
        guard !changes.brokers.isEmpty else { return }
        fenced.withLock { fenced in
            for id in changes.brokers {
                let isDeparted = old.broker(id)?.isActive == true && new.broker(id)?.isFenced == true
                fenced[id] = isDeparted ? now : nil
            }
        }
    }

    /// Whether Metadata names the broker, although it is fenced, to a client that it last answered at that time; nil: never.
    func isNamed(_ id: NodeID, answeredAt: Int64?, now: Int64) -> Bool {
        guard let answeredAt else { return false }
        return fenced.withLock { fenced in
            fenced[id].map { answeredAt <= $0 && now < $0 + Self.milliseconds } ?? false
        }
    }
}
