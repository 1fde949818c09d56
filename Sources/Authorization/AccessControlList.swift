// Access control entries, arranged so that a decision looks at those of one name and one principal, however many there are.
import ClusterMetadata
import OrderedCollections

/// The entries of one resource pattern. Operations are bits, because nearly all entries hold for every host.
struct PatternEntries: Sendable {
    struct Entries: Sendable {
        var allowed: UInt32 = 0
        var denied: UInt32 = 0
        /// Those that hold for certain hosts only.
        var byHost: [AccessControlEntry] = []
        /// Everything, to work out the bits again after a removal.
        var all: [AccessControlEntry] = []

        mutating func insert(_ entry: AccessControlEntry) {
            all.append(entry)
            count(entry)
        }

        mutating func remove(_ entry: AccessControlEntry) {
            guard let position = all.firstIndex(of: entry) else { return }
            all.remove(at: position)
            let rest = all
            self = Entries()
            for entry in rest { insert(entry) }
        }

        private mutating func count(_ entry: AccessControlEntry) {
            guard entry.host == "*" else { return byHost.append(entry) }
            let bit = AccessOperation(rawValue: entry.operation)?.bit ?? 0
            if entry.permissionType == AccessPermission.allow.rawValue { allowed |= bit } else { denied |= bit }
        }
    }

    var byPrincipal: [String: Entries] = [:]

    mutating func insert(_ entry: AccessControlEntry) { byPrincipal[entry.principal, default: Entries()].insert(entry) }

    mutating func remove(_ entry: AccessControlEntry) {
        guard let position = byPrincipal.index(forKey: entry.principal) else { return }
        byPrincipal.values[position].remove(entry)
        if byPrincipal.values[position].all.isEmpty { byPrincipal.remove(at: position) }
    }
}

/// What was found among the entries of the patterns that name a resource.
struct Findings {
    var isDenied = false
    var isAllowed = false
    /// Whether any entry is about the resource, whomever it names.
    var hasEntries = false
}

/// All access control entries of a cluster.
public struct AccessControlList: Sendable {
    struct Resource: Hashable, Sendable {
        var type: Int8
        var name: String
    }

    private struct Prefixed: Sendable {
        var type: Int8
        var name: String
        var entries = PatternEntries()
    }

    private var literal: [Resource: PatternEntries] = [:]
    /// By a hash over type and name that is worked out byte by byte along a name, so that looking for all prefixes is one walk.
    private var prefixed: [UInt64: [Prefixed]] = [:]
    /// How many prefixes of each length in bytes there are.
    private var prefixLengths: [Int] = []
    private var byPrincipal: [String: OrderedSet<AccessControlEntry>] = [:]
    public private(set) var count = 0

    public init() {}

    public init(_ security: SecurityImage) {
        for entry in security.accessControlEntries.values { insert(entry) }
    }

    /// Adds an entry; adding it again has no effect.
    public mutating func insert(_ entry: AccessControlEntry) {
        guard byPrincipal[entry.principal, default: []].append(entry).inserted else { return }
        count += 1
        if entry.patternType == PatternType.literal.rawValue {
            literal[Resource(type: entry.resourceType, name: entry.resourceName), default: PatternEntries()].insert(entry)
        } else {
            change(prefix: entry, by: 1) { $0.insert(entry) }
        }
    }

    /// Takes an entry away.
    public mutating func remove(_ entry: AccessControlEntry) {
        guard byPrincipal[entry.principal]?.remove(entry) != nil else { return }
        if byPrincipal[entry.principal]?.isEmpty == true { byPrincipal.removeValue(forKey: entry.principal) }
        count -= 1
        if entry.patternType == PatternType.literal.rawValue {
            let resource = Resource(type: entry.resourceType, name: entry.resourceName)
            literal[resource]?.remove(entry)
            if literal[resource]?.byPrincipal.isEmpty == true { literal.removeValue(forKey: resource) }
        } else {
            change(prefix: entry, by: -1) { $0.remove(entry) }
        }
    }

    private mutating func change(prefix entry: AccessControlEntry, by step: Int, _ body: (inout PatternEntries) -> Void) {
        let length = entry.resourceName.utf8.count
        while prefixLengths.count <= length { prefixLengths.append(0) }
        prefixLengths[length] += step
        var hash = PrefixHash(entry.resourceType)
        for byte in entry.resourceName.utf8 { hash.add(byte) }
        var bucket = prefixed[hash.value] ?? []
        let position: Int
        if let known = bucket.firstIndex(where: { $0.type == entry.resourceType && $0.name == entry.resourceName }) {
            position = known
        } else {
            position = bucket.count
            bucket.append(Prefixed(type: entry.resourceType, name: entry.resourceName))
        }
        body(&bucket[position].entries)
        if bucket[position].entries.byPrincipal.isEmpty { bucket.remove(at: position) }
        prefixed[hash.value] = bucket.isEmpty ? nil : bucket
    }

