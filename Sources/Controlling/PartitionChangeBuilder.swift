// Turns a wish about a partition (another ISR, an election) into the one record that does it, with all that Kafka does along with it:
// choosing a leader, keeping the eligible leader replicas (KIP-966), bumping the leader epoch where followers must notice.
import ClusterMetadata
import KafkaRecords
import Primitives

/// How a leader may be chosen.
public enum ElectionKind: Sendable {
    /// The preferred replica if it is in the ISR; otherwise as `online`.
    case preferred
    /// Somebody from the ISR, or from the eligible replicas when the ISR is empty.
    case online
    /// As `online`, and failing that any live replica, whatever it lost.
    case unclean
}

/// Builds one `PartitionChangeRecord`.
public struct PartitionChangeBuilder {
    private let partition: PartitionImage
    private let topicID: TopicID
    private let version: MetadataVersion
    private let minInSyncReplicas: Int
    private let hasEligibleLeaderReplicas: Bool
    private let isAcceptableLeader: (NodeID) -> Bool

    public var election = ElectionKind.online
    public var targetIsr: [NodeID]
    /// Replicas that may have lost what they acknowledged, because they did not stop cleanly.
    public var uncleanShutdownReplicas: [NodeID] = []
    /// True after an unclean election until the leader has confirmed it.
    public var targetIsRecovering: Bool
    public var targetReplicas: [NodeID]
    public var targetRemoving: [NodeID]
    public var targetAdding: [NodeID]
    private var targetEligible: [NodeID]
    /// Directories that replicas move to; others stay where they are.
    private var movedDirectories: [NodeID: KafkaUUID] = [:]
    private let defaultDirectory: (NodeID) -> KafkaUUID
    private var record: PartitionChangeRecord

    /// - Parameters:
    ///   - minInSyncReplicas: the topic's setting, at most its replication factor.
    ///   - defaultDirectory: where a broker's new replicas go.
    ///   - isAcceptableLeader: whether a replica is alive and may lead.
    public init(
        _ partition: PartitionImage, topicID: TopicID, version: MetadataVersion, minInSyncReplicas: Int, hasEligibleLeaderReplicas: Bool,
        defaultDirectory: @escaping (NodeID) -> KafkaUUID = { _ in DirectoryID.unassigned },
        isAcceptableLeader: @escaping (NodeID) -> Bool
    ) {
        self.partition = partition
        self.topicID = topicID
        self.version = version
        self.minInSyncReplicas = minInSyncReplicas
        self.hasEligibleLeaderReplicas = hasEligibleLeaderReplicas
        self.defaultDirectory = defaultDirectory
        self.isAcceptableLeader = isAcceptableLeader
        targetIsRecovering = partition.isRecovering
        targetReplicas = partition.replicas
        targetRemoving = partition.removingReplicas
        targetAdding = partition.addingReplicas
        targetIsr = partition.isr
        targetEligible = partition.eligibleLeaderReplicas
        record = PartitionChangeRecord()
        record.partitionId = partition.index
        record.topicId = topicID
    }

    /// The replica of that broker is in another directory.
    public mutating func setDirectory(_ directory: KafkaUUID, of replica: NodeID) { movedDirectories[replica] = directory }

    /// The record; nil when nothing changes.
    public consuming func build() -> VersionedRecord? {
        completeReassignment()
        updateEligible()
        elect()
        bumpEpochForRemovedReplicas()
        recordEligible()
        // An empty ISR can be written only where eligible replicas keep what it knew.
        if record.isr == nil && (!targetIsr.isEmpty || hasEligibleLeaderReplicas) && targetIsr != partition.isr {
            record.isr = targetIsr
        }
        bumpEpochForShrink()
        updateLastKnownLeader()
        recordAssignment()
        if targetIsRecovering != partition.isRecovering { record.leaderRecoveryState = targetIsRecovering ? 1 : 0 }
        let changesNothing =
            record.isr == nil && record.leader == PartitionImage.noLeaderChange && record.eligibleLeaderReplicas == nil
            && record.lastKnownElr == nil && record.leaderRecoveryState == -1 && record.replicas == nil
            && record.removingReplicas == nil && record.addingReplicas == nil && record.directories == nil
        if changesNothing { return nil }
        return VersionedRecord(.partitionChange(record), version: version.partitionRecordVersion)
    }

