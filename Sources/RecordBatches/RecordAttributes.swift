// The words in a batch's attributes: compression, kind of timestamp, and the flags.

/// How a batch's records are compressed; raw values are those of the attributes' lowest three bits.
public enum CompressionType: UInt8, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    case none = 0
    case gzip = 1
    /// In the block framing of the xerial library, which Kafka's clients agreed on.
    case snappy = 2
    /// LZ4 frame format.
    case lz4 = 3
    /// KIP-110; only in magic 2.
    case zstd = 4

    /// The value of `compression.type` and of a producer's setting.
    public var name: String {
        switch self {
        case .none: "none"
        case .gzip: "gzip"
        case .snappy: "snappy"
        case .lz4: "lz4"
        case .zstd: "zstd"
        }
    }

    /// Nil for a name that is none of Kafka's.
    public init?(name: String) {
        guard let type = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = type
    }

    public var description: String { name }
}

/// Who set the records' timestamps (KIP-32).
public enum TimestampType: Int8, Hashable, Sendable {
    /// The producer.
    case createTime = 0
    /// The broker on append; the batch's `maxTimestamp` then stands for every record.
    case logAppendTime = 1
}

/// The 16 attribute bits of a magic 2 batch.
public struct RecordBatchAttributes: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int16

    public init(rawValue: Int16) {
        self.rawValue = rawValue
    }

    public init(
        compression: CompressionType = .none, timestampType: TimestampType = .createTime, isTransactional: Bool = false,
        isControl: Bool = false, hasDeleteHorizon: Bool = false
    ) {
        rawValue = Int16(compression.rawValue)
        self.timestampType = timestampType
        self.isTransactional = isTransactional
        self.isControl = isControl
        self.hasDeleteHorizon = hasDeleteHorizon
    }

    /// The compression type's number, which need not be one that exists.
    public var compressionIdentifier: Int { Int(rawValue & 0x07) }

    public var timestampType: TimestampType {
        get { self[bit: 3] ? .logAppendTime : .createTime }
        set { self[bit: 3] = newValue == .logAppendTime }
    }

    /// Part of a transaction; invisible to read_committed until its marker (KIP-98).
    public var isTransactional: Bool {
        get { self[bit: 4] }
        set { self[bit: 4] = newValue }
    }

    /// Holds control records, which are for brokers and clients and never handed to applications.
    public var isControl: Bool {
        get { self[bit: 5] }
        set { self[bit: 5] = newValue }
    }

    /// The base timestamp is the time from which tombstones and markers of the batch may be removed (KIP-534).
    public var hasDeleteHorizon: Bool {
        get { self[bit: 6] }
        set { self[bit: 6] = newValue }
    }

    private subscript(bit index: Int16) -> Bool {
        get { rawValue & (1 << index) != 0 }
        set { rawValue = newValue ? rawValue | (1 << index) : rawValue & ~(1 << index) }
    }
}
