// Delegation tokens: how long they are good, who may renew them, and that they go by themselves.
import Authentication
import Authorization
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@testable import Controlling

private let alice = KafkaPrincipal(user: "alice")
private let bob = KafkaPrincipal(user: "bob")
private let carol = KafkaPrincipal(user: "carol")

extension Cluster {
    fileprivate mutating func createToken(
        _ requester: KafkaPrincipal = alice, owner: String? = nil, renewers: [KafkaPrincipal] = [], lifetime: Int64 = -1
    ) throws -> CreateDelegationTokenResponse {
        var request = CreateDelegationTokenRequest()
        request.ownerPrincipalType = owner.map { _ in "User" }
        request.ownerPrincipalName = owner
        request.maxLifetimeMs = lifetime
        request.renewers = renewers.map { principal in
            var renewer = CreateDelegationTokenRequest.CreatableRenewers()
            renewer.principalType = principal.type
            renewer.principalName = principal.name
            return renewer
        }
        let asked = request
        let now = self.now
        return try run { (controller, _) throws(RequestFailure) in
            controller.createDelegationToken(asked, requester: requester, id: .random(), now: now)
        }
    }

    fileprivate mutating func renew(_ code: ByteBuffer, _ period: Int64 = -1, by requester: KafkaPrincipal = alice) throws
        -> RenewDelegationTokenResponse
    {
        var request = RenewDelegationTokenRequest()
        request.hmac = code
        request.renewPeriodMs = period
        let asked = request
        let now = self.now
        return try run { (controller, _) throws(RequestFailure) in
            controller.renewDelegationToken(asked, requester: requester, now: now)
        }
    }

    fileprivate mutating func expire(_ code: ByteBuffer, _ period: Int64, by requester: KafkaPrincipal = alice) throws
        -> ExpireDelegationTokenResponse
    {
        var request = ExpireDelegationTokenRequest()
        request.hmac = code
        request.expiryTimePeriodMs = period
        let asked = request
        let now = self.now
        return try run { (controller, _) throws(RequestFailure) in
            controller.expireDelegationToken(asked, requester: requester, now: now)
        }
    }

    fileprivate var tokens: [DelegationToken] { Array(controller.image.security.delegationTokens.values) }

    fileprivate static func withTokens() throws -> Cluster {
        try Cluster(
            brokers: 1,
            fixed: [
                "delegation.token.secret.key": "secret", "delegation.token.max.lifetime.ms": "10000",
                "delegation.token.expiry.time.ms": "4000", "delegation.token.expiry.check.interval.ms": "1000",
            ])
    }
}

@Suite("Controlling: delegation tokens")
struct DelegationTokenTests {
    @Test func aTokenIsWrittenWithoutItsCode() throws {
        var cluster = try Cluster.withTokens()
        let response = try cluster.createToken(renewers: [bob])
        #expect(response.errorCode == .none)
        #expect(response.principalName == "alice" && response.tokenRequesterPrincipalName == "alice")
        #expect(response.issueTimestampMs == cluster.now)
        #expect(response.expiryTimestampMs == cluster.now + 4000 && response.maxTimestampMs == cluster.now + 10_000)
        let secret = try #require(DelegationTokenSecret("secret"))
        #expect(Array(response.hmac.readableBytesView) == secret.code(of: response.tokenId))
        let token = try #require(cluster.tokens.first)
        #expect(token.owner == "User:alice" && token.requester == "User:alice" && token.renewers == ["User:bob"])
        #expect(token.expiration == response.expiryTimestampMs && token.latestExpiration == response.maxTimestampMs)
    }

