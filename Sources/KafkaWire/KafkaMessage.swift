// What every generated type can do. Generated code is only lists of fields; whatever can be said once is said here.
import NIOCore

/// A message or a structure within one.
public protocol WireStructure: Hashable, Sendable {
    /// Every field at its default.
    init()
    /// The fewest bytes that a value takes, at least 1: bounds the count of an array before it is allocated.
    static var minimumSize: Int { get }
    /// Reads the fields that the reader's version has. Failures stay in the reader.
    mutating func read(from reader: inout WireReader)
    /// Writes the fields that the writer's version has. Failures stay in the writer.
    func write(to writer: inout WireWriter)
}

/// A message of the protocol: something with a name and versions of its own.
public protocol KafkaMessage: WireStructure {
    /// Kafka's name, such as `ProduceRequest`.
    static var messageName: String { get }
    static var validVersions: ClosedRange<Int16> { get }
    /// The first version with compact lengths and tagged fields, `Int16.max` if none.
    static var firstFlexibleVersion: Int16 { get }
    /// The message's definition in the form of `Definitions/`, from which its JSON view is made.
    static var definitionText: String { get }
}

/// A request. Its header's version follows from ``ApiKey/requestHeaderVersion(_:)``.
public protocol KafkaRequest: KafkaMessage {
    associatedtype Response: KafkaResponse
    static var apiKey: ApiKey { get }
}

/// A response.
public protocol KafkaResponse: KafkaMessage {
    static var apiKey: ApiKey { get }
}

/// A response that can tell its client how long it is throttled (KIP-124, KIP-219).
public protocol ThrottledResponse: KafkaResponse {
    /// Milliseconds; versions without the field leave it out.
    var throttleTimeMs: Int32 { get set }
}

extension KafkaMessage {
    public static func isFlexible(_ version: Int16) -> Bool { version >= firstFlexibleVersion }

    /// Reads a message; bytes behind it are left in the reader.
    public init(from reader: inout WireReader, version: Int16) throws(WireError) {
        self.init()
        reader.begin(Self.messageName, version: version, isFlexible: Self.isFlexible(version))
        guard Self.validVersions.contains(version) else {
            throw WireError(message: Self.messageName, field: "version", offset: reader.position, reason: .unsupportedVersion(version))
        }
        read(from: &reader)
        try reader.check()
    }

    /// Writes the message.
    ///
    /// - Throws: when the version does not exist, or cannot carry a value that is not ignorable.
    public func encode(to writer: inout WireWriter, version: Int16) throws(WireError) {
        writer.begin(Self.messageName, version: version, isFlexible: Self.isFlexible(version))
        guard Self.validVersions.contains(version) else {
            throw WireError(message: Self.messageName, field: "version", offset: 0, reason: .unsupportedVersion(version))
        }
        write(to: &writer)
        try writer.check()
    }

    /// Reads a message from a buffer's readable bytes.
    ///
    /// - Parameter allowingTrailingBytes: accepts bytes behind the message: what a newer version appended, as in consumer protocol
    ///   metadata.
    public init(decoding buffer: ByteBuffer, version: Int16, allowingTrailingBytes: Bool = false) throws(WireError) {
        var reader = WireReader(buffer)
        try self.init(from: &reader, version: version)
        if !allowingTrailingBytes { try reader.finish() }
    }

    /// The message's bytes, without any header.
    public func encoded(version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        try encode(to: &writer, version: version)
        return writer.buffer
    }
}

extension WireReader {
    /// Reads a structure.
    @inlinable
    public mutating func structure<Value: WireStructure>(of: Value.Type) -> Value {
        var value = Value()
        value.read(from: &self)
        return value
    }
}
