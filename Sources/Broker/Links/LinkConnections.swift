// How clients of a link's source come to it: by connecting, or over connections that the source's brokers offer; and the requests by which they do.
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Network
import Primitives

extension LinkServices {
    /// The listeners of this broker, which serve connections that it offered to others.
    func serve(_ network: NetworkServer) { state.withLock { $0.network = network } }

    var network: NetworkServer? { state.withLock { $0.isClosed ? nil : $0.network } }

    var eventLoopGroup: (any EventLoopGroup)? { state.withLock { $0.isClosed ? nil : $0.eventLoopGroup } }

    /// Hands out connections to a link's source; nil where they are made from here.
    func dialler(_ link: String, _ settings: LinkSettings) -> LinkDialler? {
        guard settings.connectionMode == .inbound, let eventLoop = eventLoopGroup?.any() else { return nil }
        return { [offered] host, port in offered.take(link: link, host: host, port: port, on: eventLoop) }
    }

    /// The client that speaks to a link's source about everything but records.
    func clientConfiguration(_ settings: LinkSettings, name: String) throws(KafkaError) -> ClientConfiguration {
        try LinkSource.clientConfiguration(settings, name: name, nodeID: nodeID, logger: logger, dialler: dialler(name, settings))
    }

    // MARK: Offers

    /// A broker of a link's source offers the connection that its request came over.
    func takeOffer(_ body: JSONValue, _ responder: Responder, _ connection: ConnectionState?) {
        guard let name = body["link"]?.stringValue, let cluster = body["cluster"]?.stringValue, let broker = body["broker"]?.integerValue,
            let host = body["host"]?.stringValue, let port = body["port"]?.integerValue, (1...65_535).contains(port), let connection
        else { return responder.send(ManageLinksResponse(.invalidRequest, "the offer lacks link, cluster, broker, host or port")) }
        guard let link = image.links[name] else {
            return responder.send(
                ManageLinksResponse(
                    .resourceNotFound, "there is no link '\(name)' here; `martlet link create` with connection.mode=INBOUND makes it"))
        }
        guard let settings = try? LinkSettings(link.configuration), settings.connectionMode == .inbound else {
            return responder.send(
                ManageLinksResponse(.invalidRequest, "link '\(name)' has connection.mode=OUTBOUND here: this cluster connects by itself"))
        }
        guard cluster != services?.clusterID, link.sourceClusterID.isEmpty || link.sourceClusterID == cluster else {
            return responder.send(
                ManageLinksResponse(
                    .inconsistentClusterId, "link '\(name)' leads to cluster \(link.sourceClusterID), and the offer comes from \(cluster)"))
        }
        let source = OfferedConnections.SourceBroker(cluster: cluster, id: NodeID(clamping: broker), host: host, port: Int(port))
        guard let undo = offered.add(source, link: name, responder) else {
            return responder.send(ManageLinksResponse(.throttlingQuotaExceeded, "enough connections are offered already"))
        }
        connection.linkOffer = undo
    }

    // MARK: Looking

    /// What this broker knows of the links' connections, for operators.
    var connectionStates: JSONValue {
        var states: [JSONValue] = []
        for link in image.links.values {
            guard let settings = try? LinkSettings(link.configuration) else { continue }
            var object = JSONObject([("link", .string(link.name))])
            if settings.connectionMode == .inbound { object.append("accepted", offered.description(ofLink: link.name)) }
            if let offering = offering.description(ofLink: link.name) { object.append("offering", offering) }
            if object.members.count > 1 { states.append(.object(object)) }
        }
        return .array(states)
    }
}

/// Hands out open channels to brokers of a link's source, which it names by where they listen.
typealias LinkDialler = @Sendable (_ host: String, _ port: Int) -> EventLoopFuture<any Channel>
