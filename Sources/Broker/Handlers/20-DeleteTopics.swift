// DeleteTopics: by name, or by id from version 6; decided by the active controller.
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func deleteTopics(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(DeleteTopicsRequest.self))
    }
}

extension ControllerServices {
    func deleteTopics(_ call: ControllerRequest) throws(WireError) {
        let asked = try call.decode(DeleteTopicsRequest.self)
        let version = call.version
        let permitted = asked.permitted(access(call), metadataRuntime.image.topics, version: version)
        guard !permitted.isNothing else { return call.send(permitted.complete(DeleteTopicsResponse())) }
        let request = permitted.request
        let allowance = allowance(call, strictSince: 5)
        decide(call, request, finish: { permitted.complete(allowance?.complete($0) ?? $0) }) { (controller) throws(RequestFailure) in
            try controller.deleteTopics(request, apiVersion: version) { (count) throws(RequestFailure) in try allowance?.take(count) }
        }
    }
}
