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
        let controller = try #require(try cluster.waitForController().runtime)
        #expect(cluster.running.filter(\.isActive).count == 1)
        for value in 1...20 { try QuorumCluster.set("\(value)000", in: controller) }
        try cluster.waitForAgreement(on: controller.image.provenance.offset)
        #expect(cluster.running.count == 4)
        for runtime in cluster.running {
            #expect(QuorumCluster.value(in: runtime.image) == "20000")
            #expect(runtime.leader == controller.leader && runtime.leader != nil)
            #expect(runtime.controllerAddress?.port == cluster[controller.leader?.id ?? 1].port)
        }
        let other = try #require(cluster.running.first { !$0.isActive })
        #expect { try QuorumCluster.set("1", in: other) } throws: { ($0 as? RequestFailure)?.code == .notController }
    }

    @Test func survivesTheLossOfTheLeader() throws {
        let cluster = try QuorumCluster()
        try cluster.startAll()
        for round in 1...3 {
            let leader = try cluster.waitForController()
            try QuorumCluster.set("\(round)111", in: try #require(leader.runtime))
            cluster.stop(leader.id, patience: round == 2 ? 0 : 500)
            let next = try cluster.waitForController(besides: leader.id)
            let runtime = try #require(next.runtime)
            #expect(QuorumCluster.value(in: runtime.image) == "\(round)111")
            try QuorumCluster.set("\(round)222", in: runtime)
            try cluster.start(leader.id)
            try cluster.waitForAgreement(on: runtime.image.provenance.offset)
            #expect(QuorumCluster.value(in: try #require(leader.runtime).image) == "\(round)222")
        }
    }

    @Test func aLeaderCutOffGivesUpAndItsUndecidedRecordsGo() throws {
        let cluster = try QuorumCluster()
        try cluster.startAll()
        let old = try cluster.waitForController()
        let former = try #require(old.runtime)
        try QuorumCluster.set("1", in: former)
        try cluster.waitForAgreement(on: former.image.provenance.offset)
        // The others are gone: what is decided now never has a majority.
        let others = cluster.members.filter { $0.id != old.id }
        for other in others { cluster.stop(other.id, patience: 0) }
        let end = former.image.provenance.offset
        #expect { try QuorumCluster.set("2", in: former) } throws: { ($0 as? RequestFailure)?.code == .notController }
        #expect(!former.isActive && QuorumCluster.value(in: former.image) == "1" && former.image.provenance.offset == end)
        cluster.stop(old.id, patience: 0)
        // The others go on without it and know nothing of the second value.
        for other in others { try cluster.start(other.id) }
        let next = try #require(try cluster.waitForController().runtime)
        #expect(QuorumCluster.value(in: next.image) == "1")
        try QuorumCluster.set("3", in: next)
        // It comes back with records that differ, and cuts them off.
        try cluster.start(old.id)
        try cluster.waitForAgreement(on: next.image.provenance.offset)
        #expect(QuorumCluster.value(in: try #require(old.runtime).image) == "3")
    }

    @Test func loadsASnapshotWhereTheLogIsGone() throws {
        let cluster = try QuorumCluster(voters: 3, observers: 1)
        cluster.change = { configuration in
            configuration.log.maximumBytesBetweenSnapshots = 2000
            configuration.log.segmentBytes = 4096
            configuration.log.retentionBytes = 3000
        }
        for id: NodeID in 1...2 { try cluster.start(id) }
        let leader = try #require(try cluster.waitForController().runtime)
        for value in 1...200 { try QuorumCluster.set("\(value)000", in: leader) }
        try cluster.waitForAgreement(on: leader.image.provenance.offset)
        let log = "\(cluster[leader.leader?.id ?? 1].path)/__cluster_metadata-0"
        try cluster.wait("the log's beginning to go") {
            !FileManager.default.fileExists(atPath: "\(log)/00000000000000000000.log")
        }
        for id: NodeID in 3...4 { try cluster.start(id) }
        try cluster.waitForAgreement(on: leader.image.provenance.offset)
        #expect(cluster.running.count == 4)
        for runtime in cluster.running { #expect(QuorumCluster.value(in: runtime.image) == "200000") }
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(cluster[3].path)/__cluster_metadata-0")
        #expect(names.contains { SnapshotID(fileName: $0) != nil })
        #expect(!names.contains { $0.hasSuffix(".part") })
        // And goes on from there after a restart.
        cluster.stop(3)
        try QuorumCluster.set("7", in: try #require(try cluster.waitForController().runtime))
        try cluster.start(3)
        try cluster.waitForAgreement(on: try #require(cluster.waitForController().runtime).image.provenance.offset)
        #expect(QuorumCluster.value(in: try #require(cluster[3].runtime).image) == "7")
    }
}
