// One mirror topic beside its source: what is compared of each partition, how, and what became of it.
import MartletClient
import Primitives

/// What is wanted of a comparison.
struct ComparisonPlan: Sendable {
    var from: Offset?
    /// The offset after the last one.
    var to: Offset?
    /// Share of the offsets to look at; 1 for all.
    var share = 1.0
    var seed: UInt64 = 0
    /// Record by record whatever the topic's cleanup policy is.
    var comparesRecords = false
    var answerBytes = 1 << 20
    /// Keys remembered at a time.
    var keyLimit = RecordComparison.defaultLimit

    /// The blocks of a range that are looked at: all of it, or some that a seed chooses, the last one always.
    func blocks(of range: Range<Offset>, partition: Int32) -> [Range<Offset>] {
        guard share < 1, range.count > Self.smallestBlock else { return [range] }
        let count = min(Self.maximumBlocks, Int((Int64(range.count) + Self.smallestBlock - 1) / Self.smallestBlock))
        let wanted = max(1, Int((Double(count) * share).rounded(.up)))
        var random = SeededRandom(seed: seed &+ UInt64(bitPattern: Int64(partition)))
        var chosen = Array(0..<count - 1)
        for index in 0..<min(wanted - 1, chosen.count) {
            chosen.swapAt(index, index + Int(random.next() % UInt64(chosen.count - index)))
        }
        let numbers = chosen.prefix(wanted - 1).sorted() + [count - 1]
        let length = Double(range.count) / Double(count)
        return numbers.map { number in
            let start = range.lowerBound + Offset(Double(number) * length)
            return start..<(number == count - 1 ? range.upperBound : range.lowerBound + Offset(Double(number + 1) * length))
        }
    }

    private static let smallestBlock: Offset = 500
    private static let maximumBlocks = 10_000
}

/// First and next offsets of both sides.
struct PartitionEnds: Sendable {
    var sourceStart: Offset
    var sourceEnd: Offset
    var ownStart: Offset
    var ownEnd: Offset

    var common: Range<Offset> {
        let start = max(sourceStart, ownStart)
        return start..<max(start, min(sourceEnd, ownEnd))
    }
}

/// What became of one partition.
struct PartitionVerdict: Sendable {
    var partition: Int32
    var ends: PartitionEnds
    var range: Range<Offset>
    var mode: ComparisonMode
    var counts = ComparisonCounts()
    /// Why it could not be compared to the end.
    var problem: String?

    var isSame: Bool { counts.differences == 0 && problem == nil }

    var json: JSONValue {
        [
            "partition": .whole(partition), "from": .integer(range.lowerBound), "to": .integer(range.upperBound),
            "compared": .string(mode.rawValue), "batches": .whole(counts.batches), "records": .whole(counts.records),
            "bytes": .whole(counts.bytes), "differences": .whole(counts.differences), "first": counts.first?.json ?? .null,
            "problem": .optional(problem),
            "source": ["startOffset": .integer(ends.sourceStart), "endOffset": .integer(ends.sourceEnd)],
            "here": ["startOffset": .integer(ends.ownStart), "endOffset": .integer(ends.ownEnd)],
        ]
    }
}

/// Compares the partitions of one mirror topic.
struct TopicComparison: Sendable {
    let topic: String
    let sourceTopic: String
    /// Whether clients write to the mirror, which then goes on by itself.
    let isWritable: Bool
    let here: AdminClient
    let source: AdminClient
    let plan: ComparisonPlan
    let progress: ComparisonProgress

    /// Everything that can be said before a record is read: partitions with their ends, and the way to compare them.
    func partitions() async throws -> (own: Int, source: Int, mode: ComparisonMode, ends: [PartitionEnds]) {
        let own = try await here.describeTopics([topic]).values()[0].partitions.count
        let others = try await source.describeTopics([sourceTopic]).values()[0].partitions.count
        try await here.cluster.refreshMetadata(topics: [topic])
        try await source.cluster.refreshMetadata(topics: [sourceTopic])
        let areCompacted = [try await isCompacted(here, topic), try await isCompacted(source, sourceTopic)]
        let mode: ComparisonMode = plan.comparesRecords || areCompacted.contains(true) ? .records : .batches
        return (own, others, mode, try await ends(min(own, others), mode))
    }

