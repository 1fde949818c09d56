// How applications' values become bytes and come back. Strings and bytes are here; applications add their own types.
import NIOCore

/// A type whose values can be keys or values of records.
///
/// ```swift
/// struct Temperature: RecordContent {
///     var celsius: Int32
///     var recordBytes: ByteBuffer { ByteBuffer(integer: celsius) }
///     init(recordBytes: ByteBuffer) throws(KafkaError) { … }
/// }
/// ```
public protocol RecordContent: Sendable {
    /// Reads a value.
    ///
    /// - Throws: ``KafkaError/invalidContent(_:)`` when the bytes are no such value.
    init(recordBytes: ByteBuffer) throws(KafkaError)
    var recordBytes: ByteBuffer { get }
}

extension KafkaError {
    /// What a ``RecordContent`` throws for bytes that it cannot read.
    public static func invalidContent(_ explanation: String) -> KafkaError {
        KafkaError(.invalidArgument, explanation)
    }
}

extension ByteBuffer: RecordContent {
    public init(recordBytes: ByteBuffer) {
        self = recordBytes
    }

    public var recordBytes: ByteBuffer { self }
}

extension String: RecordContent {
    /// Reads UTF-8.
    public init(recordBytes: ByteBuffer) throws(KafkaError) {
        let text = recordBytes.withUnsafeReadableBytes { String(validating: $0, as: UTF8.self) }
        guard let text else { throw .invalidContent("\(recordBytes.readableBytes) bytes are not UTF-8") }
        self = text
    }

    public var recordBytes: ByteBuffer { ByteBuffer(string: self) }
}

extension [UInt8]: RecordContent {
    public init(recordBytes: ByteBuffer) {
        self = Array(recordBytes.readableBytesView)
    }

    public var recordBytes: ByteBuffer { ByteBuffer(bytes: self) }
}
