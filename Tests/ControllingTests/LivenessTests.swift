// Who is taken for dead: sessions that run out, processes that closed their sockets, second processes under one id.
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: liveness")
struct LivenessTests {
    @Test func sessionsRunOutOneByOne() throws {
        var cluster = try Cluster(brokers: 3)
        try cluster.createTopic("t", [[0, 1, 2]])
        cluster.now += 5000
        try cluster.heartbeat(2)
        let deadline = try #require(cluster.controller.nextDeadline)
        #expect(deadline == cluster.now + 4001)
        cluster.now = deadline - 1
        try cluster.tick()
        #expect(cluster.records.isEmpty)
        cluster.now = deadline
        try cluster.tick()
        #expect(cluster.registrationChanges.map(\.change.brokerId) == [0] && cluster.partitionChanges.map(\.leader) == [1])
        #expect(try #require(cluster.controller.nextDeadline) <= cluster.now)
        try cluster.tick()
        #expect(cluster.registrationChanges.map(\.change.brokerId) == [1] && cluster.partitionChanges.map(\.leader) == [2])
        try cluster.tick()
        #expect(cluster.records.isEmpty && cluster.controller.image.cluster.isActive(2))
        // A heartbeat brings the others back.
        try cluster.heartbeat(0)
        #expect(cluster.controller.image.cluster.isActive(0))
    }

    @Test func anExpiryWhoseRecordsWereLostIsDecidedAgain() throws {
        var cluster = try Cluster(brokers: 1)
        cluster.now += 9001
        // Decided, but never appended.
        let counts = (0..<2).map { _ in cluster.controller.tick(now: cluster.now, time: cluster.now).records.count }
        #expect(counts == [1, 0], "not in a tight loop")
        cluster.now = try #require(cluster.controller.nextDeadline)
        let retried = cluster.controller.tick(now: cluster.now, time: cluster.now)
        #expect(retried.records.count == 1)
    }

    @Test func theSessionTimeoutIsConfigured() throws {
        var cluster = try Cluster(brokers: 1, fixed: ["broker.session.timeout.ms": "2000"])
        cluster.now += 2000
        try cluster.tick()
        #expect(cluster.records.isEmpty)
        cluster.now += 1
        try cluster.tick()
        #expect(try cluster.broker(0).isFenced)
    }

    @Test func aNewControllerGivesEveryBrokerAFullSession() throws {
        var cluster = try Cluster(brokers: 2)
        cluster.now += 8000
        cluster.controller.activated(now: cluster.now)
        cluster.now += 9000
        try cluster.tick()
        #expect(cluster.records.isEmpty)
        cluster.now += 1
        try cluster.tick()
        #expect(cluster.registrationChanges.count == 1)
        cluster.controller.deactivated()
        #expect(cluster.controller.nextDeadline == nil)
    }

    private func lostConnection(_ cluster: inout Cluster, _ id: NodeID, epoch: Int64) -> BrokerProbe? {
        let now = cluster.now
        return cluster.controller.brokerConnectionLost(id, epoch: epoch, now: now)
    }

    private func probe(_ cluster: inout Cluster, _ probe: BrokerProbe, _ outcome: BrokerProbeOutcome) throws -> BrokerProbeVerdict {
        let now = cluster.now
        return try cluster.run { (controller, _) throws(RequestFailure) in controller.brokerProbed(probe, outcome, now: now) }
    }

    @Test func aProcessThatIsGoneIsFencedAtOnce() throws {
        var cluster = try Cluster(brokers: 2)
        try cluster.createTopic("t", [[0, 1]])
        let epoch = try cluster.broker(0).epoch
        let lost = lostConnection(&cluster, 0, epoch: epoch)
        let wanted = try #require(lost)
        #expect(wanted.id == 0 && wanted.epoch == epoch && wanted.endpoints.map(\.port) == [9092])
        #expect(lostConnection(&cluster, 0, epoch: epoch) == nil, "one probe at a time")
        let again = Controller.probeInterval
        #expect(try probe(&cluster, wanted, .refused) == .probeAgain(wanted, at: cluster.now + again))
        cluster.now += again
        #expect(try probe(&cluster, wanted, .refused) == .gone)
        #expect(try cluster.broker(0).isFenced && cluster.partition("t").leader == 1)
        #expect(cluster.registrationChanges.map(\.change.fenced) == [1])
        #expect(try probe(&cluster, wanted, .refused) == .settled)
    }

