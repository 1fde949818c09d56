// How records that are messages lie in a log: which bytes before the body tell type and version.
import NIOCore

/// Records framed by themselves: frame version 1, type and version as varints, then the body (KIP-631).
public protocol FramedRecord: Hashable, Sendable {
    /// For errors, such as `MetadataRecord`.
    static var recordName: String { get }
    var typeID: Int16 { get }
    /// The record by itself.
    var message: any KafkaMessage { get }
    /// Reads a body; nil for a type that is not known.
    init?(type: Int16, version: Int16, from reader: inout WireReader) throws(WireError)
}

extension FramedRecord {
    /// Reads the value of a stored record.
    public init(decoding value: ByteBuffer) throws(WireError) {
        try self = Self.decode(value).record
    }

    /// Reads the value of a stored record, and the version in which it was written.
    public static func decode(_ value: ByteBuffer) throws(WireError) -> (record: Self, version: Int16) {
        var reader = WireReader(value, message: recordName)
        let frameVersion = reader.unsignedVarint("frame version")
        let type = Int16(truncatingIfNeeded: reader.unsignedVarint("type"))
        let version = Int16(truncatingIfNeeded: reader.unsignedVarint("version"))
        try reader.check()
        guard frameVersion == 1 else {
            throw WireError(message: recordName, field: "frame version", offset: 0, reason: .unknownRecordType(Int(frameVersion)))
        }
        guard let record = try Self(type: type, version: version, from: &reader) else {
            throw WireError(message: recordName, field: "type", offset: 1, reason: .unknownRecordType(Int(type)))
        }
        try reader.finish()
        return (record, version)
    }

    /// The highest version of this record's type.
    public var highestVersion: Int16 { type(of: message).validVersions.upperBound }

    /// The value to store.
    public func encoded(version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        writer.unsignedVarint(1)
        writer.unsignedVarint(UInt32(UInt16(bitPattern: typeID)))
        writer.unsignedVarint(UInt32(UInt16(bitPattern: version)))
        try message.encode(to: &writer, version: version)
        return writer.buffer
    }
}

/// Keys of a coordinator's records: the type as int16, then the body.
public protocol CoordinatorKey: Hashable, Sendable {
    var typeID: Int16 { get }
    var message: any KafkaMessage { get }
    init?(type: Int16, from reader: inout WireReader) throws(WireError)
}

extension CoordinatorKey {
    /// Reads the key of a stored record.
    public init(decoding key: ByteBuffer) throws(WireError) {
        var reader = WireReader(key, message: "record key")
        let type = reader.int16("type")
        try reader.check()
        guard let decoded = try Self(type: type, from: &reader) else {
            throw WireError(message: "record key", field: "type", offset: 0, reason: .unknownRecordType(Int(type)))
        }
        try reader.finish()
        self = decoded
    }

    /// The key to store.
    public func encoded() throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        writer.int16(typeID)
        let message = message
        try message.encode(to: &writer, version: type(of: message).validVersions.upperBound)
        return writer.buffer
    }
}

/// Values of a coordinator's records: the version as int16, then the body. The key holds the type.
public protocol CoordinatorValue: Hashable, Sendable {
    var typeID: Int16 { get }
    var message: any KafkaMessage { get }
    init?(type: Int16, version: Int16, from reader: inout WireReader) throws(WireError)
}

extension CoordinatorValue {
    /// Reads the value of a stored record whose key is of `type`.
    public init(decoding value: ByteBuffer, type: Int16) throws(WireError) {
        try self = Self.decode(value, type: type).value
    }

    /// Reads the value of a stored record, and the version in which it was written.
    public static func decode(_ value: ByteBuffer, type: Int16) throws(WireError) -> (value: Self, version: Int16) {
        var reader = WireReader(value, message: "record value")
        let version = reader.int16("version")
        try reader.check()
        guard let decoded = try Self(type: type, version: version, from: &reader) else {
            throw WireError(message: "record value", field: "type", offset: 0, reason: .unknownRecordType(Int(type)))
        }
        try reader.finish()
        return (decoded, version)
    }

    /// The value to store.
    public func encoded(version: Int16) throws(WireError) -> ByteBuffer {
        try message.encodedWithVersion(version)
    }
}

extension KafkaMessage {
    /// The version as int16, then the body: coordinator values, control record values, consumer protocol metadata.
    public func encodedWithVersion(_ version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        writer.int16(version)
        try encode(to: &writer, version: version)
        return writer.buffer
    }

    /// Reads the version as int16, then the body.
    ///
    /// - Parameter acceptingNewer: reads a version above those known as the highest one, leaving what follows it: the rule of consumer
    ///   protocol metadata.
    public init(decodingWithVersion buffer: ByteBuffer, acceptingNewer: Bool = false) throws(WireError) {
        var reader = WireReader(buffer, message: Self.messageName)
        let version = reader.int16("version")
        try reader.check()
        try self.init(from: &reader, version: acceptingNewer ? min(version, Self.validVersions.upperBound) : version)
        if !acceptingNewer { try reader.finish() }
    }
}
