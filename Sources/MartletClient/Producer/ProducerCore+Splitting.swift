// What a producer does with a batch that the broker finds too large: cuts it in two and tries again, as Kafka's producer does.
//
// The halves carry the sequence numbers that their records had in the batch, so those behind them still fit. Cutting in half
// rather than to the batch size ends in single records whatever limit the topic has; only a single record fails.
import DequeModule
import NIOCore
import Primitives
import RecordBatches

extension ProducerCore {
    /// Puts the two halves of a refused batch in its place.
    ///
    /// Brokers look at the size first, so an earlier attempt whose fate is unknown was not written either.
    ///
    /// - Returns: false when it cannot be cut, as a single record cannot.
    mutating func split(_ batch: ProducerBatch, _ index: Int, _ error: KafkaError) -> Bool {
        guard batch.recordCount > 1, batch.reservedIDs > 1, let parts = halves(batch) else { return false }
        if batch.identity != nil { makeRoom(behind: batch.ordinal, index) }
        let position = partitions.values[index].queue.firstIndex { $0.id > batch.id } ?? partitions.values[index].queue.count
        for part in [parts.second, parts.first] {
            var part = part
            part.lastError = error
            partitions.values[index].queue.insert(part, at: position)
        }
        return true
    }

    /// Ordinals count batches, and there is one more now.
    private mutating func makeRoom(behind ordinal: Int64, _ index: Int) {
        for id in partitions.values[index].inFlight {
            if let other = inFlight[id], other.ordinal > ordinal { inFlight[id]?.ordinal += 1 }
        }
        for position in partitions.values[index].queue.indices {
            let other = partitions.values[index].queue[position]
            if other.identity != nil, other.ordinal > ordinal { partitions.values[index].queue[position].ordinal += 1 }
        }
        if partitions.values[index].lastAcknowledgedOrdinal > ordinal { partitions.values[index].lastAcknowledgedOrdinal += 1 }
        partitions.values[index].nextOrdinal += 1
    }

    private func halves(_ batch: ProducerBatch) -> (first: ProducerBatch, second: ProducerBatch)? {
        guard let bytes = batch.bytes, let stored = try? RecordBatch(bytes),
            let records = try? stored.allRecords(maximumDecompressedSize: .max), records.count == batch.recordCount
        else { return nil }
        let middle = records.count / 2
        guard let first = part(of: batch, records, 0..<middle), let second = part(of: batch, records, middle..<records.count) else {
            return nil
        }
        return (first, second)
    }

    private func part(of batch: ProducerBatch, _ records: [Record], _ range: Range<Int>) -> ProducerBatch? {
        var builder = RecordBatchBuilder(compression: settings.compression)
        for record in records[range] {
            builder.append(timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
        }
        guard let bytes = try? builder.build() else { return nil }
        let isFirst = range.lowerBound == 0
        // Ids are in the order of the records, and those between this batch's and the next one's are its own to give away.
        let reserved = batch.reservedIDs / 2
        var part = ProducerBatch(
            id: isFirst ? batch.id : batch.id + reserved, partition: batch.partition, createdAt: batch.createdAt,
            createdAtNanoseconds: batch.createdAtNanoseconds)
        part.reservedIDs = reserved
        part.bytes = bytes
        part.recordCount = range.count
        let firstCharge = batch.charge * (records.count / 2) / records.count
        part.charge = isFirst ? firstCharge : batch.charge - firstCharge
        part.deliveries = batch.deliveries.filter { range.contains($0.index) }.map {
            ($0.index - range.lowerBound, $0.timestamp, $0.handler)
        }
        if var identity = batch.identity {
            identity.baseSequence = RecordBatchHeader.sequence(identity.baseSequence, plus: Int32(range.lowerBound))
            part.identity = identity
            part.ordinal = batch.ordinal + (isFirst ? 0 : 1)
        }
        return part
    }
}
