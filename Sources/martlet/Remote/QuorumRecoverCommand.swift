// `martlet quorum recover`: when most controllers are gone for good, the longest log that is left becomes the whole quorum.
import ArgumentParser
import Configuration
import Consensus
import Glibc
import Logging
import Primitives
import Runtime

struct QuorumRecoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "Give a cluster a quorum again when most of its controllers are gone for good.",
        discussion: """
            Works on the metadata directories of stopped controllers, all on this machine (copy those of others here first). Shows how far
            each one's log goes, picks the longest and makes its node the only voter. Refuses while the voters given could form a majority,
            while a voter is neither given nor declared lost, and while one that is declared lost still takes connections.

              martlet quorum recover /data/controller-1 --lost 2,3 --dry-run
              martlet quorum recover /data/controller-1 --lost 2,3
            """)

    @Argument(help: "Metadata directories (metadata.log.dir) of the controllers that are left.", completion: .directory)
    var directories: [String]

    @Option(help: "Node ids of the voters that are gone for good, separated by commas.", transform: BrokerList.init(parsing:))
    var lost: BrokerList?

    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: "A controller's configuration, for controller.quorum.voters when the voters are static.", completion: .file())
    var config: String?

    @Flag(help: "Show everything and change nothing.")
    var dryRun = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if directories.isEmpty { throw ValidationError("Name the metadata directories of the controllers that are left.") }
    }

    func run() throws {
        var quiet = Logger(label: "recover", factory: { _ in SwiftLogNoOpLogHandler() })
        quiet.logLevel = .critical
        var survivors: [QuorumSurvivor] = []
        for directory in directories {
            do throws(MetadataStorageError) {
                survivors.append(try QuorumSurvivor(directory: directory, logger: quiet))
            } catch {
                let isLocked = if case .storage(.locked) = error { true } else { false }
                throw CommandFailure("\(directory) cannot be used: \(error)\(isLocked ? "; stop the node first" : "")")
            }
        }
        let plan = try plan(survivors)
        if !output.json { Terminal.print(plan.text) }
        if let refusal = plan.refusal { throw CommandFailure(refusal) }
        if !dryRun {
            try Confirmation.ask("Make node \(plan.chosen.nodeID) the only voter?", unless: yes)
            do throws(MetadataStorageError) { try plan.chosen.becomeSoleVoter(epoch: plan.epoch) } catch {
                throw CommandFailure("\(error)")
            }
        }
        output.show(plan.json(executed: !dryRun), dryRun ? "Nothing was changed (--dry-run)." : plan.nextSteps)
    }

    private func plan(_ survivors: [QuorumSurvivor]) throws -> QuorumRecoveryPlan {
        guard let first = survivors.first else { throw CommandFailure("no directory was given") }
        for other in survivors where other.clusterID != first.clusterID {
            throw CommandFailure(
                "\(other.directory) belongs to cluster \(other.clusterID), and \(first.directory) to cluster \(first.clusterID)")
        }
        guard Set(survivors.map(\.nodeID)).count == survivors.count else {
            throw CommandFailure("two of the directories belong to the same node; name each controller once")
        }
        return QuorumRecoveryPlan(survivors: survivors, chosen: first, lost: lost?.brokers ?? [], addresses: try staticAddresses())
    }

    /// Where static voters listen.
    private func staticAddresses() throws -> [Int32: (host: String, port: Int)] {
        guard let config else { return [:] }
        do throws(ConfigurationMistakes) {
            let voters = try ConfigurationLoader.load(file: config).configuration.controllerQuorumVoters
            return Dictionary(voters.map { ($0.id, ($0.address.host, Int($0.address.port))) }, uniquingKeysWith: { first, _ in first })
        } catch {
            Terminal.complain("\(error)")
            throw NodeExit.configuration
        }
    }
}

/// What is to be done, what speaks against it, and what it costs.
struct QuorumRecoveryPlan {
    let survivors: [QuorumSurvivor]
    let chosen: QuorumSurvivor
    let lost: [Int32]
    let voters: [Int32]
    let addresses: [Int32: (host: String, port: Int)]

    init(survivors: [QuorumSurvivor], chosen first: QuorumSurvivor, lost: [Int32], addresses: [Int32: (host: String, port: Int)]) {
        self.survivors = survivors
        self.lost = lost.sorted()
        let longest = survivors.reduce(first) { $1.hasLongerLog(than: $0) ? $1 : $0 }
        let logged = longest.voterIDs
        voters = (logged.isEmpty ? Array(addresses.keys) : logged).sorted()
        let known = voters
        // Only a voter can be made the only voter; among those the longest log.
        chosen = survivors.filter { known.contains($0.nodeID) }.reduce(longest) { best, next in
            !known.contains(best.nodeID) || next.hasLongerLog(than: best) ? next : best
        }
        var all = addresses
        for voter in longest.voters?.voters.values.map(\.self) ?? [] {
            if let endpoint = voter.endpoints.first { all[voter.id] = (endpoint.host, Int(endpoint.port)) }
        }
        self.addresses = all
    }

