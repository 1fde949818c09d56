// Runtimes of several members together: elections, replication, failures, logs that differ, snapshots.
import ClusterMetadata
import Consensus
import Controlling
import Foundation
import KafkaMessages
import KafkaWire
import Primitives
import Storage
import Synchronization
import Testing

@testable import Runtime

@Suite("Metadata quorum", .serialized)
struct QuorumRuntimeTests {
    @Test func electsOneLeaderAndReplicates() throws {
        let cluster = try QuorumCluster(voters: 3, observers: 1)
        try cluster.startAll()
        for value in 1...19 { try cluster.set("\(value)000") }
        let controller = try cluster.set("20000")
        try cluster.waitForAgreement(on: controller.image.provenance.offset)
        #expect(cluster.running.count == 4)
        for runtime in cluster.running {
            let leader = try #require(runtime.leader)
            #expect(leader == controller.leader)
            let address = try #require(runtime.controllerAddress)
            #expect(address.port == cluster[leader.id].port)
        }
        #expect(cluster.values == ["20000", "20000", "20000", "20000"])
        let other = try #require(cluster.running.first { !$0.isActive })
        let refusal = QuorumCluster.failure(of: { () throws(RequestFailure) in try QuorumCluster.set("1", in: other) })
        #expect(refusal?.code == .notController)
    }

    @Test func survivesTheLossOfTheLeader() throws {
        let cluster = try QuorumCluster()
        try cluster.startAll()
        for round in 1...3 {
            let active = try cluster.set("\(round)111")
            let leader = try #require(cluster.members.first { $0.runtime === active })
            cluster.stop(leader.id, patience: round == 2 ? 0 : 500)
            let successor = try cluster.waitForController(besides: leader.id)
            let next = try #require(successor.runtime)
            let value = QuorumCluster.value(in: next.image)
            #expect(value == "\(round)111")
            let runtime = try cluster.set("\(round)222")
            try cluster.start(leader.id)
            try cluster.waitForAgreement(on: runtime.image.provenance.offset)
            let expected = [String](repeating: "\(round)222", count: 3)
            #expect(cluster.values == expected)
        }
    }

    @Test func aLeaderCutOffGivesUpAndItsUndecidedRecordsGo() throws {
        let cluster = try QuorumCluster()
        try cluster.startAll()
        let former = try cluster.set("1")
        let old = try #require(cluster.members.first { $0.runtime === former })
        try cluster.waitForAgreement(on: former.image.provenance.offset)
        // The others are gone: what is decided now never has a majority.
        let others = cluster.members.filter { $0.id != old.id }
        for other in others { cluster.stop(other.id, patience: 0) }
        let end = former.image.provenance.offset
        let refusal = QuorumCluster.failure(of: { () throws(RequestFailure) in try QuorumCluster.set("2", in: former) })
        #expect(refusal?.code == .notController)
        #expect(!former.isActive)
        #expect(cluster.values == ["1"])
        #expect(former.image.provenance.offset == end)
        cluster.stop(old.id, patience: 0)
        // The others go on without it and know nothing of the second value.
        for other in others { try cluster.start(other.id) }
        try cluster.waitForController()
        try cluster.waitForAgreement(on: end)
        #expect(cluster.values == ["1", "1"])
        let next = try cluster.set("3")
        // It comes back with records that differ, and cuts them off.
        try cluster.start(old.id)
        try cluster.waitForAgreement(on: next.image.provenance.offset)
        #expect(cluster.values == ["3", "3", "3"])
    }

    @Test func loadsASnapshotWhereTheLogIsGone() throws {
        let cluster = try QuorumCluster(voters: 3, observers: 1)
        cluster.change = { configuration in
            configuration.log.maximumBytesBetweenSnapshots = 2000
            configuration.log.segmentBytes = 4096
            configuration.log.retentionBytes = 3000
        }
        for id: NodeID in 1...2 { try cluster.start(id) }
        for value in 1...199 { try cluster.set("\(value)000") }
        let leader = try cluster.set("200000")
        try cluster.waitForAgreement(on: leader.image.provenance.offset)
        let leaderID = try #require(leader.leader).id
        let log = "\(cluster[leaderID].path)/__cluster_metadata-0"
        try cluster.wait("the log's beginning to go") {
            !FileManager.default.fileExists(atPath: "\(log)/00000000000000000000.log")
        }
        for id: NodeID in 3...4 { try cluster.start(id) }
        try cluster.waitForAgreement(on: leader.image.provenance.offset)
        #expect(cluster.running.count == 4)
        #expect(cluster.values == ["200000", "200000", "200000", "200000"])
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(cluster[3].path)/__cluster_metadata-0")
        #expect(names.contains { SnapshotID(fileName: $0) != nil })
        #expect(!names.contains { $0.hasSuffix(".part") })
        // And goes on from there after a restart.
        cluster.stop(3)
        let last = try cluster.set("7")
        try cluster.start(3)
        try cluster.waitForAgreement(on: last.image.provenance.offset)
        #expect(cluster.values == ["7", "7", "7", "7"])
    }

    /// Directories that Apache Kafka 3.9 wrote, with dynamic voters: its nodes were stopped, these go on.
    @Test(.enabled(if: Shared.isThere)) func goesOnFromTheDirectoriesOfKafka() throws {
        let expected = try Fixture("cluster3")
        let (log, _) = try openMetadataLog("\(expected.path)/node2/log")
        let final = try log.loadAll().replay.image
        let fixture = try Fixture("cluster3")
        var paths: [NodeID: String] = [:]
        for id: NodeID in 1...3 { paths[id] = "\(fixture.path)/node\(id)/log" }
        // The voters in the log listen there.
        let cluster = try QuorumCluster(paths: paths, ports: [1: 29302, 2: 29303, 3: 29304])
        cluster.clusterID = "FxMainThreeNodes00000A"
        cluster.change = { configuration in
            configuration.quorum.staticVoters = nil
            for port: UInt16 in 29302...29304 {
                configuration.quorum.bootstrapServers.append(QuorumConfiguration.Server(host: "127.0.0.1", port: port))
            }
        }
        try cluster.startAll()
        let controllerMember = try cluster.waitForController()
        let controller = try #require(controllerMember.runtime)
        let epoch = try #require(controller.leader).epoch
        #expect(epoch > 6)
        #expect(controller.kraftVersion == 1)
        try cluster.waitForAgreement(on: final.provenance.offset)
        for runtime in cluster.running { #expect(runtime.image.hasSameContents(as: final)) }
        let last = try cluster.set("4711")
        try cluster.waitForAgreement(on: last.image.provenance.offset)
        let leader = try #require(cluster.members.first { $0.runtime === last })
        cluster.stop(leader.id)
        let successor = try cluster.waitForController(besides: leader.id)
        let next = try #require(successor.runtime)
        let value = QuorumCluster.value(in: next.image)
        #expect(value == "4711")
        try cluster.start(leader.id)
        try cluster.waitForAgreement(on: last.image.provenance.offset + 1)
        #expect(cluster.running.count == 3)
    }
}
