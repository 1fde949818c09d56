// DescribeTransactions: what the coordinator knows of transactional ids (KIP-664).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeTransactions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeTransactionsRequest.self)
        var response = DescribeTransactionsResponse()
        let access = access(context)
        response.transactionStates = request.transactionalIds.map { id in
            guard access.allows(.describe, .transactionalID, id) else {
                var refusal = DescribeTransactionsResponse.TransactionState()
                refusal.transactionalId = id
                refusal.errorCode = .transactionalIdAuthorizationFailed
                return refusal
            }
            var state = transactions.runtime.describe(id)
            state.topics.removeAll { !access.allows(.describe, .topic, $0.topic, isLogged: false) }
            return state
        }
        context.responder.send(response)
    }
}
