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
    /// A source's broker offers its connection for the link's other side to use. Answered when that is so.
    case offer
    /// The leader of synchronous mirrors says how far they are.
    case positions
    // Between brokers.
    case follow
    // Of the controller.
    case newEpoch = "new-leader-epoch"
}
