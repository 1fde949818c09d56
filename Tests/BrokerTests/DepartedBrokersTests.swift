// How long Metadata goes on naming a broker that was fenced.
import ClusterMetadata
import KafkaRecords
import Primitives
import Testing

@testable import Broker

@Suite("Broker: departed brokers")
struct DepartedBrokersTests {
    private static func registration(fenced: Bool, shuttingDown: Bool = false) -> MetadataRecord {
        var record = RegisterBrokerRecord()
        record.brokerId = 1
        record.brokerEpoch = 1
        record.fenced = fenced
        record.inControlledShutdown = shuttingDown
        return .registerBroker(record)
    }

    private static func fencing() -> MetadataRecord {
        var record = FenceBrokerRecord()
        record.id = 1
        record.epoch = 1
        return .fenceBroker(record)
    }

    private static func unfencing() -> MetadataRecord {
        var record = UnfenceBrokerRecord()
        record.id = 1
        record.epoch = 1
        return .unfenceBroker(record)
    }

    /// Publishes one record after the other at the given moments.
    private static func after(_ records: [(record: MetadataRecord, at: Int64)]) throws -> DepartedBrokers {
        let departed = DepartedBrokers()
        var replay = MetadataReplay(from: .empty)
        var image = MetadataImage.empty
        for (offset, step) in records.enumerated() {
            try replay.replay(step.record, offset: Offset(offset), epoch: 1, timestamp: 0)
            let published = replay.publish()
            let next = try #require(published)
            departed.take(next.changes, from: image.cluster, to: next.image.cluster, now: step.at)
            image = next.image
        }
        return departed
    }

    @Test func theFirstAnswerAfterABrokerWasFencedNamesIt() throws {
        let departed = try Self.after([(Self.registration(fenced: false), 0), (Self.fencing(), 10_000)])
        #expect(departed.isNamed(1, answeredAt: 500, now: 10_000) && departed.isNamed(1, answeredAt: 10_000, now: 12_999))
        #expect(!departed.isNamed(1, answeredAt: 10_001, now: 10_002), "its second answer")
        #expect(!departed.isNamed(1, answeredAt: nil, now: 10_000), "a client that never heard of it")
        #expect(!departed.isNamed(1, answeredAt: 500, now: 13_000), "long ago")
        #expect(!departed.isNamed(2, answeredAt: 500, now: 10_000), "another broker")
    }

    @Test func whoCameBackIsForgotten() throws {
        let departed = try Self.after([(Self.registration(fenced: false), 0), (Self.fencing(), 10_000), (Self.unfencing(), 10_100)])
        #expect(!departed.isNamed(1, answeredAt: 500, now: 10_101))
    }

    @Test func whoNeverServedOrLeavesOrderlyIsNotNamed() throws {
        let fenced = try Self.after([(Self.registration(fenced: true), 10)])
        #expect(!fenced.isNamed(1, answeredAt: 1, now: 11))
        let leaving = try Self.after([(Self.registration(fenced: false, shuttingDown: true), 0), (Self.fencing(), 10)])
        #expect(!leaving.isNamed(1, answeredAt: 1, now: 11))
    }
}
