// Client quotas (KIP-546): limits by user, client id, address, or combinations, each part named or standing for its default.
import KafkaRecords
import OrderedCollections

/// Whom a quota concerns. Parts are kept sorted by type, so that the same entity is equal however it was written.
public struct ClientQuotaEntity: Hashable, Sendable {
    public struct Part: Hashable, Sendable {
        /// `user`, `client-id` or `ip`.
        public var type: String
        /// Nil for the default of that type.
        public var name: String?

        public init(type: String, name: String?) {
            self.type = type
            self.name = name
        }
    }

    public let parts: [Part]

    public init(_ parts: [Part]) {
        self.parts = parts.sorted { $0.type < $1.type }
    }
}

/// Every quota, in the order in which entities and keys were first set.
public struct ClientQuotasImage: Hashable, Sendable {
    public private(set) var byEntity: OrderedDictionary<ClientQuotaEntity, OrderedDictionary<String, Double>> = [:]

    public init() {}

    mutating func replay(_ record: ClientQuotaRecord) -> ClientQuotaEntity {
        let entity = ClientQuotaEntity(record.entity.map { .init(type: $0.entityType, name: $0.entityName) })
        if !record.remove {
            byEntity[entity, default: [:]][record.key] = record.value
        } else if byEntity[entity] != nil {
            byEntity[entity]?.removeValue(forKey: record.key)
            if byEntity[entity]?.isEmpty == true { byEntity.removeValue(forKey: entity) }
        }
        return entity
    }

    func records() -> [ClientQuotaRecord] {
        var records: [ClientQuotaRecord] = []
        for (entity, values) in byEntity {
            for (key, value) in values {
                var record = ClientQuotaRecord()
                record.entity = entity.parts.map { part in
                    var data = ClientQuotaRecord.EntityData()
                    data.entityType = part.type
                    data.entityName = part.name
                    return data
                }
                record.key = key
                record.value = value
                records.append(record)
            }
        }
        return records
    }
}
