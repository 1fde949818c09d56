// InitProducerId: a fresh producer id for idempotent producers, and for transactional ones the id and epoch that fence all before (KIP-98).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func initProducerId(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(InitProducerIdRequest.self)
        let responder = context.responder
        guard (request.producerId == -1) == (request.producerEpoch == -1) else {
            return responder.send(InitProducerIdResponse.failed(.invalidRequest))
        }
        guard request.transactionalId == nil else {
            return transactions.runtime.initProducerID(request) { outcome in
                switch outcome {
                case .success(let producer): responder.send(InitProducerIdResponse.succeeded(producer.id, producer.epoch))
                case .failure(let error):
                    responder.send(InitProducerIdResponse.failed(error.code.known(toTransactionsOf: responder.version, since: 4)))
                }
            }
        }
        producerIDs.next { id in
            guard let id else { return responder.send(InitProducerIdResponse.failed(.coordinatorLoadInProgress)) }
            responder.send(InitProducerIdResponse.succeeded(id, 0))
        }
    }
}

extension InitProducerIdResponse {
    fileprivate static func succeeded(_ id: ProducerID, _ epoch: Int16) -> Self {
        var response = Self()
        response.producerId = id
        response.producerEpoch = epoch
        return response
    }

    fileprivate static func failed(_ error: ErrorCode) -> Self {
        var response = Self()
        response.errorCode = error
        response.producerId = -1
        response.producerEpoch = -1
        return response
    }
}
