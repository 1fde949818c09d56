// The operations of ManageLinks, for those who ask and those who answer.

/// What ManageLinks can be asked for.
public enum LinkOperation: String, Sendable, CaseIterable {
    // Of the coordinator, by operators.
    case createLink = "create-link"
    case alterLink = "alter-link"
    case deleteLink = "delete-link"
    case createMirrors = "create-mirrors"
    case changeMirrors = "change-mirrors"
    case describe
    case fence
    case unfence
    /// A cluster says which topics of this one it mirrors synchronously.
    case synchronize
    // Of any broker, by operators and by the coordinator.
    case progress
    /// Copies committed offsets once more, now.
    case syncOffsets = "sync-offsets"
    /// What is stored of SCRAM users' passwords, asked for by the links of other clusters.
    case credentials
    /// A source's broker offers its connection for the link's other side to use. Answered when that is so.
    case offer
    /// The leader of synchronous mirrors says how far they are.
    case positions
    // Between brokers.
    case follow
    /// The coordinator says how far a link's mirrors are settled, and hears which transactions have ended in them.
    case settleMirrors = "settle-mirrors"
    /// How transactions end that a mirror has open when it stops.
    case endTransactions = "end-transactions"
    /// Answered when all transactions that the source has committed by now are committed here.
    case awaitTransactions = "await-transactions"
    /// The coordinator says what groups are to have that they committed within transactions; answered with the groups that have it.
    case putOffsets = "put-offsets"
    /// Groups that a link makes here, or that are not its own any more.
    case claimGroups = "claim-groups"
    // Of the controller.
    case newEpoch = "new-leader-epoch"
    case putCredentials = "put-credentials"

    /// Whether the controller answers it, and no broker.
    public var isControllers: Bool { self == .newEpoch || self == .putCredentials }
}
