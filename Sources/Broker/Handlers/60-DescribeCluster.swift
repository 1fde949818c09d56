// DescribeCluster: the nodes and the cluster's id (KIP-700).
import Controlling
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
        response.controllerId = view.controllerID(answering: nodeID)
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

extension ControllerServices {
    /// Of the controllers, as clients see them that bootstrap from controllers (KIP-919).
    private static let controllerEndpoints: Int8 = 2

    func describeCluster(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(DescribeClusterRequest.self)
        var response = DescribeClusterResponse()
        guard request.endpointType == Self.controllerEndpoints else {
            response.errorCode = request.endpointType == 1 ? .mismatchedEndpointType : .unsupportedEndpointType
            response.errorMessage =
                "This listener serves controllers (endpoint type 2); the request asks for type \(request.endpointType)."
            return call.send(response)
        }
        let image = metadataRuntime.image
        let listener = call.listenerName ?? configuration.controllerListenerNames.first ?? ""
        response.endpointType = Self.controllerEndpoints
        response.clusterId = clusterID
        response.controllerId = activeControllerID
        response.brokers = image.cluster.controllers.values.compactMap { controller in
            guard let endpoint = controller.endpoints.first(where: { $0.name == listener }) else { return nil }
            var node = DescribeClusterResponse.DescribeClusterBroker()
            node.brokerId = controller.id
            node.host = endpoint.host
            node.port = Int32(endpoint.port)
            return node
        }
        if request.includeClusterAuthorizedOperations { response.clusterAuthorizedOperations = AuthorizedOperations.cluster }
        call.send(response)
    }
}