    /// The kernel goes on accepting for a dead process until it has closed its listeners.
    @Test(arguments: [BrokerProbeOutcome.accepted, .unknown])
    func whoeverMayLiveIsTriedUntilItIsHeardOf(outcome: BrokerProbeOutcome) throws {
        var cluster = try Cluster(brokers: 2)
        let lost = try lostConnection(&cluster, 0, epoch: cluster.broker(0).epoch)
        let wanted = try #require(lost)
        var pauses: [Int64] = []
        for _ in 0..<7 {
            guard case .probeAgain(wanted, at: let time) = try probe(&cluster, wanted, outcome) else { break }
            pauses.append(time - cluster.now)
            cluster.now = time
        }
        #expect(pauses == [50, 100, 200, 400, 800, 1000, 1000])
        #expect(try !cluster.broker(0).isFenced && cluster.records.isEmpty)
        try cluster.heartbeat(0)
        #expect(try probe(&cluster, wanted, outcome) == .settled)
        #expect(try probe(&cluster, wanted, .refused) == .settled)
        cluster.now += 1000
        #expect(try probe(&cluster, wanted, .refused) == .settled && !cluster.broker(0).isFenced)
    }

    @Test func refusalsCountOnlyWhenNothingElseHappenedBetween() throws {
        var cluster = try Cluster(brokers: 2)
        let lost = try lostConnection(&cluster, 0, epoch: cluster.broker(0).epoch)
        let wanted = try #require(lost)
        #expect(try probe(&cluster, wanted, .refused) != .gone)
        cluster.now += 1000
        #expect(try probe(&cluster, wanted, .accepted) == .probeAgain(wanted, at: cluster.now + 50))
        cluster.now += 1000
        #expect(try probe(&cluster, wanted, .refused) == .probeAgain(wanted, at: cluster.now + Controller.probeInterval))
        cluster.now += Controller.probeInterval - 1
        #expect(try probe(&cluster, wanted, .refused) == .probeAgain(wanted, at: cluster.now + 1), "too soon after the first")
        cluster.now += 1
        #expect(try probe(&cluster, wanted, .refused) == .gone)
    }

    @Test func aHeartbeatAfterTheLostConnectionSettlesIt() throws {
        var cluster = try Cluster(brokers: 2)
        let epoch = try cluster.broker(0).epoch
        let lost = lostConnection(&cluster, 0, epoch: epoch)
        let former = try #require(lost)
        #expect(try probe(&cluster, former, .refused) != .gone)
        cluster.now += 1000
        try cluster.heartbeat(0)
        #expect(try probe(&cluster, former, .refused) == .settled)
        #expect(try !cluster.broker(0).isFenced)
        #expect(lostConnection(&cluster, 0, epoch: epoch - 1) == nil, "of an earlier process")
        // What was found out for the suspicion before does not count for the next one.
        let next = lostConnection(&cluster, 0, epoch: epoch)
        let wanted = try #require(next)
        #expect(try probe(&cluster, former, .refused) == .settled)
        cluster.now += 1000
        #expect(try probe(&cluster, wanted, .refused) != .gone)
        #expect(try !cluster.broker(0).isFenced)
    }

    @Test func aBrokerThatMovedIsTriedWhereItListensNow() throws {
        var cluster = try Cluster(brokers: 2)
        let lost = try lostConnection(&cluster, 0, epoch: cluster.broker(0).epoch)
        let wanted = try #require(lost)
        #expect(try probe(&cluster, wanted, .refused) != .gone)
        var request = Cluster.registration(0, incarnation: 1)
        request.listeners[0].port = 9999
        let final = request
        try cluster.run { (controller, offset) throws(RequestFailure) in try controller.registerBroker(final, nextOffset: offset) }
        cluster.now += 1000
        guard case .probeAgain(let moved, at: _) = try probe(&cluster, wanted, .refused) else {
            Issue.record("refusals where it listened before say nothing")
            return
        }
        #expect(moved.endpoints.map(\.port) == [9999])
        #expect(try probe(&cluster, moved, .refused) != .gone)
        cluster.now += 1000
        #expect(try probe(&cluster, moved, .refused) == .gone)
    }

    /// The controller died together with a broker: the next one never had a connection to lose.
    @Test func aNewControllerTriesBrokersItHasNotHeardOf() throws {
        var cluster = try Cluster(brokers: 3)
        cluster.controller.activated(now: cluster.now)
        try cluster.heartbeat(1)
        let unheard = cluster.controller.unheardBrokers
        #expect(unheard.map(\.id) == [0, 2])
        #expect(try probe(&cluster, unheard[0], .accepted) == .probeAgain(unheard[0], at: cluster.now + 50))
        #expect(try probe(&cluster, unheard[1], .refused) != .gone)
        cluster.now += 200
        #expect(try probe(&cluster, unheard[1], .refused) == .gone)
        #expect(try cluster.broker(2).isFenced && !cluster.broker(0).isFenced)
        // It died after it had accepted, before its first heartbeat to this controller: there was no connection that could end.
        #expect(try probe(&cluster, unheard[0], .refused) != .gone)
        cluster.now += 200
        #expect(try probe(&cluster, unheard[0], .refused) == .gone)
        #expect(cluster.controller.unheardBrokers.isEmpty)
    }

