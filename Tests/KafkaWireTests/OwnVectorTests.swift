// The project's own vectors: one of every message in its highest version, with values of our own, so that these tests are complete
// without the golden ones. Made by the encoder once it agreed with all of those; they change only when a definition does, then with
// MARTLET_WRITE_VECTORS=1.
import Foundation
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

enum OwnVectors {
    static var file: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Vectors/messages.tsv")
    }

    static func rows() throws -> [[String: Substring]] {
        try GoldenVectors.table(String(contentsOf: file, encoding: .utf8))
    }

    static func write() throws {
        var text = "message\tversion\tjson\thex\n"
        for type in MessagePropertyTests.types {
            let version = type.validVersions.upperBound
            var random = try RandomMessage(type, version: version, seed: 20)
            let bytes = try MessageView(type).encode(random.json(), version: version)
            let json = try MessageView(type).json(decoding: bytes, version: version)
            text += "\(type.messageName)\t\(version)\t\(json)\t\(bytes.hex)\n"
        }
        try text.write(to: file, atomically: true, encoding: .utf8)
    }
}

@Suite struct OwnVectorTests {
    @Test func everyMessageHoldsItsVector() throws {
        if ProcessInfo.processInfo.environment["MARTLET_WRITE_VECTORS"] != nil { try OwnVectors.write() }
        let rows = try OwnVectors.rows()
        for row in rows {
            let type = try #require(GoldenVectors.types[String(row["message"] ?? "")])
            let version = try #require(Int16(row["version"] ?? ""))
            let json = try JSONValue(parsing: String(row["json"] ?? ""))
            let failure = try GoldenConformanceTests.check(type, version, json, ByteBuffer(hex: row["hex"] ?? ""))
            #expect(failure == nil, "\(type.messageName)")
        }
        #expect(Set(rows.compactMap { $0["message"].map(String.init) }) == Set(GoldenVectors.types.keys))
    }
}
