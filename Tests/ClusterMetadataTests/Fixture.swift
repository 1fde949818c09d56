// Data directories that Apache Kafka wrote, unpacked into a scratch place of the test's own.
import Foundation
import Logging
import Primitives
import Storage

@testable import Runtime

/// The folder with golden vectors and fixtures; nil when it is not there, and then tests that need it are skipped.
enum Shared {
    static let path: String? = {
        let named = ProcessInfo.processInfo.environment["MARTLET_SHARED"] ?? "../shared"
        return FileManager.default.fileExists(atPath: "\(named)/fixtures/clean-single.tar.gz") ? named : nil
    }()

    static var isThere: Bool { path != nil }
}

/// A directory that goes away with the value.
final class ScratchDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// One fixture, unpacked.
final class Fixture {
    struct Failure: Error {}

    let scratch: ScratchDirectory
    let path: String
    let manifest: [String: Any]

    init(_ name: String) throws {
        guard let shared = Shared.path else { throw Failure() }
        scratch = try ScratchDirectory()
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "xzf", "\(shared)/fixtures/\(name).tar.gz", "-C", scratch.path]
        try tar.run()
        tar.waitUntilExit()
        guard tar.terminationStatus == 0 else { throw Failure() }
        path = "\(scratch.path)/\(name)"
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(path)/manifest.json"))
        manifest = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    }

    /// The lines of a JSON lines file.
    func lines(_ file: String = "metadata-records.jsonl") throws -> [[String: Any]] {
        let text = try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8)
        return try text.split(separator: "\n").map { line in
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
        }
    }
}

/// Opens the metadata log of a data directory.
func openMetadataLog(_ directory: String, _ change: (inout MetadataLogConfiguration) -> Void = { _ in }) throws -> (
    MetadataLog, LogDirectories
) {
    let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [directory]))
    var configuration = MetadataLogConfiguration(directory: directory)
    change(&configuration)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return (try MetadataLog(configuration, directories: directories, now: 1_800_000_000_000, logger: logger), directories)
}
