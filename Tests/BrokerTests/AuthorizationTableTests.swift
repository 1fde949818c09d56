// Every API against the authorizer of a real node: refused without the right that it needs, not refused with it.
import Authorization
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import TestKit
import Testing

@testable import Broker

/// A node with an authorizer, where everybody on PLAINTEXT is anonymous and has no rights, and `admin` on ADMIN has all.
private final class GuardedNode {
    let node: RunningNode
    let admin: BlockingConnection

    init(_ overrides: [String] = []) throws {
        node = try RunningNode(
            overrides: [
                "listeners=PLAINTEXT://127.0.0.1:0,ADMIN://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,ADMIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
                "listener.name.admin.sasl.enabled.mechanisms=PLAIN",
                "listener.name.admin.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
                    + "user_admin=\"admin-secret\";",
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:admin",
            ] + overrides)
        admin = try BlockingConnection(port: node.port(of: "ADMIN"))
        var handshake = SaslHandshakeRequest()
        handshake.mechanism = "PLAIN"
        #expect(try admin.ask(handshake, version: 1).errorCode == .none)
        var login = SaslAuthenticateRequest()
        login.authBytes = ByteBuffer(string: "\u{0}admin\u{0}admin-secret")
        #expect(try admin.ask(login, version: 2).errorCode == .none)
        // What is off refuses everybody alike.
        var features = UpdateFeaturesRequest()
        features.featureUpdates = ["share.version", "streams.version"].map { name in
            var update = UpdateFeaturesRequest.FeatureUpdateKey()
            update.feature = name
            update.maxVersionLevel = 1
            return update
        }
        #expect(try admin.ask(features, version: 2).errorCode == .none)
        var topic = CreateTopicsRequest()
        topic.timeoutMs = 10_000
        topic.topics = [
            .init {
                $0.name = "t"; $0.numPartitions = 1; $0.replicationFactor = 1
            }
        ]
        #expect(try admin.ask(topic, version: 7).topics.first?.errorCode == ErrorCode.none)
    }

    deinit { node.stop() }

    func grant(_ operation: AccessOperation, _ type: ResourceType, _ name: String) throws {
        var request = CreateAclsRequest()
        request.creations = [
            .init {
                $0.resourceType = type.rawValue
                $0.resourceName = name
                $0.principal = "User:ANONYMOUS"
                $0.host = "127.0.0.1"
                $0.operation = operation.rawValue
                $0.permissionType = AccessPermission.allow.rawValue
            }
        ]
        #expect(try admin.ask(request, version: 3).results.first?.errorCode == ErrorCode.none)
    }

    func revokeAll() throws {
        var request = DeleteAclsRequest()
        request.filters = [
            .init {
                $0.resourceTypeFilter = 1
                $0.resourceNameFilter = nil
                $0.patternTypeFilter = 1
                $0.principalFilter = nil
                $0.hostFilter = nil
                $0.operation = 1
                $0.permissionType = 1
            }
        ]
        #expect(try admin.ask(request, version: 3).filterResults.first?.errorCode == ErrorCode.none)
    }
}

/// Every error code in a response, wherever it stands.
private func errorCodes(_ value: JSONValue) -> [ErrorCode] {
    switch value {
    case .object(let object):
        object.members.flatMap { member -> [ErrorCode] in
            if let number = member.value.integerValue, member.name.lowercased().hasSuffix("errorcode") {
                return [ErrorCode(rawValue: Int16(number))]
            }
            return errorCodes(member.value)
        }
    case .array(let elements): elements.flatMap(errorCodes)
    default: []
    }
}

extension BlockingConnection {
    fileprivate func errors<Request: KafkaRequest>(of request: Request, version: Int16) throws -> Set<ErrorCode> {
        let response = try ask(request, version: version)
        return Set(errorCodes(try response.json(version: version)).filter { $0 != .none })
    }
}

@Suite struct AuthorizationTableTests {
    @Test("The table has every API that brokers serve")
    func tableIsComplete() {
        let covered = Set(AccessRow.all.map(\.api)).union(AccessRow.free)
        #expect(Set(BrokerServices.servedApis).subtracting(covered).isEmpty, "APIs without a row")
    }

