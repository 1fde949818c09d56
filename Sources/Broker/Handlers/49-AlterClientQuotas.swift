// AlterClientQuotas: sets and removes quotas; decided by the active controller (KIP-546).
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import OrderedCollections

extension BrokerServices {
    func alterClientQuotas(_ context: RequestContext) throws(WireError) {
        try forward(context, try context.decode(AlterClientQuotasRequest.self))
    }
}

extension ControllerServices {
    func alterClientQuotas(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(AlterClientQuotasRequest.self)
        decide(call, request) { (controller) throws(RequestFailure) in try controller.alterClientQuotas(request) }
    }
}

extension AlterClientQuotasRequest: ControllerDecidedRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> AlterClientQuotasResponse {
        var response = AlterClientQuotasResponse()
        let entities = OrderedSet(
            entries.map { entry in ClientQuotaEntity(entry.entity.map { .init(type: $0.entityType, name: $0.entityName) }) })
        response.entries = entities.map { AlterClientQuotasResponse.EntryData($0, failure: failure) }
        return response
    }
}
