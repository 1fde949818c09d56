// AllocateProducerIds: blocks of producer ids, so that brokers give out ids without asking for each (KIP-730).
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// Ids in a block.
    public static let producerIDBlockSize: Int32 = 1000

    /// Decides an AllocateProducerIds request.
    public func allocateProducerIDs(
        _ request: AllocateProducerIdsRequest
    ) throws(RequestFailure) -> ControllerResult<AllocateProducerIdsResponse> {
        _ = try checkedBroker(request.brokerId, epoch: request.brokerEpoch)
        let first = image.nextProducerID ?? 0
        let (next, overflow) = first.addingReportingOverflow(Int64(Self.producerIDBlockSize))
        if overflow {
            throw RequestFailure(
                .unknownServerError,
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
        }
        var record = ProducerIdsRecord()
        record.brokerId = request.brokerId
        record.brokerEpoch = request.brokerEpoch
        record.nextProducerId = next
        var response = AllocateProducerIdsResponse()
        response.producerIdStart = first
        response.producerIdLen = Self.producerIDBlockSize
        return ControllerResult(response, records: [VersionedRecord(.producerIds(record))])
    }
}
