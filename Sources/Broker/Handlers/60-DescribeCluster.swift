// DescribeCluster: the nodes and the cluster's id (KIP-700).
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    /// Which kind of nodes is asked for (KIP-919).
    private static let brokerEndpoints: Int8 = 1

    func describeCluster(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeClusterRequest.self)
        let view = ClusterView(image: image, listenerName: context.listenerName)
        var response = DescribeClusterResponse()
        guard request.endpointType == Self.brokerEndpoints else {
            response.errorCode = request.endpointType == 2 ? .mismatchedEndpointType : .unsupportedEndpointType
            response.errorMessage = "This listener serves brokers (endpoint type 1); the request asks for type \(request.endpointType)."
            return context.responder.send(response)
        }
        response.endpointType = Self.brokerEndpoints
        response.clusterId = clusterID
        response.controllerId = view.anyNodeID
        response.brokers = view.allNodes.filter { request.includeFencedBrokers || !$0.isFenced }.map { node in
            var broker = DescribeClusterResponse.DescribeClusterBroker()
            broker.brokerId = node.id
            broker.host = node.host
            broker.port = node.port
            broker.rack = node.rack
            if context.version >= 2 { broker.isFenced = node.isFenced }
            return broker
        }
        if request.includeClusterAuthorizedOperations { response.clusterAuthorizedOperations = AuthorizedOperations.cluster }
        context.responder.send(response)
    }
}
