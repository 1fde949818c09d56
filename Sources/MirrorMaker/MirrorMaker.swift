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
    /// One for each target that several processes work for.
    private let sharings: [(sharing: WorkSharing, flows: [RunningFlow])]
    private struct Tasks {
        var flows: [Task<Void, Never>] = []
        var sharing: [Task<Void, Never>] = []
    }

    private let tasks = Mutex(Tasks())

    /// - Throws: `invalidArgument` with the client setting that cannot be used.
    public init(_ configuration: MirrorConfiguration, logger: Logger) throws(KafkaError) {
        var flows: [RunningFlow] = []
        var origins: [String: TargetOrigins] = [:]
        for flow in configuration.flows {
            let own = origins[flow.target] ?? TargetOrigins()
            origins[flow.target] = own
            do throws(KafkaError) {
                flows.append(try RunningFlow(flow, origins: own, logger: logger))
            } catch {
                throw KafkaError.invalidContent("\(flow.name): \(error.explanation)")
            }
        }
        for flow in flows where flow.state.flow.addsProvenance {
            let (source, target) = (flow.state.flow.source, flow.state.flow.target)
            let other = flows.first { $0.state.flow.source == target && $0.state.flow.target == source && $0.state.flow.addsProvenance }
            flow.state.reverse.withLock { $0 = WeakFlow(state: other?.state, exists: other != nil) }
        }
        self.flows = flows
        var sharings: [(WorkSharing, [RunningFlow])] = []
        for target in configuration.clusters {
            let own = flows.filter { $0.state.flow.target == target && $0.state.flow.sharing != nil }
            guard let first = own.first?.state, let settings = first.flow.sharing else { continue }
            sharings.append((try WorkSharing(settings, first.flow, first.clients, logger: logger), own))
        }
        self.sharings = sharings
    }

    /// Begins to replicate; returns at once.
    public func start() {
        tasks.withLock { tasks in
            guard tasks.flows.isEmpty else { return }
            tasks.flows = flows.map { flow in Task { await flow.run() } }
            tasks.sharing = sharings.map { sharing, flows in
                Task {
                    await sharing.run { shares in
                        await withTaskGroup(of: Void.self) { group in
                            for flow in flows { group.addTask { await flow.take(shares) } }
                        }
                    }
                }
            }
        }
    }

    /// Stops: what is on its way is finished and its positions are stored.
    public func stop() async {
        let running = tasks.withLock { tasks in
            defer { tasks = Tasks() }
            return tasks
        }
        // Shares are given up first, so that others go on at once.
        for task in running.sharing { task.cancel() }
        for task in running.sharing { await task.value }
        for task in running.flows { task.cancel() }
        for task in running.flows { await task.value }
    }

    var states: [FlowState] { flows.map(\.state) }

    /// Has a registry show what is copied, under MirrorMaker 2's names.
    public func register(in registry: MetricsRegistry) {
        let states = states
        registry.register { text in MirrorMetrics.write(states, into: &text) }
    }
}
