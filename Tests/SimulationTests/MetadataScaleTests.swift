// The measurement of large metadata, in small.
import Simulation
import Testing

@Suite("Metadata of many partitions")
struct MetadataScaleTests {
    @Test("A lost broker's partitions get other leaders, with one record each", arguments: [100, 3000])
    func losesABroker(partitionsPerTopic: Int) throws {
        let figures = try MetadataScale(partitions: 3000, partitionsPerTopic: partitionsPerTopic, now: { 0 }, residentBytes: { 0 }).run()
        // Three of ten brokers hold each partition; one record more fences the broker.
        #expect(figures.first { $0.name == "records of a lost broker" }?.value == 901)
    }
}
