// Links to other clusters: Martlet's own API, in JSON (docs/links.md).
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Primitives

extension AdminClient {
    /// Asks the broker that coordinates links, wherever it is.
    ///
    /// - Throws: `unsupportedVersion` where the cluster is no Martlet's.
    package func manageLinks(_ operation: LinkOperation, _ body: JSONValue) async throws(KafkaError) -> JSONValue {
        try await cluster.retrying { () throws(KafkaError) in
            var target = RequestTarget.any
            // The first broker names the coordinator, which may just have moved.
            for _ in 0..<3 {
                let response = try await self.send(operation, body, to: target)
                let answer = Self.json(response)
                if response.errorCode == .notCoordinator, let node = answer["coordinator"]?.integerValue, node >= 0 {
                    target = .node(NodeID(clamping: node))
                    continue
                }
                guard response.errorCode == .none else {
                    var error = KafkaError(response.errorCode, response.errorMessage)
                    // What the coordinator says of topics is its last word; only where the coordinator is may change.
                    error.isRetriable = [.notCoordinator, .coordinatorNotAvailable, .coordinatorLoadInProgress].contains(response.errorCode)
                    throw error
                }
                return answer
            }
            throw KafkaError(.notCoordinator)
        }
    }

    /// What each broker says of links: the mirror partitions that it leads, the synchronisations that it does, and connections that links'
    /// sources open.
    package func linkProgress() async throws(KafkaError) -> [JSONValue] {
        var answers: [JSONValue] = []
        for broker in try await describeCluster().brokers {
            let response = try await send(.progress, .object([]), to: .node(broker.id))
            try response.errorCode.check(response.errorMessage)
            answers.append(Self.json(response))
        }
        return answers
    }

    private func send(
        _ operation: LinkOperation, _ body: JSONValue, to target: RequestTarget
    ) async throws(KafkaError) -> ManageLinksResponse {
        var request = ManageLinksRequest()
        request.operation = operation.rawValue
        request.body = ByteBuffer(string: body.description)
        return try await cluster.send(request, to: target)
    }

    private static func json(_ response: ManageLinksResponse) -> JSONValue {
        (try? JSONValue(parsing: Array(response.body.readableBytesView))) ?? .object([])
    }
}
