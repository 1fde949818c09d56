// What authorization and authentication need from the metadata log: access control entries, SCRAM credentials, delegation tokens.
import KafkaRecords
import NIOCore
import OrderedCollections
import Primitives

/// One access control entry; the numbers are Kafka's own for resource types, patterns, operations and permissions.
public struct AccessControlEntry: Hashable, Sendable {
    public var resourceType: Int8
    public var resourceName: String
    public var patternType: Int8
    public var principal: String
    public var host: String
    public var operation: Int8
    public var permissionType: Int8

    public init(
        resourceType: Int8, resourceName: String, patternType: Int8, principal: String, host: String, operation: Int8,
        permissionType: Int8
    ) {
        self.resourceType = resourceType
        self.resourceName = resourceName
        self.patternType = patternType
        self.principal = principal
        self.host = host
        self.operation = operation
        self.permissionType = permissionType
    }
}

/// A user's SCRAM credential for one mechanism (RFC 5802).
public struct ScramCredential: Hashable, Sendable {
    public var salt: ByteBuffer
    public var storedKey: ByteBuffer
    public var serverKey: ByteBuffer
    public var iterations: Int32
}

/// Whose credential: 1 is SCRAM-SHA-256, 2 SCRAM-SHA-512.
public struct ScramUser: Hashable, Sendable {
    public var name: String
    public var mechanism: Int8

    public init(name: String, mechanism: Int8) {
        self.name = name
        self.mechanism = mechanism
    }
}

/// A delegation token (KIP-48); times are milliseconds since 1970.
public struct DelegationToken: Hashable, Sendable {
    public var tokenID: String
    public var owner: String
    public var requester: String
    public var renewers: [String]
    public var issued: Timestamp
    public var latestExpiration: Timestamp
    public var expiration: Timestamp

    public init(
        tokenID: String, owner: String, requester: String, renewers: [String], issued: Timestamp, latestExpiration: Timestamp,
        expiration: Timestamp
    ) {
        self.tokenID = tokenID
        self.owner = owner
        self.requester = requester
        self.renewers = renewers
        self.issued = issued
        self.latestExpiration = latestExpiration
        self.expiration = expiration
    }

    /// - Parameter now: milliseconds since 1970.
    public func isExpired(now: Timestamp) -> Bool { latestExpiration < now || expiration < now }

    /// Whether somebody (`Type:name`) may see it without being permitted to.
    public func isOf(_ principal: String) -> Bool { owner == principal || requester == principal || renewers.contains(principal) }
}

/// Entries, credentials and tokens in the order in which they were first written.
public struct SecurityImage: Hashable, Sendable {
    public internal(set) var accessControlEntries: OrderedDictionary<KafkaUUID, AccessControlEntry> = [:]
    public internal(set) var scramCredentials: OrderedDictionary<ScramUser, ScramCredential> = [:]
    public internal(set) var delegationTokens: OrderedDictionary<String, DelegationToken> = [:]

    public init() {}
}

extension AccessControlEntry {
    init(_ record: AccessControlEntryRecord) {
        self.init(
            resourceType: record.resourceType, resourceName: record.resourceName, patternType: record.patternType,
            principal: record.principal, host: record.host, operation: record.operation, permissionType: record.permissionType)
    }

    /// The record that writes the entry under that id.
    public func record(id: KafkaUUID) -> AccessControlEntryRecord {
        var record = AccessControlEntryRecord()
        record.id = id
        record.resourceType = resourceType
        record.resourceName = resourceName
        record.patternType = patternType
        record.principal = principal
        record.host = host
        record.operation = operation
        record.permissionType = permissionType
        return record
    }
}

extension ScramCredential {
    init(_ record: UserScramCredentialRecord) {
        self.init(salt: record.salt, storedKey: record.storedKey, serverKey: record.serverKey, iterations: record.iterations)
    }

    func record(user: ScramUser) -> UserScramCredentialRecord {
        var record = UserScramCredentialRecord()
        record.name = user.name
        record.mechanism = user.mechanism
        record.salt = salt
        record.storedKey = storedKey
        record.serverKey = serverKey
        record.iterations = iterations
        return record
    }
}

extension DelegationToken {
    init(_ record: DelegationTokenRecord) {
        self.init(
            tokenID: record.tokenId, owner: record.owner, requester: record.requester, renewers: record.renewers,
            issued: record.issueTimestamp, latestExpiration: record.maxTimestamp, expiration: record.expirationTimestamp)
    }

    public func record() -> DelegationTokenRecord {
        var record = DelegationTokenRecord()
        record.tokenId = tokenID
        record.owner = owner
        record.requester = requester
        record.renewers = renewers
        record.issueTimestamp = issued
        record.maxTimestamp = latestExpiration
        record.expirationTimestamp = expiration
        return record
    }
}
