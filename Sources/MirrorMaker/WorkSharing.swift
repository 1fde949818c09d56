// Sharing a file's work to one target with other processes: signs of life, claims, and telling the flows what is theirs.
import Glibc
import Logging
import MartletClient
import Mirroring
import Primitives
import Synchronization

/// This process's part in the work to one target.
final class WorkSharing: Sendable {
    /// Told what this process does from now on; returns when nothing is done any more for what it does not.
    typealias Listener = @Sendable (Set<Int>) async -> Void

    private struct State {
        var shares: WorkShares
        /// Monotonic milliseconds of the last sign of life that was sent.
        var beatAt: Int64 = .min
        var told: Set<Int> = []
    }

    private let settings: SharingSettings
    private let replicationFactor: Int16
    private let admin: AdminClient
    private let clients: FlowClients
    private let producer: KafkaProducer
    private let logger: Logger
    private let target: String
    private let state: Mutex<State>

    init(_ settings: SharingSettings, _ flow: MirrorFlow, _ clients: FlowClients, logger: Logger) throws(KafkaError) {
        (self.settings, self.clients, self.logger) = (settings, clients, logger)
        target = flow.target
        replicationFactor = flow.positionsReplicationFactor
        admin = AdminClient(clients.targetAdmin)
        var configuration = ProducerConfiguration(clients.targetProducer)
        configuration.allowTopicCreation = false
        producer = try KafkaProducer(configuration)
        var random = SystemRandomNumberGenerator()
        let member = "\(Self.host):\(getpid()):\(String(random.next(), radix: 36))"
        state = Mutex(State(shares: WorkShares(member: member, shares: settings.shares, timeout: settings.sessionTimeout)))
    }

    private static var host: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "process" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Takes part until the task is cancelled; then gives everything up.
    func run(_ listener: @escaping Listener) async {
        while !Task.isCancelled {
            do throws(KafkaError) {
                try await admin.ensure(
                    InternalTopic(
                        name: settings.topic, replicationFactor: replicationFactor,
                        replicationKey: "offset.storage.replication.factor"))
                break
            } catch {
                report("creating '\(settings.topic)'", error)
            }
            try? await ClusterClient.pause(milliseconds: 1000)
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.follow() }
            group.addTask { await self.beat() }
            group.addTask { await self.act(listener) }
            await group.waitForAll()
        }
        await leave(listener)
    }

    private func report(_ what: String, _ error: KafkaError) {
        if error.kind == .cancelled || error.kind == .closed { return }
        logger.warning("\(what) failed; it is tried again", metadata: ["target": "\(target)", "error": "\(error)"])
    }

    private func follow() async {
        // Old signs of life count as new ones: who is gone is waited for once more.
        await TopicFollowing(settings.topic, clients.targetConsumer, patienceMilliseconds: 100).run { records in
            let now = SystemClock.monotonicMilliseconds()
            state.withLock { state in
                for record in records {
                    if let record = WorkRecord(key: record.key, value: record.value) { state.shares.apply(record, now: now) }
                }
            }
        } failed: { error in
            report("following '\(settings.topic)'", error)
        }
    }

    /// Signs of life do not wait for anything else.
    private func beat() async {
        while !Task.isCancelled {
            let now = SystemClock.monotonicMilliseconds()
            let (isDue, member) = state.withLock { state in
                let isDue = now - settings.heartbeatInterval >= state.beatAt
                if isDue { state.beatAt = now }
                return (isDue, state.shares.member)
            }
            if isDue { await write([.alive(member: member)]) }
            try? await ClusterClient.pause(milliseconds: min(100, settings.heartbeatInterval))
        }
    }

    private func act(_ listener: Listener) async {
        while !Task.isCancelled {
            let now = SystemClock.monotonicMilliseconds()
            let (claims, owned, isNew) = state.withLock { state in
                let claims = state.shares.claims(now: now)
                _ = state.shares.giveUp(now: now)
                let owned = state.shares.owned(now: now)
                defer { state.told = owned }
                return (claims, owned, owned != state.told)
            }
            if isNew {
                logger.info(
                    "shares of the work",
                    metadata: ["target": "\(target)", "own": "\(owned.sorted())", "of": "\(settings.shares)"])
                await listener(owned)
            }
            // Until it was read back that they are given up.
            await write(claims + state.withLock { $0.shares.releases($0.shares.leaving) })
            // A claim counts when it has been read back.
            try? await ClusterClient.pause(milliseconds: claims.isEmpty ? 100 : 300)
        }
    }

    private func leave(_ listener: Listener) async {
        let (owned, member) = state.withLock { state in
            (Set((0..<settings.shares).filter { state.shares.owner(of: $0) == state.shares.member }), state.shares.member)
        }
        await listener([])
        // In a task of its own: this one is cancelled.
        await Task { await self.write(self.state.withLock { $0.shares.releases(owned) } + [.left(member: member)]) }.value
        try? await producer.close()
        admin.close()
    }

    private func write(_ records: [WorkRecord]) async {
        guard !records.isEmpty else { return }
        let now = SystemClock.now()
        do throws(KafkaError) {
            for record in records {
                try await producer.enqueue(
                    ProducerRecord(
                        topic: settings.topic, partition: 0, keyBytes: record.key, valueBytes: record.value(time: now), timestamp: now))
            }
            try await producer.flush()
        } catch {
            report("writing to '\(settings.topic)'", error)
        }
    }
}
