// IncrementalAlterConfigs: sets, deletes, appends to or subtracts from single keys (KIP-339). Levels of loggers are this process's own
// (KIP-412) and never reach the controller.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    private typealias Answer = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse

    func incrementalAlterConfigs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(IncrementalAlterConfigsRequest.self)
        let answered = request.resources.map { answerHere($0, request) }
        var rest = request
        rest.resources = zip(request.resources, answered).filter { $0.1 == nil }.map(\.0)
        try forward(context, rest) { decided in
            var remaining = decided.responses[...]
            var response = decided
            response.responses = answered.compactMap { $0 ?? remaining.popFirst() }
            return response
        }
    }

    /// The answer to what needs no controller; nil for the rest.
    private func answerHere(
        _ resource: IncrementalAlterConfigsRequest.AlterConfigsResource, _ request: IncrementalAlterConfigsRequest
    ) -> Answer? {
        if let refusal = foreignBroker(resource.resourceType, resource.resourceName) { return Self.answer(refusal, resource) }
        guard resource.resourceType == ConfigResource.Kind.brokerLogger.rawValue else { return nil }
        let alike = request.resources.count { $0.resourceType == resource.resourceType && $0.resourceName == resource.resourceName }
        if alike > 1 { return Self.answer(RequestFailure(.invalidRequest, "Each resource must appear at most once."), resource) }
        do throws(RequestFailure) {
            try alterLoggers(resource, validateOnly: request.validateOnly)
        } catch {
            return Self.answer(error, resource)
        }
        var answer = Answer()
        answer.resourceType = resource.resourceType
        answer.resourceName = resource.resourceName
        answer.errorMessage = nil
        return answer
    }

    private static func answer(
        _ failure: RequestFailure, _ resource: IncrementalAlterConfigsRequest.AlterConfigsResource
    ) -> Answer {
        failure.answer {
            $0.resourceType = resource.resourceType
            $0.resourceName = resource.resourceName
        }
    }
}

extension ControllerServices {
    func incrementalAlterConfigs(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(IncrementalAlterConfigsRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.incrementalAlterConfigs(request) }
    }
}
