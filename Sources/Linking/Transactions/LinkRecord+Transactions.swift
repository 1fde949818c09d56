// The records about transactions, in JSON as the others.
import Collections
import Primitives

extension LinkRecord {
    private static let releases = "transactions"
    private static let positions = "transaction-positions"

    static func releasesKey(_ link: String, _ number: Int64) -> JSONValue {
        ["type": .string(releases), "name": .string(link), "number": .integer(number)]
    }

    static func positionsKey(_ link: String) -> JSONValue { ["type": .string(positions), "name": .string(link)] }

    static func json(_ releases: [TransactionRelease]) -> JSONValue {
        let entries = releases.map { release -> JSONValue in
            [
                "decision": [.integer(Int64(release.id.partition)), .integer(release.id.offset)],
                "producer": [.integer(release.producer.id), .integer(Int64(release.producer.epoch))],
                "markers": .array(
                    release.markers.map { partition, offset in
                        [.string(partition.topic), .integer(Int64(partition.partition)), .integer(offset)]
                    }),
            ]
        }
        return ["version": .integer(version), "releases": .array(entries)]
    }

    static func json(_ positions: OrderedDictionary<Int32, Offset>) -> JSONValue {
        [
            "version": .integer(version),
            "positions": .array(positions.map { partition, offset in [.integer(Int64(partition)), .integer(offset)] }),
        ]
    }

    /// - Returns: nil for what this software does not know.
    init?(ofTransactions type: String, link: String, key: JSONValue, value: JSONValue?) {
        switch type {
        case Self.releases:
            guard let number = key["number"]?.integerValue else { return nil }
            guard let value else {
                self = .releasesRemoved(link, number)
                return
            }
            self = .transactionsReleased(link, number, (value["releases"]?.arrayValue ?? []).compactMap { TransactionRelease($0) })
        case Self.positions:
            guard let value else {
                self = .transactionPositionsRemoved(link)
                return
            }
            var positions: OrderedDictionary<Int32, Offset> = [:]
            for entry in value["positions"]?.arrayValue ?? [] {
                guard let (partition, offset) = entry.integerPair else { continue }
                positions[Int32(clamping: partition)] = offset
            }
            self = .transactionPositions(link, positions)
        default: return nil
        }
    }
}

extension TransactionRelease {
    fileprivate init?(_ value: JSONValue) {
        guard let (partition, offset) = value["decision"]?.integerPair, let (id, epoch) = value["producer"]?.integerPair else { return nil }
        var markers: OrderedDictionary<TopicPartition, Offset> = [:]
        for entry in value["markers"]?.arrayValue ?? [] {
            guard let parts = entry.arrayValue, parts.count == 3, let topic = parts[0].stringValue, let partition = parts[1].integerValue,
                let offset = parts[2].integerValue
            else { return nil }
            markers[TopicPartition(topic, Int32(clamping: partition))] = offset
        }
        self.init(
            id: DecisionID(partition: Int32(clamping: partition), offset: offset),
            producer: TransactionProducer(id: id, epoch: Int16(clamping: epoch)), markers: markers)
    }
}

extension JSONValue {
    fileprivate var integerPair: (Int64, Int64)? {
        guard let parts = arrayValue, parts.count == 2, let first = parts[0].integerValue, let second = parts[1].integerValue else {
            return nil
        }
        return (first, second)
    }
}
