// Following an internal topic of one partition: all that is in it, and whatever is written from then on.
import MartletClient
import Mirroring
import Primitives
import RecordBatches

/// Reads a topic of one partition for as long as its task runs.
struct TopicFollowing: Sendable {
    private let topic: String
    private let client: ClientConfiguration
    /// Milliseconds that one wait for records lasts at most.
    private let patienceMilliseconds: Int64

    init(_ topic: String, _ client: ClientConfiguration, patienceMilliseconds: Int64 = 500) {
        (self.topic, self.client, self.patienceMilliseconds) = (topic, client, patienceMilliseconds)
    }

    /// - Parameters:
    ///   - take: given the records in their order; after a failure again from the beginning. Also called with none, when nothing new came.
    ///   - failed: told what does not work at the moment.
    func run(_ take: ([InternalRecord]) async -> Void, failed: (KafkaError) -> Void) async {
        while !Task.isCancelled {
            do throws(KafkaError) {
                try await follow(take)
            } catch {
                if error.kind != .cancelled { failed(error) }
            }
            try? await ClusterClient.pause(milliseconds: 500)
        }
    }

    private func follow(_ take: ([InternalRecord]) async -> Void) async throws(KafkaError) {
        var settings = ConsumerConfiguration(client)
        settings.offsetReset = .earliest
        settings.commitsAutomatically = false
        let consumer = try KafkaConsumer(settings)
        do throws(KafkaError) {
            let partition = TopicPartition(topic, 0)
            try await consumer.assign([partition])
            try consumer.seekToBeginning([partition])
            while !Task.isCancelled {
                guard let batch = try await consumer.nextBatch(timeout: .milliseconds(patienceMilliseconds)) else {
                    await take([])
                    continue
                }
                await take(
                    try batch.records().map {
                        InternalRecord(key: $0.key, value: $0.value, headers: $0.headers, timestamp: $0.timestamp, followsGap: false)
                    })
            }
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }
}
