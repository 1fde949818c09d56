// Links over the admin port, for consoles and whoever else looks: `/links` and `/links/NAME`, the same on every broker.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import Observability
import Primitives
import Runtime

extension BrokerServer {
    /// Adds what the admin port tells about links.
    func addLinkRoutes(to admin: AdminServer) {
        admin.addPage("/links") { [weak self] request in
            guard let links = self?.services?.links else { return .text("this node knows of no links\n", status: 503) }
            return await links.page(request.path)
        }
    }
}

extension LinkServices {
    fileprivate func page(_ path: String) async -> AdminResponse {
        let name = path.split(separator: "/").dropFirst().joined(separator: "/")
        let (described, problem) = await describedAnywhere()
        let (answers, unanswered) = await progressOfEach()
        let report = LinkReport(described: described, answers: answers)
        var object: JSONObject
        if name.isEmpty {
            object = JSONObject([("links", report.summary)])
        } else {
            guard let page = report.page(name)?.objectValue else {
                return .text("there is no link '\(name)'; /links lists them\n", status: 404)
            }
            object = page
        }
        object.append("unanswered", .array(unanswered.map { .integer(Int64($0)) }))
        object.append("problem", .string(problem))
        return .json(JSONValue.object(object).text(indentation: 2) + "\n")
    }

    /// What is recorded of links, from whoever coordinates them; where that one does not answer, as this broker knows it.
    private func describedAnywhere() async -> (JSONValue, problem: String) {
        let known = Self.json(image)
        guard let services, services.image.topics.topic(named: TopicName.clusterLinks) != nil else { return (known, "") }
        let coordinator = services.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
        guard coordinator != nodeID else {
            let response = await perform(.describe, .object([]), principal: "")
            if response.errorCode == .none, let body = response.json { return (body, "") }
            return (known, "links are being loaded here; what is shown may be a moment old")
        }
        do throws(LinkCallFailure) {
            return (try await ask(coordinator, .describe, .object([])), "")
        } catch {
            return (known, "whoever coordinates links does not answer, so what is shown may be old: \(error)")
        }
    }

    /// The answers of live brokers, and those that did not answer.
    private func progressOfEach() async -> ([JSONValue], unanswered: [NodeID]) {
        let brokers = liveBrokers.sorted()
        let answers = await progressOfAll()
        let known = Set(answers.compactMap { $0["broker"]?.integerValue })
        return (answers, brokers.filter { !known.contains(Int64($0)) })
    }
}
