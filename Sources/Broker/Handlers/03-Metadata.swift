// Metadata: which topics there are, who leads their partitions and where the brokers of this listener are.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension BrokerServices {
    func metadata(_ context: RequestContext) throws(WireError) {
        try answer(context, try context.decode(MetadataRequest.self))
    }

    /// How often a question that waits for the controller's decision is looked at again.
    private static let metadataPause = TimeAmount.milliseconds(10)

    private func answer(_ context: RequestContext, _ request: MetadataRequest) throws(WireError) {
        let image = self.image
        if replication.environment.unreachableLeaders.isDecisionPending(image.cluster, now: SystemClock.monotonicMilliseconds()) {
            // The connection's further requests wait behind this one, as behind every other.
            context.connection.eventLoop.assumeIsolated().scheduleTask(in: Self.metadataPause) { [self] in
                do throws(WireError) {
                    try answer(context, request)
                } catch {
                    context.connection.close(reason: "\(error)")
                }
            }
            return
        }
        let view = ClusterView(image: image, listenerName: context.listenerName)
        // Version 0 asks for all topics with an empty list, later versions with null.
        guard let asked = request.topics, !(context.version == 0 && asked.isEmpty) else {
            return context.responder.send(
                metadataResponse(request, context, view, topics: image.topics.all.map { view.topic($0, context.version) }))
        }
        var answers: [MetadataResponse.MetadataResponseTopic] = []
        var missing: [String] = []
        for topic in asked {
            if topic.topicId != .zero {
                if let found = image.topics.topic(id: topic.topicId) {
                    answers.append(view.topic(found, context.version))
                } else {
                    answers.append(.failed(.unknownTopicId, name: nil, id: topic.topicId))
                }
            } else if let name = topic.name {
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
        for name in missing {
            answers.append(.failed(missingTopicError(name, mayCreate: mayCreate), name: name, id: .zero))
        }
        let created = mayCreate ? missing.filter { topicNameProblem($0) == nil } : []
        let response = metadataResponse(request, context, view, topics: answers)
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
        autoCreateTopics(names) { [self] in
            let image = self.image
            let view = ClusterView(image: image, listenerName: listenerName)
            var response = prepared
            for (index, answer) in response.topics.enumerated() where answer.errorCode == .leaderNotAvailable {
                guard let name = answer.name, let topic = image.topics.topic(named: name) else { continue }
                response.topics[index] = view.topic(topic, responder.version)
                if request.includeTopicAuthorizedOperations {
                    response.topics[index].topicAuthorizedOperations = AuthorizedOperations.topic
                }
            }
            responder.send(response)
        }
    }

    private func metadataResponse(
        _ request: MetadataRequest, _ context: RequestContext, _ view: ClusterView, topics: [MetadataResponse.MetadataResponseTopic]
    ) -> MetadataResponse {
        var response = MetadataResponse()
        response.brokers = view.nodes.map { node in
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
                response.topics[index].topicAuthorizedOperations = AuthorizedOperations.topic
            }
        }
        if request.includeClusterAuthorizedOperations, context.version <= 10 {
            response.clusterAuthorizedOperations = AuthorizedOperations.cluster
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
