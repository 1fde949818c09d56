// What a flow remembers of its partitions, without any cluster.
import Logging
import NIOCore
import Primitives
import Testing

@testable import MirrorMaker
@testable import Mirroring

@Suite("State of a flow")
struct FlowStateTests {
    private static func state(_ more: String = "") throws -> FlowState {
        let configuration = try MirrorConfigurationTests.read(MirrorConfigurationTests.base + "\n" + more)
        let flow = try #require(configuration.flows.first)
        return try FlowState(flow, logger: Logger(label: "test"))
    }

    private static func batch(_ upstream: Int64, _ count: Int64) -> CopiedBatch {
        CopiedBatch(
            bytes: ByteBuffer(), count: Int(count), segments: [CopiedBatch.Segment(upstream: upstream, count: count)], maximumTimestamp: 0)
    }

    @Test("A topic that is away for a moment goes on where it was, with the same translation")
    func comesBack() async throws {
        let state = try Self.state()
        let partition = TopicPartition("orders", 0)
        state.contents.withLock { $0.storedPositions[partition] = 5 }
        state.replicate([partition])
        #expect(state.contents.withLock { $0.partitions[partition]?.stored } == 5)
        #expect(state.contents.withLock { $0.partitions[partition]?.target } == TopicPartition("A.orders", 0))
        state.contents.withLock { contents in
            contents.partitions[partition]?.position = 5
            contents.partitions[partition]?.translation.loaded(upstream: 5, downstream: 5)
        }
        #expect(state.copied(partition, Self.batch(5, 10), baseOffset: 7).map(\.sync.downstreamOffset) == [7])
        state.finished(partition, next: 15)
        state.replicate([])
        #expect(state.contents.withLock { $0.partitions.isEmpty })
        state.replicate([partition])
        let copied = try #require(state.contents.withLock { $0.partitions[partition] })
        #expect(copied.stored == 15 && copied.position == nil)
        var translation = copied.translation
        translation.loaded(upstream: 15, downstream: 17)
        #expect(translation.downstream(of: 9) == 11)
        await state.close()
    }

    @Test("After a failure copying goes back to what is on the target for certain")
    func failure() async throws {
        let state = try Self.state()
        let partition = TopicPartition("orders", 0)
        state.replicate([partition])
        state.contents.withLock { contents in
            contents.partitions[partition]?.position = 0
            contents.partitions[partition]?.translation.loaded(upstream: 0, downstream: 0)
        }
        _ = state.copied(partition, Self.batch(0, 4), baseOffset: 0)
        state.finished(partition, next: 4)
        state.contents.withLock { $0.partitions[partition]?.position = 100 }
        state.failed(partition, "refused", pauseMilliseconds: 1000)
        let copied = try #require(state.contents.withLock { $0.partitions[partition] })
        #expect(copied.position == 4 && copied.problem == "refused" && copied.notBefore > SystemClock.monotonicMilliseconds())
        state.finished(partition, next: 6)
        #expect(state.contents.withLock { $0.partitions[partition]?.problem } == nil)
        await state.close()
    }

    @Test("Client settings that cannot be used are named")
    func clientSettings() throws {
        for (line, key) in [
            ("A.consumer.isolation.level = dirty", "isolation.level"), ("B.producer.compression.type = zip", "compression.type"),
            ("A.consumer.fetch.max.bytes = much", "fetch.max.bytes"), ("A.security.protocol = TLS", "security.protocol"),
            ("A.bootstrap.servers = here:there", "here:there"),
        ] {
            do {
                _ = try Self.state(line)
                Issue.record("\(line) was taken")
            } catch {
                #expect("\(error)".contains(key), "\(line): \(error)")
            }
        }
    }
}
