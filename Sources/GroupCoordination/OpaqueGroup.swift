// Groups of a protocol that is not served yet: share groups (KIP-932). Their records are kept as they are, and understood just well
// enough to list the group, to say whether it is in use, and to protect its offsets.
import Collections
import KafkaWire
import NIOCore
import Primitives

/// The kinds of groups, with the names that ListGroups uses.
public enum GroupType: String, Sendable {
    case classic
    case consumer
    case share
    case streams

    /// Reads a name as ListGroups filters do, without regard to case.
    init?(filter: String) {
        self.init(rawValue: filter.lowercased())
    }
}

struct OpaqueGroup: Sendable, Equatable {
    /// Raw value by raw key, in the order in which the keys first came.
    private(set) var records: OrderedDictionary<ByteBuffer, ByteBuffer> = [:]
    let type: GroupType
    private var epoch: Int32 = -1
    private var assignmentEpoch: Int32 = -1
    private var members: OrderedDictionary<String, Member> = [:]
    private var hasMetadata = false

    private struct Member: Sendable, Equatable {
        var epoch: Int32?
        var isReconciled = false
    }

    init(type: GroupType) {
        self.type = type
    }

    /// Kafka counts such a group as existing from the record of its epoch on.
    var exists: Bool { hasMetadata }
    var isForgotten: Bool { records.isEmpty }
    var isEmpty: Bool { members.isEmpty }

    /// The state that Kafka would report.
    var state: String {
        if members.isEmpty { return "Empty" }
        if type == .share { return "Stable" }
        if epoch > assignmentEpoch { return "Assigning" }
        return members.values.allSatisfy { $0.isReconciled && $0.epoch == assignmentEpoch } ? "Stable" : "Reconciling"
    }

    func memberEpoch(_ memberID: String) -> Int32? { members[memberID].map { $0.epoch ?? 0 } }

    /// Takes in one record. What cannot be read is kept all the same: it is not ours to judge.
    mutating func replay(_ kind: OpaqueRecordKind, key: ByteBuffer, value: ByteBuffer?) {
        if let value {
            records[ByteBuffer(buffer: key)] = ByteBuffer(buffer: value)
        } else {
            records[key] = nil
        }
        switch kind.meaning {
        case .metadata:
            hasMetadata = value != nil
            epoch = value.flatMap { Self.leadingInt32(of: $0) } ?? -1
        case .assignmentMetadata:
            assignmentEpoch = value.flatMap { Self.leadingInt32(of: $0) } ?? -1
        case .member:
            replayMember(key: key, value: value)
        case .currentAssignment:
            guard let memberID = OpaqueRecordKind.secondKeyField(of: key), members[memberID] != nil else { return }
            members[memberID]?.epoch = value.flatMap { Self.leadingInt32(of: $0) }
            members[memberID]?.isReconciled = value.flatMap { Self.isStable($0) } ?? false
        case .other:
            break
        }
    }

    private mutating func replayMember(key: ByteBuffer, value: ByteBuffer?) {
        guard let memberID = OpaqueRecordKind.secondKeyField(of: key) else { return }
        members[memberID] = value == nil ? nil : members[memberID] ?? Member()
    }

    /// All values in question begin, after the two bytes of version, with the epoch.
    private static func leadingInt32(of value: ByteBuffer) -> Int32? {
        value.getInteger(at: value.readerIndex + 2)
    }

    /// Member epoch and previous epoch come before the state, whose 0 is Stable.
    private static func isStable(_ value: ByteBuffer) -> Bool {
        let state: Int8? = value.getInteger(at: value.readerIndex + 10)
        return state == 0
    }
}

/// The record types of __consumer_offsets that are kept without being served.
struct OpaqueRecordKind: RawRepresentable, Hashable, Sendable {
    var rawValue: Int16

    enum Meaning {
        case metadata
        case assignmentMetadata
        case member
        case currentAssignment
        case other
    }

    var type: GroupType? {
        switch rawValue {
        case 10...15: .share
        default: nil
        }
    }

    var meaning: Meaning {
        switch rawValue {
        case 11: .metadata
        case 12: .assignmentMetadata
        case 10: .member
        case 14: .currentAssignment
        default: .other
        }
    }

    /// The group of a key: the first field of every such key, after the type.
    static func group(of key: ByteBuffer) -> String? {
        var bytes = key
        bytes.moveReaderIndex(forwardBy: min(2, bytes.readableBytes))
        return readString(&bytes)
    }

    /// The member id, where a key has one.
    static func secondKeyField(of key: ByteBuffer) -> String? {
        var bytes = key
        bytes.moveReaderIndex(forwardBy: min(2, bytes.readableBytes))
        guard readString(&bytes) != nil else { return nil }
        return readString(&bytes)
    }

    private static func readString(_ bytes: inout ByteBuffer) -> String? {
        guard let length: Int16 = bytes.readInteger(), length >= 0 else { return nil }
        return bytes.readString(length: Int(length))
    }
}
