// DescribeUserScramCredentials: which users can log in by SCRAM, never with what (KIP-554).
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func describeUserScramCredentials(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeUserScramCredentialsRequest.self)
        var response = DescribeUserScramCredentialsResponse()
        response.errorMessage = nil
        guard access(context).allowsCluster(.describe) else {
            response.errorCode = .clusterAuthorizationFailed
            response.errorMessage = ErrorCode.clusterAuthorizationFailed.defaultMessage
            return context.responder.send(response)
        }
        let credentials = image.security.scramCredentials
        let asked = request.users.flatMap { $0.isEmpty ? nil : $0.map(\.name) }
        var counts: [String: Int] = [:]
        for name in asked ?? [] { counts[name, default: 0] += 1 }
        for name in OrderedSet(asked ?? credentials.keys.map(\.name)) {
            response.results.append(Self.describe(name, isRepeated: counts[name, default: 0] > 1, credentials))
        }
        context.responder.send(response)
    }

    private static func describe(
        _ user: String, isRepeated: Bool, _ credentials: OrderedDictionary<ScramUser, ScramCredential>
    ) -> DescribeUserScramCredentialsResponse.DescribeUserScramCredentialsResult {
        var result = DescribeUserScramCredentialsResponse.DescribeUserScramCredentialsResult()
        result.user = user
        result.errorMessage = nil
        if isRepeated {
            result.errorCode = .duplicateResource
            result.errorMessage = "Cannot describe SCRAM credentials for the same user twice in a single request: \(user)"
            return result
        }
        // Both mechanisms there are, in the order of their numbers.
        for mechanism: Int8 in 1...2 {
            guard let credential = credentials[ScramUser(name: user, mechanism: mechanism)] else { continue }
            var info = DescribeUserScramCredentialsResponse.CredentialInfo()
            info.mechanism = mechanism
            info.iterations = credential.iterations
            result.credentialInfos.append(info)
        }
        if result.credentialInfos.isEmpty {
            result.errorCode = .resourceNotFound
            result.errorMessage = "Attempt to describe a user credential that does not exist: \(user)"
        }
        return result
    }
}
