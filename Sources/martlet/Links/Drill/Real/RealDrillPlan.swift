// What a drill on real topics would do, looked up before anything is done.
import Linking
import MartletClient
import Primitives

/// A topic of the drill.
struct RealDrillItem: Sendable {
    var standing: DrillStanding
    var partitions: [TopicPartition]
    var stages: [DrillStage]
    /// Records of the side that would be left and not of the other; nil where that is not known.
    var lag: Int64?
    var refusal: String?
}

struct RealDrillPlan: Sendable {
    var kind: DrillKind
    var items: [RealDrillItem]
    var isSourceMartlet: Bool

    var isPossible: Bool { items.allSatisfy { $0.refusal == nil } }
    var isDone: Bool { items.allSatisfy { $0.refusal == nil && $0.stages.isEmpty } }
    var partitions: [TopicPartition] { items.flatMap(\.partitions) }
    var lag: Int64 { items.reduce(0) { $0 + ($1.lag ?? 0) } }

    /// In the order in which they are taken.
    var stages: [DrillStage] { DrillStage.allCases.filter { stage in items.contains { $0.stages.contains(stage) } } }

    func topics(of stage: DrillStage) -> [String] { items.filter { $0.stages.contains(stage) }.map(\.standing.topic) }

    /// Where clients write before the drill.
    var begin: DrillSide { kind == .failback ? .here : .source }

    var table: TextTable {
        var table = TextTable("TOPIC", ">PARTITIONS", "MIRROR", "WRITES ARE TAKEN BY", ">BEHIND", "STEPS", "")
        for item in items {
            let steps = item.stages.isEmpty ? "none: done" : item.stages.map(\.rawValue).joined(separator: ", ")
            table.add(
                item.standing.topic, "\(item.partitions.count)", RealDrillReport.words(item.standing),
                RealDrillReport.writers(item.standing), item.lag.map { "\($0)" } ?? "?", item.refusal == nil ? steps : "",
                item.refusal ?? "")
        }
        return table
    }

    var json: JSONValue {
        .array(
            items.map { item in
                [
                    "topic": .string(item.standing.topic), "partitions": .whole(item.partitions.count),
                    "standing": RealDrillReport.json(item.standing), "behind": item.lag.map { .integer($0) } ?? .null,
                    "steps": .strings(item.stages.map(\.rawValue)), "refusal": item.refusal.map { .string($0) } ?? .null,
                ]
            })
    }
}

extension LinkSides {
    /// How the topics of a drill stand now.
    func standings(_ topics: [String], isSourceMartlet: Bool) async throws -> [DrillStanding] {
        let own = try await LinkView(here)
        let theirs = isSourceMartlet ? try await LinkView(source) : nil
        let ownID = try await here.describeCluster().clusterID ?? ""
        // Of what the source mirrors from others a drill over this link knows nothing.
        let linksBack = Set((theirs?.links ?? []).filter { $0.sourceClusterID == ownID }.map(\.name))
        let (fences, theirFences) = (Self.topics(own.fences), Self.topics(theirs?.fences ?? []))
        return topics.map { topic in
            let mirror = own.mirrors.first { $0.topic == topic && $0.link == link.name }
            let back = theirs?.mirrors.first { $0.topic == topic && linksBack.contains($0.link) }
            return DrillStanding(
                topic: topic, here: mirror.flatMap { MirrorState(rawValue: $0.state) },
                source: back.flatMap { MirrorState(rawValue: $0.state) },
                isFencedHere: fences.contains(topic), isFencedAtSource: theirFences.contains(topic), reason: mirror?.reason ?? "")
        }
    }

    private static func topics(_ fences: [JSONValue]) -> Set<String> { Set(fences.compactMap { $0["topic"]?.stringValue }) }

    /// Looks everything up that a drill has to know before it begins.
    func plan(_ kind: DrillKind, _ selection: DrillSelection, hasNoProducers: Bool) async throws -> RealDrillPlan {
        let isMartlet = try await isSourceMartlet()
        let (names, unmatched) = selection.choose(among: mirrors.map(\.topic))
        if let pattern = unmatched.first {
            throw CommandFailure("'\(pattern)' is no mirror topic of link '\(link.name)'; `martlet link mirrors \(link.name)` lists them")
        }
        let source = DrillSource(isMartlet: isMartlet, hasNoProducers: hasNoProducers)
        var items: [RealDrillItem] = []
        for standing in try await standings(names, isSourceMartlet: isMartlet) {
            let partitions =
                (try? await here.cluster.topic(standing.topic).partitions.map { TopicPartition(standing.topic, $0.partition) }) ?? []
            let lag = partitions.isEmpty ? nil : try? await behind(partitions, kind)
            var item = RealDrillItem(standing: standing, partitions: partitions, stages: standing.stages(of: kind, source), lag: lag)
            item.refusal = standing.refusal(of: kind, source, lag: lag)
            if item.refusal == nil, partitions.isEmpty { item.refusal = "there is no such topic here any more" }
            items.append(item)
        }
        return RealDrillPlan(kind: kind, items: items, isSourceMartlet: isMartlet)
    }

    /// Records of the side that is left that the other has not, by where their partitions end.
    private func behind(_ partitions: [TopicPartition], _ kind: DrillKind) async throws -> Int64 {
        let queries = partitions.map { (partition: $0, query: OffsetQuery.latest) }
        // The other side first: what comes in between counts as missing, not the other way round.
        let (left, right) = kind == .failback ? (here, source) : (source, here)
        let had = try await right.cluster.offsets(queries)
        let has = try await left.cluster.offsets(queries)
        return partitions.reduce(0) { sum, partition in sum + max(0, (has[partition]?.offset ?? 0) - (had[partition]?.offset ?? 0)) }
    }
}
