// Reads metadata logs and snapshots that Apache Kafka wrote, and compares record for record and image for image.
import ClusterMetadata
import Consensus
import Foundation
import KafkaRecords
import NIOCore
import Primitives
import Testing

@testable import Runtime

@Suite("Conformance: metadata", .enabled(if: Shared.isThere), .serialized)
struct MetadataConformanceTests {
    /// Fixture, data directory in it, records file, and the image in the manifest.
    static let cases: [(fixture: String, directory: String, records: String, image: String)] = [
        ("clean-single", "log", "metadata-records.jsonl", "metadata_image"),
        ("killed-single", "log", "metadata-records.jsonl", "metadata_image"),
        ("metadata-trimmed", "log", "metadata-records.jsonl", "metadata_image"),
        ("cluster3", "node1/log", "node1/metadata-records.jsonl", "final_image"),
        ("cluster3", "node2/log", "node2/metadata-records.jsonl", "final_image"),
        ("cluster3", "node3/log", "node3/metadata-records.jsonl", "final_image"),
    ]

    @Test func recordsAreReadAndWrittenByteForByte() throws {
        var good = 0
        var total = 0
        for test in Self.cases {
            let fixture = try Fixture(test.fixture)
            for line in try fixture.lines(test.records) where line["control"] as? Bool != true {
                total += 1
                let text = try #require(line["value_b64"] as? String)
                let value = ByteBuffer(bytes: try #require(Data(base64Encoded: text)))
                let (record, version) = try MetadataRecord.decode(value)
                let encoded = try record.encoded(version: version)
                let isGood =
                    encoded == value && Int(version) == line["version"] as? Int && Int(record.typeID) == line["type_id"] as? Int
                #expect(isGood, "\(test.fixture) \(line["file"] ?? "") offset \(line["offset"] ?? "")")
                if isGood { good += 1 }
            }
        }
        print("conformance metadata records: \(good) of \(total)")
        #expect(good == total && total > 1000)
    }

    @Test func imagesAreThoseOfKafka() throws {
        var good = 0
        for test in Self.cases {
            let fixture = try Fixture(test.fixture)
            let (log, _) = try openMetadataLog("\(fixture.path)/\(test.directory)")
            let loaded = try log.loadAll()
            let differences = try Self.differences(
                loaded.replay.image, expected: try #require(fixture.manifest[test.image] as? [String: Any]),
                comparesEnd: fixture.manifest["final_image_from_node"] == nil
                    || test.directory.hasPrefix("node\(fixture.manifest["final_image_from_node"] ?? "")"))
            #expect(differences.isEmpty, "\(test.fixture) \(test.directory): \(differences)")
            try Self.checkQuorum(loaded.quorumLog, try #require(fixture.manifest[test.image] as? [String: Any]))
            if differences.isEmpty { good += 1 }
        }
        print("conformance metadata: \(good) of \(Self.cases.count)")
    }

    /// The log without its snapshots must lead to the same image, where it still begins at offset 0.
    @Test func fullReplayEqualsSnapshotAndTail() throws {
        for test in Self.cases where test.fixture != "metadata-trimmed" {
            let fixture = try Fixture(test.fixture)
            let directory = "\(fixture.path)/\(test.directory)"
            let (log, _) = try openMetadataLog(directory)
            let image = try log.loadAll().replay.image
            let partition = "\(directory)/__cluster_metadata-0"
            for name in try FileManager.default.contentsOfDirectory(atPath: partition) where name.hasSuffix(".checkpoint") {
                if SnapshotID(fileName: name) != .bootstrap { try FileManager.default.removeItem(atPath: "\(partition)/\(name)") }
            }
            try log.log.close(now: 0)
            let copy = "\(fixture.path)/\(test.directory)-copy"
            try FileManager.default.copyItem(atPath: directory, toPath: copy)
            let (again, _) = try openMetadataLog(copy)
            let replayed = try again.loadAll().replay.image
            #expect(replayed.provenance == image.provenance)
            #expect(Self.sorted(replayed.json) == Self.sorted(image.json), "\(test.fixture) \(test.directory)")
        }
    }

    @Test func tornTailIsCut() throws {
        let torn = try Fixture("torn-metadata")
        let killed = try Fixture("killed-single")
        let (log, _) = try openMetadataLog("\(torn.path)/log")
        let image = try log.loadAll().replay.image
        let whole = try #require(killed.manifest["metadata_image"] as? [String: Any])
        let last = try #require(whole["last_offset"] as? Int)
        #expect(image.provenance.offset < Offset(last), "the last batch is gone")
        #expect(log.log.logEndOffset == image.provenance.offset + 1)
        // What was cut held nothing but the passing of time.
        #expect(try Self.differences(image, expected: whole, comparesEnd: false).isEmpty)
    }

    @Test func snapshotsRoundTrip() throws {
        for test in Self.cases {
            let fixture = try Fixture(test.fixture)
            let (log, _) = try openMetadataLog("\(fixture.path)/\(test.directory)")
            let loaded = try log.loadAll()
            let image = loaded.replay.image
            var delta = MetadataDelta(from: .empty)
            for record in image.records { try delta.replay(record.record) }
            #expect(delta.apply(image.provenance).image == image)
        }
    }

    private static func checkQuorum(_ log: QuorumLog, _ image: [String: Any]) throws {
        #expect(Int(log.kraftVersion) == image["kraft_version"] as? Int)
        guard let voters = image["voters"] as? [[String: Any]] else {
            #expect(log.voters == nil)
            return
        }
        let found = try #require(log.voters).voters.values
        #expect(found.map { Int($0.id) } == voters.map { $0["voterId"] as? Int })
        #expect(found.map(\.directoryID.description) == voters.map { $0["voterDirectoryId"] as? String })
    }

    /// Which parts of the manifest's image differ.
    private static func differences(
        _ image: MetadataImage, expected: [String: Any], comparesEnd: Bool
    ) throws -> [String] {
        let object = try JSONSerialization.jsonObject(with: Data(image.json.utf8)) as? [String: Any] ?? [:]
        var keys = ["features", "topics", "brokers", "controllers", "configs", "quotas", "acls", "scram", "next_producer_id"]
        if comparesEnd { keys += ["last_offset", "last_epoch"] }
        return keys.filter { key in
            canonical(object[key] ?? NSNull()) != canonical(expected[key] ?? NSNull())
        }
    }

    /// Text that does not depend on the order of keys, nor on that of lists of objects.
    private static func canonical(_ value: Any) -> String {
        switch value {
        case let object as [String: Any]:
            "{" + object.keys.sorted().map { "\($0):\(canonical(object[$0] ?? NSNull()))" }.joined(separator: ",") + "}"
        case let list as [[String: Any]]: "[" + list.map(canonical).sorted().joined(separator: ",") + "]"
        case let list as [Any]: "[" + list.map(canonical).joined(separator: ",") + "]"
        case let number as NSNumber: "\(number.doubleValue)"
        default: "\(value)"
        }
    }

    private static func sorted(_ json: String) -> String {
        (try? JSONSerialization.jsonObject(with: Data(json.utf8))).map(canonical) ?? "invalid"
    }
}
