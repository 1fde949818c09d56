// Starting: directories, metadata, logs, coordinators, listeners, in the order in which each needs the one before.
import ClusterMetadata
import Configuration
import Consensus
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import Logging
import NIOPosix
import Network
import Observability
import Primitives
import RecordBatches
import Runtime
import Storage
import Synchronization

extension BrokerServer {
    /// Starts the node and serves clients. Blocks until it does.
    ///
    /// - Parameter formatIfNeeded: formats empty data directories with a new cluster id instead of refusing them.
    public func start(formatIfNeeded: Bool = false) throws(BrokerStartFailure) -> Endpoints {
        let began = SystemClock.monotonicMilliseconds()
        let adminPort = try startAdmin()
        let (directories, metadataDirectories, identity) = try openDirectories(formatIfNeeded: formatIfNeeded)
        update {
            $0.directories = directories
            $0.metadataDirectories = metadataDirectories
        }
        directories.onFailure { [weak self] directory in self?.directoryFailed(directory, of: directories) }
        metadataDirectories?.onFailure { [weak self] directory in self?.directoryFailed(directory, of: directories) }
        let security = try NodeSecurity(
            configuration.security, auditLogger: log.logger("audit"), logger: log.logger("security"))
        let metadata = try openMetadata(metadataDirectories ?? directories, identity, security)
        update { $0.metadata = metadata }
        security.follow(metadata)
        refreshRegularly(security)
        metadata.onFailure { [weak self] reason in self?.failFatally(reason) }
        let cluster = ClusterMembership(
            configuration: configuration, clusterID: identity.clusterID, metadata: metadata, security: security, loops: clusterLoops,
            log: log)
        update { $0.cluster = cluster }
        metrics.registry.register { [quotas = cluster.quotas] text in quotas.write(to: &text) }
        let controllers = try bindControllers(cluster)
        health.report(.init(phase: "joining the cluster"))
        try joinQuorum(cluster, LocalNode(configuration, identity, bound: controllers))
        var bound: [NetworkServer.BoundListener] = []
        var partitions = 0
        if configuration.processRoles.contains(.broker) {
            let services: BrokerServices
            (services, bound) = try startBroker(directories, identity, cluster, controllers)
            let maintenance = Maintenance(services: services, eventLoop: housekeepingLoop)
            maintenance.start()
            update { $0.maintenance = maintenance }
            partitions = services.partitions.all.count
        } else {
            metrics.observeState { [weak metadata] in
                guard let metadata else { return KafkaState() }
                var state = KafkaState(metadata, metadata.image, isController: true)
                state.isBroker = false
                return state
            }
        }
        health.reportReady()
        let elapsed = SystemClock.monotonicMilliseconds() - began
        bound += controllers
        logger.info(
            "ready",
            metadata: [
                "node": "\(configuration.nodeID)", "cluster": "\(identity.clusterID)", "milliseconds": "\(elapsed)",
                "listeners": "\(bound.map { "\($0.name)=\($0.address)" }.joined(separator: " "))", "partitions": "\(partitions)",
            ])
        return Endpoints(
            listeners: bound.map { ($0.name, $0.port) }, adminPort: adminPort, clusterID: identity.clusterID, startMilliseconds: elapsed)
    }

    /// Opens the controller's listeners: the quorum needs them before it has a leader.
    private func bindControllers(_ cluster: ClusterMembership) throws(BrokerStartFailure) -> [NetworkServer.BoundListener] {
        guard let controller = cluster.controller else { return [] }
        let network = NetworkServer(
            listeners: Self.endpoints(configuration.controllerListeners), limits: networkLimits(configuration.network),
            tls: cluster.security.tls, eventLoopGroup: clusterLoops, delegate: ControllerListener(services: controller, metrics: metrics),
            logger: log.logger("network"))
        update { $0.controllerNetwork = network }
        return try bind(network)
    }

