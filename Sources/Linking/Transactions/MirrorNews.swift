// What brokers are told of a link's mirrors, and what each of them has heard of it: how far they are settled, and which of them are to be shown
// no further, because they are about to be waited for.
import Primitives

/// The news of one watch. Brokers that begin a conversation are told everything, others what has changed.
public struct MirrorNews: Sendable {
    /// What is recorded.
    public private(set) var settled: [TopicPartition: SettledMirror]
    /// Shown up to there, though nothing is recorded yet.
    private var held: [TopicPartition: SettledMirror] = [:]
    /// What brokers with a conversation have not been told.
    private var untold: [NodeID: Set<TopicPartition>] = [:]
    /// Brokers that show held mirrors further, as far as is known.
    private var unheard: [TopicPartition: Set<NodeID>] = [:]

    public init(_ settled: [TopicPartition: SettledMirror]) {
        self.settled = settled
    }

    /// Whether there is anything that a broker has not been told.
    public func hasNews(for broker: NodeID) -> Bool { untold[broker]?.isEmpty == false }

    /// What a broker is told next.
    ///
    /// - Parameter isFirst: whether a conversation begins, with everything.
    /// - Returns: nil for mirrors that are shown as they come.
    public mutating func tell(_ broker: NodeID, isFirst: Bool) -> [TopicPartition: SettledMirror?] {
        let partitions = isFirst ? Set(settled.keys).union(held.keys) : untold[broker] ?? []
        untold[broker] = []
        var told: [TopicPartition: SettledMirror?] = [:]
        // Of the source's offsets brokers have no mirror.
        for partition in partitions where partition.topic != OffsetsLog.topic {
            told[partition] = .some(settled[partition] ?? held[partition])
        }
        return told
    }

    /// A broker goes by what it was told.
    public mutating func heard(_ told: [TopicPartition: SettledMirror?], by broker: NodeID) {
        for (partition, mirror) in told where mirror != nil { unheard[partition]?.remove(broker) }
    }

    /// A conversation is over.
    public mutating func forget(_ broker: NodeID) { untold[broker] = nil }

    public mutating func recorded(_ mirrors: [TopicPartition: SettledMirror?]) {
        for (partition, mirror) in mirrors {
            settled[partition] = mirror
            if mirror != nil { (held[partition], unheard[partition]) = (nil, nil) }
        }
        changed(mirrors.keys)
    }

    /// Mirrors are to be held, or not any longer.
    ///
    /// - Parameter brokers: that live; one that comes later is told before it shows anything.
    public mutating func hold(_ mirrors: [TopicPartition: SettledMirror?], by brokers: some Sequence<NodeID>) {
        for (partition, mirror) in mirrors {
            held[partition] = mirror
            unheard[partition] = mirror.map { _ in Set(brokers) }
        }
        changed(mirrors.keys)
    }

    /// The mirrors that all brokers hold which live, each of them once.
    public mutating func takeHeld(by brokers: some Collection<NodeID>) -> [TopicPartition] {
        let all = unheard.filter { $0.value.isDisjoint(with: brokers) }.map(\.key)
        for partition in all { unheard[partition] = nil }
        return all
    }

    private mutating func changed(_ partitions: some Sequence<TopicPartition>) {
        for broker in Array(untold.keys) { untold[broker]?.formUnion(partitions) }
    }
}
