// AlterClientQuotas: what is written, and what is refused with Kafka's codes.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: client quotas")
struct ClientQuotaTests {
    private typealias Entry = AlterClientQuotasRequest.EntryData

    private func entry(_ entity: [(String, String?)], _ operations: [(String, Double?)]) -> Entry {
        var entry = Entry()
        for (type, name) in entity {
            var data = AlterClientQuotasRequest.EntityData()
            data.entityType = type
            data.entityName = name
            entry.entity.append(data)
        }
        for (key, value) in operations {
            var operation = AlterClientQuotasRequest.OpData()
            operation.key = key
            operation.value = value ?? 0
            operation.remove = value == nil
            entry.ops.append(operation)
        }
        return entry
    }

    private func alter(_ cluster: inout Cluster, validateOnly: Bool = false, _ entries: Entry...) throws -> [ErrorCode] {
        var request = AlterClientQuotasRequest()
        request.entries = entries
        request.validateOnly = validateOnly
        let asked = request
        let response = try cluster.run { (controller, _) throws(RequestFailure) in try controller.alterClientQuotas(asked) }
        return response.entries.map(\.errorCode)
    }

    private func values(_ cluster: Cluster, _ parts: [(String, String?)]) -> [String: Double] {
        let entity = ClientQuotaEntity(parts.map { .init(type: $0.0, name: $0.1) })
        let values = cluster.controller.image.clientQuotas.byEntity[entity] ?? [:]
        return Dictionary(uniqueKeysWithValues: values.map { ($0.key, $0.value) })
    }

    @Test func onlyChangesAreWritten() throws {
        var cluster = try Cluster(brokers: 1)
        let alice = [("user", Optional("alice"))]
        #expect(
            try alter(&cluster, entry(alice, [("producer_byte_rate", 1000), ("request_percentage", 12.5)]))
                == [.none])
        #expect(cluster.records.count == 2)
        #expect(values(cluster, alice) == ["producer_byte_rate": 1000, "request_percentage": 12.5])
        #expect(try alter(&cluster, entry(alice, [("producer_byte_rate", 1000), ("consumer_byte_rate", nil)])) == [.none])
        #expect(cluster.records.isEmpty)
        #expect(try alter(&cluster, validateOnly: true, entry(alice, [("producer_byte_rate", 7)])) == [.none])
        #expect(cluster.records.isEmpty)
        #expect(try alter(&cluster, entry(alice, [("producer_byte_rate", nil), ("request_percentage", nil)])) == [.none])
        #expect(cluster.controller.image.clientQuotas.byEntity.isEmpty)
    }

    @Test func partsHaveNoOrder() throws {
        var cluster = try Cluster(brokers: 1)
        #expect(try alter(&cluster, entry([("client-id", "c"), ("user", nil)], [("consumer_byte_rate", 5)])) == [.none])
        #expect(values(cluster, [("user", nil), ("client-id", "c")]) == ["consumer_byte_rate": 5])
        #expect(try alter(&cluster, entry([("ip", nil)], [("connection_creation_rate", 5)])) == [.none])
        #expect(try alter(&cluster, entry([("ip", "::1")], [("connection_creation_rate", 5)])) == [.none])
        #expect(try alter(&cluster, entry([("ip", "10.1.2.3")], [("connection_creation_rate", 5)])) == [.none])
    }

    @Test func whatCannotBeIsRefused() throws {
        var cluster = try Cluster(brokers: 1)
        let user = [("user", Optional("u"))]
        let refused: [Entry] = [
            entry([], [("producer_byte_rate", 1)]),
            entry([("host", "h")], [("producer_byte_rate", 1)]),
            entry([("user", "")], [("producer_byte_rate", 1)]),
            entry([("user", "u"), ("user", "v")], [("producer_byte_rate", 1)]),
            entry([("user", "u"), ("ip", "10.0.0.1")], [("connection_creation_rate", 1)]),
            entry([("ip", "10.0.0.256")], [("connection_creation_rate", 1)]),
            entry([("ip", "no address")], [("connection_creation_rate", 1)]),
            entry([("ip", "10.0.0.1")], [("producer_byte_rate", 1)]),
            entry([("ip", "10.0.0.2")], [("connection_creation_rate", 1.5)]),
            entry([("ip", "10.0.0.3")], [("connection_creation_rate", 3e9)]),
            entry(user, [("connection_creation_rate", 1)]),
            entry([("user", "v")], [("producer_byte_rate", 0)]),
            entry([("user", "w")], [("producer_byte_rate", -1)]),
            entry([("user", "x")], [("producer_byte_rate", 1.5)]),
            entry([("user", "y")], [("producer_byte_rate", .nan)]),
            entry([("user", "z")], [("producer_byte_rate", 1), ("producer_byte_rate", 2)]),
        ]
        for entry in refused {
            #expect(try alter(&cluster, entry) == [.invalidRequest], "\(entry)")
            #expect(cluster.records.isEmpty)
        }
    }

    @Test func oneRefusalDoesNotSpoilTheOthers() throws {
        var cluster = try Cluster(brokers: 1)
        #expect(
            try alter(
                &cluster, entry([("user", "a")], [("producer_byte_rate", 1)]), entry([("user", "b")], [("nonsense", 1)]),
                entry([("user", "c")], [("producer_byte_rate", 3)])) == [.none, .invalidRequest, .none])
        #expect(values(cluster, [("user", "c")]) == ["producer_byte_rate": 3])
    }

    @Test func topicsBeyondTheAllowanceAreRefusedOneByOne() throws {
        var cluster = try Cluster(brokers: 1)
        var request = CreateTopicsRequest()
        for (name, count) in [("a", 3), ("b", 5), ("c", 2)] {
            var topic = CreateTopicsRequest.CreatableTopic()
            topic.name = name
            topic.numPartitions = Int32(count)
            topic.replicationFactor = 1
            request.topics.append(topic)
        }
        let asked = request
        var left = 5
        let response = try cluster.run { (controller, _) throws(RequestFailure) in
            try controller.createTopics(asked) { (count) throws(RequestFailure) in
                if count > left { throw RequestFailure(.throttlingQuotaExceeded) }
                left -= count
            }
        }
        #expect(response.topics.map(\.errorCode) == [.none, .throttlingQuotaExceeded, .none])
        #expect(cluster.controller.image.topics.topic(named: "b") == nil)
        #expect(cluster.controller.image.topics.topic(named: "c")?.partitions.count == 2)
    }

    @Test func filtersFindWhatTheyName() {
        let entities = [[("user", "u")], [("user", "u"), ("client-id", nil)], [("client-id", "c")], [("ip", nil)]].map { parts in
            ClientQuotaEntity(parts.map { .init(type: $0.0, name: $0.1) })
        }
        func found(_ filter: ClientQuotaFilter) -> [Int] { entities.indices.filter { filter.accepts(entities[$0]) } }
        #expect(found(ClientQuotaFilter()) == [0, 1, 2, 3])
        #expect(found(ClientQuotaFilter(isStrict: true)) == [])
        #expect(found(ClientQuotaFilter(["user": .exactly("u")])) == [0, 1])
        #expect(found(ClientQuotaFilter(["user": .exactly("u")], isStrict: true)) == [0])
        #expect(found(ClientQuotaFilter(["user": .anything, "client-id": .theDefault], isStrict: true)) == [1])
        #expect(found(ClientQuotaFilter(["client-id": .anything])) == [1, 2])
        #expect(found(ClientQuotaFilter(["ip": .theDefault])) == [3])
        #expect(found(ClientQuotaFilter(["user": .theDefault])) == [])
    }
}
