// The mirror's REST interface: its state, and which topics are replicated.
import Mirroring
import Observability
import Primitives

/// Answers about a mirror, and takes changes of topics.
public final class MirrorRoutes: Sendable {
    private let mirror: MirrorMaker
    private let topics: MirrorTopics

    public init(_ mirror: MirrorMaker, _ topics: MirrorTopics) {
        (self.mirror, self.topics) = (mirror, topics)
    }

    /// Adds `/mirror/state`, `/mirror/topics` and `/mirror/blocked`.
    public func add(to server: AdminServer) {
        server.addRoute("/mirror/state") { [mirror] _ in .json(mirror.stateJSON.text() + "\n") }
        server.addOperation("/mirror/topics") { request in await self.answer(request, "/mirror/topics", put: .add, delete: .remove) }
        server.addOperation("/mirror/blocked") { request in await self.answer(request, "/mirror/blocked", put: .block, delete: .unblock) }
    }

    private func answer(_ request: AdminRequest, _ path: String, put: TopicChange, delete: TopicChange) async -> AdminResponse {
        let name = request.path.dropFirst(path.utf8.count).drop { $0 == "/" }
        let flow = request.parameter("flow")
        do throws(MirrorTopicError) {
            switch (request.method, name.isEmpty) {
            case ("GET", true), ("HEAD", true):
                let wanted: TopicRule? = put == .block ? .blocked : nil
                let list = try await topics.list(flow).filter { wanted == nil || $0.rule == wanted }
                return .json(JSONValue.array(list.map(\.json)).text() + "\n")
            case ("PUT", false), ("DELETE", false):
                try await topics.change(request.method == "PUT" ? put : delete, [String(name)], flow: flow)
                return Self.message("done", 200)
            default:
                return Self.message("GET \(path), PUT and DELETE \(path)/TOPIC are served here, with ?flow=SOURCE->TARGET", 405)
            }
        } catch {
            switch error {
            case .flow, .refused: return Self.message("\(error)", 400)
            case .failed: return Self.message("\(error)", 503)
            }
        }
    }

    private static func message(_ text: String, _ status: Int) -> AdminResponse {
        .json(JSONValue.object([(status == 200 ? "message" : "error", .string(text))]).text() + "\n", status: status)
    }
}

extension MirrorMaker {
    /// Flows, and the partitions that this process copies.
    var stateJSON: JSONValue {
        .array(
            states.map { state in
                let (partitions, problem, rules) = state.contents.withLock { ($0.partitions.values.elements, $0.problem, $0.rules) }
                let own = partitions.filter { $0.position != nil }
                return [
                    "flow": .string(state.flow.name), "provenance": .bool(state.flow.addsProvenance),
                    "transforms": .array(state.flow.transforms.map { .string($0.name) }),
                    "rules": .object(rules.rules.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value.rawValue)) }),
                    "lastProblem": problem.map { .string($0) } ?? .null, "partitions": .array(own.map(\.json)),
                ]
            })
    }
}

extension CopiedPartition {
    fileprivate var json: JSONValue {
        [
            "source": .string("\(source)"), "target": .string("\(target)"), "next": .integer(written),
            "lag": lag.map { .integer($0) } ?? .null, "problem": problem.map { .string($0) } ?? .null,
            "records": .integer(Int64(figures.records)), "changed": .integer(Int64(figures.rewrites.changed)),
            "dropped": .integer(Int64(figures.rewrites.dropped)), "refused": .integer(Int64(figures.refused)),
            "returned": .integer(Int64(figures.rewrites.returned)), "known": .integer(Int64(figures.rewrites.known)),
        ]
    }
}
