// AlterClientQuotas: which entities there may be and which keys they may have (KIP-546, KIP-612).
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections

extension Controller {
    private typealias Entry = AlterClientQuotasRequest.EntryData

    /// Decides an AlterClientQuotas request. What succeeds is written together; each failure is in its entry's result.
    ///
    /// - Throws: `RequestFailure` when there are too many changes for one request.
    public func alterClientQuotas(
        _ request: AlterClientQuotasRequest
    ) throws(RequestFailure) -> ControllerResult<AlterClientQuotasResponse> {
        var outcomes: OrderedDictionary<ClientQuotaEntity, RequestFailure?> = [:]
        var records: [VersionedRecord] = []
        for entry in request.entries {
            let entity = ClientQuotaEntity(entry.entity.map { .init(type: $0.entityType, name: $0.entityName) })
            guard outcomes[entity] == nil else {
                outcomes[entity] = RequestFailure(.invalidRequest, "Ignoring duplicate entity \(entity.parts.map(\.type))")
                continue
            }
            do throws(RequestFailure) {
                records += try changes(entry, of: entity)
                outcomes[entity] = .some(nil)
            } catch {
                outcomes[entity] = error
            }
        }
        try ControllerConfiguration.checkRecordCount(records.count)
        var response = AlterClientQuotasResponse()
        response.entries = outcomes.map { AlterClientQuotasResponse.EntryData($0, failure: $1) }
        return ControllerResult(response, records: request.validateOnly ? [] : records)
    }

    private func changes(_ entry: Entry, of entity: ClientQuotaEntity) throws(RequestFailure) -> [VersionedRecord] {
        var values: OrderedDictionary<String, Double?> = [:]
        for operation in entry.ops {
            if values[operation.key] != nil {
                throw RequestFailure(.invalidRequest, "Duplicate quota key \(operation.key), not updating quota for this entity")
            }
            values[operation.key] = .some(operation.remove ? nil : operation.value)
        }
        let keys = try ClientQuotaKey.keys(of: entity)
        let current = image.clientQuotas.byEntity[entity] ?? [:]
        var records: [VersionedRecord] = []
        for (key, value) in values {
            if let value {
                try ClientQuotaKey.check(key, value, among: keys)
                if current[key] == value { continue }
            } else if current[key] == nil {
                continue
            }
            var record = ClientQuotaRecord()
            record.entity = entity.parts.map { part in
                var data = ClientQuotaRecord.EntityData()
                data.entityType = part.type
                data.entityName = part.name
                return data
            }
            record.key = key
            record.value = value ?? 0
            record.remove = value == nil
            records.append(VersionedRecord(.clientQuota(record)))
        }
        return records
    }
}

/// The keys that quotas have, and what their values may be.
enum ClientQuotaKey {
    private enum Number {
        case long, int, double
    }

    private static let ofClients: [(key: String, number: Number)] = [
        ("producer_byte_rate", .long), ("consumer_byte_rate", .long), ("request_percentage", .double),
        ("controller_mutation_rate", .double),
    ]
    private static let ofAddresses: [(key: String, number: Number)] = [("connection_creation_rate", .int)]

    /// The keys that an entity may have.
    ///
    /// - Throws: `RequestFailure` for an entity that cannot be.
    static func keys(of entity: ClientQuotaEntity) throws(RequestFailure) -> [String] {
        if entity.parts.isEmpty { throw RequestFailure(.invalidRequest, "Invalid empty client quota entity") }
        var types: [String] = []
        for part in entity.parts {
            if types.contains(part.type) {
                throw RequestFailure(.invalidRequest, "Invalid client quota entity, duplicate entity entry \(part.type)")
            }
            guard ["user", "client-id", "ip"].contains(part.type) else {
                throw RequestFailure(.invalidRequest, "Unhandled client quota entity type: \(part.type)")
            }
            if part.name == "" { throw RequestFailure(.invalidRequest, "Empty \(part.type) not supported") }
            types.append(part.type)
        }
        guard types.contains("ip") else { return ofClients.map(\.key) }
        if types.count > 1 {
            throw RequestFailure(
                .invalidRequest, "Invalid quota entity combination, IP entity should not be combined with User or ClientId")
        }
        if let name = entity.parts[0].name, !isAddress(name) {
            throw RequestFailure(.invalidRequest, "\(name) is not a valid IP address.")
        }
        return ofAddresses.map(\.key)
    }

    static func check(_ key: String, _ value: Double, among keys: [String]) throws(RequestFailure) {
        guard keys.contains(key), let number = (ofClients + ofAddresses).first(where: { $0.key == key })?.number else {
            throw RequestFailure(.invalidRequest, "Invalid configuration key \(key)")
        }
        guard value > 0 else { throw RequestFailure(.invalidRequest, "Quota \(key) must be greater than 0") }
        switch number {
        case .double: return
        case .int where value > Double(Int32.max):
            throw RequestFailure(.invalidRequest, "Proposed value for \(key) is too large for an INT.")
        case .long where value > Double(Int64.max):
            throw RequestFailure(.invalidRequest, "Proposed value for \(key) is too large for a LONG.")
        case .int, .long:
            if value.truncatingRemainder(dividingBy: 1) > 1e-6 {
                throw RequestFailure(.invalidRequest, "\(key) cannot be a fractional value.")
            }
        }
    }

    /// Whether a text is an address. Kafka would also resolve names, which a controller must not wait for.
    static func isAddress(_ text: String) -> Bool {
        let octets = text.split(separator: ".", omittingEmptySubsequences: false)
        if octets.count == 4, octets.allSatisfy({ $0.utf8.count <= 3 && $0.utf8.allSatisfy { 48...57 ~= $0 } && UInt8($0) != nil }) {
            return true
        }
        let colons = text.utf8.count { $0 == UInt8(ascii: ":") }
        let isHexadecimal = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
                UInt8(ascii: ":"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        return 2...7 ~= colons && isHexadecimal
    }
}

extension AlterClientQuotasResponse.EntryData {
    public init(_ entity: ClientQuotaEntity, failure: RequestFailure?) {
        self.init()
        self.entity = entity.parts.map { part in
            var data = AlterClientQuotasResponse.EntityData()
            data.entityType = part.type
            data.entityName = part.name
            return data
        }
        errorCode = failure?.code ?? .none
        errorMessage = failure?.description
    }
}
