// `martlet quorum`: the controllers that hold the metadata, and who of them votes. Recovery is in QuorumRecoverCommand.swift.
import ArgumentParser
import Configuration
import Consensus
import MartletClient
import Primitives
import Storage

struct QuorumCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quorum", abstract: "Look at the quorum of controllers, change its voters, recover it.",
        subcommands: [QuorumStatusCommand.self, QuorumAddCommand.self, QuorumRemoveCommand.self, QuorumRecoverCommand.self])
}

struct QuorumStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show who leads, who votes and how far everybody is.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let quorum = try await cluster.withAdmin { try await $0.describeQuorum() }
        output.show(QuorumView(quorum).json, QuorumView(quorum).text)
    }
}

/// A quorum as it is shown.
struct QuorumView {
    let quorum: QuorumDescription

    init(_ quorum: QuorumDescription) { self.quorum = quorum }

    var text: String {
        var table = TextTable(">NODE", "ROLE", ">LOG END", ">LAG", "LAST CAUGHT UP", "DIRECTORY")
        let leaderEnd = quorum.voters.first { $0.nodeID == quorum.leaderID }?.logEndOffset ?? quorum.highWatermark
        let all = quorum.voters.map { ($0, true) } + quorum.observers.map { ($0, false) }
        for (replica, isVoter) in all {
            let role = replica.nodeID == quorum.leaderID ? "leader" : isVoter ? "voter" : "observer"
            table.add(
                "\(replica.nodeID)", role, "\(replica.logEndOffset)", "\(max(0, leaderEnd - replica.logEndOffset))",
                replica.lastCaughtUpTimestamp > 0 ? TimeText.of(replica.lastCaughtUpTimestamp) : "-",
                replica.directoryID == .zero ? "-" : "\(replica.directoryID)")
        }
        return "Leader \(quorum.leaderID)  epoch \(quorum.leaderEpoch)  high watermark \(quorum.highWatermark)\n" + table.text
    }

    var json: JSONValue {
        [
            "leaderId": .whole(quorum.leaderID), "leaderEpoch": .whole(quorum.leaderEpoch),
            "highWatermark": .whole(quorum.highWatermark),
            "voters": .array(quorum.voters.map(Self.json)), "observers": .array(quorum.observers.map(Self.json)),
        ]
    }

    private static func json(_ replica: QuorumReplica) -> JSONValue {
        [
            "nodeId": .whole(replica.nodeID), "directoryId": .string("\(replica.directoryID)"),
            "logEndOffset": .whole(replica.logEndOffset),
            "lastFetchTimestamp": .whole(replica.lastFetchTimestamp), "lastCaughtUpTimestamp": .whole(replica.lastCaughtUpTimestamp),
        ]
    }
}

struct QuorumAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Make a controller that follows the metadata a voter.",
        discussion: """
            The new controller must have been formatted with --no-initial-controllers, and run. Name it by its configuration, on its own
            machine, or by hand.

              martlet quorum add --config controller.properties
              martlet quorum add 4@host4:9093:0qH1bTvQRhSlxS0gkWhJ5g
            """)

    @Argument(help: "The new voter, id@host:port:directoryId; the directory's id is in its meta.properties.")
    var voter: String?

    @Option(name: [.customShort("c"), .customLong("config")], help: "The new controller's configuration.", completion: .file())
    var config: String?

    @Option(help: "The listener that host and port belong to.")
    var listener = "CONTROLLER"

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if (voter == nil) == (config == nil) {
            throw ValidationError("Say which controller: either id@host:port:directoryId, or --config with its configuration.")
        }
        if let voter { _ = try FormatCommand.voters(voter, listener: listener) }
    }

    func run() async throws {
        let new = try newVoter()
        try await cluster.withAdmin { try await $0.addVoter(new) }
        output.show(
            ["nodeId": .whole(new.nodeID), "directoryId": .string("\(new.directoryID)")], "Node \(new.nodeID) votes in the quorum now.")
    }

    private func newVoter() throws -> NewVoter {
        if let voter {
            let voters = try FormatCommand.voters(voter, listener: listener)
            guard voters.count == 1, let only = voters.first else {
                throw ValidationError("Voters are added one at a time, so that a majority of the old ones agrees to each.")
            }
            return NewVoter(
                nodeID: only.id, directoryID: only.directoryID,
                endpoints: only.endpoints.map { .init(listener: $0.name, host: $0.host, port: $0.port) })
        }
        let loaded: BrokerConfiguration
        do throws(ConfigurationMistakes) {
            loaded = try ConfigurationLoader.load(file: config).configuration
        } catch {
            Terminal.complain("\(error)")
            throw NodeExit.configuration
        }
        guard loaded.processRoles.contains(.controller) else {
            throw CommandFailure("node \(loaded.nodeID) is no controller: process.roles does not have controller")
        }
        let path = "\(loaded.metadataLog.directory)/\(MetaProperties.fileName)"
        guard let properties = try? MetaProperties(path: path), let directoryID = properties.directoryID else {
            throw CommandFailure("\(path) does not say the directory's id; format the node with --no-initial-controllers first")
        }
        return NewVoter(
            nodeID: loaded.nodeID, directoryID: directoryID,
            endpoints: loaded.advertisedControllerListeners.compactMap { listener in
                UInt16(exactly: listener.port).map { .init(listener: listener.name, host: listener.host, port: $0) }
            })
    }
}

struct QuorumRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Take a voter out of the quorum, such as one that is gone for good.")

    @Argument(help: "The voter's node id.")
    var node: Int32

    @Option(help: "Its directory's id, when the node has voted with several directories; that of the quorum's voter if not given.")
    var directoryID: String?

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let directoryID, KafkaUUID(directoryID) == nil { throw ValidationError("'\(directoryID)' is no directory id.") }
    }

    func run() async throws {
        let removed = try await cluster.withAdmin { admin in
            let quorum = try await admin.describeQuorum()
            let matching = quorum.voters.filter { voter in
                voter.nodeID == node && (directoryID.map { KafkaUUID($0) == voter.directoryID } ?? true)
            }
            guard let voter = matching.first else {
                let voters = quorum.voters.map { "\($0.nodeID)" }.joined(separator: ", ")
                throw CommandFailure("node \(node) is no voter; the voters are \(voters)")
            }
            guard quorum.voters.count > 1 else { throw CommandFailure("node \(node) is the only voter; a quorum needs one") }
            let left = quorum.voters.count - 1
            try Confirmation.ask(
                "Remove voter \(node)? The quorum then has \(left) voter\(left == 1 ? "" : "s") and stands the loss of \((left - 1) / 2).",
                unless: yes)
            try await admin.removeVoter(node, directoryID: voter.directoryID)
            return voter
        }
        output.show(
            ["nodeId": .whole(node), "directoryId": .string("\(removed.directoryID)")], "Node \(node) does not vote any more.")
    }
}
