// InitProducerId: a fresh producer id for idempotent producers (KIP-98). Transactional ids are not served yet.
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func initProducerId(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(InitProducerIdRequest.self)
        let responder = context.responder
        let access = access(context)
        if let id = request.transactionalId, !id.isEmpty, !access.allows(.write, .transactionalID, id) {
            return responder.send(InitProducerIdResponse.failed(.transactionalIdAuthorizationFailed))
        }
        if request.transactionalId == nil, !access.allowsCluster(.idempotentWrite, isLogged: false),
            !access.allowsSomewhere(.write, .topic)
        {
            _ = access.allowsCluster(.idempotentWrite)
            return responder.send(InitProducerIdResponse.failed(.clusterAuthorizationFailed))
        }
        if let id = request.transactionalId {
            // An empty transactional id is a mistake by any rule; a real one needs the transaction coordinator.
            return responder.send(InitProducerIdResponse.failed(id.isEmpty ? .invalidRequest : .coordinatorNotAvailable))
        }
        guard (request.producerId == -1) == (request.producerEpoch == -1) else {
            return responder.send(InitProducerIdResponse.failed(.invalidRequest))
        }
        producerIDs.next { id in
            guard let id else { return responder.send(InitProducerIdResponse.failed(.coordinatorLoadInProgress)) }
            var response = InitProducerIdResponse()
            response.producerId = id
            response.producerEpoch = 0
            responder.send(response)
        }
    }
}

extension InitProducerIdResponse {
    fileprivate static func failed(_ error: ErrorCode) -> Self {
        var response = Self()
        response.errorCode = error
        response.producerId = -1
        response.producerEpoch = -1
        return response
    }
}
