// What a node says while its metadata quorum has no leader. It waits then, which is right but looks like hanging: whoever reads the log
// learns which nodes it waits for, and how many more are needed.
import Consensus
import KafkaWire
import OrderedCollections
import Primitives

/// Keeps what became of the last request to each peer, and says once in a while who does not answer.
struct LeaderlessReport {
    /// Elections end within this as a rule; nothing is said before.
    static let patienceMilliseconds: Int64 = 5000
    static let repetitionMilliseconds: Int64 = 30_000

    // Requests under way; each ends with an answer or a failure, so there are few.
    private var asked: [UInt64: QuorumPeer] = [:]
    private var problems: OrderedDictionary<QuorumPeer, QuorumPeerFailure> = [:]
    /// Those that belong to another cluster, by their own account.
    private var foreign: OrderedSet<QuorumPeer> = []
    private var since: Int64?
    private var saidAt: Int64?

    mutating func sent(to peer: QuorumPeer, correlation: UInt64) {
        asked[correlation] = peer
    }

    mutating func received(_ answer: QuorumAnswer, correlation: UInt64) {
        guard let peer = asked.removeValue(forKey: correlation) else { return }
        switch answer {
        case .response(let response):
            problems[peer] = nil
            if response.errorCode == .inconsistentClusterId { foreign.append(peer) } else { foreign.remove(peer) }
        case .failed(let failure): problems[peer] = failure
        }
    }

    /// - Parameters:
    ///   - hasLeader: whether a leader is known.
    ///   - now: monotonic milliseconds.
    /// - Returns: what to say now, as a rule nothing.
    mutating func warning(hasLeader: Bool, voters: VoterSet, localID: NodeID, now: Int64) -> String? {
        guard !hasLeader else {
            since = nil
            saidAt = nil
            return nil
        }
        let start = since ?? now
        since = start
        guard now - start >= Self.patienceMilliseconds, saidAt.map({ now - $0 >= Self.repetitionMilliseconds }) ?? true else { return nil }
        saidAt = now
        return "the metadata quorum has had no leader for \((now - start) / 1000) s; this node waits. \(state(voters, localID))"
    }

    private func state(_ voters: VoterSet, _ localID: NodeID) -> String {
        var text = need(voters, localID)
        if !foreign.isEmpty {
            text +=
                " Of another cluster, by cluster.id: \(foreign.map(Self.name).joined(separator: ", ")). Correct the addresses, or format this "
                + "node with the cluster.id of theirs."
        }
        let silent = problems.map { peer, failure in "\(Self.name(peer)) \(Self.words(failure))" }
        if !silent.isEmpty { text += " Not reached: \(silent.joined(separator: ", ")). Start them, or correct the addresses." }
        return text
    }

    private static func name(_ peer: QuorumPeer) -> String {
        "\(peer.id >= 0 ? "node \(peer.id) at " : "")\(peer.host):\(peer.port)"
    }

    private func need(_ voters: VoterSet, _ localID: NodeID) -> String {
        let count = voters.voters.count
        if count == 0 { return "It knows no voters yet and asks controller.quorum.bootstrap.servers." }
        let names = voters.voters.keys.map { "\($0)" }.joined(separator: ", ")
        let own = voters.contains(localID) ? "; this is \(localID)" : ""
        return "\(count / 2 + 1) of \(count) voters have to run (\(names)\(own))."
    }

    private static func words(_ failure: QuorumPeerFailure) -> String {
        switch failure {
        case .disconnected: "(no connection)"
        case .timedOut: "(no answer in time)"
        case .unsupportedVersion: "(it speaks no common version)"
        }
    }
}

extension QuorumResponse {
    /// What the response says as a whole; nil where it only speaks of parts.
    fileprivate var errorCode: ErrorCode? {
        switch self {
        case .fetch(let response): response.errorCode
        case .fetchSnapshot(let response): response.errorCode
        case .vote(let response): response.errorCode
        case .beginQuorumEpoch(let response): response.errorCode
        case .endQuorumEpoch(let response): response.errorCode
        default: nil
        }
    }
}
