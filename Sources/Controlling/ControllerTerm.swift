// The term of an active controller: it decides ahead of what is committed, and what it decided waits here for the quorum.
import ClusterMetadata
import DequeModule
import Primitives

/// From the moment the leader has applied everything before its epoch to the moment it leads no longer. Thrown away as a whole then.
/// `Reply` is how the shell answers a request once its decision is committed.
public struct ControllerTerm<Reply> {
    /// The quorum's epoch that this node leads in.
    public let epoch: LeaderEpoch
    public var controller: Controller
    private var publications = Deque<(endOffset: Offset, publication: MetadataPublication)>()
    private var replies = Deque<(endOffset: Offset, reply: Reply)>()

    public init(epoch: LeaderEpoch, controller: Controller) {
        self.epoch = epoch
        self.controller = controller
    }

    /// An image that may be shown when everything below `endOffset` is committed.
    public mutating func add(_ publication: MetadataPublication, endOffset: Offset) {
        publications.append((endOffset, publication))
    }

    /// An answer that may go out when everything below `endOffset` is committed: also of a decision without records, for it was made
    /// in view of the state up to there.
    public mutating func add(_ reply: Reply, endOffset: Offset) {
        replies.append((endOffset, reply))
    }

    /// Takes the next image out that is committed by now.
    public mutating func popCommitted(below offset: Offset) -> MetadataPublication? {
        guard let first = publications.first, first.endOffset <= offset else { return nil }
        return publications.removeFirst().publication
    }

    /// Takes the next answer out that may go by now.
    public mutating func popReply(at offset: Offset) -> Reply? {
        guard let first = replies.first, first.endOffset <= offset else { return nil }
        return replies.removeFirst().reply
    }

    /// Answers of decisions that are not committed.
    public var waitingReplies: [Reply] { replies.map(\.reply) }
}
