// A real node in the test's own process: a development broker on a port that the system chose, with a directory of its own.
import Broker
import Configuration
import Observability
import Synchronization

/// A node that runs until ``stop()``.
public final class RunningNode: Sendable {
    public let directory: ScratchDirectory
    private let overrides: [String]
    private let running: Mutex<(server: BrokerServer, ports: [String: Int])>

    /// - Parameter overrides: settings, `key=value`.
    public init(overrides: [String] = []) throws {
        // One loop: several nodes run beside one another in a test run.
        self.overrides = ["num.network.threads=1"] + overrides
        directory = try ScratchDirectory()
        do {
            running = Mutex(try Self.start(directory, self.overrides))
        } catch {
            directory.remove()
            throw error
        }
    }

    private static func start(_ directory: ScratchDirectory, _ overrides: [String]) throws -> (server: BrokerServer, ports: [String: Int]) {
        let configuration = try BrokerConfiguration.development(
            port: 0, dataDirectory: directory.path, adminPort: nil, overrides: overrides)
        let server = BrokerServer(configuration: configuration, log: StructuredLog(level: .critical), version: "test")
        do {
            let listeners = try server.start(formatIfNeeded: true).listeners
            return (server, Dictionary(uniqueKeysWithValues: listeners.map { ($0.name, $0.port) }))
        } catch {
            server.stop()
            throw error
        }
    }

    /// Where Kafka clients connect to, on 127.0.0.1; another one after ``restart()``.
    public var port: Int { port(of: "PLAINTEXT") }

    /// The port of a listener; 0 when there is none of that name.
    public func port(of listener: String) -> Int { running.withLock { $0.ports[listener] ?? 0 } }

    public var bootstrap: String { "127.0.0.1:\(port)" }

    /// Stops the node and starts it again with what it has on disk.
    public func restart() throws {
        try running.withLock { running in
            running.server.stop()
            running = try Self.start(directory, overrides)
        }
    }

    /// Stops it cleanly and removes its directory.
    public func stop() {
        running.withLock { $0.server.stop() }
        directory.remove()
    }

    /// Runs a test against a node of its own.
    public static func with(overrides: [String] = [], _ body: (RunningNode) async throws -> Void) async throws {
        let node = try RunningNode(overrides: overrides)
        defer { node.stop() }
        try await body(node)
    }
}
