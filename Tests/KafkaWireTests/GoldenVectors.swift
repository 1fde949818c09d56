// Reading the golden vectors: tables that Apache Kafka's own classes made. They live outside the package; tests that need them are
// skipped without them.
import Foundation
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

enum GoldenVectors {
    /// The folder of shared material, from `MARTLET_SHARED` or beside the package.
    static let directory: URL = {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let shared = ProcessInfo.processInfo.environment["MARTLET_SHARED"] ?? "../shared"
        return URL(fileURLWithPath: shared, relativeTo: package).appendingPathComponent("golden")
    }()

    static var arePresent: Bool {
        FileManager.default.fileExists(atPath: directory.appendingPathComponent("messages.tsv.gz").path)
    }

    /// The rows of a table, by the names in its first line.
    static func rows(_ name: String) throws -> [[String: Substring]] {
        let url = directory.appendingPathComponent(name)
        let data = name.hasSuffix(".gz") ? try gunzip(url) : try Data(contentsOf: url)
        return try table(String(decoding: data, as: UTF8.self))
    }

    static func table(_ text: String) throws -> [[String: Substring]] {
        let lines = text.split(separator: "\n")
        let names = lines[0].split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        return lines.dropFirst().map { line in
            let values = line.split(separator: "\t", omittingEmptySubsequences: false)
            return Dictionary(uniqueKeysWithValues: zip(names, values))
        }
    }

    private static func gunzip(_ url: URL) throws -> Data {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-dc", url.path]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return data
    }

    /// Every message type by name.
    static let types: [String: any KafkaMessage.Type] = {
        var types: [String: any KafkaMessage.Type] = ["RequestHeader": RequestHeader.self, "ResponseHeader": ResponseHeader.self]
        for type in RecordCatalog.types { types[type.messageName] = type }
        for key in ApiKey.allCases {
            types[key.requestType.messageName] = key.requestType
            types[key.responseType.messageName] = key.responseType
        }
        return types
    }()
}

extension ByteBuffer {
    init(hex: some StringProtocol) {
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in hex.utf8 {
            let digit = character < 0x3a ? character - 0x30 : character - 0x57
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        self.init(bytes: bytes)
    }

    var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var characters: [UInt8] = []
        for byte in readableBytesView {
            characters.append(digits[Int(byte >> 4)])
            characters.append(digits[Int(byte & 15)])
        }
        return String(decoding: characters, as: UTF8.self)
    }
}
