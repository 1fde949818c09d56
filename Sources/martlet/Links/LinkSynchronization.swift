// What a link keeps in step beside the data, put together from what brokers say: the coordinator of links does access control, users and quotas,
// every broker the groups that it coordinates.
import FoundationEssentials
import Linking
import Primitives

/// One synchronisation of a link.
struct LinkSynchronization {
    var link: String
    var kind: String
    /// Milliseconds since 1970 at which it last succeeded on the broker that is furthest behind; nil when one never has.
    var lastSuccess: Int64?
    /// What is wrong, of the first broker that says so; empty for nothing.
    var problem = ""
    private var counts: [String: Int64] = [:]

    private static let names = ["atSource", "own", "foreign", "created", "changed", "removed"]

    private init(_ link: String, _ kind: String, _ entries: [(broker: Int64, value: JSONValue)]) {
        self.link = link
        self.kind = kind
        let times = entries.map { $0.value["lastSuccess"]?.integerValue }
        lastSuccess = times.contains(nil) ? nil : times.compactMap { $0 }.min()
        for (broker, value) in entries {
            for name in Self.names { counts[name, default: 0] += value[name]?.integerValue ?? 0 }
            guard problem.isEmpty, let error = value["error"]?.stringValue, !error.isEmpty else { continue }
            problem = entries.count > 1 ? "broker \(broker): \(error)" : error
        }
    }

    /// - Parameter brokers: the answers of all brokers.
    static func all(_ brokers: [JSONValue]) -> [LinkSynchronization] {
        var found: [[String]: [(broker: Int64, value: JSONValue)]] = [:]
        for answer in brokers {
            for value in answer["synchronizations"]?.arrayValue ?? [] {
                guard let link = value["link"]?.stringValue, let kind = value["kind"]?.stringValue else { continue }
                found[[link, kind], default: []].append((answer["broker"]?.integerValue ?? -1, value))
            }
        }
        return found.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { LinkSynchronization($0.key[0], $0.key[1], $0.value) }
    }

    private func count(_ name: String) -> Int64 { counts[name] ?? 0 }

    var json: JSONValue {
        var object = JSONObject([
            ("kind", .string(kind)), ("lastSuccess", lastSuccess.map { .integer($0) } ?? .null), ("error", .string(problem)),
        ])
        for name in Self.names { object.append(name, .integer(count(name))) }
        return .object(object)
    }

    static func table(_ all: [LinkSynchronization]) -> TextTable {
        var table = TextTable(
            "SYNCHRONISED", "LAST SUCCESS", ">AT SOURCE", ">OWN", ">FOREIGN", ">CREATED", ">CHANGED", ">REMOVED", "ERROR")
        for entry in all {
            let time = entry.lastSuccess.map { Date(timeIntervalSince1970: Double($0) / 1000).formatted(.iso8601) } ?? "never"
            table.add([entry.kind, time] + names.map { "\(entry.count($0))" } + [entry.problem])
        }
        return table
    }
}
