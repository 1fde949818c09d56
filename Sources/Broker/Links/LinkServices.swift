// Links on this broker: the coordinator, if this broker has it; the image of all links, followed from whoever has it; and for each link its
// source, with the mirrors that this broker leads.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Logging
import NIOCore
import Network
import Primitives
import Runtime
import Storage
import Synchronization

/// Everything about links that a broker has.
final class LinkServices: Sendable {
    struct State {
        weak var services: BrokerServices?
        var connections: PeerConnections?
        var eventLoopGroup: (any EventLoopGroup)?
        weak var network: NetworkServer?
        /// The newest image; nil until one was heard of.
        var publication: LinkPublication?
        /// Monotonic milliseconds at which that was asked for: nothing that was committed before is missing.
        var askedAt: Int64 = .min
        /// Whether the cluster has had no links for as long as this broker knows it.
        var hasNoLinks = false
        var isFollowing = false
        var isClosed = false
        var sources: [String: LinkSource] = [:]
        /// Topics that clients may not write to, by the image taken over last.
        var closedTopics: Set<String> = []
        /// Topics here that other clusters mirror synchronously.
        var synchronousTopics: Set<String> = []
        /// Whether a mirror waits for a newer image than the one that is known.
        var awaitsNewerImage = false
        /// Since when this broker leads a mirror under which epoch.
        var leading: [TopicPartition: (epoch: LeaderEpoch, since: Int64)] = [:]
        /// How far mirrors are settled, by link, as the coordinator says.
        var settled: [String: SettledMirrors] = [:]
        /// Mirrors whose open transactions are being ended, and those where that is done.
        var ending: Set<TopicPartition> = []
        var ended: Set<TopicPartition> = []
    }

    let runtime = LinkCoordinatorRuntime()
    let epochs = CoordinatedEpochs()
    let workers: LinkWorkers
    /// The source's transactions of each link, while this broker coordinates links.
    let watches = Mutex<[String: TransactionWatch]>([:])
    let synchronizations = SynchronizationBoard()
    let givenOffsets = GivenOffsets()
    let offered = OfferedConnections()
    let offering = LinkOffering()
    let tasks: LinkTasks
    let nodeID: NodeID
    let logger: Logger
    let state = Mutex(State())
    /// One reconciliation after the other.
    let reconciling = Mutex(())