    @Test func aSecondProcessUnderALiveIdIsRefused() throws {
        var cluster = try Cluster(brokers: 2)
        func code(_ incarnation: UInt64, _ directories: [KafkaUUID]? = nil) throws -> ErrorCode? {
            let request = Cluster.registration(0, incarnation: incarnation, directories: directories)
            let now = cluster.now
            return try cluster.refusal { (controller, offset) throws(RequestFailure) in
                try controller.registerBroker(request, nextOffset: offset, now: now)
            }
        }
        #expect(try code(2) == .duplicateBrokerRegistration)
        #expect(try code(1) == nil, "the same process may say more about itself")
        let epoch = try cluster.broker(0).epoch
        #expect(try !cluster.broker(0).isFenced)
        // Its connection is gone and another process holds its directories.
        let lost = lostConnection(&cluster, 0, epoch: epoch)
        let wanted = try #require(lost)
        #expect(try code(2, [Cluster.directory(0, 5)]) == .duplicateBrokerRegistration)
        // The new process was quick to open its listeners.
        #expect(try probe(&cluster, wanted, .accepted) != .settled)
        #expect(try code(2) == nil)
        #expect(try cluster.broker(0).isFenced && cluster.broker(0).epoch > epoch)
        #expect(try probe(&cluster, wanted, .refused) == .settled, "the process that it was made for has a successor")
        // Nobody answers for a fenced broker that never sent a heartbeat.
        #expect(try code(3) == nil)
        try cluster.heartbeat(0)
        #expect(try code(4) == .duplicateBrokerRegistration)
        cluster.now += 9001
        #expect(try code(4) == nil, "the session has run out")
    }

    @Test func registrationsMustFit() throws {
        var cluster = try Cluster(brokers: 2)
        var request = Cluster.registration(5)
        let feature = try #require(request.features.firstIndex { $0.name == FeatureName.group })
        request.features[feature].minSupportedVersion = 1
        let final = request
        let code = try cluster.refusal { (controller, offset) throws(RequestFailure) in
            try controller.registerBroker(final, nextOffset: offset)
        }
        #expect(code == .unsupportedVersion, "a broker that cannot do without a feature that is off")
        let racked = try cluster.register(6, rack: "r")
        #expect(try cluster.broker(6).rack == "r" && racked == cluster.nextOffset - 1)
    }

    /// With eligible replicas on, who was killed may have lost records that it had acknowledged.
    @Test func incarnationsCleanUp() throws {
        var cluster = try Cluster(brokers: 3, features: [FeatureName.eligibleLeaderReplicas: 1])
        try cluster.createTopic("t", [[0, 1, 2]], configs: ["min.insync.replicas": "3"])
        try cluster.fence(1, 2)
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [1, 2])
        let epoch = try cluster.broker(1).epoch
        cluster.now += 20_000
        try cluster.register(1, incarnation: 2, previousEpoch: epoch)
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [1, 2] && cluster.records.count == 1, "it stopped cleanly")
        try cluster.register(2, incarnation: 2)
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [1] && cluster.records.count == 2)
        try cluster.register(0, incarnation: 2)
        let partition = try cluster.partition("t")
        #expect(partition.leader == -1 && partition.isr.isEmpty && partition.eligibleLeaderReplicas == [1] && partition.lastKnownElr == [0])
    }

    /// Unregistered by mistake: it goes on under a new epoch, and with eligible replicas it is not taken for one that lost records.
    @Test func aBrokerThatWasUnregisteredMayComeBack() throws {
        var cluster = try Cluster(brokers: 1, features: [FeatureName.eligibleLeaderReplicas: 1])
        try cluster.createTopic("t", [[0]])
        let epoch = try cluster.broker(0).epoch
        func unregister() throws {
            var request = UnregisterBrokerRequest()
            request.brokerId = 0
            let final = request
            try cluster.run { (controller, _) throws(RequestFailure) in try controller.unregisterBroker(final) }
            #expect(try cluster.partition("t").leader == -1 && cluster.controller.image.cluster.broker(0) == nil)
        }
        try unregister()
        try cluster.register(0, incarnation: 1, previousEpoch: epoch)
        #expect(try cluster.broker(0).epoch > epoch && cluster.broker(0).isFenced)
        try cluster.heartbeat(0)
        #expect(try cluster.partition("t").leader == 0 && !cluster.partition("t").isRecovering)
        // Another process that does not know the epoch may have lost anything; it leads again only as the last that led.
        try unregister()
        #expect(try cluster.partition("t").eligibleLeaderReplicas == [0])
        try cluster.register(0, incarnation: 2)
        #expect(try cluster.partition("t").eligibleLeaderReplicas.isEmpty && cluster.partition("t").lastKnownElr == [0])
    }
}
