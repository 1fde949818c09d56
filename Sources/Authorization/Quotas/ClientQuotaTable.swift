// Which quota a client falls under: Kafka's precedence, from the one for a user and a client id down to the default for client ids.
import ClusterMetadata
import Primitives

/// What a client quota bounds.
public enum ClientQuotaKind: Int, CaseIterable, Sendable {
    case produce, fetch, request, controllerMutation

    /// The key of the quota in metadata.
    public var key: String {
        switch self {
        case .produce: "producer_byte_rate"
        case .fetch: "consumer_byte_rate"
        case .request: "request_percentage"
        case .controllerMutation: "controller_mutation_rate"
        }
    }

    /// Kafka's name of the kind, in metrics.
    public var name: String {
        switch self {
        case .produce: "Produce"
        case .fetch: "Fetch"
        case .request: "Request"
        case .controllerMutation: "ControllerMutation"
        }
    }
}

/// Who shares one measure: a user with all its client ids, a client id of all users, or both together.
public struct QuotaSubject: Hashable, Sendable {
    /// Empty for all users.
    public var user: String
    /// Empty for all client ids.
    public var clientID: String

    public init(user: String, clientID: String) {
        self.user = user
        self.clientID = clientID
    }
}

/// The quotas of one kind, as metadata has them.
public struct ClientQuotaTable: Sendable, Equatable {
    private enum Part: Hashable {
        case absent
        case byDefault
        case named(String)
    }

    private struct Entity: Hashable {
        var user: Part
        var clientID: Part
    }

    private var bounds: [Entity: Double] = [:]
    private var hasUserQuotas = false
    private var hasClientQuotas = false
    private var hasCombinedQuotas = false

    public init(_ kind: ClientQuotaKind, _ image: ClientQuotasImage = ClientQuotasImage()) {
        for (entity, values) in image.byEntity {
            guard let bound = values[kind.key] else { continue }
            var key = Entity(user: .absent, clientID: .absent)
            for part in entity.parts {
                let value = part.name.map(Part.named) ?? .byDefault
                switch part.type {
                case "user": key.user = value
                case "client-id": key.clientID = value
                default: break
                }
            }
            switch (key.user, key.clientID) {
            case (.absent, .absent): continue
            case (.absent, _): hasClientQuotas = true
            case (_, .absent): hasUserQuotas = true
            default: hasCombinedQuotas = true
            }
            bounds[key] = bound
        }
    }

    /// True when nobody is bounded.
    public var isEmpty: Bool { bounds.isEmpty }

    /// Whose measure a client's traffic goes into.
    public func subject(user: String, clientID: String) -> QuotaSubject {
        switch (hasUserQuotas, hasClientQuotas, hasCombinedQuotas) {
        case (false, _, false): return QuotaSubject(user: "", clientID: clientID)
        case (true, false, false): return QuotaSubject(user: user, clientID: "")
        case (false, false, true): return QuotaSubject(user: user, clientID: clientID)
        default: break
        }
        let both = QuotaSubject(user: user, clientID: clientID)
        if has(.named(user), .named(clientID)) || has(.named(user), .byDefault) { return both }
        if has(.named(user), .absent) { return QuotaSubject(user: user, clientID: "") }
        if has(.byDefault, .named(clientID)) || has(.byDefault, .byDefault) { return both }
        if has(.byDefault, .absent) { return QuotaSubject(user: user, clientID: "") }
        return QuotaSubject(user: "", clientID: clientID)
    }

    /// The bound that a subject has; nil for none.
    public func bound(of subject: QuotaSubject) -> Double? {
        let user = Part.named(subject.user)
        let clientID = Part.named(subject.clientID)
        if !subject.user.isEmpty, !subject.clientID.isEmpty {
            return bounds[Entity(user: user, clientID: clientID)] ?? bounds[Entity(user: user, clientID: .byDefault)]
                ?? bounds[Entity(user: .byDefault, clientID: clientID)] ?? bounds[Entity(user: .byDefault, clientID: .byDefault)]
        }
        if !subject.user.isEmpty {
            return bounds[Entity(user: user, clientID: .absent)] ?? bounds[Entity(user: .byDefault, clientID: .absent)]
        }
        if !subject.clientID.isEmpty {
            return bounds[Entity(user: .absent, clientID: clientID)] ?? bounds[Entity(user: .absent, clientID: .byDefault)]
        }
        return nil
    }

    private func has(_ user: Part, _ clientID: Part) -> Bool { bounds[Entity(user: user, clientID: clientID)] != nil }
}