    /// - Parameter eventLoop: on which the coordinator's work and the synchronisation of offsets run.
    init(nodeID: NodeID, eventLoop: any EventLoop, logger: Logger) {
        self.nodeID = nodeID
        self.logger = logger
        tasks = LinkTasks(eventLoop: eventLoop)
        workers = LinkWorkers(tasks: tasks, logger: logger)
    }

    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        var options = services.security.peerOptions(
            clientID: "broker-\(nodeID)-links", listener: services.configuration.interBrokerListenerName)
        options.maximumWaiting = 1_000
        let connections = PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        state.withLock { state in
            state.services = services
            state.connections = connections
            state.eventLoopGroup = eventLoopGroup
        }
        workers.serve(self)
        follow()
    }

    func close() {
        workers.stop()
        offering.stop()
        offered.retain([], "the broker stops")
        let (connections, sources) = state.withLock { state in
            state.isClosed = true
            defer { state.sources = [:] }
            return (state.connections, Array(state.sources.values))
        }
        for source in sources { source.close() }
        epochs.endAll()
        runtime.endTerm()
        connections?.close()
    }

    var image: LinkImage { state.withLock { $0.publication?.image ?? LinkImage() } }

    /// The newest image and what it stands for.
    var publication: LinkPublication? { state.withLock { $0.publication } }

    func source(of link: String) -> LinkSource? { state.withLock { $0.sources[link] } }

    var sources: [LinkSource] { state.withLock { Array($0.sources.values) } }

    var services: BrokerServices? { state.withLock { $0.isClosed ? nil : $0.services } }

    /// Connections to other brokers; nil before the start and after the end.
    var connections: PeerConnections? { state.withLock { $0.isClosed ? nil : $0.connections } }

    // MARK: Who may write

    /// Whether clients may write to a topic.
    func access(toTopic name: String, id: TopicID) -> WriteAccess {
        state.withLock { state in
            guard let image = state.publication?.image else { return state.hasNoLinks ? .open : .undecided }
            return image.access(toTopic: name, id: id)
        }
    }

    // MARK: Following the image

    /// How long the coordinator waits for news before it says that there is none.
    static let waitMilliseconds: Int64 = 500
    private static let retryMilliseconds: Int64 = 100

    /// New metadata is about to be taken over. Mirrors can only come after the topic that lists them: who has seen the cluster without it
    /// knows them all.
    func willPublish(_ image: MetadataImage) {
        guard image.topics.topic(named: TopicName.clusterLinks) == nil else { return }
        state.withLock { state in
            if state.publication == nil { state.hasNoLinks = true }
        }
    }

    /// The metadata has changed.
    func metadataChanged(_ image: MetadataImage, touched: [TopicImage], deleted: [TopicImage]) {
        let hasTopic = image.topics.topic(named: TopicName.clusterLinks) != nil
        if hasTopic, state.withLock({ !$0.isFollowing }) { follow() }
        if !deleted.isEmpty { forget(deleted) }
        let names = Set((touched + deleted).map(\.name))
        let concerned = state.withLock { state in
            !state.synchronousTopics.isDisjoint(with: names)
                || state.publication?.image.mirrors.keys.contains { names.contains($0) } ?? false
        }
        if concerned { reconcile() }
    }

    /// Topics are gone here, and with them what links had to say of them.
    private func forget(_ topics: [TopicImage]) {
        guard let image = runtime.image else { return }
        let fenced = topics.map(\.name).filter { image.fences[$0] != nil }
        let mirrored = topics.filter { image.mirrors[$0.name]?.topicID == $0.id }.map(\.name)
        let waited = topics.map(\.name).filter { name in image.synchronous.values.contains { $0.topic == name } }
        guard !fenced.isEmpty || !mirrored.isEmpty || !waited.isEmpty else { return }
        runtime.submit(now: SystemClock.now()) { coordinator in
            ((), coordinator.unfence(fenced) + coordinator.endSynchronous(waited) + mirrored.flatMap { coordinator.removeMirror($0) })
        } _: { _ in
            // Who does not coordinate any more leaves it to the next, which looks at topics too.
        }
    }

    /// Asks the coordinator for news, again and again.
    private func follow() {
        let services = state.withLock { state -> BrokerServices? in
            guard !state.isClosed, !state.isFollowing, let services = state.services,
                services.image.topics.topic(named: TopicName.clusterLinks) != nil
            else { return nil }
            state.isFollowing = true
            return services
        }
        guard services != nil else { return }
        followNext()
    }

    private func followNext() {
        let revision = state.withLock { $0.publication?.revision ?? -1 }
        ask(from: revision, waitMilliseconds: Self.waitMilliseconds) { [weak self] isAnswered in
            guard let self else { return }
            guard !isAnswered else { return followNext() }
            let eventLoop = state.withLock { $0.isClosed ? nil : $0.eventLoopGroup?.next() }
            eventLoop?.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { self.followNext() }
        }
    }

    /// Asks once; calls back when the answer is in force, or there is none.
    private func ask(from revision: Offset, waitMilliseconds: Int64, done: @escaping @Sendable (Bool) -> Void) {
        let askedAt = SystemClock.monotonicMilliseconds()
        guard let services, let connections else { return }
        let leader = services.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
        if leader == nodeID {
            return runtime.follow(nodeID, from: revision, waitMilliseconds: waitMilliseconds) { [weak self] result in
                guard let self else { return }
                guard case .success(let publication) = result else { return done(false) }
                // Not on the thread that holds the coordinator's partition.
                services.backgroundWork.run {
                    self.publish(publication, askedAt: askedAt)
                    done(true)
                }
            }
        }
        guard leader >= 0, let address = services.replication.address(of: leader) else { return done(false) }
        let body: JSONValue = [
            "revision": .integer(revision), "broker": .integer(Int64(nodeID)), "waitMs": .integer(waitMilliseconds),
        ]
        connections.send(
            ManageLinksRequest(.follow, body), to: address, timeoutMilliseconds: waitMilliseconds + 5_000
        ) { [weak self] result in
            guard let self else { return }
            guard case .success(let response) = result, response.errorCode == .none, let body = response.json,
                let revision = body["revision"]?.integerValue
            else { return done(false) }
            services.backgroundWork.run {
                self.publish(LinkPublication(revision: revision, image: LinkImage(body["records"] ?? [])), askedAt: askedAt)
                done(true)
            }
        }
    }

    /// Asks out of turn, so that a mirror whose leader this broker has just become need not wait.
    func askNow() { ask(from: -1, waitMilliseconds: 0) { _ in } }

    /// Takes over an image.
    private func publish(_ publication: LinkPublication, askedAt: Int64) {
        let (isNews, isFirst) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            let isFirst = state.publication == nil
            // Answers may overtake each other.
            guard isFirst || publication.revision >= (state.publication?.revision ?? -1) else { return (false, false) }
            let isNews = isFirst || publication.revision != state.publication?.revision
            state.askedAt = max(state.askedAt, askedAt)
            state.publication = publication
            return (isNews, isFirst)
        }
        if isFirst { openUndecided() }
        if isNews || state.withLock({ $0.awaitsNewerImage }) { reconcile() }
        guard isNews else { return }
        workers.imageChanged()
        offering.imageChanged(publication.image, self)
        offered.retain(Set(publication.image.links.keys))
    }
}

extension ManageLinksRequest {
    init(_ operation: LinkOperation, _ body: JSONValue) {
        self.init()
        self.operation = operation.rawValue
        self.body = ByteBuffer(string: body.description)
    }
}

extension ManageLinksResponse {
    /// The answer's body; nil when it is no JSON.
    var json: JSONValue? { try? JSONValue(parsing: Array(body.readableBytesView)) }
}