    /// Computed with openssl: printf %s abc | openssl dgst -sha512 -hmac secret -binary | base64 -w0
    @Test func theCodeIsKafkas() throws {
        let secret = try #require(DelegationTokenSecret("secret"))
        #expect(
            Base64.encode(secret.code(of: "abc"))
                == "GMTS7bfcAS1K3jh+WHq3xS9Qo4RSnz42g5KhsLFhg/QKYv6BTLoqBJ2bDnK3qskyAGovbXf6e3au3hvWPYiCQQ==")
        #expect(DelegationTokenSecret("") == nil && DelegationTokenSecret(nil) == nil)
        #expect(!"\(secret)".contains("secret key") && "\(secret)" == "a secret")
    }

    @Test func lifetimesAreBounded() throws {
        var cluster = try Cluster.withTokens()
        let short = try cluster.createToken(lifetime: 1000)
        #expect(short.maxTimestampMs == cluster.now + 1000 && short.expiryTimestampMs == cluster.now + 1000)
        let long = try cluster.createToken(lifetime: .max)
        #expect(long.maxTimestampMs == cluster.now + 10_000 && long.expiryTimestampMs == cluster.now + 4000)
        cluster.now += 3000
        #expect(try cluster.renew(long.hmac).expiryTimestampMs == cluster.now + 4000)
        #expect(try cluster.renew(long.hmac, 500).expiryTimestampMs == cluster.now + 500)
        #expect(try cluster.renew(long.hmac, .max).expiryTimestampMs == cluster.now + 4000)
        cluster.now += 4000
        // Never beyond the end that it was made with.
        #expect(try cluster.renew(long.hmac).expiryTimestampMs == long.maxTimestampMs)
        #expect(cluster.tokens.last?.expiration == long.maxTimestampMs)
    }

    @Test func onlyOwnersAndRenewersRenew() throws {
        var cluster = try Cluster.withTokens()
        // For alice, made by carol, who may look at it and no more.
        let token = try cluster.createToken(carol, owner: "alice", renewers: [bob])
        #expect(token.principalName == "alice" && token.tokenRequesterPrincipalName == "carol")
        for (principal, code) in [(alice, ErrorCode.none), (bob, .none), (carol, .delegationTokenOwnerMismatch)] {
            #expect(try cluster.renew(token.hmac, by: principal).errorCode == code)
            #expect(try cluster.expire(token.hmac, 2000, by: principal).errorCode == code)
        }
        #expect(try cluster.expire(token.hmac, -1, by: carol).errorCode == .delegationTokenOwnerMismatch)
        #expect(try cluster.renew(ByteBuffer(string: "what")).errorCode == .delegationTokenNotFound)
        #expect(try cluster.expire(ByteBuffer(), -1).errorCode == .delegationTokenNotFound)
    }

    @Test func aTokenEndsWhenItIsTold() throws {
        var cluster = try Cluster.withTokens()
        let first = try cluster.createToken()
        let second = try cluster.createToken()
        #expect(try cluster.expire(first.hmac, 1000).expiryTimestampMs == cluster.now + 1000)
        #expect(try cluster.expire(second.hmac, -1).expiryTimestampMs == cluster.now)
        #expect(cluster.tokens.map(\.tokenID) == [first.tokenId])
        #expect(try cluster.renew(second.hmac).errorCode == .delegationTokenNotFound)
        cluster.now += 1001
        #expect(try cluster.renew(first.hmac).errorCode == .delegationTokenExpired)
        #expect(try cluster.expire(first.hmac, 5000).errorCode == .delegationTokenExpired)
        #expect(try cluster.expire(first.hmac, -1).errorCode == .none)
        #expect(cluster.tokens.isEmpty)
    }

    @Test func expiredTokensGoByTheClock() throws {
        var cluster = try Cluster.withTokens()
        let token = try cluster.createToken()
        let other = try cluster.createToken()
        cluster.now += 3900
        _ = try cluster.renew(other.hmac)
        for _ in 0..<3 {
            cluster.now = max(cluster.now, try #require(cluster.controller.nextDeadline))
            try cluster.tick()
            try cluster.heartbeat(0)
        }
        #expect(cluster.now > token.expiryTimestampMs && cluster.now < token.expiryTimestampMs + 2500)
        #expect(cluster.tokens.map(\.tokenID) == [other.tokenId])
    }

    @Test func thereAreNoneWithoutASecretOrInOldClusters() throws {
        var without = try Cluster(brokers: 1)
        #expect(try without.createToken().errorCode == .delegationTokenAuthDisabled)
        #expect(try without.renew(ByteBuffer(string: "x")).errorCode == .delegationTokenAuthDisabled)
        #expect(try without.expire(ByteBuffer(string: "x"), -1).errorCode == .delegationTokenAuthDisabled)
        var old = try Cluster(
            brokers: 1, version: try #require(MetadataVersion(rawValue: 13)),
            fixed: ["delegation.token.secret.key": "secret"])
        #expect(try old.createToken().errorCode == .unsupportedVersion)
        #expect(old.records.isEmpty)
    }

    @Test func renewersAreUsers() throws {
        var cluster = try Cluster.withTokens()
        #expect(try cluster.createToken(renewers: [KafkaPrincipal(type: "Group", name: "x")]).errorCode == .invalidPrincipalType)
        #expect(cluster.tokens.isEmpty)
    }
}
