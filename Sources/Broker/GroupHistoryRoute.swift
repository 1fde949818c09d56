// Why a group rebalanced, over the admin port: `/groups/history?group=NAME`, for `martlet group history` and whoever else asks.
import GroupCoordination
import KafkaWire
import Observability
import Primitives
import Runtime

extension BrokerServer {
    /// Adds what the admin port tells about groups.
    func addGroupRoutes(to admin: AdminServer) {
        admin.addRoute("/groups/history") { [weak self] request in
            guard let groups = self?.services?.groups else {
                return .text("this node coordinates no groups\n", status: 503)
            }
            return Self.history(of: request.parameter("group") ?? "", groups)
        }
    }

    private static func history(of group: String, _ groups: CoordinatorRuntime) -> AdminResponse {
        guard !group.isEmpty else { return .text("say which group: /groups/history?group=NAME\n", status: 400) }
        switch groups.rebalanceReasons(of: group) {
        case .failure(let error):
            // Status 421: another node is the one to ask.
            return .text("group '\(group)' is not coordinated here: \(error.code)\n", status: error.code == .notCoordinator ? 421 : 503)
        case .success(let reasons): return .json(document(of: group, reasons) + "\n")
        }
    }

    /// A group's rebalances, oldest first, as JSON.
    static func document(of group: String, _ reasons: [RebalanceReason]) -> String {
        var text = JSONText()
        text.beginObject()
        text.field("group", group)
        text.beginArray("rebalances")
        for reason in reasons { reason.write(to: &text) }
        text.endArray()
        text.endObject()
        return text.text
    }
}

extension RebalanceReason {
    fileprivate func write(to text: inout JSONText) {
        text.beginObject()
        text.field("timestamp", timestamp)
        text.field("type", type.rawValue)
        text.field("epoch", Int64(epoch))
        text.field("reason", kind.rawValue)
        text.field("memberId", memberID)
        if let instanceID { text.field("groupInstanceId", instanceID) }
        text.field("clientId", clientID)
        text.field("host", clientHost)
        text.field("detail", detail)
        text.endObject()
    }
}
