// What a record holds, as `kafka-dump-log` writes it: text, or JSON under Kafka's names for the records of Kafka's own topics.
import Consensus
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

struct StoredRecordText {
    /// The option that says how to read records; nil for text.
    private let decoder: String?
    private var views: [String: MessageView] = [:]

    init(decoder: String?) {
        self.decoder = decoder
    }

    mutating func text(_ record: Record, _ prefix: String) -> String {
        do {
            switch decoder {
            case "cluster-metadata-decoder":
                guard let value = record.value else { return "" }
                let (decoded, version) = try MetadataRecord.decode(value)
                let message = decoded.message
                let json = JSONValue.object([
                    ("type", .string(Self.constant(type(of: message).messageName))), ("version", .whole(version)),
                    ("data", try self.json(message, version)),
                ])
                return " payload: \(json.text())"
            case "offsets-decoder": return try coordinator(record, prefix, ConsumerOffsetsKey.self, ConsumerOffsetsValue.self)
            case "transaction-log-decoder":
                return try coordinator(record, prefix, TransactionStateKey.self, TransactionStateValue.self)
            case "share-group-state-decoder":
                return try coordinator(record, prefix, ShareGroupStateKey.self, ShareGroupStateValue.self)
            default:
                var text = ""
                if let key = Deserializer.text(record.key) { text += "\(prefix)key: \(key)" }
                if let value = Deserializer.text(record.value) { text += " payload: \(value)" }
                return text
            }
        } catch {
            return decoder == "cluster-metadata-decoder"
                ? " payload: Error at \(record.offset), skipping. \(error)"
                : "\(prefix)key: Error at offset \(record.offset), skipping. \(error)"
        }
    }

    /// `FeatureLevelRecord` is `FEATURE_LEVEL_RECORD`.
    private static func constant(_ name: String) -> String {
        var text = ""
        for character in name {
            if character.isUppercase, !text.isEmpty { text += "_" }
            text += character.uppercased()
        }
        return text
    }

    private mutating func json(_ message: any KafkaMessage, _ version: Int16) throws -> JSONValue {
        let type = type(of: message)
        let view = views[type.messageName] ?? MessageView(type)
        views[type.messageName] = view
        return try view.json(decoding: try message.encoded(version: version), version: version)
    }

    private mutating func coordinator<Key: CoordinatorKey, Value: CoordinatorValue>(
        _ record: Record, _ prefix: String, _: Key.Type, _: Value.Type
    ) throws -> String {
        guard let bytes = record.key else { return "" }
        let key = try Key(decoding: bytes)
        let message = key.message
        let name = JSONValue.object([
            ("type", .string("\(key.typeID)")), ("data", try json(message, type(of: message).validVersions.upperBound)),
        ])
        var text = "\(prefix)key: \(name.text())"
        guard let value = record.value else { return text + " payload: <DELETE>" }
        let (decoded, version) = try Value.decode(value, type: key.typeID)
        var data = try json(decoded.message, version)
        if decoded.message is GroupMetadataValue { data = try unfolded(data) }
        text += " payload: \(JSONValue.object([("version", .string("\(version)")), ("data", data)]).text())"
        return text
    }

    /// With the consumers' subscriptions and assignments decoded.
    private mutating func unfolded(_ data: JSONValue) throws -> JSONValue {
        guard let group = data.objectValue, data["protocolType"]?.stringValue == "consumer" else { return data }
        return .object(
            try group.members.map { member in
                guard member.name == "members", let members = member.value.arrayValue else { return (member.name, member.value) }
                return (member.name, .array(try members.map { try unfoldedMember($0) }))
            })
    }

    private mutating func unfoldedMember(_ data: JSONValue) throws -> JSONValue {
        guard let member = data.objectValue else { return data }
        return .object(
            try member.members.map { field in
                guard let bytes = field.value.stringValue.flatMap({ Base64.decode($0) }), bytes.count >= 2 else {
                    return (field.name, field.value)
                }
                let buffer = ByteBuffer(bytes: bytes)
                let version = Int16(bitPattern: UInt16(bytes[0]) << 8 | UInt16(bytes[1]))
                switch field.name {
                case "subscription":
                    let decoded = try? ConsumerProtocolSubscription(decodingWithVersion: buffer, acceptingNewer: true)
                    return (field.name, try decoded.map { try json($0, version) } ?? field.value)
                case "assignment":
                    let decoded = try? ConsumerProtocolAssignment(decodingWithVersion: buffer, acceptingNewer: true)
                    return (field.name, try decoded.map { try json($0, version) } ?? field.value)
                default: return (field.name, field.value)
                }
            })
    }

    /// What a control record says, as it follows the record's own fields.
    mutating func control(_ record: Record) -> String {
        do {
            if let marker = try EndTransactionMarker(record) {
                return " endTxnMarker: \(marker.outcome == .commit ? "COMMIT" : "ABORT") coordinatorEpoch: \(marker.coordinatorEpoch)"
            }
            switch try QuorumControlRecord.decode(record) {
            case .leaderChange(let message): return " LeaderChange: \(try json(message, message.version).text())"
            case .snapshotHeader(let message): return " SnapshotHeader \(try json(message, 0).text())"
            case .snapshotFooter(let message): return " SnapshotFooter \(try json(message, 0).text())"
            case .kraftVersion(let message): return " KRaftVersion \(try json(message, 0).text())"
            case .voters(let message): return " KRaftVoters \(try json(message, 0).text())"
            case nil: return " controlType: UNKNOWN"
            }
        } catch {
            return " controlType: \(error)"
        }
    }
}
