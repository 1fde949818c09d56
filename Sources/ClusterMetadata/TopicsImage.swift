// The topics of the cluster. Looked up by id and by name on the data path, iterated in the order of creation everywhere else.
import OrderedCollections
import Primitives

/// One topic and its partitions. Immutable and shared by reference: a new image costs one pointer for every topic that did not change.
public final class TopicImage: Sendable, Equatable {
    public let name: String
    public let id: TopicID
    /// Ascending by index; Kafka numbers them 0, 1, 2 … without holes.
    public let partitions: [PartitionImage]

    public init(name: String, id: TopicID, partitions: [PartitionImage]) {
        self.name = name
        self.id = id
        self.partitions = partitions
    }

    /// The partition of that number; nil when there is none.
    public func partition(_ index: Int32) -> PartitionImage? {
        partitions.position(ofPartition: index).map { partitions[$0] }
    }

    public static func == (left: TopicImage, right: TopicImage) -> Bool {
        left === right || (left.name == right.name && left.id == right.id && left.partitions == right.partitions)
    }
}

extension [PartitionImage] {
    /// Where the partition of that number is: at its number, unless numbers are missing.
    func position(ofPartition index: Int32) -> Int? {
        let guess = Int(index)
        if guess >= 0 && guess < count && self[guess].index == index { return guess }
        let position = insertionPosition(ofPartition: index)
        return position < count && self[position].index == index ? position : nil
    }

    func insertionPosition(ofPartition index: Int32) -> Int {
        if let last, last.index < index { return count }
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].index < index { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Every topic.
public struct TopicsImage: Sendable, Equatable {
    private var byID: OrderedDictionary<TopicID, TopicImage> = [:]
    /// For lookups alone: its order differs from process to process.
    private var byName: [String: TopicImage] = [:]
    /// Names that hold a '.' or '_', by the name that metrics would show for them. For lookups alone.
    private var namesByMetricName: [String: [String]] = [:]

    public init() {}

    /// All topics in the order of their creation.
    public var all: OrderedDictionary<TopicID, TopicImage>.Values { byID.values }

    public var count: Int { byID.count }

    public func topic(id: TopicID) -> TopicImage? { byID[id] }

    /// Where a topic stands in `all`; whoever has topics in a set of their own sorts them by it.
    public func position(of id: TopicID) -> Int? { byID.index(forKey: id) }

    public func topic(named name: String) -> TopicImage? { byName[name] }

    public func partition(_ partition: TopicIDPartition) -> PartitionImage? { byID[partition.topicID]?.partition(partition.partition) }

    public func partition(_ partition: TopicPartition) -> PartitionImage? { byName[partition.topic]?.partition(partition.partition) }

    /// The number of partitions of all topics; walks the topics.
    public var partitionCount: Int { byID.values.reduce(0) { $0 + $1.partitions.count } }

    /// A topic whose name differs from `name` in nothing but '.' against '_': metrics could not tell them apart.
    public func topicColliding(with name: String) -> String? {
        guard Self.hasCollisionCharacters(name) else { return nil }
        return namesByMetricName[Self.metricName(name)]?.first
    }

    public static func == (left: TopicsImage, right: TopicsImage) -> Bool { left.byID == right.byID }

    mutating func insert(_ topic: TopicImage) {
        let previous = byID.updateValue(topic, forKey: topic.id)
        if let previous, previous.name != topic.name { forget(name: previous.name, of: previous) }
        byName[topic.name] = topic
        if previous == nil, Self.hasCollisionCharacters(topic.name) {
            namesByMetricName[Self.metricName(topic.name), default: []].append(topic.name)
        }
    }

    mutating func remove(_ topics: OrderedDictionary<TopicID, TopicImage>) {
        guard !topics.isEmpty else { return }
        if topics.count == 1 {
            byID.removeValue(forKey: topics.keys[0])
        } else {
            // One pass for many: taking them out one by one would shift all that follow every time.
            byID = byID.filter { topics[$0.key] == nil }
        }
        for topic in topics.values { forget(name: topic.name, of: topic) }
    }

    private mutating func forget(name: String, of topic: TopicImage) {
        // A topic of the same name may have been created since.
        if byName[name]?.id == topic.id { byName[name] = nil }
        guard Self.hasCollisionCharacters(name) else { return }
        let metricName = Self.metricName(name)
        if var names = namesByMetricName[metricName], let position = names.firstIndex(of: name) {
            names.remove(at: position)
            namesByMetricName[metricName] = names.isEmpty ? nil : names
        }
    }

    private static func hasCollisionCharacters(_ name: String) -> Bool {
        name.utf8.contains { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") }
    }

    private static func metricName(_ name: String) -> String {
        String(decoding: name.utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
    }
}
