// ListConfigResources: what dynamic configuration can be attached to (KIP-1142); version 0 knows client metrics only.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func listConfigResources(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ListConfigResourcesRequest.self)
        let supported: [ConfigResource.Kind] =
            context.version == 0 ? [.clientMetrics] : [.topic, .broker, .brokerLogger, .clientMetrics, .group]
        var response = ListConfigResourcesResponse()
        guard access(context).allowsCluster(.describeConfigs) else {
            response.errorCode = .clusterAuthorizationFailed
            return context.responder.send(response)
        }
        let kinds = request.resourceTypes.isEmpty ? supported : request.resourceTypes.compactMap(ConfigResource.Kind.init(rawValue:))
        guard kinds.count == max(request.resourceTypes.count, request.resourceTypes.isEmpty ? kinds.count : 0),
            kinds.allSatisfy(supported.contains)
        else {
            response.errorCode = .unsupportedVersion
            return context.responder.send(response)
        }
        let view = ClusterView(image: image, listenerName: context.listenerName)
        for kind in supported where kinds.contains(kind) {
            response.configResources += names(of: kind, view).map { name in
                var resource = ListConfigResourcesResponse.ConfigResource()
                resource.resourceName = name
                resource.resourceType = kind.rawValue
                return resource
            }
        }
        context.responder.send(response)
    }

    private func names(of kind: ConfigResource.Kind, _ view: ClusterView) -> [String] {
        switch kind {
        case .topic: view.image.topics.all.map(\.name)
        case .broker, .brokerLogger: view.allNodes.map { String($0.id) }
        case .clientMetrics, .group: view.image.configurations.byResource.keys.filter { $0.kind == kind }.map(\.name)
        }
    }
}
