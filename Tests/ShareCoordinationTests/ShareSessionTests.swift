// Share sessions: epochs, what is in them, how many there may be, and with which connection they end.
import KafkaWire
import Primitives
import ShareCoordination
import Testing

@Suite("Share sessions")
struct ShareSessionTests {
    private let key = ShareSessionKey(group: "g", member: "m")
    private let first = TopicIDPartition(TopicID(mostSignificantBits: 0, leastSignificantBits: 9), 0)
    private let second = TopicIDPartition(TopicID(mostSignificantBits: 0, leastSignificantBits: 9), 1)

    private func fetch(
        _ sessions: inout ShareSessions, epoch: Int32, adding: [TopicIDPartition] = [], forgetting: [TopicIDPartition] = [],
        acknowledges: Bool = false, key: ShareSessionKey? = nil, connection: UInt64 = 1
    ) -> Result<ShareSessions.Fetch, ShareStateRefusal> {
        do throws(ShareStateRefusal) {
            return .success(
                try sessions.fetch(
                    key ?? self.key, epoch: epoch, adding: adding, forgetting: forgetting, hasAcknowledgements: acknowledges,
                    connection: connection))
        } catch {
            return .failure(error)
        }
    }

    private func end(_ sessions: inout ShareSessions, of connection: UInt64? = nil) -> Bool { sessions.end(key, of: connection) }

    @Test("A session keeps its partitions; each request has the next epoch")
    func epochs() throws {
        var sessions = ShareSessions(maximum: 10)
        #expect(fetch(&sessions, epoch: 1) == .failure(ShareStateRefusal(.shareSessionNotFound)))
        #expect(fetch(&sessions, epoch: 0, acknowledges: true) == .failure(ShareStateRefusal(.invalidRequest)))
        #expect(try fetch(&sessions, epoch: 0, adding: [first]).get().added == [first])
        #expect(try fetch(&sessions, epoch: 1, adding: [second]).get().partitions == [first, second])
        #expect(fetch(&sessions, epoch: 1) == .failure(ShareStateRefusal(.invalidShareSessionEpoch)))
        try sessions.acknowledge(key, epoch: 2)
        #expect(throws: ShareStateRefusal(.invalidShareSessionEpoch)) { try sessions.acknowledge(key, epoch: 0) }
        let third = try fetch(&sessions, epoch: 3, forgetting: [first]).get()
        #expect(third.partitions == [second] && third.added.isEmpty && !third.isFinal)
        #expect(try fetch(&sessions, epoch: -1).get().isFinal)
        #expect(end(&sessions))
        #expect(sessions.count == 0)
        #expect(fetch(&sessions, epoch: -1) == .failure(ShareStateRefusal(.shareSessionNotFound)))
    }

    @Test("There are only so many, and one ends only with the connection that began it")
    func bounds() throws {
        var sessions = ShareSessions(maximum: 1)
        _ = try fetch(&sessions, epoch: 0, adding: [first]).get()
        let other = ShareSessionKey(group: "g", member: "n")
        #expect(fetch(&sessions, epoch: 0, key: other) == .failure(ShareStateRefusal(.shareSessionLimitReached)))
        _ = try fetch(&sessions, epoch: 0, adding: [second], connection: 2).get()
        #expect(!end(&sessions, of: 1), "the member has come back on another connection")
        #expect(end(&sessions, of: 2))
    }
}
