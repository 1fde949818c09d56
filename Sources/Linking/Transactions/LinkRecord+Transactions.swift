// The records about transactions, in JSON as the others.
import Collections
import Primitives

extension LinkRecord {
    private static let mirrorType = "settled-mirror"
    private static let decisionsType = "settled-transactions"
    private static let offsetsType = "settled-offsets"

    /// Whether the record counts only together with those beside it, so that they have to stand in one batch.
    public var isPartOfStep: Bool {
        switch self {
        case .settledMirror, .settledDecisions, .settledOffsets, .settledOffsetsRemoved: true
        default: false
        }
    }

    static func settledMirrorKey(_ link: String, _ topic: String) -> JSONValue {
        ["type": .string(mirrorType), "name": .string(link), "topic": .string(topic)]
    }

    static func settledDecisionsKey(_ link: String) -> JSONValue { ["type": .string(decisionsType), "name": .string(link)] }

    static func settledOffsetsKey(_ link: String, _ group: String) -> JSONValue {
        ["type": .string(offsetsType), "name": .string(link), "group": .string(group)]
    }

    static func json(settled offsets: [TopicPartition: GroupOffset]) -> JSONValue {
        ["version": .integer(version), "offsets": GroupOffsets.json(offsets)]
    }

    static func json(_ offsets: [SettledMirror?]) -> JSONValue {
        [
            "version": .integer(version),
            "partitions": .array(offsets.map { $0.map { [.integer($0.end), .integer($0.stable)] } ?? .null }),
        ]
    }

    static func json(_ decisions: SettledDecisions) -> JSONValue {
        [
            "version": .integer(version),
            "positions": .array(decisions.positions.map { [.integer(Int64($0)), .integer($1)] }),
            "done": .array(
                decisions.done.flatMap { partition, ranges in
                    ranges.map { [.integer(Int64(partition)), .integer($0.lowerBound), .integer($0.upperBound)] }
                }),
            "partial": .array(
                decisions.partial.map { id, mirrors in
                    [
                        .integer(Int64(id.partition)), .integer(id.offset),
                        .array(mirrors.sorted().map { [.string($0.topic), .integer(Int64($0.partition))] }),
                    ]
                }),
        ]
    }

    /// - Returns: nil for what this software does not know.
    init?(ofTransactions type: String, link: String, key: JSONValue, value: JSONValue?) {
        switch type {
        case Self.mirrorType:
            guard let topic = key["topic"]?.stringValue else { return nil }
            guard let value else {
                self = .settledMirrorRemoved(link, topic)
                return
            }
            let offsets = (value["partitions"]?.arrayValue ?? []).map { entry -> SettledMirror? in
                guard let numbers = entry.integers, numbers.count == 2 else { return nil }
                return SettledMirror(end: numbers[0], stable: numbers[1])
            }
            self = .settledMirror(link, topic, offsets)
        case Self.decisionsType:
            guard let value else {
                self = .settledDecisionsRemoved(link)
                return
            }
            self = .settledDecisions(link, SettledDecisions(value))
        case Self.offsetsType:
            guard let group = key["group"]?.stringValue else { return nil }
            self = value.map { .settledOffsets(link, group, GroupOffsets.offsets($0["offsets"])) } ?? .settledOffsetsRemoved(link, group)
        default: return nil
        }
    }
}

extension SettledDecisions {
    fileprivate init(_ value: JSONValue) {
        self.init()
        for entry in value["positions"]?.arrayValue ?? [] {
            guard let numbers = entry.integers, numbers.count == 2 else { continue }
            positions[Int32(clamping: numbers[0])] = numbers[1]
        }
        for entry in value["done"]?.arrayValue ?? [] {
            guard let numbers = entry.integers, numbers.count == 3, numbers[1] <= numbers[2] else { continue }
            done[Int32(clamping: numbers[0]), default: []].append(numbers[1]...numbers[2])
        }
        for entry in value["partial"]?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 3, let partition = parts[0].integerValue, let offset = parts[1].integerValue,
                let mirrors = parts[2].arrayValue
            else { continue }
            partial[DecisionID(partition: Int32(clamping: partition), offset: offset)] = Set(
                mirrors.compactMap { mirror in
                    guard let topic = mirror.arrayValue?.first?.stringValue, let number = mirror.arrayValue?.last?.integerValue else {
                        return nil
                    }
                    return TopicPartition(topic, Int32(clamping: number))
                })
        }
    }
}

extension JSONValue {
    /// The members of an array of whole numbers; nil for anything else.
    fileprivate var integers: [Int64]? {
        guard let parts = arrayValue else { return nil }
        let numbers = parts.compactMap(\.integerValue)
        return numbers.count == parts.count ? numbers : nil
    }
}
