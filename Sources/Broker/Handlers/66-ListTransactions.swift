// ListTransactions: the transactional ids that this broker coordinates (KIP-664, KIP-994, KIP-1152).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func listTransactions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListTransactionsRequest.self)
        guard let pattern = request.transactionalIdPattern, !pattern.isEmpty else {
            return context.responder.send(transactions.runtime.list(request) { _ in true })
        }
        do throws(LinearPatternError) {
            let compiled = try LinearPattern(pattern)
            context.responder.send(transactions.runtime.list(request) { compiled.matchesWhole($0) })
        } catch {
            var refusal = ListTransactionsResponse()
            refusal.errorCode = .invalidRegularExpression
            context.responder.send(refusal)
        }
    }
}
