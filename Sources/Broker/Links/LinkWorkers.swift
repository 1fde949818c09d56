// Runs one worker for each link while this broker coordinates links, and keeps committed offsets in step while it coordinates groups.
import Linking
import Logging
import Primitives
import Synchronization

/// The tasks of links on this broker.
final class LinkWorkers: Sendable {
    private struct State {
        weak var links: LinkServices?
        /// By link, with the definition that each was begun with.
        var workers: [String: (LinkDefinition, Task<Void, Never>)] = [:]
        var offsets: [String: (LinkDefinition, Task<Void, Never>)] = [:]
        var transactions: [String: (LinkDefinition, Task<Void, Never>)] = [:]
        var isStopped = false
    }

    private let state = Mutex(State())
    private let tasks: LinkTasks
    private let logger: Logger

    init(tasks: LinkTasks, logger: Logger) {
        self.tasks = tasks
        self.logger = logger
    }

    func serve(_ links: LinkServices) { state.withLock { $0.links = links } }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            for (_, task) in Array(state.workers.values) + Array(state.offsets.values) + Array(state.transactions.values) { task.cancel() }
            state.workers = [:]
            state.offsets = [:]
            state.transactions = [:]
        }
    }

    /// The image of links changed, or who coordinates them.
    func imageChanged() {
        guard let links = state.withLock({ $0.isStopped ? nil : $0.links }) else { return }
        let image = links.image
        let coordinated = links.runtime.isActive ? Array(image.links.values) : []
        state.withLock { state in
            Self.adjust(&state.workers, coordinated) { [logger, tasks] link in
                tasks.begin {
                    async let beside: Void = LinkSynchronizer(link: link, links: links, logger: logger).run()
                    await LinkWorker(link: link, links: links, logger: logger).run()
                    await beside
                }
            }
            Self.adjust(&state.transactions, coordinated) { [logger, tasks] link in
                tasks.begin { await TransactionWatch.run(link, links: links, logger: logger) }
            }
            Self.adjust(&state.offsets, Array(image.links.values)) { [logger, tasks] link in
                tasks.begin {
                    async let ofShareGroups: Void = ShareOffsetSynchronizer(link: link, links: links, logger: logger).run()
                    await OffsetSynchronizer(link: link, links: links, logger: logger).run()
                    await ofShareGroups
                }
            }
        }
    }

    private static func adjust(
        _ tasks: inout [String: (LinkDefinition, Task<Void, Never>)], _ wanted: [LinkDefinition],
        _ begin: (LinkDefinition) -> Task<Void, Never>
    ) {
        for (name, (definition, task)) in tasks where !wanted.contains(definition) {
            task.cancel()
            tasks[name] = nil
        }
        for link in wanted where tasks[link.name] == nil { tasks[link.name] = (link, begin(link)) }
    }
}
