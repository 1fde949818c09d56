// Groups and offsets of data directories that Apache Kafka wrote, against what Kafka itself said of them.
import Foundation
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Runtime
import TestKit
import Testing

@Suite("Group Conformance")
struct GroupConformanceTests {
    private static let shared = ProcessInfo.processInfo.environment["MARTLET_SHARED"] ?? "../shared"
    private static var isPresent: Bool { FileManager.default.fileExists(atPath: shared + "/fixtures/clean-single.tar.gz") }

    private struct Manifest: Decodable {
        struct View: Decodable { var groups: [String: Group]? }
        struct Group: Decodable {
            var state: String
            var type: String
            var offsets: [String: Committed]
            var assignor: String
            var members: [Member]
        }
        struct Committed: Decodable, Equatable {
            var offset: Int64
            var metadata: String
            var leader_epoch: Int32?
        }
        struct Member: Decodable {
            var client_id: String
            var group_instance_id: String?
        }
        var real_kafka_after_start: View?
        var real_kafka: View?
        var wire_view_before_shutdown: View?

        var groups: [String: Group] { (real_kafka_after_start ?? real_kafka ?? wire_view_before_shutdown)?.groups ?? [:] }
    }

    @Test("Groups and offsets of Kafka's fixtures", .enabled(if: isPresent))
    func fixtures() throws {
        var held = 0
        var total = 0
        for (fixture, logs) in [
            ("clean-single", ["log"]), ("killed-single", ["log"]), ("metadata-trimmed", ["log"]), ("missing-checkpoints", ["log"]),
            ("cluster3", ["node1/log", "node2/log", "node3/log"]),
        ] {
            let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-groups-\(UUID().uuidString)")
            defer { try? FileManager.default.removeItem(at: scratch) }
            try unpack(fixture, to: scratch)
            let manifest = try JSONDecoder().decode(
                Manifest.self, from: Data(contentsOf: scratch.appendingPathComponent("\(fixture)/manifest.json")))
            #expect(!manifest.groups.isEmpty)
            for log in logs {
                let runtime = try load(scratch.appendingPathComponent("\(fixture)/\(log)"))
                let listed = runtime.listGroups(ListGroupsRequest()).groups
                #expect(Set(listed.map(\.groupId)) == Set(manifest.groups.keys), "groups of \(fixture)/\(log)")
                for (name, expected) in manifest.groups.sorted(by: { $0.key < $1.key }) {
                    total += 1
                    if holds(name, expected, listed.first { $0.groupId == name }, runtime) {
                        held += 1
                    } else {
                        Issue.record("group \(name) of \(fixture)/\(log)")
                    }
                }
            }
        }
        print("conformance groups: \(held) of \(total)")
    }

    private func unpack(_ fixture: String, to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "xzf", Self.shared + "/fixtures/\(fixture).tar.gz", "-C", folder.path]
        try tar.run()
        tar.waitUntilExit()
        try #require(tar.terminationStatus == 0)
    }

    /// A runtime that has read every partition of __consumer_offsets in a data directory.
    private func load(_ folder: URL) throws -> CoordinatorRuntime {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        let partitions = names.filter { $0.hasPrefix("__consumer_offsets-") && !$0.hasSuffix("-delete") }
        var configuration = CoordinatorRuntimeConfiguration()
        configuration.partitionCount = Int32(partitions.count)
        let runtime = CoordinatorRuntime(configuration: configuration)
        for name in partitions {
            let partition = try #require(Int32(name.dropFirst("__consumer_offsets-".count)))
            let path = folder.appendingPathComponent(name)
            let segments = try FileManager.default.contentsOfDirectory(atPath: path.path).filter { $0.hasSuffix(".log") }.sorted()
            let log = MemoryCoordinatorLog(
                segments: try segments.map { ByteBuffer(bytes: try Data(contentsOf: path.appendingPathComponent($0))) })
            let report = try runtime.load(partition: partition, from: log)
            #expect(report.skippedRecordCount == 0)
        }
        return runtime
    }

    private func holds(
        _ name: String, _ expected: Manifest.Group, _ listed: ListGroupsResponse.ListedGroup?, _ runtime: CoordinatorRuntime
    ) -> Bool {
        guard let listed, listed.groupState == expected.state, listed.groupType == expected.type.lowercased() else { return false }
        var group = OffsetFetchRequest.OffsetFetchRequestGroup()
        group.groupId = name
        group.topics = nil
        var request = OffsetFetchRequest()
        request.groups = [group]
        let answer = Answer<OffsetFetchResponse>()
        let context = GroupRequestContext(apiVersion: 9, clientID: "", clientHost: "")
        runtime.fetchOffsets(request, context: context, topics: FixedTopics(), completion: answer.completion)
        var offsets: [String: Manifest.Committed] = [:]
        for topic in answer.value?.groups.first?.topics ?? [] {
            for partition in topic.partitions {
                offsets["\(topic.name)-\(partition.partitionIndex)"] = Manifest.Committed(
                    offset: partition.committedOffset, metadata: partition.metadata ?? "",
                    leader_epoch: partition.committedLeaderEpoch == -1 ? nil : partition.committedLeaderEpoch)
            }
        }
        guard offsets == expected.offsets else { return false }
        guard listed.groupType == "classic" else { return true }
        var describe = DescribeGroupsRequest()
        describe.groups = [name]
        guard let described = runtime.describeGroups(describe, context: context).groups.first else { return false }
        return described.protocolData == expected.assignor
            && described.members.map(\.clientId).sorted() == expected.members.map(\.client_id).sorted()
            && described.members.compactMap(\.groupInstanceId).sorted() == expected.members.compactMap(\.group_instance_id).sorted()
    }
}
