// Lists of pairs in one value, as in `listener.security.protocol.map` and `max.connections.per.ip.overrides`.

/// `listener.security.protocol.map` and the other lists of pairs.
public enum PairList {
    /// Pairs of `key:value,key:value`, split at the last colon of each; nil in place of a pair without a colon.
    public static func parse(_ text: String) -> [(text: String, pair: (key: String, value: String)?)] {
        ConfigValue.splitList(text).filter { !$0.isEmpty }.map { element in
            guard let colon = element.lastIndex(of: ":") else { return (element, nil) }
            return (
                element, (String(element[..<colon]).trimmedOfControls, String(element[element.index(after: colon)...]).trimmedOfControls)
            )
        }
    }
}
