// Metadata: which topics there are, who leads their partitions and where the brokers of this listener are.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension BrokerServices {
    func metadata(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(MetadataRequest.self)
        // Who asks again may just have lost its leader, a moment before this node heard of it: the news gets that moment.
        if state.metadataAnsweredAt != nil, image.cluster.brokers.count > 1 { return wait(Self.newsPause, context, state, request) }
        try answer(context, state, request)
    }

    /// Longer than connections that end at the same time take to be noticed one after the other.
    private static let newsPause = TimeAmount.milliseconds(5)
    /// How often a question that waits for the controller's decision is looked at again.
    private static let metadataPause = TimeAmount.milliseconds(10)

    /// Answers later. The connection's further requests wait behind this one, as behind every other.
    private func wait(_ time: TimeAmount, _ context: RequestContext, _ state: ConnectionState, _ request: MetadataRequest) {
        context.connection.eventLoop.assumeIsolated().scheduleTask(in: time) { [self] in
            do throws(WireError) {
                try answer(context, state, request)
            } catch {
                context.connection.close(reason: "\(error)")
            }
        }
    }

    private func answer(_ context: RequestContext, _ state: ConnectionState, _ request: MetadataRequest) throws(WireError) {
        let image = self.image
        let now = SystemClock.monotonicMilliseconds()
        if replication.environment.unreachableLeaders.isDecisionPending(image.cluster, now: now) {
            return wait(Self.metadataPause, context, state, request)
        }
        let answeredAt = state.metadataAnsweredAt
        state.metadataAnsweredAt = now
        let view = ClusterView(image: image, listenerName: context.listenerName)
        var nodes = view.allNodes.filter { !$0.isFenced || departedBrokers.isNamed($0.id, answeredAt: answeredAt, now: now) }
        // The last one is leaving. An answer without any broker makes librdkafka forget all that it knew, for good.
        if nodes.isEmpty { nodes = view.allNodes }
        let access = access(context)
        // Version 0 asks for all topics with an empty list, later versions with null.
        guard let asked = request.topics, !(context.version == 0 && asked.isEmpty) else {
            return context.responder.send(
                metadataResponse(
                    request, context, view, nodes: nodes,
                    topics: image.topics.all.compactMap { topic in
                        access.allows(.describe, .topic, topic.name, isLogged: false) ? view.topic(topic, context.version) : nil
                    }))
        }
        var answers: [MetadataResponse.MetadataResponseTopic] = []
        var missing: [String] = []
        for topic in asked {
            if topic.topicId != .zero {
                if let found = image.topics.topic(id: topic.topicId) {
                    guard access.allows(.describe, .topic, found.name) else {
                        answers.append(.failed(.topicAuthorizationFailed, name: nil, id: topic.topicId))
                        continue
                    }
                    answers.append(view.topic(found, context.version))
                } else {
                    answers.append(.failed(.unknownTopicId, name: nil, id: topic.topicId))
                }
            } else if let name = topic.name {
                guard access.allows(.describe, .topic, name) else {
                    answers.append(.failed(.topicAuthorizationFailed, name: name, id: .zero))
                    continue
                }
                if let found = image.topics.topic(named: name) {
                    answers.append(view.topic(found, context.version))
                } else {
                    missing.append(name)
                }
            } else {
                answers.append(.failed(.invalidRequest, name: "", id: .zero))
            }
        }
        let mayCreate = configuration.topics.autoCreateTopicsEnable && (context.version < 4 || request.allowAutoTopicCreation)
        let mayCreateAll = !mayCreate || missing.isEmpty || access.allowsCluster(.create, isLogged: false)
        var created: [String] = []
        for name in missing {
            guard mayCreateAll || access.allows(.create, .topic, name) else {
                answers.append(.failed(.topicAuthorizationFailed, name: name, id: .zero))
                continue
            }
            answers.append(.failed(missingTopicError(name, mayCreate: mayCreate), name: name, id: .zero))
            if mayCreate, topicNameProblem(name) == nil { created.append(name) }
        }
        let response = metadataResponse(request, context, view, nodes: nodes, topics: answers)
        guard !created.isEmpty else { return context.responder.send(response) }
        createTopicsAutomatically(created, for: context, request: request, view: view, prepared: response)
    }

    private func missingTopicError(_ name: String, mayCreate: Bool) -> ErrorCode {
        if topicNameProblem(name) != nil { return .invalidTopicException }
        return mayCreate ? .leaderNotAvailable : .unknownTopicOrPartition
    }

    /// Kafka answers LEADER_NOT_AVAILABLE and lets the client come back. On one node the topic is there as soon as it is created,
    /// so the answer waits for that and saves every client a round of retries.
    private func createTopicsAutomatically(
        _ names: [String], for context: RequestContext, request: MetadataRequest, view: ClusterView, prepared: MetadataResponse
    ) {
        let responder = context.responder
        let listenerName = context.listenerName
        let access = access(context)
        autoCreateTopics(names) { [self] in
            let image = self.image
            let view = ClusterView(image: image, listenerName: listenerName)
            var response = prepared
            for (index, answer) in response.topics.enumerated() where answer.errorCode == .leaderNotAvailable {
                guard let name = answer.name, let topic = image.topics.topic(named: name) else { continue }
                response.topics[index] = view.topic(topic, responder.version)
                if request.includeTopicAuthorizedOperations {
                    response.topics[index].topicAuthorizedOperations = access.operations(on: .topic, name)
                }
            }
            responder.send(response)
        }
    }

    private func metadataResponse(
        _ request: MetadataRequest, _ context: RequestContext, _ view: ClusterView, nodes: [ClusterView.Node],
        topics: [MetadataResponse.MetadataResponseTopic]
    ) -> MetadataResponse {
        let access = access(context)
        var response = MetadataResponse()
        response.brokers = nodes.map { node in
            var broker = MetadataResponse.MetadataResponseBroker()
            broker.nodeId = node.id
            broker.host = node.host
            broker.port = node.port
            broker.rack = node.rack
            return broker
        }
        response.clusterId = clusterID
        response.controllerId = view.controllerID(answering: nodeID)
        response.topics = topics
        if request.includeTopicAuthorizedOperations {
            for index in response.topics.indices where response.topics[index].errorCode == .none {
                guard let name = response.topics[index].name else { continue }
                response.topics[index].topicAuthorizedOperations = access.operations(on: .topic, name)
            }
        }
        if request.includeClusterAuthorizedOperations, context.version <= 10 {
            response.clusterAuthorizedOperations = access.allowsCluster(.describe) ? access.clusterOperations : 0
        }
        return response
    }
}

extension MetadataResponse.MetadataResponseTopic {
    static func failed(_ error: ErrorCode, name: String?, id: TopicID) -> Self {
        var topic = Self()
        topic.errorCode = error
        topic.name = name
        topic.topicId = id
        topic.isInternal = name.map(TopicName.isInternal) ?? false
        return topic
    }
}
