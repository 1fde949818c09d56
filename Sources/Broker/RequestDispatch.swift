// From a frame to its handler. The list of APIs that this node serves stands here and nowhere else: ApiVersions reads it.
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives

extension BrokerServices {
    /// Every API with a handler below.
    static let servedApis: [ApiKey] = [
        .produce, .fetch, .listOffsets, .metadata, .offsetCommit, .offsetFetch, .findCoordinator, .joinGroup, .heartbeat, .leaveGroup,
        .syncGroup, .describeGroups, .listGroups, .apiVersions, .createTopics, .deleteTopics, .deleteRecords, .initProducerId,
        .offsetForLeaderEpoch, .describeConfigs, .alterConfigs, .describeLogDirs, .createPartitions, .deleteGroups,
        .incrementalAlterConfigs, .offsetDelete, .describeQuorum, .updateFeatures, .describeCluster, .describeProducers,
        .listConfigResources, .describeTopicPartitions, .electLeaders, .alterPartitionReassignments,
        .addPartitionsToTxn, .addOffsetsToTxn, .endTxn, .writeTxnMarkers, .txnOffsetCommit, .describeTransactions, .listTransactions,
        .listPartitionReassignments, .unregisterBroker, .unregisterController, .addRaftVoter, .removeRaftVoter, .saslHandshake,
        .saslAuthenticate, .describeAcls, .createAcls, .deleteAcls, .describeUserScramCredentials, .alterUserScramCredentials,
        .describeClientQuotas, .alterClientQuotas, .alterReplicaLogDirs, .getTelemetrySubscriptions, .pushTelemetry,
        .consumerGroupHeartbeat, .consumerGroupDescribe, .createDelegationToken, .renewDelegationToken, .expireDelegationToken,
        .describeDelegationToken,
        .shareGroupHeartbeat, .shareGroupDescribe, .shareFetch, .shareAcknowledge, .initializeShareGroupState, .readShareGroupState,
        .writeShareGroupState, .deleteShareGroupState, .readShareGroupStateSummary, .describeShareGroupOffsets, .alterShareGroupOffsets,
        .deleteShareGroupOffsets,
        .streamsGroupHeartbeat, .streamsGroupDescribe, .streamsGroupTopologyDescriptionUpdate,
        .manageLinks, .compressedFetch,
    ]

    private static let served: [Bool] = (0...(servedApis.map(\.rawValue).max() ?? 0)).map { key in
        servedApis.contains { $0.rawValue == key }
    }

    private static func isServed(_ api: ApiKey) -> Bool { Int(api.rawValue) < served.count && served[Int(api.rawValue)] }

    /// Calls the handler. A handler answers through the context, now or later.
    func dispatch(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        switch context.apiKey {
        case .produce: produce(context, state)
        case .fetch: fetch(context, state)
        case .listOffsets: try listOffsets(context)
        case .metadata: try metadata(context, state)
        case .offsetCommit: try offsetCommit(context)
        case .offsetFetch: try offsetFetch(context)
        case .findCoordinator: try findCoordinator(context)
        case .joinGroup: try joinGroup(context)
        case .heartbeat: try heartbeat(context)
        case .leaveGroup: try leaveGroup(context)
        case .syncGroup: try syncGroup(context)
        case .describeGroups: try describeGroups(context)
        case .listGroups: try listGroups(context)
        case .apiVersions: try apiVersions(context, state)
        case .createTopics: try createTopics(context)
        case .deleteTopics: try deleteTopics(context)
        case .deleteRecords: try deleteRecords(context)
        case .initProducerId: try initProducerId(context)
        case .addPartitionsToTxn: try addPartitionsToTxn(context)
        case .addOffsetsToTxn: try addOffsetsToTxn(context)
        case .endTxn: try endTxn(context)
        case .writeTxnMarkers: try writeTxnMarkers(context)
        case .txnOffsetCommit: try txnOffsetCommit(context)
        case .describeTransactions: try describeTransactions(context)
        case .listTransactions: try listTransactions(context)
        case .offsetForLeaderEpoch: try offsetForLeaderEpoch(context)
        case .describeConfigs: try describeConfigs(context)
        case .alterConfigs: try alterConfigs(context)
        case .describeLogDirs: try describeLogDirs(context)
        case .createPartitions: try createPartitions(context)
        case .deleteGroups: try deleteGroups(context)
        case .incrementalAlterConfigs: try incrementalAlterConfigs(context)
        case .offsetDelete: try offsetDelete(context)
        case .describeQuorum: try describeQuorum(context)
        case .updateFeatures: try updateFeatures(context)
        case .describeCluster: try describeCluster(context)
        case .describeProducers: try describeProducers(context)
        case .listConfigResources: try listConfigResources(context)
        case .electLeaders: try electLeaders(context)
        case .alterPartitionReassignments: try alterPartitionReassignments(context)
        case .listPartitionReassignments: try listPartitionReassignments(context)
        case .unregisterBroker: try unregisterBroker(context)
        case .unregisterController: try unregisterController(context)
        case .addRaftVoter: try addRaftVoter(context)
        case .removeRaftVoter: try removeRaftVoter(context)
        case .describeTopicPartitions: try describeTopicPartitions(context)
        case .alterReplicaLogDirs: try alterReplicaLogDirs(context)
        case .getTelemetrySubscriptions: try getTelemetrySubscriptions(context, state)
        case .pushTelemetry: try pushTelemetry(context, state)
        case .describeClientQuotas: try describeClientQuotas(context)
        case .alterClientQuotas: try alterClientQuotas(context)
        case .describeAcls: try describeAcls(context)
        case .createAcls: try createAcls(context)
        case .deleteAcls: try deleteAcls(context)
        case .describeUserScramCredentials: try describeUserScramCredentials(context)
        case .alterUserScramCredentials: try alterUserScramCredentials(context)
        case .createDelegationToken: try createDelegationToken(context)
        case .renewDelegationToken: try renewDelegationToken(context)
        case .expireDelegationToken: try expireDelegationToken(context)
        case .describeDelegationToken: try describeDelegationToken(context)
        default: try dispatchNewerGroups(context, state)
        }
    }

