// StreamsGroupHeartbeat: a thread of a Kafka Streams application joins, stays in or leaves its group (KIP-1071), and the topics that the
// application needs for itself are created.
import Authorization
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func streamsGroupHeartbeat(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(StreamsGroupHeartbeatRequest.self)
        let responder = context.responder
        func refuse(_ error: ErrorCode, _ message: String? = nil) {
            var response = StreamsGroupHeartbeatResponse()
            response.errorCode = error
            response.errorMessage = message
            responder.send(response)
        }
        guard servesStreamsGroups else { return refuse(.unsupportedVersion) }
        let access = access(context)
        guard access.allows(.read, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        let topics = request.topology?.topicNames ?? []
        let prohibited = topics.filter(TopicName.isInternal)
        guard prohibited.isEmpty else {
            let names = prohibited.joined(separator: ",")
            return refuse(.streamsInvalidTopology, "Use of Kafka internal topics \(names) in a Kafka Streams topology is prohibited.")
        }
        let invalid = topics.filter { topicNameProblem($0) != nil }
        guard invalid.isEmpty else {
            return refuse(.streamsInvalidTopology, "Topic names \(invalid.joined(separator: ",")) are not valid topic names.")
        }
        for topic in topics where !access.allows(.describe, .topic, topic) { return refuse(.topicAuthorizationFailed) }
        groups.streamsGroupHeartbeat(request, context: context.group) { [self] result in
            guard !result.missingInternalTopics.isEmpty else { return responder.send(result.response) }
            responder.send(created(result, access))
        }
    }

    /// Has missing topics created, and says in the answer what stands in the way.
    private func created(_ result: StreamsGroupHeartbeatResult, _ access: Access) -> StreamsGroupHeartbeatResponse {
        var response = result.response
        var denied: [String] = []
        if !access.allowsCluster(.create, isLogged: false) {
            denied = result.missingInternalTopics.map(\.name).filter { !access.allows(.create, .topic, $0) }
        }
        guard denied.isEmpty else {
            response.add("Unauthorized to CREATE on topics \(denied.joined(separator: ", ")).")
            return response
        }
        let failures = streamsInternalTopics.failures(of: result.missingInternalTopics, now: SystemClock.monotonicMilliseconds())
        createInternalTopics(result.missingInternalTopics, memory: 2 * Int64(response.heartbeatIntervalMs))
        if !failures.isEmpty {
            let shown = failures.prefix(3).map { "\($0.name) (\($0.reason))" }.joined(separator: ", ")
            response.add("Creation failed: \(shown)\(failures.count > 3 ? " and \(failures.count - 3) more" : "").")
        }
        return response
    }
}

extension StreamsGroupHeartbeatResponse {
    /// Adds to what is said of missing internal topics.
    fileprivate mutating func add(_ detail: String) {
        let code = StreamsGroupStatusCode.missingInternalTopics.rawValue
        if let index = status?.firstIndex(where: { $0.statusCode == code }) {
            status?[index].statusDetail += "; \(detail)"
        } else {
            var entry = Status()
            entry.statusCode = code
            entry.statusDetail = detail
            status = (status ?? []) + [entry]
        }
    }
}

extension StreamsGroupHeartbeatRequest.Topology {
    /// Every topic that it names, once.
    fileprivate var topicNames: [String] {
        var seen: Set<String> = []
        var names: [String] = []
        for subtopology in subtopologies {
            let named =
                subtopology.sourceTopics + subtopology.repartitionSinkTopics + subtopology.repartitionSourceTopics.map(\.name)
                + subtopology.stateChangelogTopics.map(\.name)
            for name in named where seen.insert(name).inserted { names.append(name) }
        }
        return names
    }
}
