// Where records have been: what is left out so that none goes round or comes twice.
import NIOCore
import Primitives
import RecordBatches
import Synchronization
import Testing

@testable import MirrorMaker
@testable import Mirroring

@Suite("Provenance")
struct ProvenanceTests {
    private static let topicID = KafkaUUID(mostSignificantBits: 7, leastSignificantBits: 8)

    private static func rule(_ source: String, _ target: String, topic: String = "orders", partition: Int32 = 3) -> ProvenanceRule {
        ProvenanceRule(
            policy: ReplicationPolicy(kind: .identity, sourceAlias: source), sourceID: "id-\(source)", targetID: "id-\(target)",
            topic: topic,
            topicID: topicID, partition: partition)
    }

    private static func record(_ offset: Int64) -> Record {
        Record(offset: offset, timestamp: 99, key: nil, value: ByteBuffer(string: "v"), headers: [RecordHeader("own", "x")])
    }

    private static func known(_ origin: RecordOrigin, _ highest: Int64) -> KnownOrigins {
        var known = KnownOrigins()
        known.wrote(RecordPath(origin), highest...highest)
        return known
    }

    @Test("A way that begins later than another takes nothing from it")
    func ways() {
        let origin = RecordOrigin(clusterID: "id-A", topicID: Self.topicID)
        let (direct, other) = (RecordPath(origin), RecordPath(origin, clusters: ["id-B"]))
        var known = KnownOrigins()
        known.wrote(other, 1000...1100)
        #expect(!known.has(direct, 999) && known.has(direct, 1000) && !known.has(direct, 1101))
        #expect(known.has(other, 3), "what this way had before it has passed on")
        #expect(known.mayHave(direct, 900...1000) && !known.mayHave(direct, 0...999))
        known.wrote(direct, 0...10)
        #expect(known.has(direct, 5) && !known.has(direct, 11) && known.has(other, 1101) == false)
        known.forget(origin)
        #expect(!known.has(direct, 5) && !known.has(other, 1000))
    }

