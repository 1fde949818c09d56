// What became of a request: success, another attempt, or giving up.
import DequeModule
import KafkaWire
import Primitives
import RecordBatches

/// A broker's answer for one batch.
enum BatchOutcome: Sendable {
    case written(baseOffset: Offset, logAppendTime: Timestamp)
    case refused(ErrorCode, String?)
    /// No answer: the batch may or may not have been written.
    case lost(KafkaError)
}

/// A batch whose fate is settled, and its fate.
struct FinishedBatch: Sendable {
    let batch: ProducerBatch
    let result: Result<(baseOffset: Offset, logAppendTime: Timestamp), KafkaError>
}

extension ProducerCore {
    /// Takes in the answers to a request; batches without one count as lost.
    ///
    /// - Returns: what is settled, and whether metadata should be refreshed.
    mutating func complete(
        requestID: UInt64, now: Int64, outcome: (TopicPartition) -> BatchOutcome
    ) -> (finished: [FinishedBatch], refreshMetadata: Bool) {
        guard let request = requests.removeValue(forKey: requestID) else { return ([], false) }
        inFlightRequests[request.node, default: 1] -= 1
        var finished: [FinishedBatch] = []
        var refresh = false
        for id in request.batches {
            guard let batch = inFlight.removeValue(forKey: id), let index = partitions.index(forKey: batch.partition) else { continue }
            partitions.values[index].inFlight.removeAll { $0 == id }
            switch outcome(batch.partition) {
            case .written(let baseOffset, let logAppendTime):
                finished.append(succeed(batch, index, baseOffset, logAppendTime))
            case .refused(.duplicateSequenceNumber, _):
                finished.append(succeed(batch, index, -1, -1))
            case .refused(let code, let message):
                refresh = refresh || code.refreshesMetadata
                refused(batch, index, KafkaError(code, message, about: "\(batch.partition)"), now, &finished)
            case .lost(let error):
                refresh = true
                var batch = batch
                batch.isOutcomeUnknown = true
                requeueOrFail(batch, index, error, now, &finished)
            }
        }
        return (finished, refresh)
    }

    private mutating func succeed(_ batch: ProducerBatch, _ index: Int, _ offset: Offset, _ time: Timestamp) -> FinishedBatch {
        if let identity = batch.identity, identity.epoch == partitions.values[index].epoch,
            identity.producerID == partitions.values[index].producerID, batch.ordinal > partitions.values[index].lastAcknowledgedOrdinal
        {
            partitions.values[index].lastAcknowledgedOrdinal = batch.ordinal
            partitions.values[index].lastAcknowledgedSequence = RecordBatchHeader.sequence(
                identity.baseSequence, plus: Int32(batch.recordCount) - 1)
        }
        release(batch)
        return FinishedBatch(batch: batch, result: .success((offset, time)))
    }

    private mutating func refused(
        _ batch: ProducerBatch, _ index: Int, _ error: KafkaError, _ now: Int64, _ finished: inout [FinishedBatch]
    ) {
        var batch = batch
        switch error.errorCode {
        case .outOfOrderSequenceNumber, .unknownProducerId, .invalidProducerEpoch:
            guard settings.isIdempotent, let identity = batch.identity else { return fail(batch, index, error, &finished) }
            // The broker looked for the batch and did not find it, so no earlier attempt was written.
            batch.isOutcomeUnknown = false
            let expected = RecordBatchHeader.sequence(partitions.values[index].lastAcknowledgedSequence, plus: 1)
            let isNext =
                partitions.values[index].lastAcknowledgedSequence < 0 ? identity.baseSequence == 0 : identity.baseSequence == expected
            // In its turn and refused all the same: the broker has lost the producer's state. Out of turn: a batch before it failed.
            if isNext || error.errorCode != .outOfOrderSequenceNumber { partitions.values[index].hasGap = true }
            requeueOrFail(batch, index, error, now, &finished)
        case .requestTimedOut, .notEnoughReplicasAfterAppend, .networkException:
            batch.isOutcomeUnknown = true
            requeueOrFail(batch, index, error, now, &finished)
        case .messageTooLarge where split(batch, index, error): return
        default:
            if error.isRetriable {
                requeueOrFail(batch, index, error, now, &finished)
            } else {
                fail(batch, index, error, &finished)
            }
        }
    }

    private mutating func requeueOrFail(
        _ batch: ProducerBatch, _ index: Int, _ error: KafkaError, _ now: Int64, _ finished: inout [FinishedBatch]
    ) {
        guard now - batch.createdAt < settings.deliveryTimeoutMilliseconds else { return fail(batch, index, error, &finished) }
        var batch = batch
        batch.lastError = error
        batch.notBefore = now + settings.backoff.milliseconds(afterFailures: batch.attempts, using: &random)
        // Back to its place: ids grow in the order of the records.
        let position = partitions.values[index].queue.firstIndex { $0.id > batch.id } ?? partitions.values[index].queue.count
        partitions.values[index].queue.insert(batch, at: position)
    }

    private mutating func fail(_ batch: ProducerBatch, _ index: Int, _ error: KafkaError, _ finished: inout [FinishedBatch]) {
        if batch.identity != nil { partitions.values[index].hasGap = true }
        release(batch)
        finished.append(FinishedBatch(batch: batch, result: .failure(error)))
    }

    /// Gives up batches whose delivery time is over.
    ///
    /// - Parameter reason: why nothing could be sent, if that is known.
    mutating func expire(now: Int64, reason: KafkaError?) -> [FinishedBatch] {
        var finished: [FinishedBatch] = []
        for index in partitions.values.indices {
            while let batch = partitions.values[index].queue.first,
                now - batch.createdAt >= settings.deliveryTimeoutMilliseconds
            {
                partitions.values[index].queue.removeFirst()
                let cause = batch.lastError ?? reason
                let text = "\(batch.recordCount) records for \(batch.partition) could not be delivered in time"
                let error = KafkaError(.timedOut, cause.map { "\(text); the last error: \($0.description)" } ?? text, isRetriable: true)
                fail(batch, index, error, &finished)
            }
        }
        return finished
    }

    /// Gives up a batch that cannot be built, or everything that waits when `id` is nil.
    mutating func failWaiting(_ error: KafkaError, id: UInt64? = nil) -> [FinishedBatch] {
        var finished: [FinishedBatch] = []
        for index in partitions.values.indices {
            let failed = partitions.values[index].queue.filter { id == nil || $0.id == id }
            partitions.values[index].queue.removeAll { id == nil || $0.id == id }
            for batch in failed { fail(batch, index, error, &finished) }
        }
        return finished
    }
}
