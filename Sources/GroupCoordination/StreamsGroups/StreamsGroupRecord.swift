// The records of a streams group (KIP-1071) in __consumer_offsets, in Kafka's format.
import KafkaRecords
import KafkaWire
import NIOCore

/// A record of a streams group. Without a value it is a tombstone.
public enum StreamsGroupRecord: Sendable, Equatable {
    /// The group's epoch, a hash of what its topics are like, and the settings of its last assignment.
    case metadata(group: String, StreamsGroupMetadataValue?)
    /// What a member says of itself.
    case member(group: String, member: String, StreamsGroupMemberMetadataValue?)
    /// The epoch of the target assignment.
    case targetAssignmentMetadata(group: String, StreamsGroupTargetAssignmentMetadataValue?)
    /// What a member is to have in the end.
    case targetAssignment(group: String, member: String, StreamsGroupTargetAssignmentMemberValue?)
    /// What a member has, and in which epoch it is.
    case currentAssignment(group: String, member: String, StreamsGroupCurrentMemberAssignmentValue?)
    /// What the application is made of.
    case topology(group: String, StreamsGroupTopologyValue?)

    /// The group that the record belongs to.
    public var group: String {
        switch self {
        case .metadata(let group, _), .member(let group, _, _), .targetAssignmentMetadata(let group, _),
            .targetAssignment(let group, _, _), .currentAssignment(let group, _, _), .topology(let group, _):
            group
        }
    }

    /// Whether the record says that something is gone.
    public var isTombstone: Bool {
        switch self {
        case .metadata(_, let value): value == nil
        case .member(_, _, let value): value == nil
        case .targetAssignmentMetadata(_, let value): value == nil
        case .targetAssignment(_, _, let value): value == nil
        case .currentAssignment(_, _, let value): value == nil
        case .topology(_, let value): value == nil
        }
    }

    /// Reads a record; nil when it is not one of a streams group.
    ///
    /// - Parameters:
    ///   - type: the type that the key begins with.
    ///   - body: the key after its type.
    init?(type: Int16, body: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        switch type {
        case 17:
            self = .metadata(group: try StreamsGroupMetadataKey(decoding: body, version: 0).groupId, try CoordinatorRecord.decode(value))
        case 19:
            let key = try StreamsGroupMemberMetadataKey(decoding: body, version: 0)
            self = .member(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 20:
            let key = try StreamsGroupTargetAssignmentMetadataKey(decoding: body, version: 0)
            self = .targetAssignmentMetadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 21:
            let key = try StreamsGroupTargetAssignmentMemberKey(decoding: body, version: 0)
            self = .targetAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 22:
            let key = try StreamsGroupCurrentMemberAssignmentKey(decoding: body, version: 0)
            self = .currentAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 23:
            self = .topology(group: try StreamsGroupTopologyKey(decoding: body, version: 0).groupId, try CoordinatorRecord.decode(value))
        default:
            return nil
        }
    }

    /// The record's key and value as they are stored; all values are of version 0.
    func encoded() throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .metadata(let group, let value):
            var key = StreamsGroupMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(17, key, value)
        case .member(let group, let member, let value):
            var key = StreamsGroupMemberMetadataKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(19, key, value)
        case .targetAssignmentMetadata(let group, let value):
            var key = StreamsGroupTargetAssignmentMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(20, key, value)
        case .targetAssignment(let group, let member, let value):
            var key = StreamsGroupTargetAssignmentMemberKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(21, key, value)
        case .currentAssignment(let group, let member, let value):
            var key = StreamsGroupCurrentMemberAssignmentKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(22, key, value)
        case .topology(let group, let value):
            var key = StreamsGroupTopologyKey()
            key.groupId = group
            return try CoordinatorRecord.encode(23, key, value)
        }
    }
}
