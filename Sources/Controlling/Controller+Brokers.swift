// Brokers and controllers come, take up work, stop and go. What happens to their partitions is decided along with it.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides a broker's registration. The broker begins fenced; what an earlier incarnation left behind is cleaned up.
    ///
    /// - Parameters:
    ///   - nextOffset: the offset at which the first record of the answer will lie; it becomes the broker's epoch.
    ///   - detectsCleanShutdown: the request says whether the broker had stopped cleanly (BrokerRegistration 3).
    ///   - now: monotonic milliseconds, of the clock of `activated(now:)`.
    /// - Throws: `RequestFailure` for a broker that does not fit the cluster, DUPLICATE_BROKER_REGISTRATION while another one under
    ///   that id is alive.
    public func registerBroker(
        _ request: BrokerRegistrationRequest, nextOffset: Offset, detectsCleanShutdown: Bool = true, now: Int64 = .min
    ) throws(RequestFailure) -> ControllerResult<BrokerRegistrationResponse> {
        if request.clusterId != configuration.clusterID {
            throw RequestFailure(
                .inconsistentClusterId, "Expected cluster ID \(configuration.clusterID), but got cluster ID \(request.clusterId)")
        }
        let existing = image.cluster.broker(request.brokerId)
        if let existing {
            try checkNoLiveSession(of: existing, incarnation: request.incarnationId, directories: request.logDirs, now: now)
        }
        if request.isMigratingZkBroker {
            throw RequestFailure(.brokerIdNotRegistered, "Controller does not support registering ZK brokers.")
        }
        try checkDirectories(request)
        try checkFeatures(request)
        var record = Self.registerRecord(request)
        if version.supportsDirectoryAssignment { record.logDirs = request.logDirs }
        var records: [VersionedRecord] = []
        if let existing, existing.incarnationID == request.incarnationId {
            record.fenced = existing.isFenced
            record.inControlledShutdown = existing.isInControlledShutdown
            record.brokerEpoch = existing.epoch
        } else {
            // A broker that was unregistered while it ran has lost nothing, and says which epoch it had.
            let epoch = existing?.epoch ?? unregisteredEpochs[request.brokerId]
            let isClean = detectsCleanShutdown && epoch != nil && epoch == request.previousBrokerEpoch
            records += shutdownRecords(request.brokerId, isClean: isClean)
            record.brokerEpoch = nextOffset
        }
        // Last, so that a controller that fails halfway lets the broker begin again.
        records.append(VersionedRecord(.registerBroker(record), version: version.registerBrokerRecordVersion))
        var response = BrokerRegistrationResponse()
        response.brokerEpoch = record.brokerEpoch
        return ControllerResult(response, records: records, isAtomic: false)
    }

    private static func registerRecord(_ request: BrokerRegistrationRequest) -> RegisterBrokerRecord {
        var record = RegisterBrokerRecord()
        record.brokerId = request.brokerId
        record.incarnationId = request.incarnationId
        record.rack = request.rack
        record.endPoints = request.listeners.map { listener in
            var endpoint = RegisterBrokerRecord.BrokerEndpoint()
            endpoint.name = listener.name
            endpoint.host = listener.host
            endpoint.port = listener.port
            endpoint.securityProtocol = listener.securityProtocol
            return endpoint
        }
        record.features = request.features.map { feature in
            var supported = RegisterBrokerRecord.BrokerFeature()
            supported.name = feature.name
            supported.minSupportedVersion = feature.minSupportedVersion
            supported.maxSupportedVersion = feature.maxSupportedVersion
            return supported
        }
        return record
    }

    private func checkDirectories(_ request: BrokerRegistrationRequest) throws(RequestFailure) {
        guard version.supportsDirectoryAssignment else { return }
        let directories = request.logDirs
        if directories.isEmpty { throw RequestFailure(.invalidRegistration, "No directories specified in request") }
        if directories.contains(where: DirectoryID.isReserved) {
            throw RequestFailure(.invalidRegistration, "Reserved directory ID in request")
        }
        if OrderedSet(directories).count != directories.count {
            throw RequestFailure(.invalidRegistration, "Duplicate directory ID in request")
        }
        for broker in image.cluster.brokers.values where broker.id != request.brokerId {
            for directory in broker.logDirectories where directories.contains(directory) {
                throw RequestFailure(.invalidRegistration, "Broker \(broker.id) is already registered with directory \(directory)")
            }
        }
    }

    private func checkFeatures(_ request: BrokerRegistrationRequest) throws(RequestFailure) {
        guard request.features.contains(where: { $0.name == MetadataVersion.featureName }) else {
            throw RequestFailure(.invalidRegistration, "Request features do not contain '\(MetadataVersion.featureName)'")
        }
        func check(_ name: String, _ level: Int16, _ minimum: Int16, _ maximum: Int16) throws(RequestFailure) {
            if level >= minimum && level <= maximum { return }
            throw RequestFailure(
                .unsupportedVersion,
                "Unable to register because the broker does not support finalized version \(level) of \(name). The broker wants a "
                    + "version between \(minimum) and \(maximum), inclusive.")
        }
        // A feature that is off must be allowed to be.
        for feature in request.features where feature.name != FeatureName.kraft {
            try check(feature.name, image.features.level(of: feature.name), feature.minSupportedVersion, feature.maxSupportedVersion)
        }
        for (name, level) in image.features.all where !request.features.contains(where: { $0.name == name }) {
            try check(name, level, 0, 0)
        }
    }

    /// Decides a controller's registration (KIP-919).
    public func registerController(
        _ request: ControllerRegistrationRequest
    ) throws(RequestFailure) -> ControllerResult<ControllerRegistrationResponse> {
        guard version.supportsControllerRegistration else {
            throw RequestFailure(.unsupportedVersion, "The current MetadataVersion is too old to support controller registrations.")
        }
        var record = RegisterControllerRecord()
        record.controllerId = request.controllerId
        record.incarnationId = request.incarnationId
        record.endPoints = request.listeners.map { listener in
            var endpoint = RegisterControllerRecord.ControllerEndpoint()
            endpoint.name = listener.name
            endpoint.host = listener.host
            endpoint.port = listener.port
            endpoint.securityProtocol = listener.securityProtocol
            return endpoint
        }
        record.features = request.features.map { feature in
            var supported = RegisterControllerRecord.ControllerFeature()
            supported.name = feature.name
            supported.minSupportedVersion = feature.minSupportedVersion
            supported.maxSupportedVersion = feature.maxSupportedVersion
            return supported
        }
        return ControllerResult(ControllerRegistrationResponse(), records: [VersionedRecord(.registerController(record))])
    }

    /// Decides an UnregisterController request: a controller that will not come back no longer holds up features.
    ///
    /// - Throws: UNSUPPORTED_VERSION before metadata.version 33, CONTROLLER_ID_NOT_REGISTERED.
    public func unregisterController(
        _ request: UnregisterControllerRequest
    ) throws(RequestFailure) -> ControllerResult<UnregisterControllerResponse> {
        guard version >= .controllerUnregistration else {
            throw RequestFailure(.unsupportedVersion, "The current MetadataVersion is too old to support controller unregistration.")
        }
        guard image.cluster.controllers[request.controllerId] != nil else {
            throw RequestFailure(.controllerIdNotRegistered, "Controller ID \(request.controllerId) is not currently registered.")
        }
        var record = UnregisterControllerRecord()
        record.controllerId = request.controllerId
        var response = UnregisterControllerResponse()
        response.errorMessage = nil
        return ControllerResult(response, records: [VersionedRecord(.unregisterController(record))])
    }

    /// The registration under that epoch.
    ///
    /// - Throws: STALE_BROKER_EPOCH, BROKER_ID_NOT_REGISTERED.
    func checkedBroker(_ id: NodeID, epoch: Int64) throws(RequestFailure) -> BrokerRegistration {
        guard let broker = image.cluster.broker(id) else {
            throw RequestFailure(.staleBrokerEpoch, "No broker registration found for broker id \(id)")
        }
        if broker.epoch != epoch {
            throw RequestFailure(.staleBrokerEpoch, "Expected broker epoch \(epoch), but got broker epoch \(broker.epoch)")
        }
        return broker
    }

    /// A broker that runs in this process has caught up: leaderless partitions may get it as their leader. It needs no heartbeats.
    public mutating func unfenceBroker(_ id: NodeID, epoch: Int64) throws(RequestFailure) -> ControllerResult<Void> {
        let broker = try checkedBroker(id, epoch: epoch)
        // Whether it lives is no question while this controller does.
        sessions.remove(id)
        guard broker.isFenced else { return ControllerResult(()) }
        return ControllerResult((), records: unfencingRecords(broker), isAtomic: false)
    }

    /// A broker that is gone, or has nothing left to lead while it stops, loses what it still had.
    public func fenceBroker(_ id: NodeID, epoch: Int64) throws(RequestFailure) -> ControllerResult<Void> {
        let broker = try checkedBroker(id, epoch: epoch)
        if broker.isFenced { return ControllerResult(()) }
        return ControllerResult((), records: fencingRecords(broker), isAtomic: false)
    }

    /// A broker wants to stop: its leaderships go elsewhere, or to nobody where there is nobody else.
    public func beginControlledShutdown(_ id: NodeID, epoch: Int64) throws(RequestFailure) -> ControllerResult<Void> {
        ControllerResult((), records: controlledShutdownRecords(try checkedBroker(id, epoch: epoch)), isAtomic: false)
    }

    /// Decides an UnregisterBroker request: the broker is gone for good, or its id is to be free.
    ///
    /// - Throws: BROKER_ID_NOT_REGISTERED.
    public func unregisterBroker(
        _ request: UnregisterBrokerRequest
    ) throws(RequestFailure) -> ControllerResult<UnregisterBrokerResponse> {
        let id = request.brokerId
        guard let broker = image.cluster.broker(id) else {
            throw RequestFailure(.brokerIdNotRegistered, "Broker ID \(id) is not currently registered")
        }
        var records = leaderChanges(partitions.inSync(id), removing: id)
        records += leaderChanges(partitions.eligible(id), removing: id)
        var record = UnregisterBrokerRecord()
        record.brokerId = id
        record.brokerEpoch = broker.epoch
        records.append(VersionedRecord(.unregisterBroker(record)))
        var response = UnregisterBrokerResponse()
        response.errorMessage = nil
        return ControllerResult(response, records: records, isAtomic: false)
    }

    func fencingRecords(_ broker: BrokerRegistration) -> [VersionedRecord] {
        leaderChanges(partitions.inSync(broker.id), removing: broker.id) + [registrationChange(broker, version: 0) { $0.fenced = 1 }]
    }

    func unfencingRecords(_ broker: BrokerRegistration) -> [VersionedRecord] {
        [registrationChange(broker, version: 0) { $0.fenced = -1 }] + leaderChanges(partitions.leaderless, adding: broker.id)
    }

    func controlledShutdownRecords(_ broker: BrokerRegistration) -> [VersionedRecord] {
        let begin =
            broker.isInControlledShutdown ? [] : [registrationChange(broker, version: 1) { $0.inControlledShutdown = 1 }]
        return begin + leaderChanges(partitions.inSync(broker.id), removing: broker.id)
    }

    /// What a new incarnation of a broker does to the partitions of the one before.
    private func shutdownRecords(_ id: NodeID, isClean: Bool) -> [VersionedRecord] {
        if image.features.hasEligibleLeaderReplicas && !isClean {
            // It may have lost acknowledged records: it must not be taken for eligible any more (KIP-966).
            return leaderChanges(partitions.inSync(id), uncleanlyStopped: id) + leaderChanges(partitions.eligible(id), uncleanlyStopped: id)
        }
        return leaderChanges(partitions.inSync(id), removing: id)
    }

    /// Kafka writes these in the lowest version that has the field, whatever metadata.version says.
    func registrationChange(
        _ broker: BrokerRegistration, version: Int16, _ change: (inout BrokerRegistrationChangeRecord) -> Void
    ) -> VersionedRecord {
        var record = BrokerRegistrationChangeRecord()
        record.brokerId = broker.id
        record.brokerEpoch = broker.epoch
        change(&record)
        return VersionedRecord(.brokerRegistrationChange(record), version: version)
    }
}
