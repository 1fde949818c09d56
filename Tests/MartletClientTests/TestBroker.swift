// A real node in this process for the tests that need one.
import Broker
import Configuration
import Glibc
import Observability
import Primitives
import Synchronization
import Testing

@testable import MartletClient

/// A node with a directory of its own, on a port the system chose.
final class TestBroker: Sendable {
    let port: Int
    private let server: BrokerServer
    private let directory: String

    init(overrides: [String] = []) throws {
        var template = Array("/tmp/martlet-client-test-XXXXXX".utf8CString)
        guard let path = mkdtemp(&template) else { throw KafkaError(.invalidArgument, "no directory: \(errno)") }
        directory = String(cString: path)
        let configuration = try BrokerConfiguration.development(
            port: 0, dataDirectory: directory, adminPort: nil, overrides: ["num.partitions=3"] + overrides)
        server = BrokerServer(configuration: configuration, log: StructuredLog(level: .error), version: "test")
        let endpoints = try server.start(formatIfNeeded: true)
        port = endpoints.listeners.first { $0.name == "PLAINTEXT" }?.port ?? 0
    }

    var bootstrap: String { "127.0.0.1:\(port)" }

    func client() throws -> ClientConfiguration {
        var configuration = try ClientConfiguration(bootstrapServers: bootstrap)
        configuration.operationTimeout = .seconds(20)
        return configuration
    }

    func stop() {
        server.stop()
        Self.delete(directory)
    }

    private static func delete(_ path: String) {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                if name != ".", name != ".." { delete(path + "/" + name) }
            }
            closedir(directory)
        }
        _ = remove(path)
    }

    /// Runs a test against a node of its own.
    static func with(overrides: [String] = [], _ body: (TestBroker) async throws -> Void) async throws {
        let broker = try TestBroker(overrides: overrides)
        defer { broker.stop() }
        try await body(broker)
    }
}

/// Waits for a condition, with a deadline.
func eventually(
    within seconds: Int64 = 20, _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let deadline = SystemClock.monotonicMilliseconds() + seconds * 1000
    while SystemClock.monotonicMilliseconds() < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record(what, sourceLocation: sourceLocation)
}
