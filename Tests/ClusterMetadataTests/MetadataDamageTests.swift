// What a crash or a bad disk can do to metadata: a log cut at any byte, bytes that changed, snapshots half written.
import ClusterMetadata
import Foundation
import KafkaRecords
import NIOCore
import Primitives
import Storage
import Testing

@testable import Runtime

@Suite("Metadata damage", .serialized)
struct MetadataDamageTests {
    /// Cut anywhere, the log yields a state that it had been in, and goes on from there.
    @Test(.enabled(if: Shared.isThere)) func logCutAnywhereIsAPrefix() throws {
        let fixture = try Fixture("killed-single")
        let partition = "\(fixture.path)/log/__cluster_metadata-0"
        let segment = "\(partition)/00000000000000000405.log"
        let whole = try Data(contentsOf: URL(fileURLWithPath: segment))
        let last = try #require((fixture.manifest["metadata_image"] as? [String: Any])?["last_offset"] as? Int)
        // The end of every batch, and so every offset that a cut may leave.
        var ends: [Int: Offset] = [0: 404]
        var position = 0
        while position < whole.count {
            let bytes = ByteBuffer(bytes: whole[position...])
            let length = Int(try #require(bytes.getInteger(at: 8, as: Int32.self))) + 12
            let base = try #require(bytes.getInteger(at: 0, as: Int64.self))
            position += length
            ends[position] = base + Int64(try #require(bytes.getInteger(at: 23, as: Int32.self)))
        }
        #expect(ends[whole.count] == Offset(last))
        var random = SeededRandom(seed: 11)
        for _ in 0..<12 {
            let length = Int.random(in: 0..<whole.count, using: &random)
            try whole[..<length].write(to: URL(fileURLWithPath: segment))
            let copy = "\(fixture.scratch.path)/cut"
            try FileManager.default.copyItem(atPath: "\(fixture.path)/log", toPath: copy)
            defer { try? FileManager.default.removeItem(atPath: copy) }
            let (log, _) = try openMetadataLog(copy)
            let image = try log.loadAll().replay.image
            let expected = ends.filter { $0.key <= length }.max { $0.key < $1.key }?.value
            #expect(image.provenance.offset == expected, "cut at byte \(length)")
            #expect(log.log.logEndOffset == image.provenance.offset + 1)
        }
    }

    /// A snapshot that a crash left unfinished, or that the disk spoiled, is passed over for the one before.
    @Test(.enabled(if: Shared.isThere)) func spoiledSnapshotIsPassedOver() throws {
        let fixture = try Fixture("clean-single")
        let directory = "\(fixture.path)/log"
        let newest = "\(directory)/__cluster_metadata-0/00000000000000000353-0000000002.checkpoint"
        let (log, _) = try openMetadataLog(directory)
        let image = try log.loadAll().replay.image
        let whole = try Data(contentsOf: URL(fileURLWithPath: newest))
        for damage in 0..<3 {
            var spoiled = whole
            switch damage {
            case 0: spoiled = spoiled.prefix(whole.count / 2)
            case 1: spoiled = spoiled.prefix(whole.count - 20)
            default: spoiled[whole.count / 2] ^= 0x40
            }
            let copy = "\(fixture.scratch.path)/spoiled"
            try FileManager.default.copyItem(atPath: directory, toPath: copy)
            defer { try? FileManager.default.removeItem(atPath: copy) }
            let partition = "\(copy)/__cluster_metadata-0"
            try spoiled.write(to: URL(fileURLWithPath: "\(partition)/00000000000000000353-0000000002.checkpoint"))
            try Data().write(to: URL(fileURLWithPath: "\(partition)/00000000000000000400-0000000002.checkpoint.part"))
            let (again, _) = try openMetadataLog(copy)
            let replayed = try again.loadAll().replay.image
            #expect(replayed.provenance == image.provenance)
            #expect(replayed.topics.all.map(\.id).sorted() == image.topics.all.map(\.id).sorted())
            #expect(try FileManager.default.contentsOfDirectory(atPath: partition).allSatisfy { !$0.hasSuffix(".part") })
        }
    }

    /// Records with changed bytes are refused with an error or replayed; nothing else happens.
    @Test(.enabled(if: Shared.isThere)) func mutatedRecordsDoNoHarm() throws {
        let fixture = try Fixture("clean-single")
        var values: [[UInt8]] = []
        for line in try fixture.lines() where line["control"] as? Bool != true {
            if let text = line["value_b64"] as? String, let data = Data(base64Encoded: text) { values.append(Array(data)) }
        }
        var random = SeededRandom(seed: 2024)
        var refused = 0
        var replayed = 0
        for _ in 0..<40 {
            var delta = MetadataDelta(from: .empty)
            for value in values {
                var bytes = value
                if Int.random(in: 0..<8, using: &random) == 0, !bytes.isEmpty {
                    for _ in 0..<Int.random(in: 1...4, using: &random) {
                        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                    }
                    if Int.random(in: 0..<4, using: &random) == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
                }
                guard let record = try? MetadataRecord(decoding: ByteBuffer(bytes: bytes)) else {
                    refused += 1
                    continue
                }
                do throws(MetadataError) {
                    try delta.replay(record)
                    replayed += 1
                } catch {
                    refused += 1
                }
            }
            let image = delta.apply(MetadataProvenance(offset: 0, epoch: 0, timestamp: 0)).image
            #expect(!image.json.isEmpty)
        }
        #expect(refused > 0 && replayed > 0)
    }
}
