// Bytes that a coverage-guided fuzzer (libFuzzer) makes up, into every decoder that reads what came from outside: messages, the data
// path's own views of requests, stored records, record batches, compressed data, small files. `make fuzz-decoders` builds and runs it;
// it is no part of other builds. The first byte of an input chooses the decoder, so that one corpus serves all of them.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

@testable import Broker
@testable import Storage

/// More than this must never come out of decompressing an input.
private let decompressionLimit = 1 << 20

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let bytes = ByteBuffer(bytes: UnsafeRawBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 8 {
    case 0: decodeMessage(bytes)
    case 1: decodeFrame(bytes)
    case 2: decodeStoredRecords(bytes)
    case 3: decodeBatches(bytes)
    case 4: decodeBatches(repaired(bytes))
    case 5: decompress(bytes)
    case 6: decodeDataPath(bytes)
    default: decodeFiles(bytes)
    }
    return 0
}

/// API key, version, whether it is the response, then the body. What decodes must encode to something that decodes to the same.
private func decodeMessage(_ bytes: ByteBuffer) {
    var body = bytes
    guard let key: UInt8 = body.readInteger(), let version: UInt8 = body.readInteger(), let kind: UInt8 = body.readInteger(),
        let api = ApiKey(rawValue: Int16(key))
    else { return }
    let type: any KafkaMessage.Type = kind % 2 == 0 ? api.requestType : api.responseType
    let number = Int16(version)
    _ = try? MessageView(type).json(decoding: body, version: number)
    guard let message = try? type.init(decoding: body, version: number), let encoded = try? message.encoded(version: number) else { return }
    let again = try? type.init(decoding: encoded, version: number).encoded(version: number)
    precondition(again == encoded, "\(type.messageName) version \(number) does not decode to what it was encoded from")
}

/// A request's frame without its size, as it comes from a socket.
private func decodeFrame(_ bytes: ByteBuffer) {
    var reader = WireReader(bytes)
    _ = try? RequestFrameHeader(bytes)
    guard let header = try? RequestHeader(fromFrame: &reader), let api = header.api else { return }
    _ = try? api.requestType.init(from: &reader, version: header.requestApiVersion)
}

private func decodeStoredRecords(_ bytes: ByteBuffer) {
    _ = try? MetadataRecord.decode(bytes)
    _ = try? ConsumerOffsetsKey(decoding: bytes)
    _ = try? TransactionStateKey(decoding: bytes)
    for type in Int16(0)...8 { _ = try? ConsumerOffsetsValue.decode(bytes, type: type) }
    _ = try? TransactionStateValue.decode(bytes, type: 0)
}

private func decodeBatches(_ bytes: ByteBuffer) {
    _ = try? RecordBatchHeader.verify(in: bytes)
    if let batch = try? RecordBatch(bytes), var records = try? batch.records(maximumDecompressedSize: decompressionLimit) {
        while let record = try? records.next() { _ = try? EndTransactionMarker(record) }
    }
    var messages = LegacyMessageIterator(bytes)
    while let message = try? messages.next() { _ = try? message.records(maximumDecompressedSize: decompressionLimit) }
    _ = try? LegacyMessage.convertToBatches(bytes, maximumDecompressedSize: decompressionLimit)
    var rules = RecordBatchValidation()
    rules.maximumDecompressedSize = decompressionLimit
    rules.isCompacted = true
    rules.targetCompression = .lz4
    guard let accepted = try? rules.validate(bytes, now: 1_700_000_000_000) else { return }
    do {
        try RecordBatch(accepted.bytes).verifyChecksum()
        _ = try RecordBatch(accepted.bytes).allRecords()
    } catch {
        preconditionFailure("what was accepted cannot be read: \(error)")
    }
}

/// With length and checksum made to fit, so that damage reaches what lies behind them.
private func repaired(_ bytes: ByteBuffer) -> ByteBuffer {
    guard bytes.readableBytes >= RecordBatchHeader.size else { return bytes }
    var result = bytes
    result.setInteger(Int8(2), at: RecordBatchHeader.Position.magic)
    result.setInteger(Int32(bytes.readableBytes - 12), at: RecordBatchHeader.Position.batchLength)
    let covered = result.getSlice(at: 21, length: result.readableBytes - 21) ?? ByteBuffer()
    result.setInteger(CRC32C.checksum(covered), at: RecordBatchHeader.Position.crc)
    return result
}

private func decompress(_ bytes: ByteBuffer) {
    for type in CompressionType.allCases {
        for ignoresChecksum in [false, true] {
            let output = try? Compression.decompress(
                bytes, type: type, maximumSize: decompressionLimit, ignoringHeaderChecksum: ignoresChecksum)
            precondition(output?.readableBytes ?? 0 <= max(decompressionLimit, bytes.readableBytes), "\(type) went beyond its limit")
        }
    }
}

/// The views of produce and fetch requests that never become structs. Version, then the body.
private func decodeDataPath(_ bytes: ByteBuffer) {
    var body = bytes
    guard let version: UInt8 = body.readInteger() else { return }
    var produce = ProduceRequestView()
    try? produce.read(body, version: Int16(version % 14))
    _ = try? FetchRequestView(body, version: 4 + Int16(version % 15))
}

private func decodeFiles(_ bytes: ByteBuffer) {
    let text = String(decoding: bytes.readableBytesView, as: UTF8.self)
    _ = try? MetaProperties(text: text, path: "fuzz")
    _ = try? JSONValue(parsing: Array(bytes.readableBytesView))
}
