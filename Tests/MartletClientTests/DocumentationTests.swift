// The examples of docs/client.md, run as they stand there: the test also fails when the page and this file differ.
import Foundation
import TestKit
import Testing

@testable import MartletClient

@Suite("Documentation")
struct DocumentationTests {
    @Test("The examples of docs/client.md compile and run")
    func examples() async throws {
        try await RunningNode.with(overrides: ["num.partitions=3"]) { broker in
            let bootstrap = broker.bootstrap
            // example
            let admin = try AdminClient(bootstrapServers: bootstrap)
            try await admin.createTopics([NewTopic("orders", partitions: 3)]).values()
            for topic in try await admin.listTopics() {
                print(topic.name, topic.partitions.count)
            }
            admin.close()
            // example
            let producer = try KafkaProducer(bootstrapServers: bootstrap)
            let written = try await producer.send(ProducerRecord(topic: "orders", key: "42", value: "two tables"))
            print("partition \(written.partition), offset \(written.offset)")
            for number in 0..<1000 {
                try await producer.enqueue(ProducerRecord(topic: "orders", key: "\(number)", value: "a chair"))
            }
            try await producer.flush()
            try await producer.close()
            // example
            var configuration = try ConsumerConfiguration(bootstrapServers: bootstrap, group: "billing")
            configuration.offsetReset = .earliest
            let consumer = try KafkaConsumer(configuration)
            try await consumer.subscribe(["orders"])
            var count = 0
            for try await record in consumer.records {
                print(record.partition, record.offset, try record.value(as: String.self) ?? "deleted")
                count += 1
                if count == 1001 { break }
            }
            try await consumer.close()
            // example
            let reader = try KafkaConsumer(bootstrapServers: bootstrap)
            let partition = TopicPartition("orders", 0)
            try await reader.assign([partition])
            try reader.seekToBeginning([partition])
            let records = try await reader.poll(maximumRecords: 10, timeout: .seconds(5))
            print(records.map(\.offset), try await reader.endOffsets([partition]))
            try await reader.close()
            // end
            #expect(written.offset == 0)
            #expect(records.map(\.offset) == Array(0..<10))
        }
    }

    @Test("docs/client.md shows the code that is run here")
    func examplesAreTheSame() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(contentsOf: root.appendingPathComponent("docs/client.md"), encoding: .utf8)
        let own = try String(contentsOfFile: #filePath, encoding: .utf8)
        let shown = page.components(separatedBy: "```swift\n").dropFirst().compactMap { $0.components(separatedBy: "\n```").first }
        let indentation = String(repeating: " ", count: 12)
        let body = own.components(separatedBy: indentation + "// end\n").first ?? ""
        let run = body.components(separatedBy: indentation + "// example\n").dropFirst().map { example in
            example.split(separator: "\n", omittingEmptySubsequences: false)
                .map { $0.hasPrefix(indentation) ? String($0.dropFirst(12)) : String($0) }.joined(separator: "\n")
                .trimmingCharacters(in: .newlines)
        }
        #expect(shown == run)
        #expect(shown.count == 4)
    }
}
