// EndTxn: commits or aborts a transaction. Answered when the decision is in the log; the markers follow.
import KafkaMessages
import KafkaWire
import Primitives
import TransactionCoordination

extension BrokerServices {
    func endTxn(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(EndTxnRequest.self)
        let responder = context.responder
        let producer = ProducerIdentity(id: request.producerId, epoch: request.producerEpoch)
        transactions.runtime.endTransaction(
            request.transactionalId, producer: producer, outcome: request.committed ? .commit : .abort,
            clientVersion: context.version > 4 ? 2 : 0
        ) { outcome in
            var response = EndTxnResponse()
            switch outcome {
            case .success(let producer):
                response.producerId = producer.id
                response.producerEpoch = producer.epoch
            case .failure(let error):
                response.errorCode = error.code.known(toTransactionsOf: responder.version, since: 2)
            }
            responder.send(response)
        }
    }
}
