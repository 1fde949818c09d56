// Users with SCRAM passwords and access control entries.
import Authentication
import Authorization
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Primitives

/// How a user can log in by SCRAM.
public struct ScramUserDescription: Hashable, Sendable {
    public struct Credential: Hashable, Sendable {
        /// `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        public var mechanism: String
        public var iterations: Int32
    }

    public var user: String
    public var credentials: [Credential]
}

/// An access control entry in Kafka's words: `TOPIC`, `LITERAL`, `READ`, `ALLOW`.
public struct AccessEntry: Hashable, Sendable {
    public var resourceType: String
    public var resourceName: String
    public var patternType: String
    /// `User:name`.
    public var principal: String
    /// `*`, an address, or a range of addresses.
    public var host: String
    public var operation: String
    public var permission: String

    public init(
        resourceType: String, resourceName: String, patternType: String = "LITERAL", principal: String, host: String = "*",
        operation: String, permission: String = "ALLOW"
    ) {
        self.resourceType = resourceType
        self.resourceName = resourceName
        self.patternType = patternType
        self.principal = principal
        self.host = host
        self.operation = operation
        self.permission = permission
    }
}

extension AccessEntry {
    /// The entry as links see it.
    package var rule: AccessRule {
        AccessRule(
            resourceType: resourceType, patternType: patternType, resourceName: resourceName, principal: principal, host: host,
            operation: operation, permission: permission)
    }

    package init(_ rule: AccessRule) {
        self.init(
            resourceType: rule.resourceType, resourceName: rule.resourceName, patternType: rule.patternType, principal: rule.principal,
            host: rule.host, operation: rule.operation, permission: rule.permission)
    }
}

/// Which entries are meant; nil means any.
public struct AccessEntryFilter: Hashable, Sendable {
    public var resourceType: String?
    public var resourceName: String?
    /// `LITERAL`, `PREFIXED`, or `MATCH` for every pattern that names the resource.
    public var patternType: String?
    public var principal: String?
    public var host: String?
    public var operation: String?
    public var permission: String?

    public init() {}
}

extension AdminClient {
    // MARK: users

    /// The users that can log in by SCRAM; nil for all.
    public func describeScramUsers(_ users: [String]? = nil) async throws(KafkaError) -> [Outcome<String, ScramUserDescription>] {
        var request = DescribeUserScramCredentialsRequest()
        request.users = users.map { names in
            names.map { name in
                var user = DescribeUserScramCredentialsRequest.UserName()
                user.name = name
                return user
            }
        }
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(request, to: .any)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        return response.results.map { result in
            let credentials = result.credentialInfos.map {
                ScramUserDescription.Credential(
                    mechanism: ScramMechanism(rawValue: $0.mechanism)?.name ?? "\($0.mechanism)", iterations: $0.iterations)
            }
            return Outcome(
                item: result.user,
                result: result.errorCode.result(
                    ScramUserDescription(user: result.user, credentials: credentials), result.errorMessage))
        }
    }

    /// Sets a user's password for a mechanism. Only what is derived from it leaves this process.
    ///
    /// - Parameters:
    ///   - mechanism: `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    ///   - iterations: from 4096 to 16384.
    public func setPassword(
        _ password: String, of user: String, mechanism: String, iterations: Int32 = 8192
    ) async throws(KafkaError) {
        guard let scram = ScramMechanism(name: mechanism) else {
            throw KafkaError(.invalidArgument, "'\(mechanism)' is no SCRAM mechanism")
        }
        var generator = SystemRandomNumberGenerator()
        let salt = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        guard let salted = scram.saltedPassword(password, salt: salt, iterations: iterations) else {
            throw KafkaError(.invalidArgument, "the password must not be empty, nor the iterations too few")
        }
        var upsertion = AlterUserScramCredentialsRequest.ScramCredentialUpsertion()
        upsertion.name = user
        upsertion.mechanism = scram.rawValue
        upsertion.iterations = iterations
        upsertion.salt = ByteBuffer(bytes: salt)
        upsertion.saltedPassword = ByteBuffer(bytes: salted)
        var request = AlterUserScramCredentialsRequest()
        request.upsertions = [upsertion]
        try await alterUsers(request)
    }

    /// Takes a user's credential for a mechanism away.
    public func deleteCredential(of user: String, mechanism: String) async throws(KafkaError) {
        guard let scram = ScramMechanism(name: mechanism) else {
            throw KafkaError(.invalidArgument, "'\(mechanism)' is no SCRAM mechanism")
        }
        var deletion = AlterUserScramCredentialsRequest.ScramCredentialDeletion()
        deletion.name = user
        deletion.mechanism = scram.rawValue
        var request = AlterUserScramCredentialsRequest()
        request.deletions = [deletion]
        try await alterUsers(request)
    }

