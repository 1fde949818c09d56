// Speaks with every broker about the mirrors of one link: tells what is settled, hears which transactions have ended. One conversation a
// broker, so that one that does not answer holds up nobody else.
import Controlling
import Linking
import Primitives
import Runtime

/// The conversations of one watch.
struct MirrorTeller: Sendable {
    private static let busyMilliseconds: Int64 = 20
    private static let idleMilliseconds: Int64 = 250
    private static let failureMilliseconds = 100

    let watch: TransactionWatch

    /// Speaks until the task is cancelled.
    func run() async {
        var conversations: [NodeID: Task<Void, Never>] = [:]
        while !watch.isOver {
            let live = Set(watch.links.liveBrokers)
            for (broker, task) in conversations where !live.contains(broker) {
                task.cancel()
                conversations[broker] = nil
            }
            for broker in live where conversations[broker] == nil {
                conversations[broker] = watch.links.tasks.begin { await converse(with: broker) }
            }
            try? await Task.sleep(for: .milliseconds(Self.idleMilliseconds))
        }
        for task in conversations.values { task.cancel() }
        for task in conversations.values { await task.value }
    }

    private func converse(with broker: NodeID) async {
        var session: Int64?
        var lastAt: Int64 = .min
        while !watch.isOver {
            let now = SystemClock.monotonicMilliseconds()
            let isDue =
                watch.state.withLock { state in
                    state.gate.isBusy || state.news.hasNews(for: broker) || now - Self.idleMilliseconds >= lastAt
                } || watch.hasOffsetsToGive
            guard isDue || session == nil else {
                try? await Task.sleep(for: .milliseconds(Self.busyMilliseconds))
                continue
            }
            lastAt = now
            do throws(LinkCallFailure) {
                try await giveOffsets(by: broker)
                let isFirst = session == nil
                let number = session ?? SystemClock.monotonicNanoseconds()
                session = number
                if try await !exchange(with: broker, session: number, isFirst: isFirst) { session = nil }
                try? await Task.sleep(for: .milliseconds(Self.busyMilliseconds))
            } catch {
                session = nil
                try? await Task.sleep(for: .milliseconds(Self.failureMilliseconds))
            }
        }
        watch.state.withLock { $0.news.forget(broker) }
    }

    /// Has the groups that a broker coordinates get what settled transactions committed.
    private func giveOffsets(by broker: NodeID) async throws(LinkCallFailure) {
        let offsets = watch.offsetsToGive(by: broker)
        guard !offsets.isEmpty else { return }
        let answer = try await watch.links.ask(broker, .putOffsets, ["link": .string(watch.link.name), "offsets": offsets.json])
        let done = Set((answer["done"]?.arrayValue ?? []).compactMap(\.stringValue))
        watch.gaveOffsets(offsets.filter { done.contains($0.key) })
    }

    /// - Returns: whether the conversation goes on; else it begins anew.
    private func exchange(with broker: NodeID, session: Int64, isFirst: Bool) async throws(LinkCallFailure) -> Bool {
        let told = watch.state.withLock { $0.news.tell(broker, isFirst: isFirst) }
        let body: JSONValue = [
            "link": .string(watch.link.name), "epoch": .integer(Int64(coordinatorEpoch)), "session": .integer(session),
            "isFirst": .bool(isFirst),
            "settled": .array(
                told.map { partition, settled in
                    let place: [JSONValue] = [.string(partition.topic), .integer(Int64(partition.partition))]
                    return .array(place + (settled.map { [.integer($0.end), .integer($0.stable)] } ?? []))
                }),
        ]
        let askedAt = SystemClock.monotonicMilliseconds()
        let answer = try await watch.links.ask(broker, .settleMirrors, body)
        guard let entries = answer["partitions"]?.arrayValue else { return false }
        watch.state.withLock { $0.news.heard(told, by: broker) }
        let reports = entries.compactMap { MirrorReport.read($0, askedAt: askedAt) }
        var fits = true
        // Not when it was asked: what has been decided by then may not be all that the markers are of.
        let now = SystemClock.monotonicMilliseconds()
        watch.take { gate in
            for (partition, report) in reports where !gate.report(report, of: partition, now: now) { fits = false }
        }
        return fits
    }

    /// Brokers do not listen to an earlier coordinator.
    private var coordinatorEpoch: LeaderEpoch {
        watch.links.services?.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leaderEpoch ?? -1
    }
}
