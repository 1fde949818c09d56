// One batch vector held against the reader and the builder: every header field, every record, and the bytes again.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

struct VectorMismatch: Error, CustomStringConvertible {
    var description: String
}

extension BatchVector {
    /// Throws with what does not agree.
    func check() throws {
        let batch = try RecordBatch(bytes)
        guard batch.bytes == bytes else { throw VectorMismatch(description: "bytes are left behind the batch") }
        try batch.verifyChecksum()
        try checkHeader(batch.header)
        let section = try batch.recordsSection()
        guard section.readableBytes == expected.recordsSize else { throw VectorMismatch(description: "size of the records section") }
        if let sectionBytes = expected.recordsBytes { try agree("section", Data(section), sectionBytes) }
        try agree("section digest", SHA256.hexadecimal(section.readableBytesView), expected.recordsSha256)
        let records = try batch.allRecords()
        try agree("number of records", records.count, expected.records.count)
        for (record, expectation) in zip(records, expected.records) { try check(record, expectation, batch.header) }
        try checkRebuilt(records)
    }

    private func agree<Value: Equatable>(_ what: String, _ found: Value, _ wanted: Value) throws {
        guard found == wanted else { throw VectorMismatch(description: "\(what): found \(found), expected \(wanted)") }
    }

    private func checkHeader(_ header: RecordBatchHeader) throws {
        try agree("attributes", header.attributes.rawValue, expected.attributes)
        try agree("baseOffset", header.baseOffset, expected.baseOffset)
        try agree("baseSequence", header.baseSequence, expected.baseSequence)
        try agree("lastSequence", header.lastSequence, expected.lastSequence)
        try agree("baseTimestamp", header.baseTimestamp, expected.baseTimestamp)
        try agree("maxTimestamp", header.maxTimestamp, expected.maxTimestamp)
        try agree("batchLength", header.batchLength, expected.batchLength)
        try agree("sizeInBytes", header.sizeInBytes, expected.sizeInBytes)
        try agree("compression", header.compression.name, expected.compression)
        try agree("crc", header.crc, expected.crc)
        try agree("deleteHorizon", header.deleteHorizon, expected.deleteHorizonMs)
        try agree("isControl", header.isControl, expected.isControlBatch)
        try agree("isTransactional", header.isTransactional, expected.isTransactional)
        try agree("lastOffset", header.lastOffset, expected.lastOffset)
        try agree("lastOffsetDelta", header.lastOffsetDelta, expected.lastOffsetDelta)
        try agree("partitionLeaderEpoch", header.partitionLeaderEpoch, expected.partitionLeaderEpoch)
        try agree("producerId", header.producerId, expected.producerId)
        try agree("producerEpoch", header.producerEpoch, expected.producerEpoch)
        try agree("recordCount", header.recordCount, expected.recordCount)
        try agree("timestampType", header.timestampType == .logAppendTime ? "LogAppendTime" : "CreateTime", expected.timestampType)
    }

    private func check(_ record: Record, _ expectation: ExpectedRecord, _ header: RecordBatchHeader) throws {
        try agree("offset", record.offset, expectation.offset)
        try agree("timestamp", record.timestamp, expectation.timestamp)
        try agree("key", record.key.map { Data($0) }, expectation.key)
        try agree("value", record.value.map { Data($0) }, expectation.value)
        try agree("attributes", record.attributes, expectation.attributes ?? 0)
        try agree("sequence", header.sequence(atOffsetDelta: expectation.offsetDelta ?? 0), expectation.sequence ?? -1)
        let headers = Array(record.headers)
        try agree("header keys", headers.map(\.key), expectation.headers?.map(\.key) ?? [])
        try agree("header values", headers.map { $0.value.map { Data($0) } }, expectation.headers?.map(\.value) ?? [])
        guard let control = expectation.control else { return }
        let type = try ControlRecordType.parse(key: record.key)
        try agree("control type", type?.rawValue, control.type)
        try agree("control key", type?.key, record.key)
        guard let epoch = control.coordinatorEpoch else { return }
        let marker = try EndTransactionMarker(record)
        try agree("coordinator epoch", marker?.coordinatorEpoch, epoch)
        try agree("marker value", marker?.value, record.value)
    }

