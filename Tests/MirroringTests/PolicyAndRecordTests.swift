// Names of topics, bytes of the internal topics' records, and who copies what.
import Mirroring
import NIOCore
import Primitives
import Testing

@Suite("Names between clusters")
struct ReplicationPolicyTests {
    @Test("The default policy names the source, through every cluster of a chain")
    func prefixed() {
        let policy = ReplicationPolicy(sourceAlias: "A")
        #expect(policy.remoteTopic("t") == "A.t" && policy.remoteTopic("B.t") == "A.B.t")
        #expect(policy.source(of: "A.B.t") == "A" && policy.upstreamTopic("A.B.t") == "B.t" && policy.originalTopic("A.B.t") == "t")
        #expect(policy.source(of: "t") == nil && policy.upstreamTopic("t") == nil && policy.source(of: "t.") == nil)
        #expect(policy.isHeartbeatsTopic("heartbeats") && policy.isHeartbeatsTopic("C.heartbeats"))
        #expect(policy.isCycle("B.t", target: "B") && policy.isCycle("A.t", target: "B") && policy.isCycle("C.B.t", target: "B"))
        #expect(!policy.isCycle("C.t", target: "B") && !policy.isCycle("t", target: "B"))
        #expect(policy.isInternalTopic("mm2-status.A.internal") && policy.isInternalTopic("A.checkpoints.internal"))
        #expect(!policy.isInternalTopic("a.internal"))
    }

    @Test("Another separator, and names of internal topics with and without it")
    func separators() {
        var policy = ReplicationPolicy(separator: "__", sourceAlias: "A")
        #expect(policy.remoteTopic("t") == "A__t" && policy.source(of: "A__t") == "A" && policy.source(of: "A.t") == nil)
        #expect(
            policy.offsetSyncsTopic("B") == "mm2-offset-syncs__B__internal" && policy.checkpointsTopic("A") == "A__checkpoints__internal")
        policy.separatesInternalTopics = false
        #expect(policy.offsetSyncsTopic("B") == "mm2-offset-syncs.B.internal" && policy.checkpointsTopic("A") == "A.checkpoints.internal")
    }

    @Test("The identity policy keeps names, except those of heartbeats")
    func identity() {
        let policy = ReplicationPolicy(kind: .identity, sourceAlias: "A")
        #expect(policy.remoteTopic("t") == "t" && policy.remoteTopic("heartbeats") == "A.heartbeats")
        #expect(
            !policy.isCycle("t", target: "B") && policy.isCycle("B.heartbeats", target: "B") && !policy.isCycle("C.heartbeats", target: "B")
        )
    }
}

@Suite("Records of MirrorMaker's internal topics")
struct InternalRecordTests {
    private func hex(_ buffer: ByteBuffer) -> String {
        buffer.readableBytesView.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    @Test("Offset syncs, checkpoints and heartbeats are MirrorMaker's byte for byte, and read back")
    func bytes() throws {
        let sync = OffsetSync(partition: TopicPartition("ab", 3), upstreamOffset: 258, downstreamOffset: 7)
        #expect(hex(sync.key) == "0002616200000003")
        #expect(hex(sync.value) == "00000000000001020000000000000007")
        #expect(try OffsetSync(key: sync.key, value: sync.value) == sync)

        let checkpoint = Checkpoint(group: "g", partition: TopicPartition("A.t", 1), upstreamOffset: 5, downstreamOffset: 6, metadata: "m")
        #expect(hex(checkpoint.key) == "0001670003412e7400000001")
        #expect(hex(checkpoint.value) == "00000000000000000005000000000000000600016d")
        #expect(try Checkpoint(key: checkpoint.key, value: checkpoint.value) == checkpoint)

        let heartbeat = Heartbeat(sourceAlias: "A", targetAlias: "BB", timestamp: 1)
        #expect(hex(heartbeat.key) == "00014100024242")
        #expect(hex(heartbeat.value) == "00000000000000000001")
        #expect(try Heartbeat(key: heartbeat.key, value: heartbeat.value) == heartbeat)
    }

    @Test("Positions are Connect's, with the members in the order of Java's hash map")
    func positions() throws {
        let position = SourcePosition(sourceAlias: "A", partition: TopicPartition("t", 0), offset: 41)
        #expect(String(buffer: position.key) == #"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]"#)
        #expect(String(buffer: position.value) == #"{"offset":41}"#)
        #expect(try SourcePosition(key: position.key, value: position.value) == position)
        let other = ByteBuffer(string: #"["MirrorHeartbeatConnector",{"sourceClusterAlias":"A","targetClusterAlias":"B"}]"#)
        #expect(try SourcePosition(key: other, value: position.value) == nil)
        #expect(try SourcePosition(key: position.key, value: nil) == nil)
        #expect(throws: InternalRecordError.self) { try SourcePosition(key: ByteBuffer(string: "["), value: position.value) }
    }

    @Test("What is cut off or of another version is refused")
    func damage() {
        let checkpoint = Checkpoint(group: "g", partition: TopicPartition("A.t", 1), upstreamOffset: 5, downstreamOffset: 6, metadata: "m")
        for length in 0..<checkpoint.value.readableBytes {
            #expect(throws: InternalRecordError.self) {
                try Checkpoint(key: checkpoint.key, value: checkpoint.value.getSlice(at: 0, length: length) ?? ByteBuffer())
            }
        }
        for length in 0..<checkpoint.key.readableBytes {
            #expect(throws: InternalRecordError.self) {
                try Checkpoint(key: checkpoint.key.getSlice(at: 0, length: length) ?? ByteBuffer(), value: checkpoint.value)
            }
        }
        var newer = checkpoint.value
        newer.setInteger(Int16(9), at: 0)
        #expect(throws: InternalRecordError.unsupportedVersion(9)) { try Checkpoint(key: checkpoint.key, value: newer) }
    }

    @Test("A checkpoint is written when the group went on or was set back, not when translation got coarser")
    func moreRecent() {
        func at(_ upstream: Int64, _ downstream: Int64) -> Checkpoint {
            Checkpoint(
                group: "g", partition: TopicPartition("A.t", 0), upstreamOffset: upstream, downstreamOffset: downstream, metadata: "")
        }
        #expect(at(5, 5).isMoreRecent(than: nil) && at(6, 6).isMoreRecent(than: at(5, 5)) && at(2, 2).isMoreRecent(than: at(5, 5)))
        #expect(!at(5, 5).isMoreRecent(than: at(5, 5)) && !at(6, 4).isMoreRecent(than: at(5, 5)))
    }
}

@Suite("Work of a flow's workers")
struct WorkDistributionTests {
    @Test("New partitions go where least is done, and nothing else moves")
    func sticky() {
        var work = WorkDistribution(workers: 3)
        let first = (0..<9).map { TopicPartition("t", $0) }
        work.update(first) { _ in nil }
        for worker in 0..<3 { #expect(work.assignments.values.filter { $0 == worker }.count == 3) }
        let before = work.assignments
        // One partition carries much more than the others.
        let busy = work.worker(of: first[0])
        let load: (TopicPartition) -> Double? = { $0 == first[0] ? 1000 : 1 }
        let more = first + (0..<4).map { TopicPartition("u", $0) }
        work.update(more, load: load)
        for (partition, worker) in before { #expect(work.worker(of: partition) == worker) }
        for partition in more.suffix(4) { #expect(work.worker(of: partition) != busy) }
        let kept = Array(more.dropFirst(3))
        let present = work.assignments
        work.update(kept, load: load)
        #expect(work.assignments.count == kept.count)
        for partition in kept { #expect(work.worker(of: partition) == present[partition]) }
    }
}
