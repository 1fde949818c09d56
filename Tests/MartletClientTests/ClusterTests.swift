// The whole library against a real node: administration, writing, reading, groups.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Synchronization
import TestKit
import Testing

@testable import MartletClient

/// Values that were read, by any of a group's members.
private final class Seen: Sendable {
    private let values = Mutex<Set<String>>([])

    var count: Int { values.withLock { $0.count } }

    func insert(_ value: String) { values.withLock { _ = $0.insert(value) } }
}

@Suite("Client against a node", .serialized)
struct ClusterTests {
    @Test("Topics, settings and the cluster are administered")
    func administration() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            let admin = AdminClient(try broker.client())
            defer { admin.close() }
            let created = try await admin.createTopics([NewTopic("orders", partitions: 2, configs: [("retention.ms", "60000")])]).values()
            #expect(created.map(\.partitions) == [2])
            let again = try await admin.createTopics([NewTopic("orders")])
            #expect(again.first?.error?.codeName == "TOPIC_ALREADY_EXISTS")
            #expect(try await admin.listTopics().map(\.name) == ["orders"])
            try await admin.createPartitions([("orders", 4)]).values()
            let described = try await admin.describeTopics(["orders", "nothing"])
            #expect(try described.first?.result.get().partitions.map(\.leader) == [1, 1, 1, 1])
            #expect(described.last?.error?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            let settings = try await admin.describeConfigs([.topic("orders")]).values().first ?? []
            #expect(settings.first { $0.name == "retention.ms" }?.value == "60000")
            try await admin.alterConfigs([(.topic("orders"), [.set("retention.ms", "70000")])]).values()
            let changed = try await admin.describeConfigs([.topic("orders")], names: ["retention.ms"]).values().first ?? []
            #expect(changed.map(\.value) == ["70000"])
            let cluster = try await admin.describeCluster()
            #expect(cluster.brokers.map(\.id) == [1])
            #expect(cluster.clusterID?.count == 22)
            #expect(try await admin.describeQuorum().leaderID == 1)
            #expect(try await admin.describeFeatures().contains { $0.name == "metadata.version" })
            #expect(try await admin.describeLogDirectories().first?.replicas.count == 4)
            try await admin.deleteTopics(["orders"]).values()
            #expect(try await admin.listTopics().isEmpty)
        }
    }

    @Test(
        "What is written is read, with every codec",
        arguments: [CompressionType.none, .gzip, .snappy, .lz4, .zstd])
    func writeAndRead(codec: CompressionType) async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            var settings = ProducerConfiguration(try broker.client())
            settings.compression = Compression(codec)
            let producer = try KafkaProducer(settings)
            let first = try await producer.send(
                ProducerRecord(topic: "t", partition: 1, key: "k", value: "v", headers: [RecordHeader("h", "x")], timestamp: 1234))
            #expect(first.offset == 0 && first.partition == 1 && first.timestamp == 1234)
            for number in 1..<500 {
                try await producer.enqueue(ProducerRecord(topic: "t", partition: 1, key: "k\(number)", value: "v\(number)"))
            }
            try await producer.close()

            var reading = ConsumerConfiguration(try broker.client())
            reading.offsetReset = .earliest
            let consumer = try KafkaConsumer(reading)
            try await consumer.assign([TopicPartition("t", 1)])
            var values: [String] = []
            for try await record in consumer.records {
                #expect(record.offset == Int64(values.count))
                if record.offset == 0 {
                    #expect(record.timestamp == 1234)
                    #expect(Array(record.headers) == [RecordHeader("h", "x")])
                }
                values.append(try record.value(as: String.self) ?? "")
                if values.count == 500 { break }
            }
            #expect(values == ["v"] + (1..<500).map { "v\($0)" })
            #expect(try await consumer.position(TopicPartition("t", 1)) == 500)
            try await consumer.close()
        }
    }

    @Test("A batch that a topic does not take as a whole is cut; a record that it does not take fails", arguments: [true, false])
    func tooLarge(isIdempotent: Bool) async throws {
        try await RunningNode.with { broker in
            let admin = AdminClient(try broker.client())
            try await admin.createTopics([NewTopic("small", partitions: 1, configs: [("max.message.bytes", "1000")])]).values()
            var settings = ProducerConfiguration(try broker.client())
            settings.isIdempotent = isIdempotent
            settings.client.maximumInFlightRequests = isIdempotent ? 5 : 1
            settings.linger = .seconds(1)
            settings.batchSize = 1 << 16
            let producer = try KafkaProducer(settings)
            for number in 0..<200 { try await producer.enqueue(ProducerRecord(topic: "small", key: "k", value: "\(number)")) }
            let giant = String(repeating: "x", count: 2000)
            let refused = Mutex<KafkaError?>(nil)
            try await producer.enqueue(ProducerRecord(topic: "small", key: "k", value: giant)) { result in
                if case .failure(let error) = result { refused.withLock { $0 = error } }
            }
            for number in 200..<210 { try await producer.enqueue(ProducerRecord(topic: "small", key: "k", value: "\(number)")) }
            try await producer.flush()
            #expect(refused.withLock { $0 }?.codeName == "MESSAGE_TOO_LARGE")
            let reader = try KafkaConsumer(ConsumerConfiguration(try broker.client()))
            try await reader.assign([TopicPartition("small", 0)])
            try reader.seekToBeginning([TopicPartition("small", 0)])
            var values: [String] = []
            while values.count < 210 {
                let records = try await reader.poll(timeout: .seconds(10))
                if records.isEmpty { break }
                values += try records.map { try $0.value(as: String.self) ?? "" }
            }
            let isWhole = values == (0..<210).map { "\($0)" }
            #expect(isWhole, "\(values.count) records, in another order or not all")
            try await reader.close()
            try await producer.close()
            admin.close()
        }
    }

    @Test("Offsets are committed and fetched by topic id where it is known (version 10), and survive a topic made anew")
    func offsetsByTopicID() async throws {
        try await RunningNode.with { broker in
            let cluster = ClusterClient(try broker.client())
            let admin = AdminClient(cluster: cluster)
            let partition = TopicPartition("t", 0)
            try await admin.createTopics([NewTopic("t")]).values()
            #expect(cluster.topicIDs(of: [partition]) == nil, "nothing is known yet, so names are used")
            try await admin.alterGroupOffsets("g", [partition: CommittedOffset(3)])
            #expect(try await admin.listGroupOffsets("g", partitions: [partition])[partition]?.offset == 3)
            _ = try await cluster.topic("t")
            let first = try #require(cluster.topicIDs(of: [partition])?["t"])
            let versions = try await cluster.connection(to: .coordinator(group: "g")).versions
            #expect(try versions.version(of: .offsetCommit) == 10 && versions.version(of: .offsetFetch) == 10)
            try await admin.alterGroupOffsets("g", [partition: CommittedOffset(5, metadata: "m")])
            #expect(try await admin.listGroupOffsets("g", partitions: [partition])[partition] == CommittedOffset(5, metadata: "m"))
            #expect(try await admin.listGroupOffsets("g")[partition]?.offset == 5)

            let other = AdminClient(try broker.client())
            try await other.deleteTopics(["t"]).values()
            try await other.createTopics([NewTopic("t")]).values()
            other.close()
            // The old id is unknown now; the client finds that out and uses the new one.
            try await admin.alterGroupOffsets("g", [partition: CommittedOffset(1)])
            #expect(cluster.topicIDs(of: [partition])?["t"] != first)
            #expect(try await admin.listGroupOffsets("g", partitions: [partition])[partition]?.offset == 1)
            admin.close()
        }
    }

    @Test("A topic that does not exist is told after a few answers, long before the operation's time is over")
    func missingTopics() async throws {
        try await RunningNode.with(overrides: ["auto.create.topics.enable=false"]) { broker in
            let admin = AdminClient(try broker.client())
            let began = SystemClock.monotonicMilliseconds()
            let absent = TopicPartition("absent", 0)
            #expect(try await admin.deleteTopics(["absent"]).first?.error?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            #expect(try await admin.createPartitions([("absent", 3)]).first?.error?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            #expect(try await admin.describeConfigs([.topic("absent")]).first?.error?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            #expect(
                try await admin.alterConfigs([(.topic("absent"), [.set("retention.ms", "1")])]).first?.error?.codeName
                    == "UNKNOWN_TOPIC_OR_PARTITION")
            #expect(try await admin.listOffsets([(absent, .latest)]).first?.error?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            await #expect(throws: KafkaError.self) { try await admin.deleteRecords([(absent, 0)]) }
            await #expect(throws: KafkaError.self) { try await admin.describeProducers(absent) }
            #expect(SystemClock.monotonicMilliseconds() - began < 15_000)
            admin.close()
        }
    }

    @Test("Positions can be moved, by offset, by time, to both ends; partitions paused and resumed")
    func positions() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            let partition = TopicPartition("t", 0)
            let producer = try KafkaProducer(ProducerConfiguration(try broker.client()))
            for number in 0..<10 {
                _ = try await producer.send(
                    ProducerRecord(topic: "t", partition: 0, value: "\(number)", timestamp: Int64(number) * 1000))
            }
            var reading = ConsumerConfiguration(try broker.client())
            reading.offsetReset = .earliest
            let consumer = try KafkaConsumer(reading)
            try await consumer.assign([partition])
            #expect(try await consumer.poll(timeout: .seconds(10)).first?.offset == 0)
            try consumer.seek(partition, to: 7)
            #expect(try await consumer.poll(timeout: .seconds(10)).map(\.offset).first == 7)
            try consumer.seek(partition, toTimestamp: 4500)
            #expect(try await consumer.poll(timeout: .seconds(10)).map(\.offset).first == 5)
            try consumer.seekToBeginning([partition])
            #expect(try await consumer.poll(maximumRecords: 3, timeout: .seconds(10)).map(\.offset) == [0, 1, 2])
            try consumer.pause([partition])
            #expect(try await consumer.poll(timeout: .milliseconds(200)).isEmpty)
            try consumer.resume([partition])
            #expect(try await consumer.poll(timeout: .seconds(10)).map(\.offset).first == 3)
            try consumer.seekToEnd([partition])
            #expect(try await consumer.position(partition) == 10)
            #expect(try await consumer.endOffsets([partition]) == [partition: 10])
            #expect(try await consumer.offsets(forTimes: [partition: 8500])[partition]?.offset == 9)
            _ = try await producer.send(ProducerRecord(topic: "t", partition: 0, value: "new"))
            #expect(try await consumer.poll(timeout: .seconds(10)).map(\.offset) == [10])
            let admin = AdminClient(try broker.client())
            #expect(try await admin.deleteRecords([(partition, 4)]).values() == [4])
            #expect(try await consumer.beginningOffsets([partition]) == [partition: 4])
            admin.close()
            try await producer.close()
            try await consumer.close()
        }
    }

    @Test("A group shares partitions as members come and go, and nothing is lost", arguments: [ConsumerAssignor.range, .cooperativeSticky])
    func groups(assignor: ConsumerAssignor) async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            let admin = AdminClient(try broker.client())
            try await admin.createTopics([NewTopic("t", partitions: 4)]).values()
            func member() async throws -> KafkaConsumer {
                var settings = ConsumerConfiguration(try broker.client(), group: "g")
                settings.offsetReset = .earliest
                settings.assignors = [assignor]
                settings.heartbeatInterval = .milliseconds(100)
                settings.automaticCommitInterval = .milliseconds(100)
                let consumer = try KafkaConsumer(settings)
                try await consumer.subscribe(["t"])
                return consumer
            }
            let seen = Seen()
            @Sendable func read(_ consumer: KafkaConsumer) -> Task<Void, any Error> {
                Task {
                    for try await record in consumer.records {
                        let value = try record.value(as: String.self) ?? ""
                        seen.insert(value)
                    }
                }
            }
            let producer = try KafkaProducer(ProducerConfiguration(try broker.client()))
            func write(_ range: Range<Int>) async throws {
                for number in range {
                    try await producer.enqueue(ProducerRecord(topic: "t", partition: Int32(number % 4), value: "\(number)"))
                }
                try await producer.flush()
            }
            let first = try await member()
            let firstReading = read(first)
            try await write(0..<100)
            try await eventually("the first member reads everything") { seen.count == 100 }
            let second = try await member()
            let secondReading = read(second)
            try await eventually("both members have two partitions") { first.assignment.count == 2 && second.assignment.count == 2 }
            #expect(Set(first.assignment).isDisjoint(with: second.assignment))
            try await write(100..<200)
            try await eventually("both members read on") { seen.count == 200 }
            let described = try await admin.describeGroup("g")
            #expect(described.members.count == 2 && described.protocolName == assignor.rawValue)
            try await second.close()
            _ = try await secondReading.value
            try await eventually("the first member takes over") { first.assignment.count == 4 }
            try await write(200..<300)
            try await eventually("the first member reads the rest") { seen.count == 300 }
            try await first.close()
            _ = try await firstReading.value
            let committed = try await admin.listGroupOffsets("g")
            #expect(committed.values.reduce(0) { $0 + $1.offset } == 300)
            try await admin.alterGroupOffsets("g", [TopicPartition("t", 0): CommittedOffset(5)])
            #expect(try await admin.listGroupOffsets("g")[TopicPartition("t", 0)]?.offset == 5)
            #expect(try await admin.listGroups().map(\.group) == ["g"])
            try await admin.deleteGroups(["g"]).values()
            #expect(try await admin.listGroups().isEmpty)
            try await producer.close()
            admin.close()
        }
    }

    @Test("Committed offsets are where a group goes on")
    func committing() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            let producer = try KafkaProducer(ProducerConfiguration(try broker.client()))
            for number in 0..<20 { try await producer.enqueue(ProducerRecord(topic: "t", partition: 0, value: "\(number)")) }
            try await producer.close()
            for start in [Int64(0), 8] {
                var settings = ConsumerConfiguration(try broker.client(), group: "g")
                settings.offsetReset = .earliest
                settings.commitsAutomatically = false
                let consumer = try KafkaConsumer(settings)
                try await consumer.subscribe(["t"])
                for try await record in consumer.records {
                    if start > 0 { #expect(record.offset >= start) }
                    if record.offset == 7 { try await consumer.commit() }
                    if record.offset >= 8 { break }
                }
                try await consumer.close()
            }
        }
    }

    @Test("Errors say what is wrong")
    func errors() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3", "auto.create.topics.enable=false"]) { broker in
            var settings = ProducerConfiguration(try broker.client())
            settings.maximumBlockTime = .milliseconds(500)
            let producer = try KafkaProducer(settings)
            let unknown = await #expect(throws: KafkaError.self) { try await producer.send(ProducerRecord(topic: "t", value: "x")) }
            #expect(unknown?.codeName == "UNKNOWN_TOPIC_OR_PARTITION")
            let large = await #expect(throws: KafkaError.self) {
                try await producer.send(
                    ProducerRecord(topic: "t", keyBytes: nil, valueBytes: ByteBuffer(repeating: 0, count: 2 << 20)))
            }
            #expect(large?.codeName == "MESSAGE_TOO_LARGE")
            try await producer.close()
            let closed = await #expect(throws: KafkaError.self) { try await producer.send(ProducerRecord(topic: "t", value: "x")) }
            #expect(closed?.kind == .closed)
        }
        let nowhere = AdminClient(
            {
                var configuration = ClientConfiguration(bootstrapServers: [BrokerAddress(host: "127.0.0.1", port: 1)])
                configuration.operationTimeout = .milliseconds(300)
                return configuration
            }())
        let refused = await #expect(throws: KafkaError.self) { try await nowhere.listTopics() }
        #expect(refused?.kind == .connectionFailed)
        nowhere.close()
    }

    @Test("An advertised address that cannot be reached is explained")
    func advertisedListener() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3", "advertised.listeners=PLAINTEXT://127.0.0.1:1"]) { broker in
            var configuration = try broker.client()
            configuration.operationTimeout = .milliseconds(500)
            let admin = AdminClient(configuration)
            let error = await #expect(throws: KafkaError.self) {
                try await admin.listOffsets([(TopicPartition("t", 0), .latest)]).values()
                try await admin.cluster.refreshMetadata()
                _ = try await admin.cluster.connection(to: .node(1))
            }
            #expect([.advertisedListenerUnreachable, .broker].contains(error?.kind))
            let direct = await #expect(throws: KafkaError.self) { _ = try await admin.cluster.connection(to: .node(1)) }
            #expect(direct?.kind == .advertisedListenerUnreachable)
            #expect(direct?.explanation.contains("advertises 127.0.0.1:1") == true)
            admin.close()
        }
    }
}
