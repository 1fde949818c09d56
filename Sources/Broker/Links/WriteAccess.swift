// What clients are told that may not write to a partition because of links to other clusters.
import KafkaWire
import Linking

extension WriteAccess {
    var errorCode: ErrorCode {
        switch self {
        case .open: .none
        // Clients try again, as when there is no leader.
        case .undecided: .leaderNotAvailable
        // No trying again: what was written here would never reach the other cluster.
        case .mirror, .ending, .fenced: .invalidRequest
        }
    }

    var explanation: String? {
        switch self {
        case .open, .undecided: nil
        case .mirror: "Cannot write to a mirror topic: it takes its records from another cluster. `martlet link promote` makes it writable"
        case .ending: "Cannot write to a mirror topic yet: it is about to become writable"
        case .fenced:
            "Cannot write here any longer: another cluster has taken over the topic. Write there, or `martlet link unfence` if it has not"
        }
    }
}