    private func isCompacted(_ admin: AdminClient, _ topic: String) async throws -> Bool {
        let settings = try await admin.describeConfigs([.topic(topic)], names: ["cleanup.policy"]).values().first ?? []
        return settings.first { $0.name == "cleanup.policy" }?.value?.contains("compact") ?? false
    }

    private func ends(_ count: Int, _ mode: ComparisonMode) async throws -> [PartitionEnds] {
        let isolation: IsolationLevel = mode == .records ? .readCommitted : .readUncommitted
        func offsets(_ admin: AdminClient, _ topic: String, _ query: OffsetQuery) async throws -> [Offset] {
            let names = (0..<Int32(count)).map { TopicPartition(topic, $0) }
            let found = try await admin.cluster.offsets(names.map { ($0, query) }, isolation: isolation)
            return names.map { found[$0]?.offset ?? 0 }
        }
        // The mirror's end first: whatever it has by then, the source had before.
        let ownEnds = try await offsets(here, topic, .latest)
        let sourceEnds = try await offsets(source, sourceTopic, .latest)
        let ownStarts = try await offsets(here, topic, .earliest)
        let sourceStarts = try await offsets(source, sourceTopic, .earliest)
        return (0..<count).map { index in
            PartitionEnds(
                sourceStart: sourceStarts[index], sourceEnd: sourceEnds[index], ownStart: ownStarts[index], ownEnd: ownEnds[index])
        }
    }

    func compare(_ number: Int32, _ ends: PartitionEnds, _ mode: ComparisonMode) async -> PartitionVerdict {
        var range = ends.common
        if let from = plan.from { range = min(max(range.lowerBound, from), range.upperBound)..<range.upperBound }
        if let to = plan.to { range = range.lowerBound..<max(range.lowerBound, min(range.upperBound, to)) }
        var verdict = PartitionVerdict(partition: number, ends: ends, range: range, mode: mode)
        if ends.ownEnd > ends.sourceEnd, plan.to == nil, !isWritable {
            verdict.counts.add(
                Difference(offset: ends.sourceEnd, what: "the end", source: "\(ends.sourceEnd)", here: "\(ends.ownEnd)"))
        }
        // Retention goes on while this reads.
        for _ in 0..<10 {
            do throws(ComparisonStop) {
                guard !range.isEmpty else { return verdict }
                let counts = try await run(number, range, ends, mode)
                verdict.counts.take(counts)
                return verdict
            } catch {
                switch error {
                case .interrupted: verdict.problem = "interrupted"
                case .failed(let failure): verdict.problem = failure.explanation
                case .outOfRange:
                    guard let start = try? await self.ends(Int(number) + 1, mode).last?.common.lowerBound, start > range.lowerBound else {
                        verdict.problem = "an offset of it is gone on one side"
                        return verdict
                    }
                    range = min(start, range.upperBound)..<range.upperBound
                    verdict.range = range
                    continue
                }
                return verdict
            }
        }
        verdict.problem = "records go faster than they can be read"
        return verdict
    }

    private func run(
        _ number: Int32, _ range: Range<Offset>, _ ends: PartitionEnds, _ mode: ComparisonMode
    ) async throws(ComparisonStop) -> ComparisonCounts {
        let isolation: IsolationLevel = mode == .records ? .readCommitted : .readUncommitted
        let pair = PartitionPair(
            source: StoredPartition(
                source.cluster, TopicPartition(sourceTopic, number), isolation: isolation, maximumBytes: plan.answerBytes),
            here: StoredPartition(here.cluster, TopicPartition(topic, number), isolation: isolation, maximumBytes: plan.answerBytes),
            meter: ComparisonMeter(progress, from: range.lowerBound))
        defer { pair.meter.reached(range.upperBound) }
        guard mode == .batches else {
            var comparison = RecordComparison(pair, range, sourceEnd: ends.sourceEnd, ownEnd: ends.ownEnd, limit: plan.keyLimit)
            try await comparison.run()
            return comparison.counts
        }
        var comparison = BatchComparison(pair, at: range.lowerBound)
        for block in plan.blocks(of: range, partition: number) { try await comparison.run(block) }
        return comparison.counts
    }
}

extension ComparisonCounts {
    /// Adds what another part of the work has counted.
    mutating func take(_ other: ComparisonCounts) {
        batches += other.batches
        records += other.records
        bytes += other.bytes
        differences += other.differences
        if let theirs = other.first, first.map({ theirs.offset < $0.offset }) ?? true { first = theirs }
    }
}
