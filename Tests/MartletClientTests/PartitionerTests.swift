// Records of one key must meet in one partition whoever wrote them, so the hash is checked against the Java client's known answers.
import NIOCore
import Primitives
import Testing

@testable import MartletClient

@Suite("Partitioner")
struct PartitionerTests {
    @Test(
        "Murmur2 gives the Java client's answers",
        arguments: [
            ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829), ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ])
    func murmur2(text: String, expected: Int) {
        #expect(Murmur2.hash(ByteBuffer(string: text)) == Int32(expected))
    }

    @Test("Keys keep their partition, records without one stay for a batch and then move on")
    func standard() {
        var random = SeededRandom(seed: 7)
        var chooser = PartitionChooser(count: 5, available: [0, 1, 2, 3, 4])
        func choose(_ record: ProducerRecord) -> Int32 {
            chooser.choose(record, size: 100, partitioner: .standard, stickyLimit: 1000, using: &random)
        }
        let keyed = ProducerRecord(topic: "t", key: "foobar", value: "x")
        #expect(Set((0..<50).map { _ in choose(keyed) }) == [Int32((-790_332_482 as Int32) & 0x7fff_ffff) % 5])
        let plain = (0..<100).map { _ in choose(ProducerRecord(topic: "t", value: "x")) }
        for batch in 0..<10 {
            #expect(Set(plain[batch * 10..<batch * 10 + 10]).count == 1)
            if batch > 0 { #expect(plain[batch * 10] != plain[batch * 10 - 1]) }
        }
    }

    @Test("Records without a key avoid partitions without a leader")
    func available() {
        var random = SeededRandom(seed: 1)
        var chooser = PartitionChooser(count: 4, available: [2])
        for _ in 0..<20 {
            let chosen = chooser.choose(
                ProducerRecord(topic: "t", value: "x"), size: 100, partitioner: .standard, stickyLimit: 100, using: &random)
            #expect(chosen == 2)
        }
    }

    @Test("Addresses are read as people write them")
    func addresses() throws {
        #expect(try BrokerAddress("kafka:9093") == BrokerAddress(host: "kafka", port: 9093))
        #expect(try BrokerAddress("kafka") == BrokerAddress(host: "kafka", port: 9092))
        #expect(try BrokerAddress("[::1]:9093") == BrokerAddress(host: "::1", port: 9093))
        #expect(try BrokerAddress("::1") == BrokerAddress(host: "::1", port: 9092))
        #expect(throws: KafkaError.self) { try BrokerAddress("kafka:x") }
        #expect(throws: KafkaError.self) { try BrokerAddress(":9092") }
        #expect(try ClientConfiguration(bootstrapServers: "a:1, b:2").bootstrapServers.map(\.port) == [1, 2])
    }

    @Test("Waiting times double up to the maximum, give or take a fifth")
    func backoff() {
        var random = SeededRandom(seed: 3)
        let backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(1))
        #expect(backoff.milliseconds(afterFailures: 0, using: &random) == 0)
        for (failures, expected) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
            let wait = backoff.milliseconds(afterFailures: failures, using: &random)
            #expect((Int64(expected) * 8 / 10...Int64(expected) * 12 / 10).contains(wait))
        }
        for failures in 5..<100 { #expect((800...1000).contains(backoff.milliseconds(afterFailures: failures, using: &random))) }
    }
}