    // MARK: looking

    /// Looks at every entry about a resource until one forbids.
    func find(
        _ operation: AccessOperation, _ type: ResourceType, _ name: String, principal: String, host: String
    ) -> Findings {
        var findings = Findings()
        if let entries = literal[Resource(type: type.rawValue, name: name)] {
            Self.look(entries, operation, principal, host, &findings)
            if findings.isDenied { return findings }
        }
        if let entries = literal[Resource(type: type.rawValue, name: "*")] {
            Self.look(entries, operation, principal, host, &findings)
            if findings.isDenied { return findings }
        }
        guard !prefixed.isEmpty else { return findings }
        var hash = PrefixHash(type.rawValue)
        var length = 0
        for byte in name.utf8 {
            hash.add(byte)
            length += 1
            guard length < prefixLengths.count else { break }
            guard prefixLengths[length] > 0, let bucket = prefixed[hash.value] else { continue }
            for prefix in bucket where prefix.type == type.rawValue && name.utf8.starts(with: prefix.name.utf8) {
                Self.look(prefix.entries, operation, principal, host, &findings)
                if findings.isDenied { return findings }
            }
        }
        return findings
    }

    private static func look(
        _ entries: PatternEntries, _ operation: AccessOperation, _ principal: String, _ host: String, _ findings: inout Findings
    ) {
        findings.hasEntries = true
        if let own = entries.byPrincipal[principal] { judge(own, operation, host, &findings) }
        if let everybody = entries.byPrincipal[KafkaPrincipal.everybody] { judge(everybody, operation, host, &findings) }
    }

    private static func judge(_ entries: PatternEntries.Entries, _ operation: AccessOperation, _ host: String, _ findings: inout Findings) {
        if entries.denied & operation.deniedBy != 0 { findings.isDenied = true }
        if entries.allowed & operation.grantedBy != 0 { findings.isAllowed = true }
        for entry in entries.byHost {
            guard let bit = AccessOperation(rawValue: entry.operation)?.bit, HostPattern.matches(entry.host, host) else { continue }
            if entry.permissionType == AccessPermission.allow.rawValue {
                if bit & operation.grantedBy != 0 { findings.isAllowed = true }
            } else if bit & operation.deniedBy != 0 {
                findings.isDenied = true
            }
        }
    }

    /// Whether the principal may perform the operation on at least one resource of that type, by Kafka's rule
    /// (`Authorizer.authorizeByResourceType`): a permission counts unless the same pattern or a prefix of it is forbidden.
    func permitsSomewhere(_ operation: AccessOperation, _ type: ResourceType, principal: String, host: String) -> Bool {
        var denied: Set<Resource> = []
        var deniedPrefixes: Set<String> = []
        var allowed: [AccessControlEntry] = []
        for name in [principal, KafkaPrincipal.everybody] {
            for entry in byPrincipal[name] ?? [] where entry.resourceType == type.rawValue {
                guard entry.operation == operation.rawValue || entry.operation == AccessOperation.all.rawValue,
                    HostPattern.matches(entry.host, host)
                else { continue }
                if entry.permissionType == AccessPermission.allow.rawValue {
                    allowed.append(entry)
                } else if entry.patternType == PatternType.prefixed.rawValue {
                    deniedPrefixes.insert(entry.resourceName)
                } else if entry.resourceName == "*" {
                    return false
                } else {
                    denied.insert(Resource(type: entry.resourceType, name: entry.resourceName))
                }
            }
        }
        return allowed.contains { entry in
            let isLiteral = entry.patternType == PatternType.literal.rawValue
            if isLiteral, entry.resourceName == "*" { return true }
            if isLiteral, denied.contains(Resource(type: entry.resourceType, name: entry.resourceName)) { return false }
            return deniedPrefixes.isEmpty
                || !entry.resourceName.indices.contains { deniedPrefixes.contains(String(entry.resourceName[...$0])) }
        }
    }
}

/// FNV-1a along a name, starting from the resource's type.
private struct PrefixHash {
    var value: UInt64

    init(_ type: Int8) { value = 0xcbf2_9ce4_8422_2325 ^ UInt64(UInt8(bitPattern: type)) }

    mutating func add(_ byte: UInt8) {
        value ^= UInt64(byte)
        value = value &* 0x0000_0100_0000_01b3
    }
}
