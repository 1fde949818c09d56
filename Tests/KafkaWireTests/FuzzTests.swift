// Damaged bytes into every decoder: bits flipped, ends cut off, lengths blown up, pieces repeated. Nothing may crash or hang, and what
// decodes all the same must encode to something that decodes to the same again.
import KafkaMessages
import KafkaRecords
import KafkaSchema
import KafkaWire
import NIOCore
import Primitives
import Testing

/// Damages bytes in a way that a seed repeats.
struct Mutator {
    var random: SeededRandom

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
    }

    mutating func mutate(_ original: [UInt8]) -> [UInt8] {
        var bytes = original
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            guard !bytes.isEmpty else { return [UInt8(truncatingIfNeeded: random.next())] }
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes.removeLast(bytes.count - index)
            case 2: bytes[index] = [0, 1, 0x7f, 0x80, 0xff][Int.random(in: 0..<5, using: &random)]
            // A length of four bytes, or a varint of five, far beyond what is left.
            case 3: replace(&bytes, at: index, with: [0x7f, 0xff, 0xff, 0xff])
            case 4: replace(&bytes, at: index, with: [0xff, 0xff, 0xff, 0xff, 0x0f])
            case 5: bytes.insert(contentsOf: bytes[index...].prefix(16), at: index)
            default: bytes.remove(at: index)
            }
        }
        return bytes
    }

    private func replace(_ bytes: inout [UInt8], at index: Int, with new: [UInt8]) {
        for (offset, byte) in new.enumerated() where index + offset < bytes.count { bytes[index + offset] = byte }
    }
}

@Suite struct FuzzTests {
    /// Whether damaged bytes decoded all the same.
    private static func survives(_ type: any KafkaMessage.Type, _ version: Int16, _ buffer: ByteBuffer) throws -> Bool {
        _ = try? MessageView(type).json(decoding: buffer, version: version)
        guard let message = try? type.init(decoding: buffer, version: version) else { return false }
        // Repaired text may have grown past its length prefix, and tags may collide: then it does not encode, which is fine.
        guard let bytes = try? message.encoded(version: version) else { return true }
        let again = try type.init(decoding: bytes, version: version).encoded(version: version)
        #expect(again == bytes, "\(type.messageName) version \(version)")
        return true
    }

    private static func fuzz(_ rows: [[String: Substring]], rounds: Int, seed: UInt64) throws -> (damaged: Int, decoded: Int) {
        var mutator = Mutator(seed: seed)
        var (damaged, decoded) = (0, 0)
        for row in rows {
            guard let type = GoldenVectors.types[String(row["message"] ?? "")], let version = Int16(row["version"] ?? "") else { continue }
            let bytes = Array(ByteBuffer(hex: row["hex"] ?? "").readableBytesView)
            if bytes.count > 4096 { continue }
            for _ in 0..<rounds {
                damaged += 1
                if try survives(type, version, ByteBuffer(bytes: mutator.mutate(bytes))) { decoded += 1 }
            }
        }
        return (damaged, decoded)
    }

    @Test func ownVectorsDamaged() throws {
        let (damaged, decoded) = try Self.fuzz(OwnVectors.rows(), rounds: 60, seed: 1)
        #expect(damaged > 10000)
        // Both outcomes must occur, else the mutator damages too little or too much to test anything.
        #expect(decoded > damaged / 100 && decoded < damaged)
    }

    @Test(.enabled(if: GoldenVectors.arePresent)) func goldenVectorsDamaged() throws {
        let (damaged, decoded) = try Self.fuzz(GoldenVectors.rows("messages.tsv.gz"), rounds: 4, seed: 2)
        #expect(damaged > 5000)
        #expect(decoded > damaged / 100 && decoded < damaged)
    }

    @Test func randomBytesIntoEveryDecoder() throws {
        var random = SeededRandom(seed: 3)
        for type in MessagePropertyTests.types {
            for version in type.validVersions {
                let bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                _ = try Self.survives(type, version, ByteBuffer(bytes: bytes))
            }
        }
    }

    @Test func damagedStoredRecords() throws {
        var mutator = Mutator(seed: 4)
        let topic = try MetadataRecord.topic(TopicRecord()).encoded(version: 0)
        let key = try ConsumerOffsetsKey.offsetCommit(OffsetCommitKey()).encoded()
        let value = try ConsumerOffsetsValue.offsetCommit(OffsetCommitValue()).encoded(version: 4)
        var failures = 0
        for _ in 0..<2000 {
            do { _ = try MetadataRecord.decode(ByteBuffer(bytes: mutator.mutate(Array(topic.readableBytesView)))) } catch { failures += 1 }
            do { _ = try ConsumerOffsetsKey(decoding: ByteBuffer(bytes: mutator.mutate(Array(key.readableBytesView)))) } catch {
                failures += 1
            }
            do { _ = try ConsumerOffsetsValue.decode(ByteBuffer(bytes: mutator.mutate(Array(value.readableBytesView))), type: 1) } catch {
                failures += 1
            }
        }
        #expect(failures > 1000 && failures < 6000)
    }

    @Test func damagedFrames() throws {
        var mutator = Mutator(seed: 5)
        var request = MetadataRequest()
        request.topics = nil
        let frame = Array(try Frame.request(request, version: 12, correlationId: 7, clientId: "client").readableBytesView)
        var decoded = 0
        for _ in 0..<2000 {
            var reader = WireReader(ByteBuffer(bytes: mutator.mutate(frame)))
            guard let header = try? RequestHeader(fromFrame: &reader), let api = header.api else { continue }
            if (try? api.requestType.init(from: &reader, version: header.requestApiVersion)) != nil { decoded += 1 }
        }
        #expect(decoded > 20 && decoded < 2000)
    }

    @Test func damagedDefinitionsAndJSON() throws {
        var mutator = Mutator(seed: 6)
        let definition = Array(MetadataResponse.definitionText.utf8)
        let errors = Array("-1 UNKNOWN \"text\"\n3 OTHER retriable refreshesMetadata \"more\"\n".utf8)
        let json = Array(#"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00",null,{"b":true}]}"#.utf8)
        var failures = 0
        for _ in 0..<2000 {
            let text = String(decoding: mutator.mutate(definition), as: UTF8.self)
            do {
                var parser = try DefinitionParser(text, file: "definition")
                _ = try parser.message(named: "Message")
            } catch { failures += 1 }
            do {
                _ = try DefinitionParser.errors(String(decoding: mutator.mutate(errors), as: UTF8.self), file: "errors")
            } catch { failures += 1 }
            do {
                let value = try JSONValue(parsing: mutator.mutate(json))
                #expect(try JSONValue(parsing: value.description) == value)
            } catch { failures += 1 }
        }
        #expect(failures > 500 && failures < 6000)
    }
}
