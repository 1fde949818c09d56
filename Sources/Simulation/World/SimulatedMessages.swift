// Everything that travels between simulated nodes, short enough in words to be read in a trace.
import Consensus
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// A request of any kind.
enum SimulatedRequest: CustomStringConvertible {
    case quorum(QuorumRequest)
    case controller(ControllerCall)
    case broker(BrokerCall)

    var description: String {
        switch self {
        case .quorum(let request): request.summary
        case .controller(let call): call.summary
        case .broker(let call): call.summary
        }
    }
}

/// An answer of any kind.
enum SimulatedResponse: CustomStringConvertible {
    case quorum(QuorumResponse)
    case controller(ControllerAnswer)
    case broker(BrokerAnswer)

    var description: String {
        switch self {
        case .quorum(let response): response.summary
        case .controller(let answer): answer.summary
        case .broker(let answer): answer.summary
        }
    }
}

extension QuorumRequest {
    var summary: String {
        switch self {
        case .vote(let request):
            guard let part = request.topics.first?.partitions.first else { return "Vote without a partition" }
            return "\(part.preVote ? "PreVote" : "Vote") epoch \(part.replicaEpoch) candidate \(part.replicaId) "
                + "log \(part.lastOffset)@\(part.lastOffsetEpoch)"
        case .beginQuorumEpoch(let request):
            guard let part = request.topics.first?.partitions.first else { return "BeginQuorumEpoch without a partition" }
            return "BeginQuorumEpoch epoch \(part.leaderEpoch) leader \(part.leaderId)"
        case .endQuorumEpoch(let request):
            guard let part = request.topics.first?.partitions.first else { return "EndQuorumEpoch without a partition" }
            return "EndQuorumEpoch epoch \(part.leaderEpoch) leader \(part.leaderId)"
        case .fetch(let request):
            guard let part = request.topics.first?.partitions.first else { return "Fetch without a partition" }
            return "Fetch \(part.fetchOffset)@\(part.lastFetchedEpoch) epoch \(part.currentLeaderEpoch)"
        case .fetchSnapshot(let request):
            guard let part = request.topics.first?.partitions.first else { return "FetchSnapshot without a partition" }
            return "FetchSnapshot \(part.snapshotId.endOffset)-\(part.snapshotId.epoch) at \(part.position)"
        case .addRaftVoter(let request): return "AddRaftVoter \(request.voterId)"
        case .removeRaftVoter(let request): return "RemoveRaftVoter \(request.voterId)"
        case .updateRaftVoter(let request): return "UpdateRaftVoter \(request.voterId)"
        case .apiVersions: return "ApiVersions"
        }
    }
}

extension QuorumResponse {
    var summary: String {
        switch self {
        case .vote(let response):
            guard let part = response.topics.first?.partitions.first else { return "Vote: \(response.errorCode)" }
            return "Vote: \(part.voteGranted ? "granted" : "refused") epoch \(part.leaderEpoch) leader \(part.leaderId)"
                + Self.error(part.errorCode)
        case .beginQuorumEpoch(let response):
            guard let part = response.topics.first?.partitions.first else { return "BeginQuorumEpoch: \(response.errorCode)" }
            return "BeginQuorumEpoch: epoch \(part.leaderEpoch) leader \(part.leaderId)" + Self.error(part.errorCode)
        case .endQuorumEpoch(let response):
            guard let part = response.topics.first?.partitions.first else { return "EndQuorumEpoch: \(response.errorCode)" }
            return "EndQuorumEpoch: epoch \(part.leaderEpoch) leader \(part.leaderId)" + Self.error(part.errorCode)
        case .fetch(let response):
            guard let part = response.responses.first?.partitions.first else { return "Fetch: \(response.errorCode)" }
            var text = "Fetch: \(part.records?.readableBytes ?? 0) bytes, high watermark \(part.highWatermark)"
            if part.divergingEpoch.endOffset >= 0 {
                text += ", diverging \(part.divergingEpoch.endOffset)@\(part.divergingEpoch.epoch)"
            }
            if part.snapshotId.endOffset >= 0 { text += ", snapshot \(part.snapshotId.endOffset)-\(part.snapshotId.epoch)" }
            return text + ", epoch \(part.currentLeader.leaderEpoch) leader \(part.currentLeader.leaderId)" + Self.error(part.errorCode)
        case .fetchSnapshot(let response):
            guard let part = response.topics.first?.partitions.first else { return "FetchSnapshot: \(response.errorCode)" }
            return "FetchSnapshot: \(part.unalignedRecords.readableBytes) of \(part.size) bytes at \(part.position)"
                + Self.error(part.errorCode)
        case .addRaftVoter(let response): return "AddRaftVoter: \(response.errorCode) \(response.errorMessage ?? "")"
        case .removeRaftVoter(let response): return "RemoveRaftVoter: \(response.errorCode) \(response.errorMessage ?? "")"
        case .updateRaftVoter(let response): return "UpdateRaftVoter: \(response.errorCode)"
        case .apiVersions(let response): return "ApiVersions: \(response.errorCode)"
        }
    }

    private static func error(_ code: ErrorCode) -> String { code == .none ? "" : ", \(code)" }
}

extension QuorumRequest {
    /// The epoch that the sender says it is in; 0 when it says nothing about it.
    var epoch: LeaderEpoch {
        switch self {
        case .vote(let request): request.topics.first?.partitions.first?.replicaEpoch ?? 0
        case .beginQuorumEpoch(let request): request.topics.first?.partitions.first?.leaderEpoch ?? 0
        case .endQuorumEpoch(let request): request.topics.first?.partitions.first?.leaderEpoch ?? 0
        case .fetch(let request): request.topics.first?.partitions.first?.currentLeaderEpoch ?? 0
        case .fetchSnapshot(let request): request.topics.first?.partitions.first?.currentLeaderEpoch ?? 0
        case .addRaftVoter, .removeRaftVoter, .updateRaftVoter, .apiVersions: 0
        }
    }
}

extension QuorumResponse {
    /// The epoch that the sender says it is in; 0 when it says nothing about it.
    var epoch: LeaderEpoch {
        switch self {
        case .vote(let response): response.topics.first?.partitions.first?.leaderEpoch ?? 0
        case .beginQuorumEpoch(let response): response.topics.first?.partitions.first?.leaderEpoch ?? 0
        case .endQuorumEpoch(let response): response.topics.first?.partitions.first?.leaderEpoch ?? 0
        case .fetch(let response): response.responses.first?.partitions.first?.currentLeader.leaderEpoch ?? 0
        case .fetchSnapshot(let response): response.topics.first?.partitions.first?.currentLeader.leaderEpoch ?? 0
        case .addRaftVoter, .removeRaftVoter, .updateRaftVoter, .apiVersions: 0
        }
    }
}
