// InitProducerId: a fresh producer id for idempotent producers (KIP-98). Transactional ids are not served yet.
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func initProducerId(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(InitProducerIdRequest.self)
        let responder = context.responder
        var response = InitProducerIdResponse()
        response.producerId = -1
        response.producerEpoch = -1
        if let id = request.transactionalId {
            // An empty transactional id is a mistake by any rule; a real one needs the transaction coordinator.
            response.errorCode = id.isEmpty ? .invalidRequest : .coordinatorNotAvailable
            return responder.send(response)
        }
        guard (request.producerId == -1) == (request.producerEpoch == -1) else {
            response.errorCode = .invalidRequest
            return responder.send(response)
        }
        producerIDs.next { id in
            if let id {
                response.producerId = id
                response.producerEpoch = 0
            } else {
                response.errorCode = .coordinatorLoadInProgress
            }
            responder.send(response)
        }
    }
}