    @Test("Each request is refused without its right and not with it")
    func everyRow() throws {
        let guarded = try GuardedNode()
        for row in AccessRow.all {
            let connection = try BlockingConnection(port: guarded.node.port)
            func check<Request: KafkaRequest>(_ request: Request) throws {
                for (operation, type, name) in row.besides { try guarded.grant(operation, type, name) }
                let before = try connection.errors(of: request, version: row.version)
                #expect(before.contains(row.refusal), "\(row.api) without \(row.operation) on \(row.type) \(row.name): \(before)")
                try guarded.grant(row.operation, row.type, row.name)
                let after = try connection.errors(of: request, version: row.version)
                // A topic that may be created and not described is created without being shown.
                let isHidden = row.api == .createTopics && row.besides.isEmpty
                #expect(
                    !after.contains(row.refusal) || isHidden, "\(row.api) with \(row.operation) on \(row.type) \(row.name): \(after)")
                try guarded.revokeAll()
            }
            try check(row.request)
        }
    }

    @Test("Between nodes every API needs CLUSTER_ACTION or more, also from those who only reach the controller's port")
    func controllerListener() throws {
        let guarded = try GuardedNode()
        let port = guarded.node.port(of: "CONTROLLER")
        // Lists of nothing have no error to carry.
        let silent: Set<ApiKey> = [.createAcls, .deleteAcls, .alterUserScramCredentials, .alterClientQuotas]
        var checked = 0
        for (api, operation) in ControllerServices.clusterOperations where !silent.contains(api) {
            let connection = try BlockingConnection(port: port)
            func check<Request: KafkaRequest>(_ type: Request.Type) throws {
                let errors = try connection.errors(of: Request(), version: api.stableVersions.upperBound)
                #expect(errors.contains(.clusterAuthorizationFailed), "\(api) without \(operation): \(errors)")
            }
            try check(api.requestType)
            checked += 1
        }
        #expect(checked > 20)
        let judged: Set<ApiKey> = [
            .createTopics, .deleteTopics, .createPartitions, .alterConfigs, .incrementalAlterConfigs, .apiVersions, .saslHandshake,
            .saslAuthenticate, .createDelegationToken, .renewDelegationToken, .expireDelegationToken,
        ]
        #expect(Set(ControllerServices.servedApis) == Set(ControllerServices.clusterOperations.keys).union(judged))
    }

    @Test("Lists show what may be described, and authorized operations are those that are granted")
    func listsAndOperations() throws {
        let guarded = try GuardedNode()
        let connection = try BlockingConnection(port: guarded.node.port)
        var all = MetadataRequest()
        all.topics = nil
        all.includeTopicAuthorizedOperations = true
        #expect(try connection.ask(all, version: 9).topics.isEmpty)
        try guarded.grant(.read, .topic, "t")
        let topics = try connection.ask(all, version: 9).topics
        #expect(topics.map(\.name) == ["t"])
        #expect(topics.first?.topicAuthorizedOperations == 1 << 3 | 1 << 8)
        var cluster = DescribeClusterRequest()
        cluster.includeClusterAuthorizedOperations = true
        #expect(try connection.ask(cluster, version: 1).clusterAuthorizedOperations == 0)
        try guarded.grant(.describe, .cluster, ClusterResource.name)
        #expect(try connection.ask(cluster, version: 1).clusterAuthorizedOperations == 1 << 8)
    }

    @Test("Entries and credentials survive a restart")
    func restart() throws {
        let guarded = try GuardedNode()
        try guarded.grant(.read, .topic, "t")
        try guarded.node.restart()
        let connection = try BlockingConnection(port: guarded.node.port)
        var metadata = MetadataRequest()
        metadata.topics = nil
        #expect(try connection.ask(metadata, version: 9).topics.map(\.name) == ["t"])
    }

    @Test("allow.everyone.if.no.acl.found lets everybody use what no entry is about")
    func openByDefault() throws {
        let guarded = try GuardedNode(["allow.everyone.if.no.acl.found=true"])
        let connection = try BlockingConnection(port: guarded.node.port)
        var metadata = MetadataRequest()
        metadata.topics = [.init { $0.name = "t" }]
        #expect(try connection.ask(metadata, version: 9).topics.first?.errorCode == ErrorCode.none)
        var other = CreateAclsRequest()
        other.creations = [
            .init {
                $0.resourceType = 2
                $0.resourceName = "t"
                $0.principal = "User:somebody"
                $0.host = "*"
                $0.operation = 3
                $0.permissionType = 3
            }
        ]
        _ = try guarded.admin.ask(other, version: 3)
        #expect(try connection.ask(metadata, version: 9).topics.first?.errorCode == .topicAuthorizationFailed)
    }
}
