// The records of consumer groups (KIP-848) in __consumer_offsets, as Kafka writes them: types 3 to 8 and 16.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// A record of a consumer group. Without a value it is a tombstone.
public enum ConsumerGroupRecord: Sendable, Equatable {
    /// The group's epoch, and a hash of what is known of the topics that it reads.
    case metadata(group: String, ConsumerGroupMetadataValue?)
    /// What Kafka 4.0 stored in place of the hash. Only tombstones of it are written.
    case partitionMetadata(group: String, ConsumerGroupPartitionMetadataValue?)
    /// What a member says of itself.
    case member(group: String, member: String, ConsumerGroupMemberMetadataValue?)
    /// For which epoch of the group the target assignment was made.
    case targetAssignmentMetadata(group: String, ConsumerGroupTargetAssignmentMetadataValue?)
    /// What a member is to have in the end.
    case targetAssignment(group: String, member: String, ConsumerGroupTargetAssignmentMemberValue?)
    /// What a member has, and in which epoch it is.
    case currentAssignment(group: String, member: String, ConsumerGroupCurrentMemberAssignmentValue?)
    /// Which topics a regular expression stands for.
    case regularExpression(group: String, expression: String, ConsumerGroupRegularExpressionValue?)

    /// The group that the record belongs to.
    public var group: String {
        switch self {
        case .metadata(let group, _), .partitionMetadata(let group, _), .member(let group, _, _),
            .targetAssignmentMetadata(let group, _), .targetAssignment(let group, _, _), .currentAssignment(let group, _, _),
            .regularExpression(let group, _, _):
            group
        }
    }

    /// Whether the record says that something is gone.
    public var isTombstone: Bool {
        switch self {
        case .metadata(_, let value): value == nil
        case .partitionMetadata(_, let value): value == nil
        case .member(_, _, let value): value == nil
        case .targetAssignmentMetadata(_, let value): value == nil
        case .targetAssignment(_, _, let value): value == nil
        case .currentAssignment(_, _, let value): value == nil
        case .regularExpression(_, _, let value): value == nil
        }
    }

    /// Reads a record; nil when it is not one of a consumer group.
    ///
    /// - Parameters:
    ///   - type: the type that the key begins with.
    ///   - body: the key after its type.
    init?(type: Int16, body: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        switch type {
        case 3:
            let key = try ConsumerGroupMetadataKey(decoding: body, version: 0)
            self = .metadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 4:
            let key = try ConsumerGroupPartitionMetadataKey(decoding: body, version: 0)
            self = .partitionMetadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 5:
            let key = try ConsumerGroupMemberMetadataKey(decoding: body, version: 0)
            self = .member(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 6:
            let key = try ConsumerGroupTargetAssignmentMetadataKey(decoding: body, version: 0)
            self = .targetAssignmentMetadata(group: key.groupId, try CoordinatorRecord.decode(value))
        case 7:
            let key = try ConsumerGroupTargetAssignmentMemberKey(decoding: body, version: 0)
            self = .targetAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 8:
            let key = try ConsumerGroupCurrentMemberAssignmentKey(decoding: body, version: 0)
            self = .currentAssignment(group: key.groupId, member: key.memberId, try CoordinatorRecord.decode(value))
        case 16:
            let key = try ConsumerGroupRegularExpressionKey(decoding: body, version: 0)
            self = .regularExpression(group: key.groupId, expression: key.regularExpression, try CoordinatorRecord.decode(value))
        default:
            return nil
        }
    }

    /// The record's key and value as they are stored; all values are of version 0.
    func encoded() throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        switch self {
        case .metadata(let group, let value):
            var key = ConsumerGroupMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(3, key, value)
        case .partitionMetadata(let group, let value):
            var key = ConsumerGroupPartitionMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(4, key, value)
        case .member(let group, let member, let value):
            var key = ConsumerGroupMemberMetadataKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(5, key, value)
        case .targetAssignmentMetadata(let group, let value):
            var key = ConsumerGroupTargetAssignmentMetadataKey()
            key.groupId = group
            return try CoordinatorRecord.encode(6, key, value)
        case .targetAssignment(let group, let member, let value):
            var key = ConsumerGroupTargetAssignmentMemberKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(7, key, value)
        case .currentAssignment(let group, let member, let value):
            var key = ConsumerGroupCurrentMemberAssignmentKey()
            key.groupId = group
            key.memberId = member
            return try CoordinatorRecord.encode(8, key, value)
        case .regularExpression(let group, let expression, let value):
            var key = ConsumerGroupRegularExpressionKey()
            key.groupId = group
            key.regularExpression = expression
            return try CoordinatorRecord.encode(16, key, value)
        }
    }
}
