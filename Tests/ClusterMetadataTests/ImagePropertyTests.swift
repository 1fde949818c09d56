// Random histories of records: an image survives its snapshot, deltas tell all that changed, versions are kept to.
import ClusterMetadata
import KafkaRecords
import NIOCore
import Primitives
import Testing

@Suite("Metadata image")
struct ImagePropertyTests {
    /// Writes records that fit the image.
    private struct History {
        var random: SeededRandom
        var topics: [TopicID] = []
        var partitionCounts: [TopicID: Int32] = [:]
        var brokers: [NodeID: Int64] = [:]
        var tokens = 0
        let version: MetadataVersion

        init(seed: UInt64) {
            random = SeededRandom(seed: seed)
            version = MetadataVersion.all[Int.random(in: 0..<MetadataVersion.all.count, using: &random)]
        }

        mutating func number(_ range: ClosedRange<Int32>) -> Int32 { Int32.random(in: range, using: &random) }

        mutating func next() -> [MetadataRecord] {
            switch number(0...11) {
            case 0, 1: return newTopic()
            case 2, 3, 4: return [partitionChange()].compactMap { $0 }
            case 5: return [removedTopic()].compactMap { $0 }
            case 6: return [config()]
            case 7: return [broker()]
            case 8: return [quota()]
            case 9: return [accessControlEntry()]
            case 10 where version.supportsScram: return [credential()]
            case 11 where version.supportsDelegationTokens: return [token()]
            default:
                var record = ProducerIdsRecord()
                record.nextProducerId = ProducerID(number(0...1_000_000))
                return [.producerIds(record)]
            }
        }

        mutating func newTopic() -> [MetadataRecord] {
            var topic = TopicRecord()
            topic.topicId = .random(using: &random)
            topic.name = "topic-\(number(0...1_000_000_000))"
            topics.append(topic.topicId)
            let count = number(1...5)
            partitionCounts[topic.topicId] = count
            return [.topic(topic)]
                + (0..<count).map { index in
                    var partition = PartitionRecord()
                    partition.topicId = topic.topicId
                    partition.partitionId = index
                    partition.replicas = [1, 2, 3]
                    partition.isr = [1, 2]
                    partition.leader = 1
                    partition.leaderEpoch = 0
                    partition.partitionEpoch = 0
                    if version.supportsDirectoryAssignment {
                        partition.directories = (0..<3).map { KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 200 + $0) }
                    }
                    if version.supportsEligibleLeaderReplicas, index == 0 { partition.eligibleLeaderReplicas = [3] }
                    return .partition(partition)
                }
        }

        mutating func partitionChange() -> MetadataRecord? {
            guard let id = topics.randomElement(using: &random), let count = partitionCounts[id] else { return nil }
            var record = PartitionChangeRecord()
            record.topicId = id
            record.partitionId = number(0...(count - 1))
            if number(0...1) == 0 { record.leader = number(-1...3) }
            if number(0...1) == 0 { record.isr = [number(1...3)] }
            if number(0...4) == 0 { record.leaderRecoveryState = Int8(number(0...1)) }
            return .partitionChange(record)
        }

        mutating func removedTopic() -> MetadataRecord? {
            guard !topics.isEmpty else { return nil }
            let id = topics.remove(at: Int.random(in: 0..<topics.count, using: &random))
            partitionCounts[id] = nil
            var record = RemoveTopicRecord()
            record.topicId = id
            return .removeTopic(record)
        }

        mutating func config() -> MetadataRecord {
            var record = ConfigRecord()
            record.resourceType = [2, 4, 16, 32].randomElement(using: &random) ?? 2
            record.resourceName = "\(number(0...3))"
            record.name = "key-\(number(0...3))"
            record.value = number(0...3) == 0 ? nil : "value-\(number(0...9))"
            return .config(record)
        }

        mutating func broker() -> MetadataRecord {
            let id = number(1...5)
            if let epoch = brokers[id], number(0...2) > 0 {
                var record = BrokerRegistrationChangeRecord()
                record.brokerId = id
                record.brokerEpoch = epoch
                record.fenced = Int8(number(-1...1))
                return .brokerRegistrationChange(record)
            }
            var record = RegisterBrokerRecord()
            record.brokerId = id
            record.brokerEpoch = Int64(number(0...1000))
            record.incarnationId = .random(using: &random)
            record.rack = number(0...1) == 0 ? nil : "r"
            if version.supportsDirectoryAssignment { record.logDirs = [.random(using: &random)] }
            brokers[id] = record.brokerEpoch
            return .registerBroker(record)
        }

        mutating func quota() -> MetadataRecord {
            var user = ClientQuotaRecord.EntityData()
            user.entityType = "user"
            user.entityName = number(0...2) == 0 ? nil : "u\(number(0...2))"
            var record = ClientQuotaRecord()
            record.entity = [user]
            record.key = "rate-\(number(0...1))"
            record.value = Double(number(1...100))
            record.remove = number(0...3) == 0
            return .clientQuota(record)
        }

        mutating func accessControlEntry() -> MetadataRecord {
            var record = AccessControlEntryRecord()
            record.id = .random(using: &random)
            record.resourceType = 2
            record.resourceName = "t"
            record.principal = "User:p"
            record.host = "*"
            return .accessControlEntry(record)
        }

