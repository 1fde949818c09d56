// Whether clients may write to a partition, as far as links to other clusters are concerned.
import KafkaWire

/// Who may write to a partition.
enum WriteAccess: Sendable, Hashable {
    /// Every client that is permitted to.
    case open
    /// Nobody yet: this broker has not heard of all mirror topics. Passes within moments.
    case undecided
    /// Only the link: the topic mirrors one of another cluster.
    case mirror
    /// Nobody: another cluster has taken over.
    case fenced

    var errorCode: ErrorCode {
        switch self {
        case .open: .none
        // Clients try again, as when there is no leader.
        case .undecided: .leaderNotAvailable
        // No trying again: what was written here would never reach the other cluster.
        case .mirror, .fenced: .invalidRequest
        }
    }

    var explanation: String? {
        switch self {
        case .open, .undecided: nil
        case .mirror: "Cannot write to a mirror topic: it takes its records from another cluster. `martlet link promote` makes it writable"
        case .fenced:
            "Cannot write here any longer: another cluster has taken over the topic. Write there, or `martlet link unfence` if it has not"
        }
    }
}
