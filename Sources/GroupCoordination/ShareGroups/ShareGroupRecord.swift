// The records of share groups (KIP-932) in __consumer_offsets, as Kafka writes them: types 10 to 15.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// A record of a share group. Without a value it is a tombstone.
public enum ShareGroupRecord: Sendable, Equatable {
    /// What a member says of itself.
    case member(group: String, member: String, ShareGroupMemberMetadataValue?)
    /// The group's epoch, and a hash of what is known of the topics that it reads.
    case metadata(group: String, ShareGroupMetadataValue?)
    /// For which epoch of the group the target assignment was made.
    case targetAssignmentMetadata(group: String, ShareGroupTargetAssignmentMetadataValue?)
    /// What a member is to have.
    case targetAssignment(group: String, member: String, ShareGroupTargetAssignmentMemberValue?)
    /// What a member has, and in which epoch it is.
    case currentAssignment(group: String, member: String, ShareGroupCurrentMemberAssignmentValue?)
    /// Which partitions have their state with a share coordinator, are to get it, or to lose it.
    case statePartitions(group: String, ShareGroupStatePartitionMetadataValue?)

    /// The group that the record belongs to.
    public var group: String {
        switch self {
        case .member(let group, _, _), .metadata(let group, _), .targetAssignmentMetadata(let group, _),
            .targetAssignment(let group, _, _), .currentAssignment(let group, _, _), .statePartitions(let group, _):
            group
        }
    }

    /// Whether the record says that something is gone.
    public var isTombstone: Bool {
        switch self {
        case .member(_, _, let value): value == nil
        case .metadata(_, let value): value == nil
        case .targetAssignmentMetadata(_, let value): value == nil
        case .targetAssignment(_, _, let value): value == nil
        case .currentAssignment(_, _, let value): value == nil
        case .statePartitions(_, let value): value == nil
        }
    }

    /// Reads a record; nil when it is not one of a share group.
    ///
    /// - Parameters:
    ///   - type: the type that the key begins with.
    ///   - body: the key after its type.
    init?(type: Int16, body: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        switch type {
        case 10:
            let key = try ShareGroupMemberMetadataKey(decoding: body, version: 0)
            self = .member(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 11:
            let key = try ShareGroupMetadataKey(decoding: body, version: 0)
            self = .metadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 12:
            let key = try ShareGroupTargetAssignmentMetadataKey(decoding: body, version: 0)
            self = .targetAssignmentMetadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 13:
            let key = try ShareGroupTargetAssignmentMemberKey(decoding: body, version: 0)
            self = .targetAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 14:
            let key = try ShareGroupCurrentMemberAssignmentKey(decoding: body, version: 0)
            self = .currentAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 15:
            let key = try ShareGroupStatePartitionMetadataKey(decoding: body, version: 0)
            self = .statePartitions(group: key.groupId, try CoordinatorRecord.decode(value))
        default:
            return nil
        }
    }

    /// The record's key and value as they are stored; all values are of version 0.
    func encoded() throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .member(let group, let member, let value):
            var key = ShareGroupMemberMetadataKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(10, key, value)
        case .metadata(let group, let value):
            var key = ShareGroupMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(11, key, value)
        case .targetAssignmentMetadata(let group, let value):
            var key = ShareGroupTargetAssignmentMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(12, key, value)
        case .targetAssignment(let group, let member, let value):
            var key = ShareGroupTargetAssignmentMemberKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(13, key, value)
        case .currentAssignment(let group, let member, let value):
            var key = ShareGroupCurrentMemberAssignmentKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(14, key, value)
        case .statePartitions(let group, let value):
            var key = ShareGroupStatePartitionMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(15, key, value)
        }
    }
}
