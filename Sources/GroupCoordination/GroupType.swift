// The kinds of groups that a coordinator knows, by their protocols.

/// The kinds of groups, with the names that ListGroups uses.
public enum GroupType: String, Sendable {
    case classic
    case consumer
    case share
    case streams

    /// Reads a name as ListGroups filters do, without regard to case.
    init?(filter: String) {
        self.init(rawValue: filter.lowercased())
    }
}
