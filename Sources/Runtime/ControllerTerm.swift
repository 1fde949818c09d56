// The term of an active controller: it decides ahead of what is committed, and what it decided waits here for the quorum.
import ClusterMetadata
import Collections
import Controlling
import Primitives

/// From the moment the leader has applied everything before its epoch to the moment it leads no longer. Thrown away as a whole then.
struct ControllerTerm {
    let epoch: LeaderEpoch
    var controller: Controller
    private var publications = Deque<(endOffset: Offset, publication: MetadataPublication)>()
    private var replies = Deque<(endOffset: Offset, reply: @Sendable (RequestFailure?) -> Void)>()

    init(epoch: LeaderEpoch, controller: Controller) {
        self.epoch = epoch
        self.controller = controller
    }

    /// An image that may be shown when everything below `endOffset` is committed.
    mutating func add(_ publication: MetadataPublication, endOffset: Offset) {
        publications.append((endOffset, publication))
    }

    /// An answer that may go out when everything below `endOffset` is committed: also of a decision without records, for it was made
    /// in view of the state up to there.
    mutating func add(_ reply: @escaping @Sendable (RequestFailure?) -> Void, endOffset: Offset) {
        replies.append((endOffset, reply))
    }

    mutating func popCommitted(below offset: Offset) -> MetadataPublication? {
        guard let first = publications.first, first.endOffset <= offset else { return nil }
        return publications.removeFirst().publication
    }

    mutating func popReply(at offset: Offset) -> (@Sendable (RequestFailure?) -> Void)? {
        guard let first = replies.first, first.endOffset <= offset else { return nil }
        return replies.removeFirst().reply
    }

    /// Answers of decisions that are not committed.
    var waitingReplies: [@Sendable (RequestFailure?) -> Void] { replies.map(\.reply) }
}
