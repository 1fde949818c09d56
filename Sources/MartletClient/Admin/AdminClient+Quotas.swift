// Client quotas (KIP-546).
import ClusterMetadata
import KafkaMessages
import KafkaWire
import OrderedCollections

/// Whom a quota is for, with its values by key.
public struct ClientQuotaDescription: Hashable, Sendable {
    public var entity: ClientQuotaEntity
    public var values: OrderedDictionary<String, Double>
}

extension AdminClient {
    /// The quotas of entities that match.
    ///
    /// - Parameter filter: what parts an entity must have; everything when it is empty and not strict.
    public func describeClientQuotas(_ filter: ClientQuotaFilter = ClientQuotaFilter()) async throws(KafkaError) -> [ClientQuotaDescription]
    {
        var request = DescribeClientQuotasRequest()
        request.strict = filter.isStrict
        for (type, match) in filter.matches {
            var component = DescribeClientQuotasRequest.ComponentData()
            component.entityType = type
            component.match = nil
            switch match {
            case .exactly(let name):
                component.matchType = 0
                component.match = name
            case .theDefault: component.matchType = 1
            case .anything: component.matchType = 2
            }
            request.components.append(component)
        }
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        return (response.entries ?? []).map { entry in
            ClientQuotaDescription(
                entity: ClientQuotaEntity(entry.entity.map { .init(type: $0.entityType, name: $0.entityName) }),
                values: OrderedDictionary(entry.values.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 }))
        }
    }

    /// Sets and removes quotas of one entity, all or none.
    ///
    /// - Parameter changes: values by key, such as `producer_byte_rate`; nil removes.
    public func alterClientQuotas(
        _ entity: ClientQuotaEntity, _ changes: OrderedDictionary<String, Double?>, validateOnly: Bool = false
    ) async throws(KafkaError) {
        var entry = AlterClientQuotasRequest.EntryData()
        entry.entity = entity.parts.map { part in
            var data = AlterClientQuotasRequest.EntityData()
            data.entityType = part.type
            data.entityName = part.name
            return data
        }
        entry.ops = changes.map { key, value in
            var operation = AlterClientQuotasRequest.OpData()
            operation.key = key
            operation.value = value ?? 0
            operation.remove = value == nil
            return operation
        }
        var request = AlterClientQuotasRequest()
        request.entries = [entry]
        request.validateOnly = validateOnly
        let asked = request
        try await cluster.retrying { () throws(KafkaError) in
            let response = try await cluster.send(asked, to: .any)
            for entry in response.entries { try entry.errorCode.check(entry.errorMessage) }
        }
    }
}
