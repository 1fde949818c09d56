// Which fetches a leader lets wait: a follower that has all records may still have to hear what is committed.
import KafkaMessages
import NIOCore
import Primitives
import Testing

@testable import Consensus

@Suite("Fetches that wait at the leader")
struct WaitingFetchTests {
    private static let observer: NodeID = 5

    /// A sole voter that leads, whose log is durable up to `durable`.
    private static func leader(durable: Offset) throws -> Quorum {
        let endpoint = Voter.Endpoint(name: "CONTROLLER", host: "localhost", port: 9093)
        let configuration = QuorumConfiguration(
            localID: 1, localDirectoryID: KafkaUUID(mostSignificantBits: 3, leastSignificantBits: 333), localEndpoints: [endpoint],
            staticVoters: VoterSet([Voter(id: 1, endpoints: [endpoint])]))
        var quorum = try Quorum(configuration, persisted: nil, log: QuorumLog(endOffset: 0, lastEpoch: 0))
        _ = try quorum.start(now: 0)
        if durable > 0 { _ = quorum.appended(upTo: durable, now: 0) }
        return quorum
    }

    /// The high watermark that the observer is told at once; nil if its fetch waits.
    private static func fetch(
        _ quorum: inout Quorum, at offset: Offset, version: Int16, knows highWatermark: Offset = .max, now: Int64 = 1
    ) -> Offset? {
        var partition = FetchRequest.FetchPartition()
        partition.fetchOffset = offset
        partition.currentLeaderEpoch = 1
        partition.lastFetchedEpoch = 1
        partition.highWatermark = highWatermark
        var topic = FetchRequest.FetchTopic()
        topic.topic = Quorum.topicName
        topic.topicId = Quorum.topicID
        topic.partitions = [partition]
        var request = FetchRequest()
        request.replicaState.replicaId = observer
        request.maxWaitMs = 500
        request.topics = [topic]
        let context = QuorumRequestContext(token: 1, version: version, listenerName: "CONTROLLER")
        return told(quorum.received(.fetch(request), context, now: now))
    }

    private static func told(_ effects: [QuorumEffect]) -> Offset? {
        for effect in effects {
            switch effect {
            case .reply(_, .fetch(let response)), .replyWithRecords(_, let response, _, _, _):
                return response.responses[0].partitions[0].highWatermark
            default: break
            }
        }
        return nil
    }

    /// A broker of Kafka 3.9 would not know of a new topic for half a second: its requests do not say what it has heard.
    @Test func aFollowerThatCannotSayWhatItKnowsHearsWhatIsCommitted() throws {
        var quorum = try Self.leader(durable: 1)
        #expect(Self.fetch(&quorum, at: 0, version: 17) == 1)
        #expect(Self.fetch(&quorum, at: 1, version: 17) == nil, "it knows all there is")
        let appended = try quorum.append([ByteBuffer(string: "a topic")], isAtomic: true, now: 2)
        #expect(Self.told(appended) == 1, "its fetch has records to answer, which are not committed")
        _ = quorum.appended(upTo: 2, now: 3)
        #expect(Self.fetch(&quorum, at: 2, version: 17, now: 4) == 2)
        #expect(Self.fetch(&quorum, at: 2, version: 17, now: 5) == nil, "it is told once, not again and again")
    }

    @Test func aFetchThatWaitsIsAnsweredByTheCommit() throws {
        var quorum = try Self.leader(durable: 1)
        _ = Self.fetch(&quorum, at: 0, version: 17)
        _ = try quorum.append([ByteBuffer(string: "a topic")], isAtomic: true, now: 2)
        #expect(Self.fetch(&quorum, at: 1, version: 17, now: 3) == 1)
        #expect(Self.fetch(&quorum, at: 2, version: 17, now: 4) == nil)
        #expect(Self.told(quorum.appended(upTo: 2, now: 5)) == 2)
        #expect(Self.fetch(&quorum, at: 2, version: 17, now: 6) == nil)
    }

    /// From version 18 on the request says it (KIP-1166).
    @Test func aFollowerThatSaysWhatItKnowsIsBelieved() throws {
        var quorum = try Self.leader(durable: 1)
        #expect(Self.fetch(&quorum, at: 1, version: 18, knows: 0) == 1)
        #expect(Self.fetch(&quorum, at: 1, version: 18, knows: 0) == 1)
        #expect(Self.fetch(&quorum, at: 1, version: 18, knows: 1) == nil)
    }
}
