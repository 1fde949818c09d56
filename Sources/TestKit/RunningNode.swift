// A real node in the test's own process: a development broker on a port that the system chose, with a directory of its own.
import Broker
import Configuration
import Observability

/// A node that runs until ``stop()``.
public final class RunningNode: Sendable {
    /// Where Kafka clients connect to, on 127.0.0.1.
    public let port: Int
    public let directory: ScratchDirectory
    private let server: BrokerServer

    /// - Parameter overrides: settings, `key=value`.
    public init(overrides: [String] = []) throws {
        directory = try ScratchDirectory()
        let configuration = try BrokerConfiguration.development(
            port: 0, dataDirectory: directory.path, adminPort: nil, overrides: overrides)
        server = BrokerServer(configuration: configuration, log: StructuredLog(level: .critical), version: "test")
        do {
            port = try server.start(formatIfNeeded: true).listeners.first { $0.name == "PLAINTEXT" }?.port ?? 0
        } catch {
            server.stop()
            directory.remove()
            throw error
        }
    }

    public var bootstrap: String { "127.0.0.1:\(port)" }

    /// Stops it cleanly and removes its directory.
    public func stop() {
        server.stop()
        directory.remove()
    }

    /// Runs a test against a node of its own.
    public static func with(overrides: [String] = [], _ body: (RunningNode) async throws -> Void) async throws {
        let node = try RunningNode(overrides: overrides)
        defer { node.stop() }
        try await body(node)
    }
}
