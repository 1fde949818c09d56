// The states of a classic group and which may follow which.

/// State of a group of the classic protocol.
///
/// ```
///            join                all joined              leader's assignment
/// Empty ──────────▶ PreparingRebalance ──▶ CompletingRebalance ──────────▶ Stable
///   ▲                   │     ▲                    │                          │
///   └── nobody joined ──┘     └── change ──────────┴──────────────────────────┘
/// ```
public enum ClassicGroupState: String, Sendable, Equatable {
    case empty = "Empty"
    case preparingRebalance = "PreparingRebalance"
    case completingRebalance = "CompletingRebalance"
    case stable = "Stable"
    /// Only ever reported: the state of a group that does not exist.
    case dead = "Dead"

    /// Whether a rebalance may begin in this state.
    var canRebalance: Bool {
        switch self {
        case .empty, .completingRebalance, .stable: true
        case .preparingRebalance, .dead: false
        }
    }

    func mayFollow(_ previous: ClassicGroupState) -> Bool {
        switch self {
        case .empty: previous == .preparingRebalance
        case .preparingRebalance: previous.canRebalance
        case .completingRebalance: previous == .preparingRebalance
        case .stable: previous == .completingRebalance
        case .dead: true
        }
    }
}