    /// Above everything that anybody who is left has heard of, with room for elections that only the lost ones saw.
    var epoch: LeaderEpoch { (survivors.map(\.knownEpoch).max() ?? 0) + 100 }
    var majority: Int { voters.count / 2 + 1 }

    /// Why it must not be done; nil when it may.
    var refusal: String? {
        let living = survivors.map(\.nodeID).filter(voters.contains)
        if voters.isEmpty { return "the directories do not say who the voters are; name a controller's configuration with --config" }
        if living.count >= majority {
            return "\(living.count) of \(voters.count) voters are left, which is a majority: start them, and nothing is lost"
        }
        if let stranger = lost.first(where: living.contains) { return "node \(stranger) is not lost: its directory was given" }
        if !voters.contains(chosen.nodeID) { return "none of the directories belongs to a voter (\(BrokerList.text(voters)))" }
        let unaccounted = voters.filter { !living.contains($0) && !lost.contains($0) }
        if !unaccounted.isEmpty {
            return "what about voters \(BrokerList.text(unaccounted))? Give their directories, or, when they are gone for good, name them "
                + "with --lost. If they come back after a recovery, the cluster has two histories"
        }
        for node in lost {
            if let address = addresses[node], TCPProbe.accepts(host: address.host, port: address.port) {
                return "node \(node) is declared lost, but \(address.host):\(address.port) takes connections: it may still live"
            }
        }
        return nil
    }

    var text: String {
        var table = TextTable(">NODE", "DIRECTORY", ">LAST EPOCH", ">LOG END", ">KNOWN EPOCH", "")
        for survivor in survivors {
            let role = voters.contains(survivor.nodeID) ? "" : "observer"
            table.add(
                "\(survivor.nodeID)", survivor.directory, "\(survivor.lastEpoch)", "\(survivor.endOffset)", "\(survivor.knownEpoch)",
                survivor === chosen ? "the longest log" : role)
        }
        return "Voters: \(BrokerList.text(voters)) (a majority is \(majority))\n\(table.text)\n\(loss)"
    }

    private var loss: String {
        """
        Node \(chosen.nodeID) goes on from offset \(chosen.endOffset). What may be lost: everything that voters \
        \(BrokerList.text(voters.filter { $0 != chosen.nodeID })) committed behind that without node \(chosen.nodeID), such as topics, \
        settings and changes of leaders. Nobody who is left can say whether there was anything. What node \(chosen.nodeID) has beyond the \
        last commit counts as committed from now on.
        """
    }

    var nextSteps: String {
        let isStatic = chosen.kraftVersion == 0
        var steps = ["Node \(chosen.nodeID) is the only voter now, in epoch \(epoch)."]
        if isStatic {
            let address = addresses[chosen.nodeID].map { "\($0.host):\($0.port)" } ?? "HOST:PORT"
            steps.append("Set controller.quorum.voters=\(chosen.nodeID)@\(address) in the configuration of every node that is left.")
        }
        steps.append("Start node \(chosen.nodeID), then restart every broker: one that had heard more than is left must forget it.")
        steps.append(
            isStatic
                ? "Controllers that are added again must be formatted anew."
                : "Give the quorum more voters again with `martlet quorum add`.")
        return steps.joined(separator: "\n")
    }

    func json(executed: Bool) -> JSONValue {
        [
            "voters": .integers(voters), "lost": .integers(lost), "chosen": .whole(chosen.nodeID), "epoch": .whole(epoch),
            "executed": .bool(executed),
            "survivors": .array(
                survivors.map {
                    [
                        "nodeId": .whole($0.nodeID), "directory": .string($0.directory), "lastEpoch": .whole($0.lastEpoch),
                        "logEndOffset": .whole($0.endOffset), "knownEpoch": .whole($0.knownEpoch),
                    ]
                }),
        ]
    }
}

/// Whether somebody takes connections at an address.
enum TCPProbe {
    static func accepts(host: String, port: Int) -> Bool {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0 else { return false }
        defer { freeaddrinfo(found) }
        var next = found
        while let address = next?.pointee {
            next = address.ai_next
            let descriptor = socket(address.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            // Also limits how long connecting takes.
            var limit = timeval(tv_sec: 3, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            if connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return true }
        }
        return false
    }
}
