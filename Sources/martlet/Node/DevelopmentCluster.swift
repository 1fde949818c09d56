// Several nodes of one cluster under one command. Each is a process of its own: as separate as in production, and as easy to kill.
import ArgumentParser
import Configuration
import Glibc
import Primitives
import Runtime
import Storage

/// A development cluster in the foreground.
struct DevelopmentCluster {
    let brokers: Int
    let zones: [String]
    let port: Int
    let adminPort: Int
    let data: String
    let overrides: [String]
    let logJSON: Bool

    /// Whether a directory was used with several nodes before.
    static func holdsCluster(_ data: String) -> Bool { MetadataFormat.isFormatted("\(data)/node-1") }

    func run() throws {
        if MetadataFormat.isFormatted(data) {
            throw CommandFailure("\(data) holds a single node; leave --brokers out, or choose another directory with --data")
        }
        let before = (1...9).filter { MetadataFormat.isFormatted(directory($0)) }.count
        if before != 0, before != brokers {
            throw CommandFailure(
                "\(data) holds a cluster of \(before) nodes; say --brokers \(before), or choose another directory with --data")
        }
        try prepare()
        let signals = SignalWait()
        var nodes = try (1...brokers).map { number in
            try ChildProcess(
                name: "node \(number)",
                arguments: ["server", file(number), "--ends-with-parent"] + (logJSON ? ["--log-json"] : []))
        }
        let status = ChildSupervision(nodes: &nodes, signals: signals, adminPorts: (0..<brokers).map { adminPort + $0 }, greet: greet).run()
        if status != 0 { throw ExitCode(status) }
    }

    private func directory(_ number: Int) -> String { "\(data)/node-\(number)" }
    private func file(_ number: Int) -> String { "\(data)/node-\(number).properties" }
    private func clientPort(_ number: Int) -> Int { port + 2 * (number - 1) }

    private func greet() {
        let addresses = (1...brokers).map { "127.0.0.1:\(clientPort($0))" }.joined(separator: ",")
        Terminal.print(
            DevelopmentGreeting.text(
                address: addresses, data: data, adminPorts: (0..<brokers).map { adminPort + $0 },
                bootstrapOption: port == 9092 ? "" : " --bootstrap-server 127.0.0.1:\(port)"))
    }

    /// Writes the nodes' configurations and formats directories that are new.
    private func prepare() throws {
        let first = try? MetaProperties(path: "\(directory(1))/\(MetaProperties.fileName)")
        let clusterID = first?.clusterID ?? KafkaUUID.random().description
        for number in 1...brokers {
            let text = settings(number).map { "\($0.0)=\($0.1)\n" }.joined()
            try makeDirectory(data)
            try write(text, to: file(number))
            let loaded: BrokerConfiguration
            do throws(ConfigurationMistakes) {
                loaded = try ConfigurationLoader.load(file: file(number), environment: [:]).configuration
            } catch {
                Terminal.complain("\(error)")
                throw NodeExit.configuration
            }
            var format = MetadataFormat(
                nodeID: loaded.nodeID, clusterID: clusterID, directories: loaded.storage.logDirectories,
                metadataDirectory: loaded.metadataLog.directory)
            format.ignoresFormatted = true
            do throws(MetadataStorageError) { _ = try format.run() } catch { throw CommandFailure("\(error)") }
        }
    }

    private func settings(_ number: Int) -> [(String, String)] {
        let voters = (1...brokers).map { "\($0)@127.0.0.1:\(clientPort($0) + 1)" }.joined(separator: ",")
        let copies = min(3, brokers)
        var settings = [
            ("node.id", "\(number)"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://127.0.0.1:\(clientPort(number)),CONTROLLER://127.0.0.1:\(clientPort(number) + 1)"),
            ("advertised.listeners", "PLAINTEXT://127.0.0.1:\(clientPort(number))"),
            ("controller.listener.names", "CONTROLLER"),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            ("controller.quorum.voters", voters),
            ("log.dirs", directory(number)),
            ("default.replication.factor", "\(copies)"),
            ("min.insync.replicas", "\(max(1, copies - 1))"),
            ("offsets.topic.replication.factor", "\(copies)"),
            ("transaction.state.log.replication.factor", "\(copies)"),
            ("transaction.state.log.min.isr", "\(max(1, copies - 1))"),
            ("share.coordinator.state.topic.replication.factor", "\(copies)"),
            ("share.coordinator.state.topic.min.isr", "\(max(1, copies - 1))"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("martlet.admin.listeners", "127.0.0.1:\(adminPort + number - 1)"),
        ]
        if !zones.isEmpty { settings.append(("broker.rack", zones[(number - 1) % zones.count])) }
        for text in overrides {
            guard let change = Assignment(argument: text) else { continue }
            settings.removeAll { $0.0 == change.name }
            settings.append((change.name, change.value))
        }
        return settings
    }

    private func makeDirectory(_ path: String) throws {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw CommandFailure("cannot make \(path): \(String(cString: strerror(errno)))")
        }
    }

    private func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var text = text
        let isWritten = text.withUTF8 { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
        guard isWritten else { throw CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
    }
}
