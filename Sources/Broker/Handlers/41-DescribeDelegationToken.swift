// DescribeDelegationToken: the tokens of whoever asks, and those that it may see, with their codes (KIP-48, KIP-373).
import Authentication
import Authorization
import ClusterMetadata
import KafkaMessages
import KafkaWire
import NIOCore

extension BrokerServices {
    func describeDelegationToken(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeDelegationTokenRequest.self)
        var response = DescribeDelegationTokenResponse()
        guard allowsTokenRequests(context) else {
            response.errorCode = .delegationTokenRequestNotAllowed
            return context.responder.send(response)
        }
        guard let secret = security.tokenSecret else {
            response.errorCode = .delegationTokenAuthDisabled
            return context.responder.send(response)
        }
        let owners = request.owners.map { owners in
            owners.map { KafkaPrincipal(type: $0.principalType, name: $0.principalName).description }
        }
        let asker = context.principal.description
        let access = access(context)
        response.tokens = image.security.delegationTokens.values.filter { token in
            if let owners, !owners.contains(where: token.isOf) { return false }
            return token.isOf(asker) || access.allows(.describe, .delegationToken, token.tokenID, isLogged: false)
                || access.allows(.describeTokens, .user, token.owner, isLogged: false)
        }.map { DescribeDelegationTokenResponse.DescribedDelegationToken($0, secret, version: context.version) }
        context.responder.send(response)
    }
}

extension DescribeDelegationTokenResponse.DescribedDelegationToken {
    fileprivate init(_ token: DelegationToken, _ secret: DelegationTokenSecret, version: Int16) {
        self.init()
        let owner = KafkaPrincipal(token.owner) ?? KafkaPrincipal(user: token.owner)
        let requester = KafkaPrincipal(token.requester) ?? KafkaPrincipal(user: token.requester)
        principalType = owner.type
        principalName = owner.name
        if version >= 3 {
            tokenRequesterPrincipalType = requester.type
            tokenRequesterPrincipalName = requester.name
        }
        issueTimestamp = token.issued
        expiryTimestamp = token.expiration
        maxTimestamp = token.latestExpiration
        tokenId = token.tokenID
        hmac = ByteBuffer(bytes: secret.code(of: token.tokenID))
        renewers = token.renewers.map { text in
            let principal = KafkaPrincipal(text) ?? KafkaPrincipal(user: text)
            var renewer = DescribeDelegationTokenResponse.DescribedDelegationTokenRenewer()
            renewer.principalType = principal.type
            renewer.principalName = principal.name
            return renewer
        }
    }
}
