// DeleteShareGroupOffsets: an empty share group is to forget topics (KIP-932).
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    private typealias Topic = DeleteShareGroupOffsetsResponse.DeleteShareGroupOffsetsResponseTopic

    func deleteShareGroupOffsets(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteShareGroupOffsetsRequest.self)
        let responder = context.responder
        @Sendable func refuse(_ code: ErrorCode, _ message: String? = nil) {
            var response = DeleteShareGroupOffsetsResponse()
            response.errorCode = code
            response.errorMessage = message ?? code.defaultMessage
            responder.send(response)
        }
        guard servesShareGroups else { return refuse(.unsupportedVersion) }
        let access = access(context)
        guard access.allows(.delete, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        guard !request.groupId.isEmpty else { return refuse(.invalidGroupId) }
        var answers: [Topic] = []
        for topic in request.topics {
            guard access.allows(.read, .topic, topic.topicName) else {
                answers.append(.init(topic.topicName, .zero, .topicAuthorizationFailed))
                continue
            }
            guard let known = image.topics.topic(named: topic.topicName) else {
                answers.append(.init(topic.topicName, .zero, .unknownTopicOrPartition))
                continue
            }
            answers.append(.init(topic.topicName, known.id, .none))
        }
        let asked = answers
        groups.beginDeletingShareState(of: request.groupId, topics: asked.filter { $0.errorCode == .none }.map(\.topicId)) {
            [self] result in
            switch result {
            case .failure(let refusal): refuse(refusal.code, refusal.message)
            case .success(let deletion):
                deleteShareState(deletion) { error in
                    guard error == .none else { return refuse(error) }
                    var response = DeleteShareGroupOffsetsResponse()
                    response.responses = asked.map { topic in
                        guard topic.errorCode == .none, !deletion.topics.contains(topic.topicId) else { return topic }
                        var unknown = Topic(topic.topicName, .zero, .unknownTopicOrPartition)
                        unknown.errorMessage = "There is no offset information to delete."
                        return unknown
                    }
                    responder.send(response)
                }
            }
        }
    }

    /// Has share coordinators delete state, and the group's log say that it is deleted.
    func deleteShareState(_ deletion: ShareStateDeletion, completion: @escaping @Sendable (ErrorCode) -> Void) {
        let gathering = Gathering<ShareStateRefusal?>(deletion.partitions.count) { [self] refusals in
            if let refusal = refusals.lazy.compactMap({ $0 }).first { return completion(refusal.code.asShareError) }
            groups.shareStateDeleted(deletion, completion: completion)
        }
        for (index, partition) in deletion.partitions.enumerated() {
            shareGroups.persister.delete(SharePartitionKey(group: deletion.group, partition: partition)) {
                gathering.add(index, $0.refusal)
            }
        }
    }
}

extension DeleteShareGroupOffsetsResponse.DeleteShareGroupOffsetsResponseTopic {
    fileprivate init(_ name: String, _ id: TopicID, _ error: ErrorCode) {
        self.init()
        topicName = name
        topicId = id
        errorCode = error
        if error != .none { errorMessage = error.defaultMessage }
    }
}
