// The words of the lower floors that are part of this library's interface, so that `import MartletClient` is enough to use it.
import NIOCore
import Primitives
import RecordBatches

/// One partition of a topic, by the topic's name.
public typealias TopicPartition = Primitives.TopicPartition
/// Kafka's 128-bit identifier of topics, directories and clusters.
public typealias KafkaUUID = Primitives.KafkaUUID
/// A codec with its level.
public typealias Compression = RecordBatches.Compression
/// The codec alone.
public typealias CompressionType = RecordBatches.CompressionType
/// A name and a value attached to a record.
public typealias RecordHeader = RecordBatches.RecordHeader
/// A record's headers in their order.
public typealias RecordHeaders = RecordBatches.RecordHeaders
/// What keys and values are made of.
public typealias ByteBuffer = NIOCore.ByteBuffer
