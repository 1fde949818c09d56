// What the sender of one request may do: the authorizer's decisions with the sender filled in. Without an authorizer, everything.
import Authorization
import KafkaMessages
import KafkaWire
import Network

/// The rights of one request's sender.
struct Access {
    /// Nil where everybody may do everything.
    let authorizer: Authorizer?
    let client: ClientIdentity
    let api: ApiKey

    /// Whether the operation is permitted on that resource.
    ///
    /// - Parameter isLogged: false where a denial is no refusal, as when a list is filtered.
    func allows(_ operation: AccessOperation, _ type: ResourceType, _ name: String, isLogged: Bool = true) -> Bool {
        authorizer?.allows(operation, type, name, client, api: api.name, isLogged: isLogged) ?? true
    }

    /// Whether the operation is permitted on the cluster.
    func allowsCluster(_ operation: AccessOperation, isLogged: Bool = true) -> Bool {
        allows(operation, .cluster, ClusterResource.name, isLogged: isLogged)
    }

    /// Whether the operation is permitted on at least one resource of that type.
    func allowsSomewhere(_ operation: AccessOperation, _ type: ResourceType) -> Bool {
        authorizer?.allowsSomewhere(operation, type, client) ?? true
    }

    /// What is permitted on a resource, as the bits of responses.
    func operations(on type: ResourceType, _ name: String) -> Int32 {
        guard let authorizer else { return type.operations.reduce(0) { $0 | 1 << Int32($1.rawValue) } }
        return authorizer.operations(on: type, name, client)
    }

    var clusterOperations: Int32 { operations(on: .cluster, ClusterResource.name) }
}

extension RequestContext {
    /// Who sent the request.
    var principal: KafkaPrincipal { (connection.context as? ConnectionState)?.authentication.principal ?? .anonymous }

    /// The sender as decisions and the audit log know it.
    var client: ClientIdentity {
        ClientIdentity(principal: principal, host: connection.remoteHost, listenerName: connection.listenerName, clientID: clientID)
    }
}

extension BrokerServices {
    /// What the sender of a request may do.
    func access(_ context: RequestContext) -> Access {
        Access(authorizer: security.authorizer, client: context.client, api: context.apiKey)
    }

    /// The same for the data path: nil without an authorizer, which then costs nothing.
    func dataAccess(_ context: RequestContext) -> Access? { security.authorizer == nil ? nil : access(context) }
}
