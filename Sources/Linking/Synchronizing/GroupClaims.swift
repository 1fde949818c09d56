// What brokers that coordinate groups tell the coordinator of links: which groups a link is about to make on them, and which are not the
// link's any more. Only those may be deleted here when they are deleted at the source.
import Primitives

/// A broker's question about groups of a link.
public struct GroupClaims: Sendable {
    public var link: String
    public var id: KafkaUUID
    public var kind: SynchronizedKind
    public var claim: [String]
    public var forget: [String]

    public init(link: LinkDefinition, kind: SynchronizedKind, claim: [String] = [], forget: [String] = []) {
        self.link = link.name
        id = link.id
        self.kind = kind
        self.claim = claim
        self.forget = forget
    }

    public var json: JSONValue {
        [
            "link": .string(link), "linkId": .string("\(id)"), "kind": .string(kind.rawValue), "claim": .array(claim.map { .string($0) }),
            "forget": .array(forget.map { .string($0) }),
        ]
    }

    public init?(_ json: JSONValue) {
        guard let link = json["link"]?.stringValue, let id = json["linkId"]?.stringValue.flatMap({ KafkaUUID($0) }),
            let kind = json["kind"]?.stringValue.flatMap({ SynchronizedKind(rawValue: $0) }), kind == .offsets || kind == .shareOffsets
        else { return nil }
        self.link = link
        self.id = id
        self.kind = kind
        claim = (json["claim"]?.arrayValue ?? []).compactMap(\.stringValue)
        forget = (json["forget"]?.arrayValue ?? []).compactMap(\.stringValue)
    }
}

extension LinkCoordinator {
    /// Records a broker's claims.
    ///
    /// - Returns: all groups of that kind that are the link's from then on, `{"own":[…]}`. Beyond the bound of a link groups stay nobody's.
    public func claimGroups(_ body: JSONValue) throws(LinkRefusal) -> (value: JSONValue, records: [LinkRecord]) {
        guard let claims = GroupClaims(body) else { throw LinkRefusal(.invalid, "the request lacks link, linkId or kind") }
        let records =
            try claim(claims.claim.map { .init(name: $0) }, claims.kind, link: claims.link, id: claims.id)
            + forget(claims.forget, claims.kind, link: claims.link, id: claims.id)
        var after = self
        for record in records { after.replay(record) }
        let own = after.image.synchronized.of(claims.link, claims.kind).keys.sorted()
        return (["own": .array(own.map { .string($0) })], records)
    }
}
