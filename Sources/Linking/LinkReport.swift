// Links as operators and consoles see them, put together from what the coordinator has recorded and what each broker says of the mirrors that it
// leads and the synchronisations that it does. The one form of it: `martlet link describe --json` and `GET /links/NAME` show the same.
import Primitives

/// Everything that a cluster says of its links.
public struct LinkReport: Sendable {
    /// Each as recorded, with `state`.
    public private(set) var links: [JSONValue] = []
    /// Each as recorded, with the state in force, `lag` and its partitions.
    public private(set) var mirrors: [JSONValue] = []
    public private(set) var synchronizations: [JSONValue] = []
    /// Of links whose connections one side opens for the other.
    public private(set) var connections: [JSONValue] = []
    /// What each broker has fetched over each link.
    public private(set) var traffic: [JSONValue] = []

    /// The state of mirrors that would fetch, and of a link, while the link is paused.
    public static let paused = "LINK_PAUSED"

    /// - Parameters:
    ///   - described: the coordinator's answer to `describe`.
    ///   - answers: brokers' answers to `progress`; none where only what is recorded counts.
    public init(described: JSONValue, answers: [JSONValue]) {
        var pausedLinks: Set<String> = []
        for link in described["links"]?.arrayValue ?? [] {
            let isPaused = link["configuration"]?["cluster.link.paused"]?.stringValue == "true"
            if isPaused { pausedLinks.insert(link["name"]?.stringValue ?? "") }
            links.append(link.with("state", .string(isPaused ? Self.paused : "ACTIVE")))
        }
        var partitions: [String: [JSONValue]] = [:]
        // In whatever order they came.
        let answers = answers.sorted { ($0["broker"]?.integerValue ?? -1) < ($1["broker"]?.integerValue ?? -1) }
        for answer in answers {
            let broker = answer["broker"] ?? .integer(-1)
            for value in answer["partitions"]?.arrayValue ?? [] {
                partitions[value["topic"]?.stringValue ?? "", default: []].append(value.with("leader", broker))
            }
            connections += (answer["connections"]?.arrayValue ?? []).map { $0.with("broker", broker) }
            traffic += (answer["traffic"]?.arrayValue ?? []).map { $0.with("broker", broker) }
        }
        links = links.map { Self.link($0, described["mirrors"]?.arrayValue ?? []) }
        for mirror in described["mirrors"]?.arrayValue ?? [] {
            let isPaused = pausedLinks.contains(mirror["link"]?.stringValue ?? "")
            mirrors.append(Self.mirror(mirror, partitions[mirror["topic"]?.stringValue ?? ""] ?? [], isLinkPaused: isPaused))
        }
        synchronizations = SynchronizationReport.all(answers)
    }

    /// With what its mirrors say of its source, in its state.
    private static func link(_ value: JSONValue, _ mirrors: [JSONValue]) -> JSONValue {
        guard value["state"]?.stringValue != paused else { return value }
        let own = mirrors.filter { $0["link"]?.stringValue == value["name"]?.stringValue }.compactMap { $0["state"]?.stringValue }
        let cutOff = [MirrorState.linkFailed, .sourceUnavailable].first { own.contains($0.rawValue) }
        return cutOff.map { value.with("state", .string($0.rawValue)) } ?? value
    }

    // MARK: Mirrors

    private static func mirror(_ value: JSONValue, _ answers: [JSONValue], isLinkPaused: Bool) -> JSONValue {
        let recorded = value["state"]?.stringValue ?? ""
        let isPaused = isLinkPaused && MirrorState(rawValue: recorded)?.fetches == true
        let state = isPaused ? paused : recorded
        let partitions = newest(answers).map { partition($0, state: state, reason: value["reason"]?.stringValue ?? "") }
        let lags = partitions.map { $0["lag"]?.integerValue }
        let known = partitions.map { $0["synchronous"]?.stringValue ?? "" }
        return value.with("state", .string(state))
            .with("lag", partitions.isEmpty || lags.contains(nil) ? .null : .integer(lags.reduce(0) { $0 + ($1 ?? 0) }))
            .with("synchronous", .string(["asynchronous", "degraded", "synchronous"].first(where: known.contains) ?? ""))
            .with("partitions", .array(partitions))
    }