    /// Registers the broker, opens its logs as the metadata want them, and serves clients once the controller lets it.
    private func startBroker(
        _ directories: LogDirectories, _ identity: NodeIdentity, _ cluster: ClusterMembership, _ controllers: [NetworkServer.BoundListener]
    ) throws(BrokerStartFailure) -> (BrokerServices, [NetworkServer.BoundListener]) {
        let metadata = cluster.metadata
        let lifecycle = BrokerLifecycle(
            nodeID: configuration.nodeID, settings: configuration.cluster, channel: cluster.channel, image: { metadata.image },
            logger: logger)
        update { $0.lifecycle = lifecycle }
        metadata.subscribe { publication in lifecycle.replayed(publication.image) }
        // After the cluster's own subscription, so that the way to the controller is known.
        metadata.onLeadershipChange { leadership in
            if leadership.isActive || leadership.controllerAddress != nil { lifecycle.controllerMoved() }
        }
        // Ports that the system chooses must be known before they are advertised.
        let choosesPorts = configuration.brokerListeners.contains { $0.port == 0 }
        var early: (services: BrokerServices, network: NetworkServer, bound: [NetworkServer.BoundListener])?
        if choosesPorts {
            let services = makeServices(directories, cluster, identity, lifecycle)
            let network = makeNetwork(services)
            early = (services, network, try bind(network))
        }
        let node = LocalNode(configuration, identity, bound: (early?.bound ?? []) + controllers)
        try lifecycle.register(node.brokerRegistration)
        let services = early?.services ?? makeServices(directories, cluster, identity, lifecycle)
        update { $0.services = services }
        services.applyDynamicConfiguration(metadata.image)
        try loadLogs(services, metadata.image)
        metadata.subscribe { publication in
            services.publish(publication.image, publication.changes)
            services.discardLeftCopies()
            lifecycle.published(publication.image)
        }
        let network = early?.network ?? makeNetwork(services)
        let bound: [NetworkServer.BoundListener]
        if let early { bound = early.bound } else { bound = try bind(network) }
        try lifecycle.unfence()
        completeRecovery(services)
        observe(services, network)
        return (services, bound)
    }