        mutating func credential() -> MetadataRecord {
            var record = UserScramCredentialRecord()
            record.name = "user-\(number(0...3))"
            record.mechanism = Int8(number(1...2))
            record.salt = ByteBuffer(bytes: [UInt8(number(0...255))])
            record.iterations = 4096
            return .userScramCredential(record)
        }

        mutating func token() -> MetadataRecord {
            tokens += 1
            var record = DelegationTokenRecord()
            record.tokenId = "token-\(tokens)"
            record.owner = "User:o"
            record.renewers = ["User:r"]
            return .delegationToken(record)
        }
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func snapshotsAndChangesAreFaithful(seed: UInt64) throws {
        var history = History(seed: seed)
        var level = FeatureLevelRecord()
        level.name = MetadataVersion.featureName
        level.featureLevel = history.version.rawValue
        var image = MetadataImage.empty
        var records: [MetadataRecord] = [.featureLevel(level)]
        for step in 0..<40 as Range<Offset> {
            var delta = MetadataDelta(from: image)
            for record in records { try delta.replay(record) }
            let (next, changes) = delta.apply(MetadataProvenance(offset: step, epoch: 0, timestamp: step))
            Self.check(changes, from: image, to: next)
            image = next
            records = (0..<Int(history.number(1...6))).flatMap { _ in history.next() }
        }
        var delta = MetadataDelta(from: .empty)
        for record in image.records {
            // Through bytes: a snapshot is a file.
            try delta.replay(try MetadataRecord(decoding: try record.record.encoded(version: record.version)))
        }
        let (copy, _) = delta.apply(image.provenance)
        #expect(copy == image, "version \(history.version)")
        #expect(copy.json == image.json)
    }

    /// What a delta collected on its way equals what a comparison of both images finds.
    private static func check(_ changes: MetadataChanges, from old: MetadataImage, to new: MetadataImage) {
        let compared = MetadataChanges(from: old, to: new)
        #expect(Set(changes.createdTopics.map(\.id)) == Set(compared.createdTopics.map(\.id)))
        #expect(Set(changes.deletedTopics.map(\.id)) == Set(compared.deletedTopics.map(\.id)))
        #expect(Set(changes.changedTopics.map(\.id)) == Set(compared.changedTopics.map(\.id)))
        #expect(changes.partitions.count == compared.partitions.count)
        #expect(Set(compared.configurations).isSubset(of: Set(changes.configurations)))
        #expect(Set(compared.brokers).isSubset(of: Set(changes.brokers)))
        #expect(Set(compared.clientQuotas).isSubset(of: Set(changes.clientQuotas)))
    }

    @Test func tellsWhatItCannotReplay() throws {
        var unknownTopic = PartitionChangeRecord()
        unknownTopic.topicId = KafkaUUID(mostSignificantBits: 9, leastSignificantBits: 9)
        var delta = MetadataDelta(from: .empty)
        #expect(throws: MetadataError.unknownTopic(unknownTopic.topicId, record: "PartitionChangeRecord")) {
            try delta.replay(.partitionChange(unknownTopic))
        }
        var level = FeatureLevelRecord()
        level.name = MetadataVersion.featureName
        level.featureLevel = 99
        #expect(throws: MetadataError.unsupported(name: "metadata.version 99")) { try delta.replay(.featureLevel(level)) }
        var fence = FenceBrokerRecord()
        fence.id = 4
        #expect(throws: MetadataError.unknownBroker(4, record: "FenceBrokerRecord")) { try delta.replay(.fenceBroker(fence)) }
    }

    @Test func recreatedTopicIsDeletedAndCreated() throws {
        func topic(_ id: UInt64) -> MetadataRecord {
            var record = TopicRecord()
            record.name = "same"
            record.topicId = KafkaUUID(mostSignificantBits: id, leastSignificantBits: id)
            return .topic(record)
        }
        var delta = MetadataDelta(from: .empty)
        try delta.replay(topic(1))
        let image = delta.apply(MetadataProvenance(offset: 0, epoch: 0, timestamp: 0)).image
        var removal = RemoveTopicRecord()
        removal.topicId = KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 1)
        delta = MetadataDelta(from: image)
        try delta.replay(.removeTopic(removal))
        try delta.replay(topic(2))
        let (next, changes) = delta.apply(MetadataProvenance(offset: 2, epoch: 0, timestamp: 0))
        #expect(changes.deletedTopics.count == 1 && changes.createdTopics.count == 1)
        #expect(next.topics.topic(named: "same")?.id == KafkaUUID(mostSignificantBits: 2, leastSignificantBits: 2))
        #expect(next.topics.count == 1)
    }

    @Test func versionsAreNamedAsKafkaNamesThem() {
        #expect(MetadataVersion(name: "3.9-IV0")?.rawValue == 21)
        #expect(MetadataVersion(name: "4.1")?.rawValue == 27)
        #expect(MetadataVersion(name: "4.1.1")?.description == "4.1-IV1")
        #expect(MetadataVersion(name: "2.8") == nil)
        #expect(MetadataVersion(rawValue: 6) == nil && MetadataVersion(rawValue: 34) == nil)
        #expect(MetadataVersion.all.count == 27 && MetadataVersion.latest.description == "4.4-IV2")
    }
}
