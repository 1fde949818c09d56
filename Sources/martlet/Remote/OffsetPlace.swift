// Places in a partition as people name them: the beginning, the end, an offset, a time.
import ArgumentParser
import MartletClient
import Primitives

/// `beginning`, `end`, an offset, `-N` for N records before the end, a date, or `@` with milliseconds since 1970.
enum OffsetPlace: ExpressibleByArgument, Hashable {
    case beginning
    case end
    case offset(Offset)
    /// So many offsets before the end.
    case beforeEnd(Offset)
    case time(Timestamp)

    static let help = "beginning, end, an offset, -N for N before the end, or a time (2026-11-21T08:00Z, @milliseconds)"

    init?(argument: String) {
        switch argument {
        case "beginning", "earliest", "start": self = .beginning
        case "end", "latest": self = .end
        default:
            if argument.hasPrefix("@") {
                guard let time = Timestamp(argument.dropFirst()), time >= 0 else { return nil }
                self = .time(time)
            } else if let number = Offset(argument) {
                self = number < 0 ? .beforeEnd(number == .min ? .max : -number) : .offset(number)
            } else if let time = TimeText.parse(argument) {
                self = .time(time)
            } else {
                return nil
            }
        }
    }

    /// Where the place is in each partition, between the first offset and the end.
    func resolve(_ partitions: [TopicPartition], _ admin: AdminClient) async throws -> [TopicPartition: Offset] {
        var starts: [TopicPartition: Offset] = [:]
        var ends: [TopicPartition: Offset] = [:]
        for found in try await admin.listOffsets(partitions.map { ($0, .earliest) }) { starts[found.item] = try found.result.get().offset }
        for found in try await admin.listOffsets(partitions.map { ($0, .latest) }) { ends[found.item] = try found.result.get().offset }
        var places: [TopicPartition: Offset] = [:]
        if case .time(let time) = self {
            for found in try await admin.listOffsets(partitions.map { ($0, .timestamp(time)) }) {
                let offset = try found.result.get().offset
                // -1: no record is that young.
                if offset >= 0 { places[found.item] = offset }
            }
        }
        for partition in partitions {
            let start = starts[partition] ?? 0
            let end = ends[partition] ?? start
            let wanted =
                switch self {
                case .beginning: start
                case .end: end
                case .offset(let offset): offset
                case .beforeEnd(let count): end - count
                case .time: places[partition] ?? end
                }
            places[partition] = max(start, min(end, wanted))
        }
        return places
    }
}

extension AdminClient {
    /// The partitions of topics in order.
    ///
    /// - Throws: for a topic that does not exist, or lacks one of the partitions asked for.
    func partitions(of topics: [String], only wanted: [Int32] = []) async throws -> [TopicPartition] {
        var partitions: [TopicPartition] = []
        for topic in try await describeTopics(topics).values() {
            for number in wanted where !topic.partitions.contains(where: { $0.partition == number }) {
                throw CommandFailure("topic '\(topic.name)' has partitions 0 to \(topic.partitions.count - 1), not \(number)")
            }
            partitions += topic.partitions.map(\.partition).filter { wanted.isEmpty || wanted.contains($0) }
                .map { TopicPartition(topic.name, $0) }
        }
        return partitions
    }
}
