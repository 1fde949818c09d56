// Quotas of users, clients and addresses (KIP-546), as `kafka-configs` shows and changes them.
import KafkaMessages
import KafkaWire
import MartletClient

struct ClientQuotas {
    static let clientKeys = ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"]
    static let addressKeys = ["connection_creation_rate"]

    let entities: ConfigsTool.Entities
    let admin: AdminClient

    private static let entityTypes = ["users": "user", "clients": "client-id", "ips": "ip"]

    /// - Throws: when a setting is none of those that are known.
    static func check(_ changes: ConfigChanges, known: [String], _ message: ([String]) -> String) throws {
        let unknown = (changes.added.map(\.name) + changes.deleted).filter { !known.contains($0) }
        if !unknown.isEmpty { throw CommandFailure(message(unknown)) }
    }

    /// Prints the quotas of everything that is meant; nothing where the cluster knows no quotas.
    func describe() async throws {
        let found: [DescribeClientQuotasResponse.EntryData]
        do throws(KafkaError) {
            found = try await entries()
        } catch {
            if error.kind == .unsupportedVersion { return }
            throw error
        }
        for entry in found {
            let names = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")].compactMap { type, title -> String? in
                guard let entity = entry.entity.first(where: { $0.entityType == type }) else { return nil }
                return entity.entityName.map { "\(title) '\($0)'" } ?? "the default \(title)"
            }
            let values = entry.values.sorted { $0.key < $1.key }.map { "\($0.key)=\(JavaFormat.double($0.value))" }
            Terminal.print("Quota configs for \(names.joined(separator: ", ")) are \(values.joined(separator: ", "))")
        }
    }

    private func entries() async throws(KafkaError) -> [DescribeClientQuotasResponse.EntryData] {
        var request = DescribeClientQuotasRequest()
        request.strict = true
        request.components = entities.types.enumerated().map { index, type in
            var component = DescribeClientQuotasRequest.ComponentData()
            component.entityType = Self.entityTypes[type] ?? type
            guard index < entities.names.count else {
                // Every entity of the type.
                component.matchType = 2
                component.match = nil
                return component
            }
            let name = entities.names[index]
            component.matchType = name.isEmpty ? 1 : 0
            component.match = name.isEmpty ? nil : name
            return component
        }
        let response = try await admin.cluster.retrying { [request] () throws(KafkaError) in
            let response = try await admin.cluster.send(request, to: .any)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        return response.entries ?? []
    }

    func alter(_ changes: ConfigChanges) async throws {
        let present = Set(try await entries().first?.values.map(\.key) ?? [])
        let invalid = changes.deleted.filter { !present.contains($0) }
        if !invalid.isEmpty { throw CommandFailure("Invalid config(s): \(invalid.joined(separator: ","))") }
        var entry = AlterClientQuotasRequest.EntryData()
        entry.entity = zip(entities.types, entities.names).map { type, name in
            var entity = AlterClientQuotasRequest.EntityData()
            entity.entityType = Self.entityTypes[type] ?? type
            entity.entityName = name.isEmpty ? nil : name
            return entity
        }
        entry.ops = try changes.added.map { name, text in
            guard let value = Double(text) else {
                throw CommandFailure("Cannot parse quota configuration value for \(name): \(text)")
            }
            var operation = AlterClientQuotasRequest.OpData()
            operation.key = name
            operation.value = value
            return operation
        }
        entry.ops += changes.deleted.map { name in
            var operation = AlterClientQuotasRequest.OpData()
            operation.key = name
            operation.remove = true
            return operation
        }
        var request = AlterClientQuotasRequest()
        request.entries = [entry]
        try await admin.cluster.retrying { [request] () throws(KafkaError) in
            let response = try await admin.cluster.send(request, to: .controller)
            for result in response.entries { try result.errorCode.check(result.errorMessage) }
        }
    }
}

extension JavaFormat {
    /// As Java writes a `double`: with a power of ten from ten millions on and below a thousandth.
    static func double(_ value: Double) -> String {
        let size = abs(value)
        guard value.isFinite, size != 0, size < 1e-3 || size >= 1e7 else { return "\(value)" }
        var exponent = 0
        var rest = size
        while rest >= 10 {
            rest /= 10
            exponent += 1
        }
        while rest < 1 {
            rest *= 10
            exponent -= 1
        }
        // The shortest digits that read back as the number itself.
        let digits = "\(size)".filter(\.isNumber).drop { $0 == "0" }
        var text = String(digits.prefix { $0 != "e" })
        while text.count > 1, text.last == "0" { text.removeLast() }
        return (value < 0 ? "-" : "") + "\(text.prefix(1)).\(text.count > 1 ? String(text.dropFirst()) : "0")E\(exponent)"
    }
}