    /// The APIs of consumer groups (KIP-848), streams groups (KIP-1071) and share groups (KIP-932).
    private func dispatchNewerGroups(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        switch context.apiKey {
        case .consumerGroupHeartbeat: try consumerGroupHeartbeat(context)
        case .consumerGroupDescribe: try consumerGroupDescribe(context)
        case .streamsGroupHeartbeat: try streamsGroupHeartbeat(context)
        case .streamsGroupDescribe: try streamsGroupDescribe(context)
        case .streamsGroupTopologyDescriptionUpdate: try streamsGroupTopologyDescriptionUpdate(context)
        case .shareGroupHeartbeat: try shareGroupHeartbeat(context)
        case .shareGroupDescribe: try shareGroupDescribe(context)
        case .shareFetch: try shareFetch(context, state)
        case .shareAcknowledge: try shareAcknowledge(context)
        case .initializeShareGroupState: try initializeShareGroupState(context)
        case .readShareGroupState: try readShareGroupState(context)
        case .writeShareGroupState: try writeShareGroupState(context)
        case .deleteShareGroupState: try deleteShareGroupState(context)
        case .readShareGroupStateSummary: try readShareGroupStateSummary(context)
        case .describeShareGroupOffsets: try describeShareGroupOffsets(context)
        case .alterShareGroupOffsets: try alterShareGroupOffsets(context)
        case .deleteShareGroupOffsets: try deleteShareGroupOffsets(context)
        case .manageLinks: try manageLinks(context)
        case .compressedFetch: try compressedFetch(context, state)
        default: refuse(context, "\(context.apiKey) is not served by this version of Martlet")
        }
    }

    /// Closes the connection over a request that cannot be answered, as Kafka does; the log says why.
    func refuse(_ context: RequestContext, _ reason: String) {
        context.connection.close(reason: reason)
    }
}

extension BrokerServices: ConnectionDelegate {
    func connectionOpened(_ connection: Connection) {
        connection.context = ConnectionState(ConnectionAuthentication(security.listener(connection.listenerName), connection))
    }

    func connectionClosed(_ connection: Connection) {
        guard let state = connection.context as? ConnectionState else { return }
        if let instance = state.telemetryInstance { telemetry.disconnected(instance) }
        state.linkOffer?()
        state.fetch?.cancel()
        state.fetch = nil
        state.pendingProduces.cancelAll()
        state.shareFetch?.cancel()
        state.shareFetch = nil
        for session in state.shareSessions { shareGroups.endSession(session, of: connection.id.value) }
    }

    func received(frame: ByteBuffer, on connection: Connection) {
        guard let state = connection.context as? ConnectionState else { return }
        let receivedAt = SystemClock.monotonicNanoseconds()
        if state.authentication.expectsToken { return state.authentication.received(token: frame, on: connection) }
        let header: RequestFrameHeader
        do throws(FrameCursorError) {
            header = try RequestFrameHeader(frame)
        } catch {
            return connection.close(reason: "the request's header cannot be read: \(error.field) at offset \(error.offset)")
        }
        let context = RequestContext(
            connection: connection, apiKey: header.apiKey, version: header.version, correlationID: header.correlationID,
            clientID: header.clientID, body: header.body, receivedAt: receivedAt, quotas: quotas)
        state.requestBytes = frame.readableBytes
        state.handlingNanoseconds = 0
        metrics.request(header.apiKey.rawValue).count(version: header.version, bytes: frame.readableBytes)
        guard Self.isServed(header.apiKey), header.apiKey.validVersions.contains(header.version) else {
            if header.apiKey == .apiVersions { return apiVersionsForUnsupportedVersion(context) }
            return refuse(context, "\(header.apiKey) version \(header.version) is not served; ApiVersions tells what is")
        }
        guard state.authentication.admits(header, on: connection) else { return }
        do throws(WireError) {
            try dispatch(context, state)
        } catch {
            refuse(context, "\(error)")
        }
        if quotas.request.isActive { state.handlingNanoseconds = SystemClock.monotonicNanoseconds() - receivedAt }
    }
}
