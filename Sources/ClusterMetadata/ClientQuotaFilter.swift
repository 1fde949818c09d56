// Which quotas a DescribeClientQuotas request asks for (KIP-546).
import OrderedCollections

/// What entities must have; `isStrict` when they may have nothing else.
public struct ClientQuotaFilter: Sendable {
    /// What a part of an entity has to be.
    public enum Match: Hashable, Sendable {
        case exactly(String)
        case theDefault
        case anything

        func accepts(_ part: ClientQuotaEntity.Part) -> Bool {
            switch self {
            case .exactly(let name): part.name == name
            case .theDefault: part.name == nil
            case .anything: true
            }
        }
    }

    /// By the part's type.
    public var matches: OrderedDictionary<String, Match>
    public var isStrict: Bool

    public init(_ matches: OrderedDictionary<String, Match> = [:], isStrict: Bool = false) {
        self.matches = matches
        self.isStrict = isStrict
    }

    public func accepts(_ entity: ClientQuotaEntity) -> Bool {
        // Nothing asked for and nothing else allowed: Kafka finds nothing.
        if isStrict, matches.isEmpty || entity.parts.count != matches.count { return false }
        return matches.allSatisfy { type, match in entity.parts.contains { $0.type == type && match.accepts($0) } }
    }
}
