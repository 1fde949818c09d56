// ListTransactions: the transactional ids that this broker coordinates (KIP-664, KIP-994, KIP-1152).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func listTransactions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListTransactionsRequest.self)
        guard let pattern = request.transactionalIdPattern, !pattern.isEmpty else {
            return context.responder.send(visible(transactions.runtime.list(request) { _ in true }, context))
        }
        do throws(LinearPatternError) {
            let compiled = try LinearPattern(pattern)
            context.responder.send(visible(transactions.runtime.list(request) { compiled.matchesWhole($0) }, context))
        } catch {
            var refusal = ListTransactionsResponse()
            refusal.errorCode = .invalidRegularExpression
            context.responder.send(refusal)
        }
    }

    /// Without what the sender may not see.
    private func visible(_ response: ListTransactionsResponse, _ context: RequestContext) -> ListTransactionsResponse {
        guard let access = dataAccess(context) else { return response }
        var rest = response
        rest.transactionStates.removeAll { !access.allows(.describe, .transactionalID, $0.transactionalId, isLogged: false) }
        return rest
    }
}