    /// Who led a partition before may not know yet that it does not any more.
    private static func newest(_ answers: [JSONValue]) -> [JSONValue] {
        func number(_ value: JSONValue, _ name: String) -> Int64 { value[name]?.integerValue ?? -1 }
        var found: [Int64: JSONValue] = [:]
        for answer in answers {
            let index = number(answer, "partition")
            if let known = found[index], number(known, "leaderEpoch") > number(answer, "leaderEpoch") { continue }
            found[index] = answer
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    private static func partition(_ value: JSONValue, state: String, reason: String) -> JSONValue {
        let source = value["sourceEndOffset"]?.integerValue ?? -1
        let lag = source < 0 ? nil : max(0, source - (value["logEndOffset"]?.integerValue ?? 0))
        let failure = value["failure"]?.stringValue
        let problem = value["problem"]?.stringValue ?? ""
        let (records, bytes) = (value["records"]?.integerValue ?? 0, value["bytes"]?.integerValue ?? 0)
        // Of what is missing nothing but the number is known: it is taken to be as large as what has come.
        let size = lag.flatMap { lag in lag == 0 ? 0 : records > 0 ? Int64(Double(bytes) / Double(records) * Double(lag)) : nil }
        return value.with("state", .string(failure == nil ? state : MirrorState.failed.rawValue))
            .with("reason", .string(failure ?? (problem.isEmpty ? reason : problem)))
            .with("lag", lag.map { .integer($0) } ?? .null)
            .with("lagBytes", size.map { .integer($0) } ?? .null)
            .with("lagMs", value["caughtUpAgoMs"] ?? .null)
    }

    // MARK: Pages

    /// One link with everything that belongs to it; nil when there is none of that name.
    public func page(_ name: String) -> JSONValue? {
        guard let link = links.first(where: { $0["name"]?.stringValue == name }) else { return nil }
        func own(_ values: [JSONValue]) -> JSONValue { .array(values.filter { $0["link"]?.stringValue == name }) }
        return [
            "link": link, "connections": own(connections), "traffic": own(traffic), "synchronizations": own(synchronizations),
            "mirrors": own(mirrors),
        ]
    }

    /// All links, each with how its mirrors and synchronisations are.
    public var summary: JSONValue {
        .array(
            links.map { link in
                let name = link["name"]?.stringValue
                let mirrors = mirrors.filter { $0["link"]?.stringValue == name }
                var states: [String: Int64] = [:]
                for mirror in mirrors { states[mirror["state"]?.stringValue ?? "", default: 0] += 1 }
                let lags = mirrors.filter { $0["state"]?.stringValue != MirrorState.stopped.rawValue }.map { $0["lag"]?.integerValue }
                let failing = synchronizations.filter { $0["link"]?.stringValue == name && $0["error"]?.stringValue != "" }
                return link.with("mirrors", .integer(Int64(mirrors.count)))
                    .with("mirrorsByState", .object(states.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) }))
                    .with("lag", lags.contains(nil) ? .null : .integer(lags.reduce(0) { $0 + ($1 ?? 0) }))
                    .with("failingSynchronizations", .array(failing.compactMap { $0["kind"] }))
            })
    }
}

/// What links keep in step beside the data: the coordinator of links does access control, users and quotas, every broker the groups that it
/// coordinates.
enum SynchronizationReport {
    private static let counts = ["atSource", "own", "foreign", "created", "changed", "removed"]

    static func all(_ answers: [JSONValue]) -> [JSONValue] {
        var found: [[String]: [(broker: Int64, value: JSONValue)]] = [:]
        for answer in answers {
            for value in answer["synchronizations"]?.arrayValue ?? [] {
                guard let link = value["link"]?.stringValue, let kind = value["kind"]?.stringValue else { continue }
                found[[link, kind], default: []].append((answer["broker"]?.integerValue ?? -1, value))
            }
        }
        return found.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { one($0.key[0], $0.key[1], $0.value) }
    }

    private static func one(_ link: String, _ kind: String, _ entries: [(broker: Int64, value: JSONValue)]) -> JSONValue {
        // What holds for all is what the broker that is furthest behind says; one that has just started has nothing to say yet.
        func time(_ name: String) -> JSONValue {
            let times = entries.filter { $0.value["lastRun"]?.integerValue != nil }.map { $0.value[name]?.integerValue }
            return times.contains(nil) ? .null : times.compactMap { $0 }.min().map { .integer($0) } ?? .null
        }
        let failing = entries.first { !($0.value["error"]?.stringValue ?? "").isEmpty }
        let error = failing.map { failing in
            let text = failing.value["error"]?.stringValue ?? ""
            return entries.count > 1 ? "broker \(failing.broker): \(text)" : text
        }
        var object = JSONObject([
            ("link", .string(link)), ("kind", .string(kind)), ("lastRun", time("lastRun")), ("lastSuccess", time("lastSuccess")),
            ("error", .string(error ?? "")),
        ])
        for name in counts { object.append(name, .integer(entries.reduce(0) { $0 + ($1.value[name]?.integerValue ?? 0) })) }
        return .object(object)
    }
}

extension JSONValue {
    /// The object with a member set.
    fileprivate func with(_ name: String, _ value: JSONValue) -> JSONValue {
        var object = objectValue ?? JSONObject()
        object[name] = value
        return .object(object)
    }
}
