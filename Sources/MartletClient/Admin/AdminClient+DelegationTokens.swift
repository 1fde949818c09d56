// Delegation tokens (KIP-48): made, looked at, renewed and ended. Only over connections that say who is asking, and not by who used a token.
import Authorization
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// A delegation token. Its id and code are user and password of SCRAM with `tokenauth="true"`; times are milliseconds since 1970.
public struct DelegationTokenDescription: Hashable, Sendable {
    public var id: String
    /// The code (HMAC) in Base64: a password.
    public var code: String
    /// Whom its bearer acts as, `User:name`.
    public var owner: String
    /// Who asked for it.
    public var requester: String
    /// Who may renew it beside its owner.
    public var renewers: [String]
    public var issued: Timestamp
    /// When it ends unless it is renewed.
    public var expiration: Timestamp
    /// When it ends for good.
    public var latestExpiration: Timestamp
}

extension AdminClient {
    /// Creates a token.
    ///
    /// - Parameters:
    ///   - owner: `User:name` of whom its bearer is to act as; nil for whoever asks.
    ///   - renewers: `User:name` of those who may renew it.
    ///   - lifetimeMilliseconds: how long it can be good; nil for the brokers' bound.
    public func createDelegationToken(
        owner: String? = nil, renewers: [String] = [], lifetimeMilliseconds: Int64? = nil
    ) async throws(KafkaError) -> DelegationTokenDescription {
        var request = CreateDelegationTokenRequest()
        request.ownerPrincipalType = nil
        request.ownerPrincipalName = nil
        if let owner {
            let principal = try Self.principal(owner)
            request.ownerPrincipalType = principal.type
            request.ownerPrincipalName = principal.name
        }
        for renewer in renewers {
            let principal = try Self.principal(renewer)
            var entry = CreateDelegationTokenRequest.CreatableRenewers()
            entry.principalType = principal.type
            entry.principalName = principal.name
            request.renewers.append(entry)
        }
        request.maxLifetimeMs = lifetimeMilliseconds ?? -1
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check()
            return response
        }
        return DelegationTokenDescription(
            id: response.tokenId, code: Base64.encode(Array(response.hmac.readableBytesView)),
            owner: "\(response.principalType):\(response.principalName)",
            requester: "\(response.tokenRequesterPrincipalType):\(response.tokenRequesterPrincipalName)", renewers: renewers,
            issued: response.issueTimestampMs, expiration: response.expiryTimestampMs, latestExpiration: response.maxTimestampMs)
    }

    /// Lets a token be good for longer.
    ///
    /// - Parameter periodMilliseconds: from now; nil for as long as the brokers let it.
    /// - Returns: when it ends now.
    public func renewDelegationToken(code: String, periodMilliseconds: Int64? = nil) async throws(KafkaError) -> Timestamp {
        var request = RenewDelegationTokenRequest()
        request.hmac = try Self.bytes(code)
        request.renewPeriodMs = periodMilliseconds ?? -1
        let asked = request
        return try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check()
            return response.expiryTimestampMs
        }
    }

    /// Lets a token end sooner.
    ///
    /// - Parameter periodMilliseconds: from now; negative for at once.
    /// - Returns: when it ends now.
    public func expireDelegationToken(code: String, periodMilliseconds: Int64 = -1) async throws(KafkaError) -> Timestamp {
        var request = ExpireDelegationTokenRequest()
        request.hmac = try Self.bytes(code)
        request.expiryTimePeriodMs = periodMilliseconds
        let asked = request
        return try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check()
            return response.expiryTimestampMs
        }
    }

    /// The tokens that whoever asks may see.
    ///
    /// - Parameter owners: only of these (`User:name`), as owners, requesters or renewers; nil for all.
    public func describeDelegationTokens(owners: [String]? = nil) async throws(KafkaError) -> [DelegationTokenDescription] {
        var request = DescribeDelegationTokenRequest()
        request.owners = nil
        if let owners {
            var entries: [DescribeDelegationTokenRequest.DescribeDelegationTokenOwner] = []
            for owner in owners {
                let principal = try Self.principal(owner)
                var entry = DescribeDelegationTokenRequest.DescribeDelegationTokenOwner()
                entry.principalType = principal.type
                entry.principalName = principal.name
                entries.append(entry)
            }
            request.owners = entries
        }
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check()
            return response
        }
        return response.tokens.map { token in
            DelegationTokenDescription(
                id: token.tokenId, code: Base64.encode(Array(token.hmac.readableBytesView)),
                owner: "\(token.principalType):\(token.principalName)",
                requester: "\(token.tokenRequesterPrincipalType):\(token.tokenRequesterPrincipalName)",
                renewers: token.renewers.map { "\($0.principalType):\($0.principalName)" }, issued: token.issueTimestamp,
                expiration: token.expiryTimestamp, latestExpiration: token.maxTimestamp)
        }
    }

    private static func principal(_ text: String) throws(KafkaError) -> KafkaPrincipal {
        guard let principal = KafkaPrincipal(text) else {
            throw KafkaError(.invalidArgument, "expected a string in format principalType:principalName but got \(text)")
        }
        return principal
    }

    private static func bytes(_ code: String) throws(KafkaError) -> ByteBuffer {
        guard let bytes = Base64.decode(code) else { throw KafkaError(.invalidArgument, "a token's code is in Base64") }
        return ByteBuffer(bytes: bytes)
    }
}
