// Everything that can be wrong with a metadata record. None of it is survivable for the replay: the log and the code disagree.
import Primitives

/// Why a record could not be replayed or an image not be written.
public enum MetadataError: Error, Equatable, CustomStringConvertible {
    /// A record kind, feature level or enumerated value that this software does not know; `name` says which.
    case unsupported(name: String)
    /// A change to a topic that the image does not hold.
    case unknownTopic(TopicID, record: String)
    /// A change to a partition that the image does not hold.
    case unknownPartition(TopicID, Int32)
    /// A change to a broker that is not registered, or under another epoch.
    case unknownBroker(NodeID, record: String)
    /// A record whose contents contradict themselves or the image.
    case contradiction(String)

    public var description: String {
        switch self {
        case .unsupported(let name): "\(name) is not supported by this version of the software"
        case .unknownTopic(let id, let record): "\(record) names the topic \(id), which does not exist"
        case .unknownPartition(let id, let partition): "a change names partition \(partition) of topic \(id), which does not exist"
        case .unknownBroker(let id, let record): "\(record) names broker \(id), which is not registered under that epoch"
        case .contradiction(let what): what
        }
    }
}
