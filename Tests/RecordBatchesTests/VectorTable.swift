// Reading vector tables: one batch or message set a row, what it holds as JSON, and its bytes. The package's own tables and the
// ones that Kafka's classes made have the same columns.
import Foundation
import NIOCore
import RecordBatches

struct BatchVector: Sendable {
    var scenario: String
    var compression: String
    var expected: ExpectedBatch
    var bytes: ByteBuffer

    var name: String { "\(scenario) \(compression)" }
}

struct ExpectedBatch: Decodable, Sendable {
    var attributes: Int16
    var baseOffset: Int64
    var baseSequence: Int32
    var baseTimestamp: Int64
    var batchLength: Int32
    var compression: String
    var crc: UInt32
    var deleteHorizonMs: Int64?
    var isControlBatch: Bool
    var isTransactional: Bool
    var lastOffset: Int64
    var lastOffsetDelta: Int32
    var lastSequence: Int32
    var maxTimestamp: Int64
    var partitionLeaderEpoch: Int32
    var producerEpoch: Int16
    var producerId: Int64
    var recordCount: Int32
    var records: [ExpectedRecord]
    var recordsBytes: Data?
    var recordsSha256: String
    var recordsSize: Int
    var sizeInBytes: Int
    var timestampType: String
}

struct ExpectedRecord: Decodable, Sendable {
    struct Header: Decodable, Sendable {
        var key: String
        var value: Data?
    }

    struct Control: Decodable, Sendable {
        var type: Int16
        var coordinatorEpoch: Int32?
    }

    var attributes: Int8?
    var headers: [Header]?
    var key: Data?
    var value: Data?
    var offset: Int64
    var offsetDelta: Int32?
    var sequence: Int32?
    var timestamp: Int64
    var timestampDelta: Int64?
    var control: Control?
}

struct MessageVector: Sendable {
    var scenario: String
    var expected: [ExpectedRecord]
    var bytes: ByteBuffer
}

enum VectorTable {
    /// The batches that Kafka's own classes serialized; they lie outside the package and need not be there.
    static let goldenBatches: URL = {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let shared = ProcessInfo.processInfo.environment["MARTLET_SHARED"] ?? "../shared"
        return URL(fileURLWithPath: shared, relativeTo: package).appendingPathComponent("golden/batches.tsv.gz")
    }()

    static var hasGoldenBatches: Bool { FileManager.default.fileExists(atPath: goldenBatches.path) }

    static func own(_ name: String) throws -> URL {
        try Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Vectors") ?? { throw CocoaError(.fileNoSuchFile) }()
    }

    static func batches(_ url: URL) throws -> [BatchVector] {
        try rows(url).map { columns in
            BatchVector(
                scenario: String(columns[0]), compression: String(columns[1]),
                expected: try JSONDecoder().decode(ExpectedBatch.self, from: Data(columns[2].utf8)), bytes: ByteBuffer(hex: columns[3]))
        }
    }

    static func messages(_ url: URL) throws -> [MessageVector] {
        try rows(url).map { columns in
            MessageVector(
                scenario: String(columns[0]), expected: try JSONDecoder().decode([ExpectedRecord].self, from: Data(columns[1].utf8)),
                bytes: ByteBuffer(hex: columns[2]))
        }
    }

    private static func rows(_ url: URL) throws -> [[Substring]] {
        var text = ByteBuffer(bytes: try Data(contentsOf: url))
        if url.pathExtension == "gz" { text = try Compression.decompress(text, type: .gzip, maximumSize: 1 << 28) }
        return String(buffer: text).split(separator: "\n").dropFirst().map { $0.split(separator: "\t", omittingEmptySubsequences: false) }
    }
}

extension ByteBuffer {
    /// Bytes from pairs of lowercase hexadecimal digits.
    init(hex: some StringProtocol) {
        let digits = hex.utf8.map { $0 < 0x3a ? $0 - 0x30 : $0 - 0x57 }
        self.init(bytes: stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
    }
}

extension Data {
    init(_ buffer: ByteBuffer) {
        self.init(buffer.readableBytesView)
    }
}
