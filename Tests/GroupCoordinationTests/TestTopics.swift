// The topics of a cluster that tests of groups make up.
import GroupCoordination
import Primitives

struct TestTopics: GroupTopics {
    private var topics: [GroupTopic] = []
    var version: Int64 = 0
    var racks: [String] = []
    var overrides: [String: ConsumerGroupOverrides] = [:]
    var streamsOverrides: [String: StreamsGroupOverrides] = [:]

    /// A topic's id is its number from 1 on.
    mutating func add(_ name: String, partitions: Int32) {
        topics.removeAll { $0.name == name }
        topics.append(GroupTopic(name: name, id: Self.id(UInt64(topics.count + 1)), partitionCount: partitions))
        version += 1
    }

    mutating func remove(_ name: String) { topics.removeAll { $0.name == name } }

    static func id(_ number: UInt64) -> TopicID { TopicID(mostSignificantBits: 0, leastSignificantBits: number) }

    func topic(named name: String) -> GroupTopic? { topics.first { $0.name == name } }
    func topic(id: TopicID) -> GroupTopic? { topics.first { $0.id == id } }
    func racks(topic: String, partition: Int32) -> [String] { racks }
    func forEachName(_ body: (String) -> Void) { for topic in topics { body(topic.name) } }
    func overrides(of group: String) -> ConsumerGroupOverrides { overrides[group] ?? ConsumerGroupOverrides() }
    func streamsOverrides(of group: String) -> StreamsGroupOverrides { streamsOverrides[group] ?? StreamsGroupOverrides() }
}