    /// A broker without others: where a leader was elected uncleanly, there is no follower to mislead, and the only log there is is the
    /// right one.
    private func completeRecovery(_ services: BrokerServices) {
        let id = configuration.nodeID
        guard services.controllerChannel.location == .here, services.image.cluster.brokers.count == 1 else { return }
        do throws(RequestFailure) {
            try services.metadataRuntime.submitAndWait(at: { (controller, _) throws(RequestFailure) in
                controller.completeLeaderRecovery(of: id)
            })
        } catch {
            logger.warning("leaders still count as recovering", metadata: ["reason": "\(error)"])
        }
    }
    /// The listeners, not bound yet, under the network settings in force.
    private func makeNetwork(_ services: BrokerServices) -> NetworkServer {
        let settings = services.configurationInForce.current.network
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: max(1, settings.networkThreads))
        let network = NetworkServer(
            listeners: Self.endpoints(configuration.brokerListeners), limits: networkLimits(settings), tls: services.security.tls,
            eventLoopGroup: loops, delegate: services,
            logger: log.logger("network"))
        services.configurationInForce.follow { [weak self, weak network] in
            guard let self else { return }
            network?.update(connectionLimits($0.network))
        }
        services.followAddressRates(network)
        services.startReplication(on: loops)
        services.links.serve(network)
        update {
            $0.loops = loops
            $0.network = network
        }
        return network
    }

    /// Serves health and metrics on every address configured; returns the first one's port.
    private func startAdmin() throws(BrokerStartFailure) -> Int? {
        var first: Int?
        for address in configuration.adminListeners {
            let admin = AdminServer(eventLoopGroup: housekeeping, health: health, registry: metrics.registry, logger: log.logger("admin"))
            addGroupRoutes(to: admin)
            addLinkRoutes(to: admin)
            do throws(AdminServerError) {
                let port = try admin.start(host: address.host, port: address.port)
                first = first ?? port
                update { $0.admins.append(admin) }
            } catch {
                throw BrokerStartFailure("\(error)")
            }
        }
        return first
    }

    /// Opens `log.dirs`, and `metadata.log.dir` by itself where it is none of them.
    private func openDirectories(
        formatIfNeeded: Bool
    ) throws(BrokerStartFailure) -> (LogDirectories, metadata: LogDirectories?, NodeIdentity) {
        let paths = configuration.storage.logDirectories
        let metadataPath = configuration.metadataLog.directory
        let isApart = !paths.contains(metadataPath)
        if formatIfNeeded { try formatMissing(isApart ? paths + [metadataPath] : paths) }
        do {
            var settings = LogDirectoriesConfiguration(paths: paths)
            settings.recoveryThreadsPerDirectory = configuration.storage.recoveryThreadsPerDirectory
            settings.headroomBytes = configuration.storage.headroomBytes
            let directories = try LogDirectories(settings)
            for (path, error) in directories.unavailable {
                if path == metadataPath {
                    throw BrokerStartFailure("the metadata log directory \(path) cannot be used: \(error)")
                }
                logger.error("a log directory is out of service", metadata: ["directory": "\(path)", "reason": "\(error)"])
            }
            let metadataDirectories = isApart ? try openMetadataDirectory(metadataPath) : nil
            let identity = try NodeIdentity(
                directories, metadataDirectories, nodeID: configuration.nodeID, metadataDirectory: metadataPath)
            return (directories, metadataDirectories, identity)
        } catch let error as BrokerStartFailure {
            throw error
        } catch {
            throw BrokerStartFailure("\(error)")
        }
    }

    private func openMetadataDirectory(_ path: String) throws(BrokerStartFailure) -> LogDirectories {
        do throws(StorageError) {
            return try LogDirectories(LogDirectoriesConfiguration(paths: [path]))
        } catch {
            throw BrokerStartFailure("the metadata log directory \(path) cannot be used: \(error)")
        }
    }

    /// Formats directories that are not formatted yet; those that are keep their cluster.
    private func formatMissing(_ paths: [String]) throws(BrokerStartFailure) {
        guard !paths.allSatisfy({ MetadataFormat.isFormatted($0) }) else { return }
        do {
            let known = try paths.lazy.compactMap { try MetaProperties(path: "\($0)/\(MetaProperties.fileName)")?.clusterID }.first
            var format = MetadataFormat(
                nodeID: configuration.nodeID, clusterID: known ?? KafkaUUID.random().description, directories: paths,
                metadataDirectory: configuration.metadataLog.directory)
            format.ignoresFormatted = true
            let report = try format.run()
            logger.info(
                "formatted",
                metadata: [
                    "directories": "\(report.formatted.joined(separator: " "))", "cluster": "\(format.clusterID)",
                    "metadata.version": "\(report.metadataVersion)",
                ])
        } catch {
            throw BrokerStartFailure("the data directories cannot be formatted: \(error)")
        }
    }

    private func openMetadata(
        _ directories: LogDirectories, _ identity: NodeIdentity, _ security: NodeSecurity
    ) throws(BrokerStartFailure) -> MetadataRuntime {
        health.report(.init(phase: "reading metadata"))
        let settings = configuration.metadataLog
        var log = MetadataLogConfiguration(directory: settings.directory)
        log.segmentBytes = settings.segmentBytes
        log.segmentMilliseconds = settings.segmentMilliseconds
        log.maximumBytesBetweenSnapshots = settings.maxRecordBytesBetweenSnapshots
        log.maximumSnapshotIntervalMilliseconds = settings.maxSnapshotIntervalMilliseconds
        log.retentionBytes = settings.maxRetentionBytes
        log.retentionMilliseconds = settings.maxRetentionMilliseconds
        let quorum = configuration.quorumConfiguration(identity)
        let controller = ControllerConfiguration(
            nodeID: configuration.nodeID, clusterID: identity.clusterID, fixed: configuration.layers.fixed)
        do throws(MetadataStorageError) {
            return try MetadataRuntime(
                MetadataRuntimeConfiguration(log: log, quorum: quorum, controller: controller), directories: directories,
                network: QuorumNetwork(
                    eventLoopGroup: clusterLoops,
                    peers: security.peerOptions(
                        clientID: "raft-client-\(configuration.nodeID)", listener: configuration.controllerListenerNames.first ?? "")),
                logger: self.log.logger("metadata"))
        } catch {
            throw BrokerStartFailure("the metadata cannot be read: \(error)")
        }
    }

    private func makeServices(
        _ directories: LogDirectories, _ cluster: ClusterMembership, _ identity: NodeIdentity, _ lifecycle: BrokerLifecycle
    ) -> BrokerServices {
        let firstID = ProducerIDs.firstID(ofCluster: identity.clusterID)
        let producerIDs = ProducerIDs(offset: { [metadata = cluster.metadata] in
            metadata.image.topics.topic(named: TopicName.clusterLinks) == nil ? 0 : firstID
        }) { [configuration] reply in
            var request = AllocateProducerIdsRequest()
            request.brokerId = configuration.nodeID
            request.brokerEpoch = lifecycle.brokerEpoch
            cluster.channel.send(request, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds) { outcome in
                guard case .success(let response) = outcome, response.errorCode == .none, response.producerIdLen > 0 else {
                    return reply(nil)
                }
                reply((response.producerIdStart, response.producerIdLen))
            }
        }
        return BrokerServices(
            configuration: configuration, clusterID: identity.clusterID, directories: directories, cluster: cluster, lifecycle: lifecycle,
            groups: CoordinatorRuntime(configuration: coordinatorConfiguration(cluster.metadata.image)), producerIDs: producerIDs,
            metrics: metrics, backgroundWork: backgroundWork, log: log)
    }

    private func coordinatorConfiguration(_ image: MetadataImage) -> CoordinatorRuntimeConfiguration {
        var runtime = CoordinatorRuntimeConfiguration()
        runtime.groups.minimumSessionTimeoutMilliseconds = Int32(clamping: configuration.groups.minSessionTimeoutMilliseconds)
        runtime.groups.maximumSessionTimeoutMilliseconds = Int32(clamping: configuration.groups.maxSessionTimeoutMilliseconds)
        runtime.groups.initialRebalanceDelayMilliseconds = Int32(clamping: configuration.groups.initialRebalanceDelayMilliseconds)
        runtime.groups.maximumGroupSize = configuration.groups.maxSize
        runtime.groups.consumer = ConsumerGroupConfiguration(configuration.groups.consumer)
        runtime.groups.share = ShareGroupConfiguration(configuration.shareGroups)
        runtime.groups.streams = StreamsGroupConfiguration(configuration.groups.streams)
        runtime.groups.offsetMetadataMaximumSize = configuration.groups.offsetMetadataMaxBytes
        runtime.groups.offsetsRetentionMilliseconds = configuration.offsets.retentionMilliseconds
        runtime.groups.offsetsRetentionCheckIntervalMilliseconds = configuration.offsets.retentionCheckIntervalMilliseconds
        // With the codec's own level, as Kafka does.
        if let codec = CompressionType(rawValue: configuration.offsets.topicCompressionCodec) { runtime.compression = Compression(codec) }
        // The topic decides once it exists: a group must be found where its offsets are.
        runtime.partitionCount =
            image.topics.topic(named: TopicName.consumerOffsets).map { Int32($0.partitions.count) }
            ?? configuration.offsets.topicPartitions
        return runtime
    }

    private func loadLogs(_ services: BrokerServices, _ image: MetadataImage) throws(BrokerStartFailure) {
        let nodeID = configuration.nodeID
        do throws(StorageError) {
            let loaded = try services.directories.load(
                recoveryThreads: services.configurationInForce.current.storage.recoveryThreadsPerDirectory, now: SystemClock.now(),
                configuration: { topic in services.logConfiguration(of: topic, image) },
                expected: { partition, _ in
                    guard let topic = image.topics.topic(named: partition.topic), let entry = topic.partition(partition.partition) else {
                        return .absent
                    }
                    return entry.replicas.contains(nodeID) ? .known(topic.id) : .absent
                },
                assigned: { partition in
                    image.topics.topic(named: partition.topic)?.partition(partition.partition)?.directory(of: nodeID)
                },
                progress: { [health] progress in
                    health.report(
                        .init(
                            phase: progress.recoveredPartitions > 0 ? "recovering logs" : "opening logs",
                            done: Int64(progress.loadedPartitions),
                            total: Int64(progress.partitions), unit: "partitions"))
                })
            services.loadedLogs.set(loaded.logs)
            services.loadedLogs.set(futures: loaded.futures)
            for (partition, error) in loaded.failures {
                logger.error("a partition is out of service", metadata: ["partition": "\(partition)", "reason": "\(error)"])
            }
            for log in loaded.shortened {
                logger.error(
                    "records that were on disk are gone; replicas on other brokers, if there are any, bring them back",
                    metadata: [
                        "partition": "\(log.topicPartition)", "upTo": "\(log.recoveryPoint)",
                        "now": log.logEndOffset.map { "the log ends at \($0)" } ?? "the partition's directory is missing",
                    ])
            }
            for stray in loaded.strays {
                logger.warning("a partition of no known topic was put aside", metadata: ["directory": "\(stray)"])
            }
            for log in loaded.logs {
                for remark in log.loadReport.remarks { logger.warning("\(remark)", metadata: ["partition": "\(log.topicPartition)"]) }
            }
        } catch {
            throw BrokerStartFailure("the logs cannot be opened: \(error)")
        }
    }

    /// Takes part in the quorum, or follows it. A sole voter leads at once; others have a leader some time later.
    private func joinQuorum(_ cluster: ClusterMembership, _ node: LocalNode) throws(BrokerStartFailure) {
        let isController = configuration.processRoles.contains(.controller)
        do throws(MetadataStorageError) {
            try cluster.metadata.start(registering: isController ? node.controllerRegistration : nil)
        } catch {
            throw BrokerStartFailure("the node cannot join its cluster: \(error)")
        }
        cluster.begin(registering: isController ? node.controllerRegistration : nil)
    }

    private func bind(_ network: NetworkServer) throws(BrokerStartFailure) -> [NetworkServer.BoundListener] {
        do throws(NetworkError) {
            return try network.start()
        } catch {
            throw BrokerStartFailure("\(error)")
        }
    }
}

