// Delegation tokens (KIP-48): created, renewed and taken away; those that expired go by the clock. Of a token only who may use it and until
// when is written down; its code follows from its id and the secret that all nodes share.
import Authentication
import Authorization
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

extension Controller {
    /// Tokens that are removed at once; more are left to the next run (Kafka's bound).
    static let maximumExpirations = 1000

    /// Decides a CreateDelegationToken request.
    ///
    /// - Parameters:
    ///   - requester: who asks, and may do so.
    ///   - id: of the new token, unlike any other.
    ///   - now: milliseconds since 1970.
    public func createDelegationToken(
        _ request: CreateDelegationTokenRequest, requester: KafkaPrincipal, id: KafkaUUID, now: Timestamp
    ) -> ControllerResult<CreateDelegationTokenResponse> {
        let owner = request.owner(requester)
        var response = CreateDelegationTokenResponse(owner: owner, requester: requester)
        do throws(RequestFailure) {
            let secret = try tokenSecret()
            guard request.renewers.allSatisfy({ $0.principalType == KafkaPrincipal.userType }) else {
                throw RequestFailure(.invalidPrincipalType)
            }
            let longest = number("delegation.token.max.lifetime.ms")
            let lifetime = request.maxLifetimeMs > 0 ? min(longest, request.maxLifetimeMs) : longest
            let latest = Self.sum(now, lifetime)
            let token = DelegationToken(
                tokenID: id.description, owner: owner.description, requester: requester.description,
                renewers: request.renewers.map { KafkaPrincipal(type: $0.principalType, name: $0.principalName).description },
                issued: now, latestExpiration: latest, expiration: min(latest, Self.sum(now, number("delegation.token.expiry.time.ms"))))
            response.issueTimestampMs = token.issued
            response.expiryTimestampMs = token.expiration
            response.maxTimestampMs = token.latestExpiration
            response.tokenId = token.tokenID
            response.hmac = ByteBuffer(bytes: secret.code(of: token.tokenID))
            return ControllerResult(response, records: [VersionedRecord(.delegationToken(token.record()))])
        } catch {
            response.errorCode = error.code
            return ControllerResult(response)
        }
    }

    /// Decides a RenewDelegationToken request.
    public mutating func renewDelegationToken(
        _ request: RenewDelegationTokenRequest, requester: KafkaPrincipal, now: Timestamp
    ) -> ControllerResult<RenewDelegationTokenResponse> {
        var response = RenewDelegationTokenResponse()
        do throws(RequestFailure) {
            var token = try token(request.hmac)
            if token.isExpired(now: now) { throw RequestFailure(.delegationTokenExpired) }
            try checkRenewer(requester, of: token)
            let longest = number("delegation.token.expiry.time.ms")
            let period = request.renewPeriodMs > 0 ? min(longest, request.renewPeriodMs) : longest
            token.expiration = min(token.latestExpiration, Self.sum(now, period))
            response.expiryTimestampMs = token.expiration
            return ControllerResult(response, records: [VersionedRecord(.delegationToken(token.record()))])
        } catch {
            response.errorCode = error.code
            return ControllerResult(response)
        }
    }

    /// Decides an ExpireDelegationToken request: sets the time at which the token ends; a negative period ends it now.
    public mutating func expireDelegationToken(
        _ request: ExpireDelegationTokenRequest, requester: KafkaPrincipal, now: Timestamp
    ) -> ControllerResult<ExpireDelegationTokenResponse> {
        var response = ExpireDelegationTokenResponse()
        do throws(RequestFailure) {
            var token = try token(request.hmac)
            try checkRenewer(requester, of: token)
            if request.expiryTimePeriodMs < 0 {
                response.expiryTimestampMs = now
                return ControllerResult(response, records: [Self.removal(of: token)])
            }
            if token.isExpired(now: now) { throw RequestFailure(.delegationTokenExpired) }
            token.expiration = min(token.latestExpiration, Self.sum(now, request.expiryTimePeriodMs))
            response.expiryTimestampMs = token.expiration
            return ControllerResult(response, records: [VersionedRecord(.delegationToken(token.record()))])
        } catch {
            response.errorCode = error.code
            return ControllerResult(response)
        }
    }

