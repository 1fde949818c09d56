// What the quorum can refuse or find damaged.
import Primitives

/// Why the quorum cannot do something.
public enum QuorumError: Error, Equatable, CustomStringConvertible {
    /// Stored state or a control record that breaks its format.
    case corrupt(String)
    /// A set of voters that this version of the software cannot serve: more than one, or without this node.
    case unsupportedVoters(String)
    /// Records were handed in while this node does not lead.
    case notLeader
    /// An atomic batch that would be larger than a batch may be.
    case batchTooLarge(size: Int, limit: Int)

    public var description: String {
        switch self {
        case .corrupt(let what): "damaged quorum state: \(what)"
        case .unsupportedVoters(let what): what
        case .notLeader: "this node is not the leader of the metadata quorum"
        case .batchTooLarge(let size, let limit): "an atomic batch of \(size) bytes exceeds the limit of \(limit) bytes"
        }
    }
}
