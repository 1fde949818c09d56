// `kafka-broker-api-versions`: which versions of each API every broker speaks.
import KafkaWire
import MartletClient

enum BrokerVersionsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-broker-api-versions", "This tool helps to retrieve broker version information.",
        [
            .value("bootstrap-server", as: "server(s) to use for bootstrapping", "REQUIRED: Brokers to begin with."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try syntax.require(options, "bootstrap-server")
        try await ToolAdmin.with(options) { admin in
            for broker in try await admin.listRegisteredBrokers() where broker.isFenced != true {
                let node = broker.node
                let title =
                    "\(node.host):\(node.port) (id: \(node.id) rack: \(node.rack ?? "null") isFenced: \(broker.isFenced ?? false)) -> "
                do throws(KafkaError) {
                    Terminal.print(title + text(try await admin.describeVersions(of: .node(node.id))))
                } catch {
                    Terminal.print(title + "ERROR: \(error.javaText)")
                }
            }
        }
        return 0
    }

    private static func text(_ versions: NegotiatedVersions) -> String {
        let announced = Dictionary(versions.all.map { ($0.key, $0.versions) }, uniquingKeysWith: { first, _ in first })
        let known = ApiKey.allCases.filter { $0.listeners.contains(.broker) }.map(\.rawValue)
        let lines = Set(known).union(announced.keys).sorted().map { key in
            let api = ApiKey(rawValue: key)
            let name = "\(api?.name ?? "UNKNOWN")(\(key)): "
            guard let range = announced[key] else { return name + "UNSUPPORTED" }
            let text = range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
            guard let own = api?.stableVersions else { return name + text }
            let usable =
                range.upperBound < own.lowerBound
                ? " [unusable: node too old]"
                : range.lowerBound > own.upperBound
                    ? " [unusable: node too new]" : " [usable: \(min(range.upperBound, own.upperBound))]"
            return name + text + usable
        }
        return "(\n" + lines.map { "\t\($0)" }.joined(separator: ",\n") + "\n)"
    }
}