    private func alterUsers(_ request: AlterUserScramCredentialsRequest) async throws(KafkaError) {
        try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(request, to: .any)
            for result in response.results { try result.errorCode.check(result.errorMessage, about: result.user) }
        }
    }

    // MARK: access control

    /// The entries that match.
    public func listAccessEntries(_ filter: AccessEntryFilter = AccessEntryFilter()) async throws(KafkaError) -> [AccessEntry] {
        let wanted = try AccessNumbers(filter)
        var request = DescribeAclsRequest()
        request.resourceTypeFilter = wanted.resourceType
        request.resourceNameFilter = filter.resourceName
        request.patternTypeFilter = wanted.patternType
        request.principalFilter = filter.principal
        request.hostFilter = filter.host
        request.operation = wanted.operation
        request.permissionType = wanted.permission
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        return response.resources.flatMap { resource in
            resource.acls.map { entry in
                AccessNumbers.entry(
                    resource.resourceType, resource.resourceName, resource.patternType, entry.principal, entry.host, entry.operation,
                    entry.permissionType)
            }
        }
    }

    /// Creates entries; those that exist already stay.
    public func createAccessEntries(_ entries: [AccessEntry]) async throws(KafkaError) -> [Outcome<AccessEntry, Void>] {
        var request = CreateAclsRequest()
        for entry in entries {
            var creation = CreateAclsRequest.AclCreation()
            let numbers = try AccessNumbers(entry)
            creation.resourceType = numbers.resourceType
            creation.resourceName = entry.resourceName
            creation.resourcePatternType = numbers.patternType
            creation.principal = entry.principal
            creation.host = entry.host
            creation.operation = numbers.operation
            creation.permissionType = numbers.permission
            request.creations.append(creation)
        }
        let asked = request
        return try await retryingOutcomes { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            return zip(entries, response.results).map { entry, result in
                Outcome(item: entry, result: result.errorCode.result((), result.errorMessage))
            }
        }
    }

    /// Takes away every entry that matches, and returns them.
    public func deleteAccessEntries(_ filter: AccessEntryFilter) async throws(KafkaError) -> [AccessEntry] {
        let wanted = try AccessNumbers(filter)
        var item = DeleteAclsRequest.DeleteAclsFilter()
        item.resourceTypeFilter = wanted.resourceType
        item.resourceNameFilter = filter.resourceName
        item.patternTypeFilter = wanted.patternType
        item.principalFilter = filter.principal
        item.hostFilter = filter.host
        item.operation = wanted.operation
        item.permissionType = wanted.permission
        var request = DeleteAclsRequest()
        request.filters = [item]
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            for result in response.filterResults { try result.errorCode.check(result.errorMessage) }
            return response
        }
        return response.filterResults.flatMap(\.matchingAcls).map { entry in
            AccessNumbers.entry(
                entry.resourceType, entry.resourceName, entry.patternType, entry.principal, entry.host, entry.operation,
                entry.permissionType)
        }
    }
}

/// Kafka's numbers for the words of an entry or a filter.
private struct AccessNumbers {
    var resourceType: Int8
    var patternType: Int8
    var operation: Int8
    var permission: Int8

    init(_ entry: AccessEntry) throws(KafkaError) {
        resourceType = try Self.number(entry.resourceType, ResourceType.allCases.map { ($0.name, $0.rawValue) }, "resource type")
        patternType = try Self.number(entry.patternType, Self.patterns, "pattern type")
        operation = try Self.number(entry.operation, AccessOperation.allCases.map { ($0.name, $0.rawValue) }, "operation")
        permission = try Self.number(entry.permission, Self.permissions, "permission")
    }

    init(_ filter: AccessEntryFilter) throws(KafkaError) {
        let any = AccessControlFilter.any
        resourceType =
            try filter.resourceType.map { (word) throws(KafkaError) in
                try Self.number(word, ResourceType.allCases.map { ($0.name, $0.rawValue) }, "resource type")
            } ?? any
        patternType =
            try filter.patternType.map { (word) throws(KafkaError) in
                try Self.number(word, Self.patterns + [("MATCH", AccessControlFilter.match), ("ANY", any)], "pattern type")
            } ?? any
        operation =
            try filter.operation.map { (word) throws(KafkaError) in
                try Self.number(word, AccessOperation.allCases.map { ($0.name, $0.rawValue) }, "operation")
            } ?? any
        permission =
            try filter.permission.map { (word) throws(KafkaError) in try Self.number(word, Self.permissions, "permission") } ?? any
    }

    private static let patterns = [("LITERAL", PatternType.literal.rawValue), ("PREFIXED", PatternType.prefixed.rawValue)]
    private static let permissions = [("ALLOW", AccessPermission.allow.rawValue), ("DENY", AccessPermission.deny.rawValue)]

    private static func number(_ word: String, _ known: [(name: String, number: Int8)], _ what: String) throws(KafkaError) -> Int8 {
        let wanted = plain(word)
        guard let found = known.first(where: { plain($0.name) == wanted }) else {
            throw KafkaError(
                .invalidArgument, "'\(word)' is no \(what); there are \(known.map { $0.name.lowercased() }.joined(separator: ", "))")
        }
        return found.number
    }

    /// `DescribeConfigs`, `describe-configs` and `DESCRIBE_CONFIGS` are the same word.
    private static func plain(_ word: String) -> String { word.lowercased().filter { $0.isLetter } }

    static func entry(
        _ resourceType: Int8, _ name: String, _ pattern: Int8, _ principal: String, _ host: String, _ operation: Int8, _ permission: Int8
    ) -> AccessEntry {
        AccessEntry(
            resourceType: ResourceType(rawValue: resourceType)?.name ?? "\(resourceType)", resourceName: name,
            patternType: PatternType(rawValue: pattern)?.name ?? "\(pattern)", principal: principal, host: host,
            operation: AccessOperation(rawValue: operation)?.name ?? "\(operation)",
            permission: AccessPermission(rawValue: permission)?.name ?? "\(permission)")
    }
}
