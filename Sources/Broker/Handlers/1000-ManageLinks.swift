// ManageLinks: links to other clusters and their mirror topics, for operators and between brokers. Martlet's own API (docs/links.md).
import Authorization
import ClusterMetadata
import Collections
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Primitives
import Runtime

extension BrokerServices {
    func manageLinks(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ManageLinksRequest.self)
        let responder = context.responder
        let principal = "\(context.principal)"
        guard let operation = LinkOperation(rawValue: request.operation), !operation.isControllers else {
            return responder.send(
                ManageLinksResponse(.invalidRequest, "'\(request.operation)' is no operation of links that this broker knows"))
        }
        guard let body = try? JSONValue(parsing: Array(request.body.readableBytesView)) else {
            return responder.send(ManageLinksResponse(.invalidRequest, "the body of \(operation.rawValue) is no JSON"))
        }
        guard mayManage(operation, body, access(context)) else {
            return responder.send(ManageLinksResponse(.clusterAuthorizationFailed, ErrorCode.clusterAuthorizationFailed.defaultMessage))
        }
        switch operation {
        case .follow: followLinks(body, responder)
        case .progress: responder.send(ManageLinksResponse(links.progress))
        case .syncOffsets:
            links.tasks.begin { [links] in responder.send(ManageLinksResponse(await links.syncOffsetsNow(body))) }
        case .putOffsets:
            links.tasks.begin { [links] in responder.send(ManageLinksResponse(await links.putOffsets(body))) }
        case .settleMirrors:
            backgroundWork.run { [links] in responder.send(ManageLinksResponse(links.settleMirrors(body))) }
        case .endTransactions, .awaitTransactions:
            links.tasks.begin { [links] in responder.send(await links.answerAboutTransactions(operation, body)) }
        case .credentials: responder.send(giveCredentials(body, context))
        case .newEpoch, .putCredentials: break
        case .offer: links.takeOffer(body, responder, context.connection.context as? ConnectionState)
        case .positions:
            let access = access(context)
            responder.send(ManageLinksResponse(links.takePositions(body, self) { access.allows(.alter, .topic, $0) }))
        default:
            ensureInternalTopic(TopicName.clusterLinks) { [self] in
                links.tasks.begin { [links] in responder.send(await links.perform(operation, body, principal: principal)) }
            }
        }
    }

    /// Operators need ALTER on the cluster, or DESCRIBE to look; brokers CLUSTER_ACTION. A cluster that takes over topics needs ALTER on each.
    private func mayManage(_ operation: LinkOperation, _ body: JSONValue, _ access: Access) -> Bool {
        switch operation {
        case .follow, .syncOffsets, .claimGroups, .settleMirrors, .putOffsets, .endTransactions, .awaitTransactions:
            return access.allowsCluster(.clusterAction)
        case .describe: return access.allowsCluster(.describe)
        case .progress:
            return access.allowsCluster(.clusterAction, isLogged: false) || access.allowsCluster(.describe)
        // Over it this cluster comes to read what the other one lets it: the right to change links gives more, that of brokers does for it.
        case .offer:
            return access.allowsCluster(.alter, isLogged: false) || access.allowsCluster(.clusterAction)
        case .synchronize: return maySynchronize(body, access)
        // Topic by topic.
        case .positions: return true
        case .fence:
            if access.allowsCluster(.alter, isLogged: false) { return true }
            return (body["topics"]?.arrayValue ?? []).allSatisfy { access.allows(.alter, .topic, $0.stringValue ?? "") }
        case .createLink, .alterLink, .deleteLink, .createMirrors, .changeMirrors, .unfence, .credentials, .newEpoch, .putCredentials:
            return access.allowsCluster(.alter)
        }
    }

    private func followLinks(_ body: JSONValue, _ responder: Responder) {
        let broker = body["broker"]?.integerValue ?? -1
        let wait = min(max(0, body["waitMs"]?.integerValue ?? 0), 10_000)
        links.runtime.follow(
            NodeID(clamping: broker), from: body["revision"]?.integerValue ?? -1, waitMilliseconds: wait
        ) { result in
            switch result {
            case .success(let publication):
                responder.send(
                    ManageLinksResponse(["revision": .integer(publication.revision), "records": publication.image.json]))
            case .failure(.coordinator(let code)): responder.send(ManageLinksResponse(code, code.defaultMessage))
            case .failure(.refused(let refusal)): responder.send(ManageLinksResponse(.invalidRequest, "\(refusal)"))
            }
        }
    }
}

extension ManageLinksResponse {
    init(_ code: ErrorCode, _ message: String, _ body: JSONValue = .object([])) {
        self.init()
        errorCode = code
        errorMessage = message
        self.body = ByteBuffer(string: body.description)
    }

    init(_ body: JSONValue) {
        self.init()
        self.body = ByteBuffer(string: body.description)
    }
}
