// What is true of every image that a controller makes, whatever it was asked.
import ClusterMetadata
import ConfigDefinitions
import Primitives
import Testing

@testable import Controlling

enum Invariants {
    /// Put into words only when something is wrong.
    private struct Name: CustomStringConvertible {
        var topic: String
        var partition: PartitionImage
        var description: String { "\(topic)-\(partition.index): \(partition)" }
    }

    static func check(from before: MetadataImage, to controller: Controller) {
        let image = controller.image
        for topic in image.topics.all {
            let earlier = before.topics.topic(id: topic.id)
            if earlier === topic { continue }
            for partition in topic.partitions {
                let name = Name(topic: topic.name, partition: partition)
                check(partition, name, in: image)
                if let old = earlier?.partition(partition.index), old != partition {
                    check(from: old, to: partition, name, isUncleanAllowed: allowsUnclean(controller, topic, image))
                }
            }
        }
        checkIndex(controller)
    }

    private static func allowsUnclean(_ controller: Controller, _ topic: TopicImage, _ image: MetadataImage) -> Bool {
        controller.topicConfiguration(topic.name).uncleanLeaderElectionEnable || image.features.hasEligibleLeaderReplicas
    }

    private static func check(_ partition: PartitionImage, _ name: Name, in image: MetadataImage) {
        #expect(!partition.replicas.isEmpty && Set(partition.replicas).count == partition.replicas.count, "\(name)")
        #expect(partition.isr.allSatisfy(partition.replicas.contains) && Set(partition.isr).count == partition.isr.count, "\(name)")
        #expect(partition.directories.count == partition.replicas.count, "\(name)")
        #expect(
            partition.eligibleLeaderReplicas.allSatisfy { !partition.isr.contains($0) && partition.replicas.contains($0) }, "\(name)")
        let keepsEligible = image.features.hasEligibleLeaderReplicas
        #expect(!partition.isr.isEmpty || keepsEligible, "an ISR went empty: \(name)")
        if keepsEligible && partition.isr.isEmpty {
            #expect(!partition.eligibleLeaderReplicas.isEmpty || partition.lastKnownElr.count == 1, "nobody knows the last leader: \(name)")
        }
        #expect(partition.addingReplicas.allSatisfy(partition.replicas.contains), "\(name)")
        #expect(partition.removingReplicas.allSatisfy(partition.replicas.contains), "\(name)")
        if partition.hasLeader {
            #expect(partition.isr.contains(partition.leader), "\(name)")
            // As in Kafka, who stops, is fenced and comes back under its epoch may be elected though it was stopping.
            let isThere = image.cluster.broker(partition.leader)?.isFenced == false
            #expect(isThere, "led by a broker that is gone: \(name)")
        }
        #expect(!partition.isRecovering || partition.isr.count <= 1, "\(name)")
    }

    private static func check(from old: PartitionImage, to new: PartitionImage, _ name: Name, isUncleanAllowed: Bool) {
        #expect(new.partitionEpoch > old.partitionEpoch, "\(name)")
        #expect(new.leaderEpoch >= old.leaderEpoch, "\(name)")
        if new.leader != old.leader { #expect(new.leaderEpoch > old.leaderEpoch, "\(name)") }
        // What ends a reassignment adds the last replica to the ISR and may elect it at once.
        let endsReassignment = old.isReassigning && !new.isReassigning
        let isClean =
            endsReassignment || !new.hasLeader || new.leader == old.leader || old.isr.contains(new.leader)
            || old.eligibleLeaderReplicas.contains(new.leader)
        if !isClean { #expect(new.isRecovering && isUncleanAllowed, "elected without permission, was \(old): \(name)") }
        if !old.replicas.allSatisfy(new.replicas.contains) { #expect(new.leaderEpoch > old.leaderEpoch, "\(name)") }
    }

    /// What is kept along must be what would be found anew.
    static func checkIndex(_ controller: Controller) {
        let anew = PartitionIndex(controller.image.topics)
        let kept = controller.partitions
        #expect(kept.leaderless == anew.leaderless && kept.imbalanced == anew.imbalanced && kept.reassigning == anew.reassigning)
        for id in controller.image.cluster.brokers.keys {
            #expect(kept.inSync(id) == anew.inSync(id) && kept.eligible(id) == anew.eligible(id))
            #expect(kept.leadershipCount(id) == anew.leadershipCount(id))
        }
    }
}
