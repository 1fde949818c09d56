// Requests over several topics or resources, parted into what their sender may do and the refusals of the rest (ControllerApis' rules).
import Authorization
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

/// What is left of a request, and how the answer to it becomes the answer to the whole.
struct Permitted<Request: KafkaRequest & Sendable>: Sendable {
    var request: Request
    var complete: @Sendable (Request.Response) -> Request.Response
}

extension CreateTopicsRequest {
    /// Topics need CREATE on the cluster or on themselves; their configuration is shown only with DESCRIBE_CONFIGS.
    func permitted(_ access: Access) -> Permitted<CreateTopicsRequest> {
        let mayCreateAll = access.allowsCluster(.create, isLogged: false)
        var rest = self
        rest.topics = topics.filter { mayCreateAll || access.allows(.create, .topic, $0.name) }
        let created = Set(rest.topics.map(\.name))
        let denied = topics.filter { !created.contains($0.name) }.map(\.name)
        let hidden = Set(created.filter { !access.allows(.describeConfigs, .topic, $0, isLogged: false) })
        return Permitted(request: rest) { answer in
            var response = answer
            for index in response.topics.indices where hidden.contains(response.topics[index].name) {
                response.topics[index].configs = []
                response.topics[index].numPartitions = -1
                response.topics[index].replicationFactor = -1
                response.topics[index].topicConfigErrorCode = .topicAuthorizationFailed
            }
            for name in denied {
                var result = CreateTopicsResponse.CreatableTopicResult()
                result.name = name
                result.errorCode = .topicAuthorizationFailed
                result.errorMessage = "Authorization failed."
                response.topics.append(result)
            }
            return response
        }
    }
}

extension DeleteTopicsRequest {
    /// Topics need DELETE on the cluster or on themselves. Of a topic that the sender may not see, an id stays an id.
    func permitted(_ access: Access, _ image: TopicsImage, version: Int16) -> PermittedDeletion {
        let mayDeleteAll = access.allowsCluster(.delete, isLogged: false)
        var rest = self
        var denied: [DeleteTopicsResponse.DeletableTopicResult] = []
        func isPermitted(_ name: String) -> Bool { mayDeleteAll || access.allows(.delete, .topic, name) }
        rest.topicNames = topicNames.filter { name in
            if isPermitted(name) { return true }
            denied.append(.denied(name: name, id: .zero))
            return false
        }
        rest.topics = topics.filter { topic in
            // What does not exist is not there for anybody.
            guard let name = topic.name ?? image.topic(id: topic.topicId)?.name else { return true }
            if isPermitted(name) { return true }
            let isVisible = topic.name != nil || access.allows(.describe, .topic, name, isLogged: false)
            denied.append(.denied(name: isVisible ? name : nil, id: topic.topicId))
            return false
        }
        return PermittedDeletion(request: rest, denied: denied)
    }
}

/// What is left of a DeleteTopics request.
struct PermittedDeletion: Sendable {
    var request: DeleteTopicsRequest
    fileprivate var denied: [DeleteTopicsResponse.DeletableTopicResult]

    /// Whether there is nothing to decide because everything was refused.
    var isNothing: Bool { request.topics.isEmpty && request.topicNames.isEmpty && !denied.isEmpty }

    var complete: @Sendable (DeleteTopicsResponse) -> DeleteTopicsResponse {
        { [denied] answer in
            var response = answer
            response.responses += denied
            return response
        }
    }
}

extension DeleteTopicsResponse.DeletableTopicResult {
    fileprivate static func denied(name: String?, id: TopicID) -> Self {
        var result = Self()
        result.name = name
        result.topicId = id
        result.errorCode = .topicAuthorizationFailed
        result.errorMessage = ErrorCode.topicAuthorizationFailed.defaultMessage
        return result
    }
}

extension CreatePartitionsRequest {
    /// Topics need ALTER.
    func permitted(_ access: Access) -> Permitted<CreatePartitionsRequest> {
        var rest = self
        rest.topics = topics.filter { access.allows(.alter, .topic, $0.name) }
        let permitted = Set(rest.topics.map(\.name))
        let denied = topics.filter { !permitted.contains($0.name) }.map(\.name)
        return Permitted(request: rest) { answer in
            var response = answer
            for name in denied {
                var result = CreatePartitionsResponse.CreatePartitionsTopicResult()
                result.name = name
                result.errorCode = .topicAuthorizationFailed
                result.errorMessage = ErrorCode.topicAuthorizationFailed.defaultMessage
                response.results.append(result)
            }
            return response
        }
    }
}

extension Access {
    /// Why the sender may not alter a resource's configuration; nil when it may.
    fileprivate func refusalOfAltering(_ type: Int8, _ name: String) -> ErrorCode? {
        switch ConfigResource.Kind(rawValue: type) {
        case .topic: allows(.alterConfigs, .topic, name) ? nil : .topicAuthorizationFailed
        case .group: allows(.alterConfigs, .group, name) ? nil : .groupAuthorizationFailed
        case .broker, .clientMetrics, .brokerLogger: allowsCluster(.alterConfigs) ? nil : .clusterAuthorizationFailed
        case nil: nil
        }
    }
}

/// What of a resource both APIs that alter configurations have.
protocol AlteredResource {
    var resourceType: Int8 { get }
    var resourceName: String { get }
}

/// What both of them answer for a resource.
protocol AlteredResourceAnswer: ControllerAnswer, Sendable {
    var resourceType: Int8 { get set }
    var resourceName: String { get set }
}

protocol AlteredResourceAnswers {
    associatedtype Answer: AlteredResourceAnswer
    var responses: [Answer] { get set }
}

/// AlterConfigs and IncrementalAlterConfigs.
protocol ConfigAlteration: KafkaRequest, Sendable where Response: AlteredResourceAnswers {
    associatedtype Resource: AlteredResource
    var resources: [Resource] { get set }
}

extension AlterConfigsRequest.AlterConfigsResource: AlteredResource {}
extension IncrementalAlterConfigsRequest.AlterConfigsResource: AlteredResource {}
extension AlterConfigsResponse.AlterConfigsResourceResponse: AlteredResourceAnswer {}
extension IncrementalAlterConfigsResponse.AlterConfigsResourceResponse: AlteredResourceAnswer {}
extension AlterConfigsResponse: AlteredResourceAnswers {}
extension IncrementalAlterConfigsResponse: AlteredResourceAnswers {}
extension AlterConfigsRequest: ConfigAlteration {}
extension IncrementalAlterConfigsRequest: ConfigAlteration {}

extension ConfigAlteration {
    /// Topics and groups need ALTER_CONFIGS on themselves, everything else on the cluster.
    func permitted(_ access: Access) -> Permitted<Self> {
        let all = resources.map { resource in
            let refusal = access.refusalOfAltering(resource.resourceType, resource.resourceName)
            return (type: resource.resourceType, name: resource.resourceName, refusal: refusal)
        }
        var rest = self
        rest.resources = zip(resources, all).compactMap { $1.refusal == nil ? $0 : nil }
        return Permitted(request: rest) { answer in
            // In the request's order, which the broker that forwarded it relies on.
            var decided = answer.responses[...]
            var response = answer
            response.responses = all.compactMap { type, name, refusal in
                guard let refusal else { return decided.popFirst() }
                return RequestFailure(refusal).answer { (result: inout Response.Answer) in
                    result.resourceType = type
                    result.resourceName = name
                }
            }
            return response
        }
    }
}