    /// Ends a reassignment whose new replicas have all caught up.
    private mutating func completeReassignment() {
        let reassignment = PartitionReassignment(replicas: targetReplicas, adding: targetAdding, removing: targetRemoving)
        guard let completed = reassignment.completed(isr: targetIsr) else { return }
        targetIsr = completed.isr
        targetReplicas = completed.replicas
        targetRemoving = []
        targetAdding = []
    }

    /// A follower that is no replica any more has to notice.
    private mutating func bumpEpochForRemovedReplicas() {
        guard record.leader == PartitionImage.noLeaderChange, !partition.replicas.allSatisfy(targetReplicas.contains) else { return }
        record.leader = partition.leader
    }

    private mutating func recordAssignment() {
        if !targetReplicas.isEmpty {
            if version.supportsDirectoryAssignment {
                let directories = targetReplicas.map { movedDirectories[$0] ?? partition.directory(of: $0) ?? defaultDirectory($0) }
                if directories != partition.directories { record.directories = directories }
            }
            if targetReplicas != partition.replicas { record.replicas = targetReplicas }
        }
        if targetRemoving != partition.removingReplicas { record.removingReplicas = targetRemoving }
        if targetAdding != partition.addingReplicas { record.addingReplicas = targetAdding }
    }

    /// Below min ISR the members that leave stay eligible, for they have everything that was acknowledged.
    private mutating func updateEligible() {
        guard hasEligibleLeaderReplicas else { return }
        if targetIsr.count >= minInSyncReplicas {
            targetEligible = []
            return
        }
        var candidates = targetEligible
        for replica in partition.isr where !candidates.contains(replica) { candidates.append(replica) }
        // Who is no replica any longer deletes its log. Kafka keeps such brokers among the eligible, where they stand in the way of the last
        // leader once nobody else is left.
        targetEligible = candidates.filter { replica in
            !targetIsr.contains(replica) && !uncleanShutdownReplicas.contains(replica) && targetReplicas.contains(replica)
        }.sorted()
    }

    private func isValidLeader(_ replica: NodeID) -> Bool {
        (targetIsr.contains(replica) || (targetIsr.isEmpty && targetEligible.contains(replica))) && isAcceptableLeader(replica)
    }

    private func chooseLeader() -> (leader: NodeID, isUnclean: Bool) {
        if election == .preferred, let preferred = targetReplicas.first, isValidLeader(preferred) { return (preferred, false) }
        // A leader that will do stays.
        if isValidLeader(partition.leader) { return (partition.leader, false) }
        if let replica = targetReplicas.first(where: isValidLeader) { return (replica, false) }
        if canElectLastKnownLeader { return (partition.lastKnownElr[0], true) }
        if election == .unclean, let replica = targetReplicas.first(where: isAcceptableLeader) { return (replica, true) }
        return (PartitionImage.noLeader, false)
    }

    private var canElectLastKnownLeader: Bool {
        hasEligibleLeaderReplicas && targetEligible.isEmpty && targetIsr.isEmpty && partition.lastKnownElr.count == 1
            && isAcceptableLeader(partition.lastKnownElr[0])
    }

    private mutating func elect() {
        let (leader, isUnclean) = chooseLeader()
        guard leader != partition.leader else { return }
        if targetEligible.contains(leader) {
            targetIsr = [leader]
            targetEligible.removeAll { $0 == leader }
        }
        record.leader = leader
        if isUnclean {
            // Only the new leader's log counts now; what others had beyond it is lost.
            record.isr = [leader]
            if !partition.isRecovering { record.leaderRecoveryState = 1 }
        }
    }

    private mutating func recordEligible() {
        if record.isr != nil || !hasEligibleLeaderReplicas { targetEligible = [] }
        if targetEligible != partition.eligibleLeaderReplicas { record.eligibleLeaderReplicas = targetEligible }
    }

    /// Before metadata.version 12, brokers noticed a smaller ISR only by a new leader epoch (KAFKA-15021).
    private mutating func bumpEpochForShrink() {
        guard version.bumpsLeaderEpochOnShrink, record.leader == PartitionImage.noLeaderChange, let isr = record.isr,
            !partition.isr.allSatisfy(isr.contains)
        else { return }
        record.leader = partition.leader
    }

    private mutating func updateLastKnownLeader() {
        guard hasEligibleLeaderReplicas else { return }
        if record.leader == PartitionImage.noLeader && partition.lastKnownElr.isEmpty {
            record.lastKnownElr = [partition.leader]
        } else if record.leader >= 0 && !partition.lastKnownElr.isEmpty {
            record.lastKnownElr = []
        }
    }
}