    /// The removal of tokens that have expired.
    func expirationRecords(now: Timestamp) -> [VersionedRecord] {
        image.security.delegationTokens.values.lazy.filter { $0.isExpired(now: now) }.prefix(Self.maximumExpirations).map(Self.removal)
    }

    /// `delegation.token.expiry.check.interval.ms`.
    var tokenExpiryInterval: Int64 { number("delegation.token.expiry.check.interval.ms") }

    private static func removal(of token: DelegationToken) -> VersionedRecord {
        var record = RemoveDelegationTokenRecord()
        record.tokenId = token.tokenID
        return VersionedRecord(.removeDelegationToken(record))
    }

    /// - Throws: when there are no tokens, because nobody set a secret or the cluster's metadata.version is too old.
    private func tokenSecret() throws(RequestFailure) -> DelegationTokenSecret {
        guard case .password(let text)? = layers.value("delegation.token.secret.key"), let secret = DelegationTokenSecret(text) else {
            throw RequestFailure(.delegationTokenAuthDisabled)
        }
        guard version.supportsDelegationTokens else { throw RequestFailure(.unsupportedVersion) }
        return secret
    }

    /// The token with that code.
    private mutating func token(_ code: ByteBuffer) throws(RequestFailure) -> DelegationToken {
        let secret = try tokenSecret()
        if tokenIDs == nil { tokenIDs = TokenIDs(secret, image.security.delegationTokens.keys) }
        guard let id = tokenIDs?[code], let token = image.security.delegationTokens[id] else {
            throw RequestFailure(.delegationTokenNotFound)
        }
        return token
    }

    private func checkRenewer(_ requester: KafkaPrincipal, of token: DelegationToken) throws(RequestFailure) {
        guard token.owner == requester.description || token.renewers.contains(requester.description) else {
            throw RequestFailure(.delegationTokenOwnerMismatch)
        }
    }

    private func number(_ key: String) -> Int64 { layers.value(key)?.integer ?? 0 }

    private static func sum(_ time: Timestamp, _ period: Int64) -> Timestamp {
        let (sum, isTooLarge) = time.addingReportingOverflow(period)
        return isTooLarge ? .max : sum
    }
}

/// Tokens' ids by their codes, since requests name tokens by their codes. Kept along with the image.
struct TokenIDs: Sendable {
    private let secret: DelegationTokenSecret
    private var byCode: [[UInt8]: String] = [:]

    init(_ secret: DelegationTokenSecret, _ ids: some Sequence<String>) {
        self.secret = secret
        for id in ids { insert(id) }
    }

    subscript(_ code: ByteBuffer) -> String? { byCode[Array(code.readableBytesView)] }

    mutating func insert(_ id: String) { byCode[secret.code(of: id)] = id }
    mutating func remove(_ id: String) { byCode[secret.code(of: id)] = nil }
}

extension CreateDelegationTokenRequest {
    /// Whom the token is for: whoever asks, unless somebody else is named (KIP-373).
    public func owner(_ requester: KafkaPrincipal) -> KafkaPrincipal {
        guard let name = ownerPrincipalName, !name.isEmpty else { return requester }
        return KafkaPrincipal(type: ownerPrincipalType ?? KafkaPrincipal.userType, name: name)
    }
}

extension CreateDelegationTokenResponse {
    /// An answer without a token yet.
    public init(owner: KafkaPrincipal, requester: KafkaPrincipal) {
        self.init()
        principalType = owner.type
        principalName = owner.name
        tokenRequesterPrincipalType = requester.type
        tokenRequesterPrincipalName = requester.name
    }
}