    /// The builder makes the same uncompressed bytes; compressed, it makes something that decompresses to the same.
    private func checkRebuilt(_ records: [Record]) throws {
        let header = try RecordBatchHeader(from: bytes)
        let type = try header.compression
        var builder = RecordBatchBuilder(
            baseOffset: header.baseOffset, compression: Compression(type), baseTimestamp: header.baseTimestamp)
        builder.timestampType = header.timestampType
        builder.producerId = header.producerId
        builder.producerEpoch = header.producerEpoch
        builder.baseSequence = header.baseSequence
        builder.partitionLeaderEpoch = header.partitionLeaderEpoch
        builder.isTransactional = header.isTransactional
        builder.isControl = header.isControl
        builder.hasDeleteHorizon = header.deleteHorizon != nil
        for (record, expectation) in zip(records, expected.records) {
            // As sent: in a batch of LogAppendTime the record itself still has its own.
            let timestamp = header.baseTimestamp + (expectation.timestampDelta ?? 0)
            builder.append(
                offset: record.offset, timestamp: timestamp, key: record.key, value: record.value,
                headers: RecordHeaders(Array(record.headers)))
        }
        let rebuilt = try builder.build(lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp)
        if type == .none { return try agree("rebuilt bytes", Data(rebuilt), Data(bytes)) }
        let again = try RecordBatch(rebuilt)
        try again.verifyChecksum()
        try agree("rebuilt records", try again.allRecords(), records)
        try agree("rebuilt attributes", again.header.attributes, header.attributes)
        for target in CompressionType.allCases {
            let recompressed = try RecordBatch(RecordBatch(bytes).recompressed(to: Compression(target)))
            try recompressed.verifyChecksum()
            try agree("type after recompression", try recompressed.header.compression, target)
            try agree("records after recompression", try recompressed.allRecords(), records)
        }
    }
}

/// The digest of FIPS 180-4; the vectors name large sections by it.
enum SHA256 {
    private static let constants: [UInt32] = primes(64).map { fraction(Double($0), root: 1.0 / 3) }
    private static let start: [UInt32] = primes(8).map { fraction(Double($0), root: 0.5) }

    private static func primes(_ count: Int) -> [Int] {
        Array((2...400).filter { candidate in !(2..<candidate).contains { candidate % $0 == 0 } }.prefix(count))
    }

    private static func fraction(_ value: Double, root: Double) -> UInt32 {
        let power = root == 0.5 ? value.squareRoot() : cbrt(value)
        return UInt32((power - power.rounded(.down)) * 4_294_967_296)
    }

    static func hexadecimal(_ message: some Collection<UInt8>) -> String {
        var state = start
        var padded = Array(message)
        padded.append(0x80)
        while padded.count % 64 != 56 { padded.append(0) }
        withUnsafeBytes(of: UInt64(message.count * 8).bigEndian) { padded.append(contentsOf: $0) }
        padded.withUnsafeBytes { bytes in
            for block in stride(from: 0, to: bytes.count, by: 64) { update(&state, bytes, block) }
        }
        return state.map { String(format: "%08x", $0) }.joined()
    }

    private static func update(_ state: inout [UInt32], _ bytes: UnsafeRawBufferPointer, _ block: Int) {
        func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 { value >> count | value << (32 - count) }
        var words = (0..<16).map { UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: block + $0 * 4, as: UInt32.self)) }
        for index in 16..<64 {
            let first = words[index - 15]
            let second = words[index - 2]
            let mixed = (rotate(first, 7) ^ rotate(first, 18) ^ first >> 3) &+ (rotate(second, 17) ^ rotate(second, 19) ^ second >> 10)
            words.append(words[index - 16] &+ words[index - 7] &+ mixed)
        }
        var work = state
        for index in 0..<64 {
            let sum = rotate(work[4], 6) ^ rotate(work[4], 11) ^ rotate(work[4], 25)
            let choice = (work[4] & work[5]) ^ (~work[4] & work[6])
            let first = work[7] &+ sum &+ choice &+ constants[index] &+ words[index]
            let majority = (work[0] & work[1]) ^ (work[0] & work[2]) ^ (work[1] & work[2])
            let second = (rotate(work[0], 2) ^ rotate(work[0], 13) ^ rotate(work[0], 22)) &+ majority
            work = [first &+ second, work[0], work[1], work[2], work[3] &+ first, work[4], work[5], work[6]]
        }
        for index in 0..<8 { state[index] = state[index] &+ work[index] }
    }
}
