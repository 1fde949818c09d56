// What the records of Kafka's own topics mean: metadata, committed offsets, groups, transactions, control records, under Kafka's names.
import ArgumentParser
import Consensus
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// How the records of a log are to be read.
enum RecordDecoding: String, CaseIterable, ExpressibleByArgument {
    /// By the name of the directory.
    case auto
    /// Keys and values as they are.
    case plain
    case metadata
    case offsets
    case transactions
    case shareState = "share-state"

    /// What a file's place says.
    init(path: String) {
        let parts = LogFile.absolute(path).split(separator: "/")
        let directory = parts.count >= 2 ? parts[parts.count - 2] : ""
        if directory.hasPrefix("__cluster_metadata-") || path.hasSuffix(".checkpoint") {
            self = .metadata
        } else if directory.hasPrefix("__consumer_offsets-") {
            self = .offsets
        } else if directory.hasPrefix("__transaction_state-") {
            self = .transactions
        } else if directory.hasPrefix("__share_group_state-") {
            self = .shareState
        } else {
            self = .plain
        }
    }
}

/// Reads records by what they mean. Keeps the message definitions that it has met.
struct StoredRecordView {
    let decoding: RecordDecoding
    private var views: [String: MessageView] = [:]

    init(_ decoding: RecordDecoding) {
        self.decoding = decoding
    }

    /// The members that describe a record's content.
    ///
    /// - Throws: what makes the record unreadable, as a sentence.
    mutating func members(_ record: Record, isControl: Bool) throws(CommandFailure) -> [(String, JSONValue)] {
        do {
            if isControl { return try control(record) }
            switch decoding {
            case .auto, .plain: return Self.plain(record)
            case .metadata:
                guard let value = record.value else { return Self.plain(record) }
                let (decoded, version) = try MetadataRecord.decode(value)
                return try described(decoded.message, version)
            case .offsets: return try coordinator(record, ConsumerOffsetsKey.self, ConsumerOffsetsValue.self)
            case .transactions: return try coordinator(record, TransactionStateKey.self, TransactionStateValue.self)
            case .shareState: return try coordinator(record, ShareGroupStateKey.self, ShareGroupStateValue.self)
            }
        } catch {
            throw CommandFailure("record at offset \(record.offset): \(error)")
        }
    }

    private static func plain(_ record: Record) -> [(String, JSONValue)] {
        [ByteText.member("key", record.key), ByteText.member("value", record.value)]
    }

    private mutating func described(_ message: any KafkaMessage, _ version: Int16) throws -> [(String, JSONValue)] {
        [("type", .string(type(of: message).messageName)), ("version", .whole(version)), ("data", try json(message, version))]
    }

    private mutating func json(_ message: any KafkaMessage, _ version: Int16) throws -> JSONValue {
        let type = type(of: message)
        let view = views[type.messageName] ?? MessageView(type)
        views[type.messageName] = view
        return try view.json(decoding: try message.encoded(version: version), version: version)
    }

    private mutating func coordinator<Key: CoordinatorKey, Value: CoordinatorValue>(
        _ record: Record, _: Key.Type, _: Value.Type
    ) throws -> [(String, JSONValue)] {
        guard let bytes = record.key else { return Self.plain(record) }
        let key = try Key(decoding: bytes)
        let message = key.message
        var members: [(String, JSONValue)] = [
            ("type", .string(type(of: message).messageName.replacing("Key", with: ""))),
            ("key", try json(message, type(of: message).validVersions.upperBound)),
        ]
        guard let value = record.value else { return members + [("value", .null)] }
        let (decoded, version) = try Value.decode(value, type: key.typeID)
        members += [("version", .whole(version)), ("value", try json(decoded.message, version))]
        return members
    }

    private mutating func control(_ record: Record) throws -> [(String, JSONValue)] {
        guard let type = try ControlRecordType.parse(key: record.key) else { return Self.plain(record) + [("control", .bool(true))] }
        if let marker = try EndTransactionMarker(record) {
            return [
                ("type", .string(marker.outcome == .commit ? "COMMIT" : "ABORT")),
                ("data", ["coordinatorEpoch": .whole(marker.coordinatorEpoch)]),
            ]
        }
        switch try QuorumControlRecord.decode(record) {
        case .leaderChange(let message): return try described(message, message.version)
        case .snapshotHeader(let message): return try described(message, 0)
        case .snapshotFooter(let message): return try described(message, 0)
        case .kraftVersion(let message): return try described(message, 0)
        case .voters(let message): return try described(message, 0)
        case nil: return [("type", .string("\(type)"))] + Self.plain(record)
        }
    }
}
