// Which names a topic may have.

/// Rules for topic names.
public enum TopicName {
    /// Bytes; the directory name needs room for the partition number and `.deleted` and the like behind it.
    public static let maximumLength = 249

    /// Topics that Kafka itself keeps state in.
    public static let internalTopics = [consumerOffsets, transactionState, shareGroupState, clusterLinks]

    public static let consumerOffsets = "__consumer_offsets"
    public static let transactionState = "__transaction_state"
    public static let shareGroupState = "__share_group_state"
    /// Martlet's own: links to other clusters and their mirror topics.
    public static let clusterLinks = "__cluster_links"
    public static let clusterMetadata = "__cluster_metadata"

    public static func isInternal(_ name: String) -> Bool { internalTopics.contains(name) }

    /// What is wrong with the name, in Kafka's words; nil when nothing is.
    public static func problem(with name: String) -> String? {
        if name.isEmpty { return "Topic name is invalid: the empty string is not allowed" }
        if name == "." || name == ".." { return "Topic name is invalid: '\(name)' is not allowed" }
        if name.utf16.count > maximumLength {
            return "Topic name is invalid: the length of '\(name)' is longer than the max allowed length \(maximumLength)"
        }
        let isLegal = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        if !isLegal {
            return "Topic name is invalid: '\(name)' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        }
        return nil
    }
}
