// The whole of a MirrorMaker process: every flow of its file, started together and stopped together.
import Logging
import MartletClient
import Mirroring
import Observability
import Synchronization

/// Replicates between clusters as a MirrorMaker 2 file says.
///
/// ```swift
/// let mirror = try MirrorMaker(MirrorConfiguration(entries), logger: logger)
/// mirror.start()
/// …
/// await mirror.stop()
/// ```
public final class MirrorMaker: Sendable {
    private let flows: [RunningFlow]
    private let tasks = Mutex<[Task<Void, Never>]>([])

    /// - Throws: `invalidArgument` with the client setting that cannot be used.
    public init(_ configuration: MirrorConfiguration, logger: Logger) throws(KafkaError) {
        var flows: [RunningFlow] = []
        for flow in configuration.flows {
            let reverse = configuration.flows.first { $0.source == flow.target && $0.target == flow.source }
            do throws(KafkaError) {
                flows.append(try RunningFlow(flow, reverse: reverse, logger: logger))
            } catch {
                throw KafkaError.invalidContent("\(flow.name): \(error.explanation)")
            }
        }
        self.flows = flows
    }

    /// Begins to replicate; returns at once.
    public func start() {
        tasks.withLock { tasks in
            guard tasks.isEmpty else { return }
            tasks = flows.map { flow in Task { await flow.run() } }
        }
    }

    /// Stops: what is on its way is finished and its positions are stored.
    public func stop() async {
        let running = tasks.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        for task in running { task.cancel() }
        for task in running { await task.value }
    }

    /// Has a registry show what is copied, under MirrorMaker 2's names.
    public func register(in registry: MetricsRegistry) {
        let states = flows.map(\.state)
        registry.register { text in MirrorMetrics.write(states, into: &text) }
    }
}
