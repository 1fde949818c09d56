// `kafka-cluster`: the cluster's id, its endpoints, and forgetting a broker.
import KafkaMessages
import KafkaWire
import MartletClient

enum ClusterTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-cluster", "The Kafka cluster tool: cluster-id, unregister, list-endpoints", style: .brief,
        [
            .value("bootstrap-server", "b", as: "BOOTSTRAP_SERVER", "Brokers to begin with."),
            .value("bootstrap-controller", "C", as: "BOOTSTRAP_CONTROLLER", "Controllers to begin with."),
            .value("command-config", "config", "c", as: "CONFIG", "Client properties, such as those of security."),
            .value("id", "i", as: "ID", .integer, "unregister: the broker."),
            .flag("include-fenced-brokers", "list-endpoints: also brokers that do not serve."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        guard let command = options.rest.first else { throw syntax.mistake("too few arguments") }
        guard ["cluster-id", "unregister", "list-endpoints"].contains(command) else {
            throw syntax.mistake(
                "argument command: invalid choice: '\(command)' (choose from 'cluster-id', 'unregister', 'list-endpoints')")
        }
        guard options.has("bootstrap-server") != options.has("bootstrap-controller") else {
            throw syntax.mistake(
                options.has("bootstrap-server")
                    ? "argument --bootstrap-controller/-C: not allowed with argument --bootstrap-server/-b"
                    : "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required")
        }
        if command == "unregister" { try syntax.require(options, "id") }
        var reached = options
        if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
        do {
            try await ToolAdmin.with(reached) { admin in
                switch command {
                case "cluster-id":
                    let id = try await admin.describeCluster().clusterID
                    Terminal.print(id.map { "Cluster ID: \($0)" } ?? "No cluster ID found. The Kafka version is probably too old.")
                case "unregister": try await unregister(options, admin)
                default: try await listEndpoints(options, admin)
                }
            }
            return 0
        } catch let error as KafkaError {
            throw ToolExit.saying("java.util.concurrent.ExecutionException: \(error.javaText)")
        }
    }

    private static func unregister(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let id = Int32(clamping: options.integer("id") ?? -1)
        do throws(KafkaError) {
            try await admin.unregisterBroker(id)
            Terminal.print("Broker \(id) is no longer registered.")
        } catch {
            guard error.kind == .unsupportedVersion || error.codeName == "UNSUPPORTED_VERSION" else { throw error }
            Terminal.print("The target cluster does not support the broker unregistration API.")
        }
    }

    private static func listEndpoints(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let isOfControllers = options.has("bootstrap-controller")
        if isOfControllers, options.has("include-fenced-brokers") {
            throw ToolExit.saying("The option --include-fenced-brokers is only supported with --bootstrap-server option")
        }
        var request = DescribeClusterRequest()
        request.endpointType = isOfControllers ? 2 : 1
        request.includeFencedBrokers = options.has("include-fenced-brokers")
        let response = try await admin.cluster.retrying { [request] () throws(KafkaError) in
            let lowest: Int16 = request.includeFencedBrokers ? 2 : isOfControllers ? 1 : 0
            let response = try await admin.cluster.send(request, to: isOfControllers ? .bootstrap : .any, allowed: lowest...2)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        let nodes = response.brokers.sorted { $0.brokerId < $1.brokerId }
        let hostWidth = nodes.map(\.host.count).max() ?? 100
        let rackWidth = nodes.compactMap { $0.rack?.count }.max() ?? 10
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], 10), (cells[1], hostWidth), (cells[2], 10), (cells[3], rackWidth)]
            if !isOfControllers { row.append((cells[4], 10)) }
            return JavaFormat.row(row + [(cells[5], 15)])
        }
        Terminal.print(line(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]))
        for node in nodes {
            Terminal.print(
                line([
                    "\(node.brokerId)", node.host, "\(node.port)", node.rack ?? "null", node.isFenced ? "fenced" : "unfenced",
                    isOfControllers ? "controller" : "broker",
                ]))
        }
    }
}
