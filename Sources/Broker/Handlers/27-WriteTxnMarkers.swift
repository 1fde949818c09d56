// WriteTxnMarkers: a transaction coordinator, or an administrator over a transaction that hangs, ends transactions in partitions that this
// node leads.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func writeTxnMarkers(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(WriteTxnMarkersRequest.self)
        let responder = context.responder
        let access = access(context)
        guard access.allowsCluster(.alter, isLogged: false) || access.allowsCluster(.clusterAction) else {
            return responder.send(WriteTxnMarkersResponse.denied(request))
        }
        MarkerWriting.write(request, services: self, on: context.connection.eventLoop) { responder.send($0) }
    }
}

extension WriteTxnMarkersResponse {
    fileprivate static func denied(_ request: WriteTxnMarkersRequest) -> Self {
        var response = Self()
        response.markers = request.markers.map { marker in
            var result = WritableTxnMarkerResult()
            result.producerId = marker.producerId
            result.topics = marker.topics.map { topic in
                var answer = WritableTxnMarkerTopicResult()
                answer.name = topic.name
                answer.partitions = topic.partitionIndexes.map { index in
                    var partition = WritableTxnMarkerPartitionResult()
                    partition.partitionIndex = index
                    partition.errorCode = .clusterAuthorizationFailed
                    return partition
                }
                return answer
            }
            return result
        }
        return response
    }
}