extension ShareGroupConfiguration {
    fileprivate init(_ settings: ShareGroupSettings) {
        self.init()
        sessionTimeoutMilliseconds = Int32(clamping: settings.sessionTimeoutMilliseconds)
        heartbeatIntervalMilliseconds = Int32(clamping: settings.heartbeatIntervalMilliseconds)
        assignmentIntervalMilliseconds = Int32(clamping: settings.assignmentIntervalMilliseconds)
        maximumSize = settings.maxSize
        initializeRetryIntervalMilliseconds = settings.initializeRetryIntervalMilliseconds
    }
}

extension ConsumerGroupConfiguration {
    fileprivate init(_ settings: ConsumerGroupSettings) {
        self.init()
        sessionTimeoutMilliseconds = Int32(clamping: settings.sessionTimeoutMilliseconds)
        heartbeatIntervalMilliseconds = Int32(clamping: settings.heartbeatIntervalMilliseconds)
        assignmentIntervalMilliseconds = Int32(clamping: settings.assignmentIntervalMilliseconds)
        maximumSize = settings.maxSize
        let known = settings.assignors.compactMap { PartitionAssignor(rawValue: $0) }
        if !known.isEmpty { assignors = known }
        migrationPolicy = MigrationPolicy(rawValue: settings.migrationPolicy) ?? .bidirectional
        expressionRefreshIntervalMilliseconds = settings.expressionRefreshIntervalMilliseconds
    }
}
