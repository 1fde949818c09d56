// Courses of events that chance does not bring about, played by hand.
import Consensus
import KafkaMessages
import Primitives

extension QuorumWorld {
    /// Two candidates ask one voter for its vote in one epoch; between them the voter starts again.
    static func forgottenVote(mutation: Mutation?) -> QuorumWorld {
        var plan = QuorumPlan(seed: 1, isBrief: true)
        (plan.voterCount, plan.observerCount, plan.dataCenters, plan.faults, plan.isDynamic) = (3, 0, 1, [], false)
        plan.distances = [[0]]
        let world = QuorumWorld(plan: plan, seed: 1, mutation: mutation, isTracing: true)
        let voter = world.nodes[0]
        func ask(for candidate: QuorumNode) {
            candidate.host.isRunning = true
            candidate.host.incarnation += 1
            var partition = VoteRequest.PartitionData()
            partition.replicaEpoch = 5
            partition.replicaId = candidate.id
            partition.replicaDirectoryId = candidate.configuration.localDirectoryID
            partition.voterDirectoryId = voter.configuration.localDirectoryID
            partition.lastOffset = 1
            partition.lastOffsetEpoch = 4
            var topic = VoteRequest.TopicData()
            topic.topicName = "__cluster_metadata"
            topic.partitions = [partition]
            var request = VoteRequest()
            request.clusterId = voter.configuration.clusterID
            request.voterId = voter.id
            request.topics = [topic]
            world.network.send(.quorum(.vote(request)), from: candidate.host, to: voter.host, timeout: .seconds(1)) { _ in }
        }
        voter.boot()
        ask(for: world.nodes[1])
        world.scheduler.at(.milliseconds(300)) {
            voter.die("killed")
            voter.boot()
        }
        world.scheduler.at(.milliseconds(310)) { ask(for: world.nodes[2]) }
        world.scheduler.at(.milliseconds(700)) { world.end() }
        while world.violation == nil, !world.isDone, world.scheduler.step() {}
        return world
    }
}
