// Every golden vector through the generated structs and through the views made from the definitions.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("GoldenConformance", .enabled(if: GoldenVectors.arePresent))
struct GoldenConformanceTests {
    @Test func messages() throws {
        var held: [String: Int] = [:]
        var total: [String: Int] = [:]
        for row in try GoldenVectors.rows("messages.tsv.gz") {
            let kind = String(row["kind"] ?? "")
            total[kind, default: 0] += 1
            let place = "\(row["message"] ?? "") version \(row["version"] ?? "") \(row["variant"] ?? "")"
            do {
                let failure = try Self.check(row)
                #expect(failure == nil, "\(place)")
                if failure == nil { held[kind, default: 0] += 1 }
            } catch {
                Issue.record("\(place): \(error)")
            }
        }
        for kind in total.keys.sorted() {
            print("conformance \(kind): \(held[kind] ?? 0) of \(total[kind] ?? 0)")
        }
        #expect(total.values.reduce(0, +) > 2000)
    }

    private static func check(_ row: [String: Substring]) throws -> String? {
        let name = String(row["message"] ?? "")
        guard let type = GoldenVectors.types[name] else { return "unknown message" }
        guard let version = Int16(row["version"] ?? "") else { return "no version" }
        let json = try JSONValue(parsing: String(row["json"] ?? ""))
        let bytes = ByteBuffer(hex: row["hex"] ?? "")
        return try check(type, version, json, bytes)
    }

    static func check(_ type: any KafkaMessage.Type, _ version: Int16, _ json: JSONValue, _ bytes: ByteBuffer) throws -> String? {
        let message = try type.init(decoding: bytes, version: version)
        if let difference = MessageReflection.difference(message, json, path: type.messageName) { return difference }
        let again = try message.encoded(version: version)
        if again != bytes { return "struct encodes to \(again.hex), not \(bytes.hex)" }
        let view = MessageView(type)
        let seen = try view.json(decoding: bytes, version: version)
        if seen.sortedByName != json.sortedByName { return "view shows \(seen)" }
        let written = try view.encode(json, version: version)
        if written != bytes { return "view encodes to \(written.hex), not \(bytes.hex)" }
        return nil
    }

    @Test func headers() throws {
        let rows = try GoldenVectors.rows("headers.tsv")
        var held = 0
        for row in rows {
            guard let key = ApiKey(rawValue: Int16(row["apiKey"] ?? "") ?? -1), let version = Int16(row["version"] ?? "") else {
                Issue.record("unknown API \(row)")
                continue
            }
            let listeners = (row["listeners"] ?? "").split(separator: ",")
            let isRight =
                key.name == row["name"] ?? "" && key.validVersions.contains(version)
                && "\(key.requestHeaderVersion(version))" == row["requestHeaderVersion"] ?? ""
                && "\(key.responseHeaderVersion(version))" == row["responseHeaderVersion"] ?? ""
                && !key.stableVersions.contains(version) == (row["unstable"] == "true")
                && key.listeners.contains(.broker) == listeners.contains("broker")
                && key.listeners.contains(.controller) == listeners.contains("controller")
            #expect(isRight, "\(row)")
            if isRight { held += 1 }
        }
        print("conformance header versions: \(held) of \(rows.count)")
        #expect(rows.count > 300)
    }

    @Test func framed() throws {
        var held: [String: Int] = [:]
        var total: [String: Int] = [:]
        for row in try GoldenVectors.rows("framed.tsv") {
            let kind = String(row["kind"] ?? "")
            total[kind, default: 0] += 1
            do {
                let isRight = try Self.isRightFramed(kind, row)
                #expect(isRight, "\(row)")
                if isRight { held[kind, default: 0] += 1 }
            } catch {
                Issue.record("\(row["message"] ?? ""): \(error)")
            }
        }
        for kind in total.keys.sorted() {
            print("conformance framed \(kind): \(held[kind] ?? 0) of \(total[kind] ?? 0)")
        }
        #expect(total.values.reduce(0, +) > 100)
    }

    private static func isRightFramed(_ kind: String, _ row: [String: Substring]) throws -> Bool {
        let bytes = ByteBuffer(hex: row["hex"] ?? "")
        let name = String(row["message"] ?? "")
        let type = Int16(row["apiKey"] ?? "") ?? -1
        let version = Int16(row["version"] ?? "") ?? -1
        func isRight<Record: FramedRecord>(_: Record.Type) throws -> Bool {
            let (record, found) = try Record.decode(bytes)
            let again = try record.encoded(version: found)
            return found == version && record.typeID == type && Swift.type(of: record.message).messageName == name && again == bytes
        }
        switch kind {
        case "metadata": return try isRight(MetadataRecord.self)
        case "remote-log-metadata": return try isRight(RemoteLogMetadataRecord.self)
        case "coordinator-key":
            if name.hasPrefix("TransactionLog") { return try isRightKey(TransactionStateKey.self, bytes, name) }
            if name.hasPrefix("ShareSnapshot") || name.hasPrefix("ShareUpdate") {
                return try isRightKey(ShareGroupStateKey.self, bytes, name)
            }
            return try isRightKey(ConsumerOffsetsKey.self, bytes, name)
        case "coordinator-value":
            if name.hasPrefix("TransactionLog") { return try isRightValue(TransactionStateValue.self, bytes, type, version, name) }
            if name.hasPrefix("ShareSnapshot") || name.hasPrefix("ShareUpdate") {
                return try isRightValue(ShareGroupStateValue.self, bytes, type, version, name)
            }
            return try isRightValue(ConsumerOffsetsValue.self, bytes, type, version, name)
        default:
            guard let messageType = GoldenVectors.types[name] else { return false }
            let message = try messageType.init(decodingWithVersion: bytes)
            return try message.encodedWithVersion(version) == bytes
        }
    }

    private static func isRightKey<Key: CoordinatorKey>(_: Key.Type, _ bytes: ByteBuffer, _ name: String) throws -> Bool {
        let key = try Key(decoding: bytes)
        let again = try key.encoded()
        return type(of: key.message).messageName == name && again == bytes
    }

    private static func isRightValue<Value: CoordinatorValue>(
        _: Value.Type, _ bytes: ByteBuffer, _ type: Int16, _ version: Int16, _ name: String
    ) throws -> Bool {
        let (value, found) = try Value.decode(bytes, type: type)
        let again = try value.encoded(version: found)
        return found == version && Swift.type(of: value.message).messageName == name && again == bytes
    }
}
