// DescribeTransactions: what the coordinator knows of transactional ids (KIP-664).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeTransactions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeTransactionsRequest.self)
        var response = DescribeTransactionsResponse()
        response.transactionStates = request.transactionalIds.map { transactions.runtime.describe($0) }
        context.responder.send(response)
    }
}