    @Test("Ranges hold what was put in, whatever the order")
    func ranges() {
        var random = SeededRandom(seed: 3)
        var (ranges, offsets) = (OffsetRanges(), Set<Int64>())
        for _ in 0..<400 {
            let start = Int64.random(in: 0..<2000, using: &random)
            let range = start...(start + Int64.random(in: 0..<6, using: &random))
            #expect(ranges.overlaps(range) == range.contains { offsets.contains($0) })
            ranges.insert(range)
            offsets.formUnion(range)
        }
        for offset in Int64(-2)..<2010 { #expect(ranges.contains(offset) == offsets.contains(offset)) }
        for (left, right) in zip(ranges.ranges, ranges.ranges.dropFirst()) { #expect(left.upperBound + 1 < right.lowerBound) }
        var few = OffsetRanges(limit: 3)
        for number in Int64(0)..<10 { few.insert(number * 10...number * 10) }
        #expect(few.ranges == [70...70, 80...80, 90...90])
    }

    @Test("What is known of a target is written down and read again; the oldest gaps are forgotten, and damage is noticed")
    func snapshots() throws {
        let origins = ["A", "B"].map { RecordOrigin(clusterID: "id-\($0)", topicID: Self.topicID) }
        var known = KnownOrigins()
        known.wrote(RecordPath(origins[0]), 0...99)
        known.wrote(RecordPath(origins[1], clusters: ["id-A", "id-C"]), 7...7)
        known.wrote(RecordPath(origins[1]), 9...12)
        let snapshot = OriginSnapshot(known, topicID: Self.topicID, end: 1234)
        #expect(OriginSnapshot(snapshot.value) == snapshot)
        let empty = OriginSnapshot(KnownOrigins(), topicID: .zero, end: 0)
        #expect(OriginSnapshot(empty.value) == empty)
        for number in Int64(0)..<500 { known.wrote(RecordPath(origins[1]), number * 10...number * 10 + 1) }
        let short = try #require(OriginSnapshot(OriginSnapshot(known, topicID: .zero, end: 1).value)).known
        let path = RecordPath(origins[1], clusters: ["id-X"])
        #expect(short.has(path, 4990) && short.has(path, 3721) && !short.has(path, 3719) && !short.has(path, 3711))
        #expect(short.has(RecordPath(origins[1]), 3), "ways are kept whole")
        var merged = KnownOrigins()
        merged.wrote(RecordPath(origins[0]), 200...210)
        merged.formUnion(snapshot.known)
        #expect(merged.has(RecordPath(origins[0]), 210) && merged.has(path, 9) && !merged.has(path, 8))
        let text = String(buffer: snapshot.value)
        for damaged in ["", "{}", "[]", text.replacing("1234", with: "-1"), text.replacing("[0,99]", with: "[99,0]"), text + "}"] {
            #expect(OriginSnapshot(ByteBuffer(string: damaged)) == nil, "\(damaged)")
        }
        #expect(OriginSnapshot(ByteBuffer(string: text.replacing("id-A", with: String(repeating: "x", count: 300_000)))) == nil)
    }

    @Test("What failed is in doubt for all flows until somebody has looked it up")
    func doubts() async {
        let (origins, partition) = (TargetOrigins(), TopicPartition("t", 0))
        let path = RecordPath(RecordOrigin(clusterID: "id-A", topicID: Self.topicID))
        #expect(origins.snapshot(partition) == nil, "nobody has looked yet")
        origins.scanned(partition, Self.topicID, end: 50, nil)
        await origins.alone(with: [partition]) {
            #expect(origins.rest(of: partition) == nil, "somebody writes")
            origins.wrote(partition, [path: Self.ranges(0...9)], end: 60)
        }
        #expect(origins.snapshot(partition)?.end == 60 && origins.known(partition).has(path, 9))
        // Applications wrote behind it, and nobody of us did.
        let rest = origins.rest(of: partition)
        origins.passed(partition, to: 80, since: rest ?? -1)
        #expect(origins.snapshot(partition)?.end == 80)
        await origins.alone(with: [partition]) { origins.doubt(partition) }
        origins.passed(partition, to: 90, since: rest ?? -1)
        #expect(origins.snapshot(partition)?.end == 80, "what is in doubt begins there")
        let doubt = origins.doubt(about: partition)
        #expect(doubt?.from == 80)
        // Something else failed while that was looked up.
        origins.doubt(partition)
        origins.scanned(partition, Self.topicID, end: 90, doubt)
        #expect(origins.doubt(about: partition) != nil)
        origins.scanned(partition, Self.topicID, end: 95, origins.doubt(about: partition))
        #expect(origins.doubt(about: partition) == nil && origins.snapshot(partition)?.end == 95)
        #expect(origins.snapshot(partition)?.topicID == Self.topicID && origins.losses(of: partition) == 0)
        origins.forget(partition, path.origin)
        #expect(origins.losses(of: partition) == 1 && origins.snapshot(partition)?.known.has(path, 9) == false)
    }

    private static func ranges(_ range: ClosedRange<Int64>) -> OffsetRanges {
        var ranges = OffsetRanges()
        ranges.insert(range)
        return ranges
    }

    @Test("The header's text, and what is none")
    func text() {
        let stage = Provenance(
            alias: "A", clusterID: "4L6g3nShT-eMCtK--X86sw", topic: "orders", topicID: Self.topicID, partition: 3, offset: 42, timestamp: -1
        )
        #expect(stage.text == "A|4L6g3nShT-eMCtK--X86sw|orders|\(Self.topicID)|3|42|-1" && Provenance(stage.text) == stage)
        for text in [
            "", "A|b|c", "A||orders|\(Self.topicID)|3|42|1", "A|b|orders|\(Self.topicID)|-3|42|1", stage.text + "|x", "A|b|t|?|1|1|1",
        ] {
            #expect(Provenance(text) == nil, "\(text)")
        }
    }

    @Test("A record goes A→B→C, and never back to where it has been")
    func roundTrip() throws {
        var record = Self.record(5)
        let origin = RecordOrigin(clusterID: "id-A", topicID: Self.topicID)
        #expect(Self.rule("A", "B").judge(record.headers, offset: 5) == .comes(RecordPath(origin), at: 5))
        Self.rule("A", "B").stamp(&record)
        record.offset = 17
        #expect(Self.rule("B", "A").judge(record.headers, offset: 17) == .returns)
        #expect(Self.rule("B", "C").judge(record.headers, offset: 17) == .comes(RecordPath(origin, clusters: ["id-B"]), at: 5))
        Self.rule("B", "C").stamp(&record)
        #expect(Self.rule("C", "A").judge(record.headers, offset: 0) == .returns)
        #expect(Self.rule("C", "B").judge(record.headers, offset: 0) == .returns)
        #expect(Self.rule("C", "D").judge(record.headers, offset: 0) == .comes(RecordPath(origin, clusters: ["id-B", "id-C"]), at: 5))
        #expect(Self.rule("X", "C").path(onTarget: record.headers)?.path == RecordPath(origin, clusters: ["id-B"]))
        #expect(record.headers.map(\.key) == ["own", "martlet.provenance", "martlet.provenance"])
    }

    @Test("Headers that an application took over into another record do not count")
    func foreign() {
        var record = Self.record(5)
        Self.rule("A", "B").stamp(&record)
        let own = RecordOrigin(clusterID: "id-B", topicID: Self.topicID)
        #expect(Self.rule("B", "A", topic: "enriched").judge(record.headers, offset: 9) == .comes(RecordPath(own), at: 9))
        #expect(Self.rule("B", "A", partition: 0).judge(record.headers, offset: 9) == .comes(RecordPath(own), at: 9))
        let broken: RecordHeaders = [RecordHeader("martlet.provenance", "A|id-A"), RecordHeader("martlet.provenance", nil)]
        #expect(Self.rule("B", "A").judge(broken, offset: 9) == .comes(RecordPath(own), at: 9))
    }

    @Test("Records that are there already are left out, on the way and at the end; the rest is as it was")
    func known() throws {
        let rule = Self.rule("A", "B")
        let origin = RecordOrigin(clusterID: "id-A", topicID: Self.topicID)
        let stored = try CopiedBatchTests.batch(at: 10, offsets: Array(10..<20), size: 5000) { $0.compression = Compression(.lz4) }
        var rewriting = RecordRewriting([], rule, known: Self.known(origin, 12))
        let copies = try BatchCopying.copies(of: CopiedBatchTests.fetched([stored], from: 10), ProduceSettings(), &rewriting)
        #expect(rewriting?.counts == RewriteCounts(known: 3) && rewriting?.passed[RecordPath(origin)]?.ranges == [13...19])
        #expect(copies.flatMap(\.segments) == [CopiedBatch.Segment(upstream: 13, count: 7)])
        // What the source has not written there first cannot come on another way.
        #expect(rewriting?.passed(from: 10, to: 25)[RecordPath(origin)]?.ranges == [10...24])
        let (left, removed) = try copies[0].without(Self.known(origin, 15), rule, nil)
        let rest = try #require(left)
        #expect(removed == 3 && rest.segments == [CopiedBatch.Segment(upstream: 16, count: 4)])
        let records = try RecordBatch(rest.bytes).allRecords()
        #expect(records.map(\.key) == (16..<20).map { ByteBuffer(string: "k\($0)") })
        #expect(records[0].headers.map(\.key) == ["h", "none", "martlet.provenance"] && records[0].timestamp == 1016)
        #expect(try RecordBatch(rest.bytes).header.compression == .lz4)
        #expect(try copies[0].without(Self.known(origin, 19), rule, nil).batch == nil)
        #expect(try copies[0].without(Self.known(origin, 3), rule, nil).removed == 0)
    }

    @Test("A refused record ends a copy, and what is before it goes on")
    func refused() throws {
        let stored = try CopiedBatchTests.batch(at: 0, offsets: Array(0..<4))
        let transform = try TransformTests.transform("drop = value.a")
        var rewriting = RecordRewriting([transform], nil, known: KnownOrigins())
        var copies = try BatchCopying.copies(of: CopiedBatchTests.fetched([stored], from: 0), ProduceSettings(), &rewriting)
        #expect(copies.isEmpty && rewriting?.refused?.offset == 0)
        #expect(rewriting?.passed(from: 0, to: 4).isEmpty == true)
        // Offset 4 is a tombstone, and passes.
        let later = try CopiedBatchTests.batch(at: 4, offsets: [4, 5])
        rewriting = RecordRewriting([transform], nil, known: KnownOrigins())
        copies = try BatchCopying.copies(of: CopiedBatchTests.fetched([later], from: 4), ProduceSettings(), &rewriting)
        #expect(copies.map(\.count) == [1] && rewriting?.refused?.offset == 5)
    }

    @Test("Nobody writes to a partition that another one writes to, and whoever waits longer goes first")
    func alone() async {
        let origins = TargetOrigins()
        let (first, second) = (TopicPartition("t", 0), TopicPartition("t", 1))
        let inside = Counter()
        await withTaskGroup(of: Void.self) { group in
            for turn in 0..<200 {
                let wanted: Set<TopicPartition> = turn % 3 == 0 ? [first, second] : turn % 3 == 1 ? [first] : [second]
                group.addTask {
                    await origins.alone(with: wanted) {
                        inside.enter(wanted)
                        await Task.yield()
                        inside.leave(wanted)
                    }
                }
            }
        }
        #expect(inside.done == 200 && inside.collisions == 0)
    }

    @Test("Identity flows in a cycle have provenance headers, or are refused; others have none")
    func configuration() throws {
        let identity = "\nreplication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
        let base = MirrorConfigurationTests.base
        #expect(try MirrorConfigurationTests.read(base + identity).flows.map(\.addsProvenance) == [false, false])
        let both = base + identity + "\nB->A.enabled = true"
        #expect(try MirrorConfigurationTests.read(both).flows.map(\.addsProvenance) == [true, true])
        // The other direction may run in another process.
        #expect(try MirrorConfigurationTests.read(both, targets: ["A"]).flows.map(\.addsProvenance) == [true])
        let ring =
            "clusters = A, B, C\nC.bootstrap.servers = c:1\n" + base.replacing("clusters = A, B", with: "")
            + identity + "\nB->C.enabled = true\nC->A.enabled = true"
        #expect(try MirrorConfigurationTests.read(ring).flows.filter(\.isEnabled).allSatisfy(\.addsProvenance))
        let errors = MirrorConfigurationTests.errors(both + "\nreplication.provenance.headers.enable = false")
        #expect(errors.first?.message.contains("go round for ever") == true, "\(errors)")
        let wanted = try MirrorConfigurationTests.read(base + "\nA->B.replication.provenance.headers.enable = true")
        #expect(wanted.flows.map(\.addsProvenance) == [true, false])
    }
}

private final class Counter: Sendable {
    private struct State {
        var inside: Set<TopicPartition> = []
        var done = 0
        var collisions = 0
    }

    private let state = Mutex(State())

    func enter(_ partitions: Set<TopicPartition>) {
        state.withLock { state in
            if !state.inside.isDisjoint(with: partitions) { state.collisions += 1 }
            state.inside.formUnion(partitions)
        }
    }

    func leave(_ partitions: Set<TopicPartition>) {
        state.withLock { state in
            state.inside.subtract(partitions)
            state.done += 1
        }
    }

    var done: Int { state.withLock { $0.done } }
    var collisions: Int { state.withLock { $0.collisions } }
}
