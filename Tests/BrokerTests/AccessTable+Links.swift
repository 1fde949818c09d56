// What each operation on links needs.
import Authorization
import KafkaMessages
import NIOCore
import Primitives

extension AccessRow {
    private static func row(
        _ operation: String, _ body: JSONValue, _ right: AccessOperation, _ type: ResourceType = .cluster,
        _ name: String = ClusterResource.name
    ) -> AccessRow {
        var row = AccessRow(ManageLinksRequest(), right, type, name) {
            $0.operation = operation
            $0.body = ByteBuffer(string: body.description)
        }
        // The API is about the cluster, whatever else could have permitted it.
        row.refusal = .clusterAuthorizationFailed
        return row
    }

    static let links: [AccessRow] = [
        row("create-link", ["name": "l"], .alter), row("alter-link", ["name": "l"], .alter), row("delete-link", ["name": "l"], .alter),
        row("create-mirrors", ["link": "l"], .alter), row("change-mirrors", ["link": "l", "verb": "pause"], .alter),
        row("unfence", ["topics": []], .alter), row("describe", .object([]), .describe), row("progress", .object([]), .describe),
        row("fence", ["topics": ["t"], "by": "x"], .alter, .topic, "t"), row("fence", ["topics": ["t"], "by": "x"], .alter),
        row("synchronize", ["cluster": "c", "link": "l", "topics": ["t"], "ready": []], .alter, .topic, "t"),
        row("synchronize", ["release": ["t"]], .alter),
        row("offer", ["link": "l"], .alter), row("offer", ["link": "l"], .clusterAction),
        row("follow", ["revision": -1, "waitMs": 0], .clusterAction), row("sync-offsets", ["link": "l"], .clusterAction),
    ]
}
