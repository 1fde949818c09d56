// Client quotas, from DescribeClientQuotas at the source to AlterClientQuotas here, key by key.
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire
import Linking
import MartletClient
import Primitives

/// The client quotas of a link's source.
struct QuotaContent: SynchronizedContent {
    let source: OrderedDictionary<String, String>
    private let values: [String: Double]
    private let filter: NameFilter
    private let links: LinkServices

    init(_ source: LinkSource, _ settings: LinkSettings, _ links: LinkServices) async throws {
        filter = settings.synchronization.quotaFilter
        self.links = links
        var texts: OrderedDictionary<String, String> = [:]
        var values: [String: Double] = [:]
        for quota in try await source.admin.describeClientQuotas() {
            for (key, value) in quota.values {
                let name = QuotaName(quota.entity, key)
                guard filter.admits(oneOf: name.filterNames) else { continue }
                texts[name.name] = QuotaName.text(value)
                values[name.name] = value
            }
        }
        self.source = texts
        self.values = values
    }

    func here() -> [String: String] {
        var found: [String: String] = [:]
        for (entity, values) in links.services?.image.clientQuotas.byEntity ?? [:] {
            for (key, value) in values { found[QuotaName(entity, key).name] = QuotaName.text(value) }
        }
        return found
    }

    func admits(_ name: String) -> Bool { QuotaName(name: name).map { filter.admits(oneOf: $0.filterNames) } ?? false }

    func put(_ items: [SynchronizationPlan.Item]) async throws(LinkCallFailure) -> [String: String] {
        try await alter(items.map { ($0.name, values[$0.name]) })
    }

    func remove(_ names: [String]) async throws(LinkCallFailure) -> [String: String] { try await alter(names.map { ($0, nil) }) }

    /// Sets values, or removes them for nil.
    private func alter(_ changes: [(name: String, value: Double?)]) async throws(LinkCallFailure) -> [String: String] {
        var byEntity: OrderedDictionary<[QuotaName.Part], [(name: String, key: String, value: Double?)]> = [:]
        for change in changes {
            guard let quota = QuotaName(name: change.name) else { continue }
            byEntity[quota.parts, default: []].append((change.name, quota.key, change.value))
        }
        guard !byEntity.isEmpty else { return [:] }
        var request = AlterClientQuotasRequest()
        request.entries = byEntity.map { parts, keys in
            var entry = AlterClientQuotasRequest.EntryData()
            entry.entity = parts.map { part in
                var data = AlterClientQuotasRequest.EntityData()
                data.entityType = part.type
                data.entityName = part.name
                return data
            }
            entry.ops = keys.map { key in
                var operation = AlterClientQuotasRequest.OpData()
                operation.key = key.key
                operation.value = key.value ?? 0
                operation.remove = key.value == nil
                return operation
            }
            return entry
        }
        let response = try await links.decide(request)
        var failures: [String: String] = [:]
        for entry in response.entries where entry.errorCode != .none {
            let parts = QuotaName(entry.entity.map { .init(type: $0.entityType, name: $0.entityName) }, key: "").parts
            for key in byEntity[parts] ?? [] { failures[key.name] = entry.errorMessage ?? entry.errorCode.name }
        }
        return failures
    }
}

extension QuotaName {
    init(_ entity: ClientQuotaEntity, _ key: String) {
        self.init(entity.parts.map { Part(type: $0.type, name: $0.name) }, key: key)
    }
}
