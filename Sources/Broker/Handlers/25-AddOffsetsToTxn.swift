// AddOffsetsToTxn: a group's offsets will be part of a transaction.
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import TransactionCoordination

extension BrokerServices {
    func addOffsetsToTxn(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AddOffsetsToTxnRequest.self)
        let responder = context.responder
        let partition = TopicPartition(TopicName.consumerOffsets, groups.partition(for: request.groupId))
        let producer = ProducerIdentity(id: request.producerId, epoch: request.producerEpoch)
        // Clients of transaction.version 2 have it added by TxnOffsetCommit.
        transactions.runtime.addPartitions([partition], to: request.transactionalId, producer: producer, clientVersion: 0) { error in
            var response = AddOffsetsToTxnResponse()
            response.errorCode = error.known(toTransactionsOf: responder.version, since: 2)
            responder.send(response)
        }
    }
}
