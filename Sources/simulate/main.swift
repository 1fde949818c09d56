// Runs seeds of the simulator from the command line; `usage` says how.
import Glibc
import Primitives
import Simulation

/// Which kind of world.
enum Kind: String, CaseIterable {
    case quorum
    case cluster
    case links

    func run(_ seed: UInt64, _ arguments: Arguments, isTracing: Bool = false) -> SimulationOutcome {
        switch self {
        case .quorum: Simulation.runQuorum(seed: seed, mutation: arguments.mutation, isTracing: isTracing)
        case .cluster: Simulation.runCluster(seed: seed, mutation: arguments.clusterMutation, isTracing: isTracing)
        case .links: Simulation.runLinks(seed: seed, mutation: arguments.linkMutation, isTracing: isTracing)
        }
    }
}

/// What was asked for on the command line.
struct Arguments {
    var first: UInt64 = 1
    var count: UInt64 = 1000
    var kinds = Kind.allCases
    var mutation: Mutation?
    var clusterMutation: ClusterMutation?
    var linkMutation: LinkMutation?
    var provesMutations = false
    /// Partitions whose metadata are measured, and how many of them a topic has.
    var scale: Int?
    var partitionsPerTopic = 1000
    var isTracing = false
    var traceFolder = ".cache/simulate"

    init(_ words: [String]) {
        var words = words[...]
        while let word = words.popFirst() {
            switch word {
            case "--mutations": provesMutations = true
            case "--trace": isTracing = true
            case "--scale":
                guard let count = words.popFirst().flatMap({ Int($0) }), count > 0 else { usage("--scale takes a number of partitions") }
                scale = count
            case "--per-topic":
                guard let count = words.popFirst().flatMap({ Int($0) }), count > 0 else { usage("--per-topic takes a number") }
                partitionsPerTopic = count
            case "--traces": traceFolder = words.popFirst() ?? traceFolder
            case "--kind":
                guard let name = words.popFirst(), let kind = Kind(rawValue: name) else { usage("--kind takes quorum, cluster or links") }
                kinds = [kind]
            case "--mutation":
                let name = words.popFirst() ?? ""
                if let found = Mutation(rawValue: name) {
                    mutation = found
                    kinds = [.quorum]
                } else if let found = ClusterMutation(rawValue: name) {
                    clusterMutation = found
                    kinds = [.cluster]
                } else if let found = LinkMutation(rawValue: name) {
                    linkMutation = found
                    kinds = [.links]
                } else {
                    let names =
                        Mutation.allCases.map(\.rawValue) + ClusterMutation.allCases.map(\.rawValue) + LinkMutation.allCases.map(\.rawValue)
                    usage("--mutation takes one of: \(names.joined(separator: " "))")
                }
            default:
                let parts = word.split(separator: ":", omittingEmptySubsequences: false)
                guard (1...2).contains(parts.count), let first = UInt64(parts[0]), let count = parts.count > 1 ? UInt64(parts[1]) : 1 else {
                    usage("not a range of seeds: \(word)")
                }
                (self.first, self.count) = (first, count)
            }
        }
    }
}

func usage(_ problem: String) -> Never {
    var text =
        "error: \(problem)\nusage: simulate [--kind quorum|cluster|links] [--trace] [--traces FOLDER] [--mutation NAME] FIRST:COUNT\n"
        + "       simulate [--kind quorum|cluster|links] --mutations\n       simulate --scale PARTITIONS [--per-topic COUNT]\n"
    text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(2)
}

/// Writes a trace beside others and says where.
func keep(_ outcome: SimulationOutcome, _ kind: Kind, in folder: String) -> String {
    var path = ""
    for part in folder.split(separator: "/", omittingEmptySubsequences: false) {
        path += part + "/"
        mkdir(path, 0o777)
    }
    path += "\(kind.rawValue)-\(outcome.seed).txt"
    guard let file = fopen(path, "w") else { return "(\(path) cannot be written)" }
    for line in outcome.trace { fputs(line + "\n", file) }
    fclose(file)
    return path
}

func report(_ outcome: SimulationOutcome, _ kind: Kind, _ arguments: Arguments) {
    // The same seed again, this time with a trace: nothing but the seed decides what happens.
    let traced = kind.run(outcome.seed, arguments, isTracing: true)
    print("\(kind.rawValue) seed \(outcome.seed): \(outcome.violation.map { "FAILED, \($0)" } ?? "passed")")
    print("    trace: \(keep(traced, kind, in: arguments.traceFolder))")
    fflush(nil)
    if traced.digest != outcome.digest { print("    warning: the run with a trace went another way: the simulation is not deterministic") }
}

func proveMutations(_ arguments: Arguments) -> Bool {
    var isComplete = true
    func tell(_ name: String, _ outcome: SimulationOutcome?, _ needed: Int) {
        if let outcome, let violation = outcome.violation {
            print("\(name): noticed by \(outcome.seed == 0 ? "its scenario" : "seed \(outcome.seed)"): \(violation)")
        } else {
            print("\(name): NOT NOTICED by \(needed) seeds")
            isComplete = false
        }
        fflush(nil)
    }
    if arguments.kinds.contains(.quorum) {
        for mutation in Mutation.allCases {
            let outcome = Simulation.firstSeedThatNotices(mutation, from: arguments.first, count: mutation.seedsNeeded)
            tell(mutation.rawValue, outcome, mutation.seedsNeeded)
        }
    }
    if arguments.kinds.contains(.cluster) {
        for mutation in ClusterMutation.allCases {
            let outcome = Simulation.firstSeedThatNotices(mutation, from: arguments.first, count: mutation.seedsNeeded)
            tell(mutation.rawValue, outcome, mutation.seedsNeeded)
        }
    }
    if arguments.kinds.contains(.links) {
        for mutation in LinkMutation.allCases {
            let outcome = Simulation.firstSeedThatNotices(mutation, from: arguments.first, count: mutation.seedsNeeded)
            tell(mutation.rawValue, outcome, mutation.seedsNeeded)
        }
    }
    return isComplete
}

func runSeeds(_ kind: Kind, _ arguments: Arguments) -> Bool {
    let clock = ContinuousClock()
    let began = clock.now
    var (ran, failures, events, acknowledged, virtual) = (0, 0, 0, 0, Int64(0))
    for seed in arguments.first..<(arguments.first + arguments.count) {
        let outcome = kind.run(seed, arguments)
        ran += 1
        events += outcome.events
        acknowledged += outcome.acknowledged
        virtual += outcome.duration
        if outcome.violation != nil || arguments.isTracing { report(outcome, kind, arguments) }
        if outcome.violation != nil { failures += 1 }
        if failures >= 10 { break }
    }
    let elapsed = began.duration(to: clock.now)
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
    let rate = Double(ran) / max(seconds, 0.001)
    print(
        "\(kind.rawValue): \(ran) seeds from \(arguments.first): \(failures) failed; \(Double(Int(rate * 10)) / 10) seeds per second, "
            + "\(events) events, \(virtual / 1_000_000) virtual seconds, \(acknowledged) records acknowledged")
    fflush(nil)
    return failures == 0
}

let arguments = Arguments(Array(CommandLine.arguments.dropFirst()))
var passed = true
if let scale = arguments.scale {
    passed = measureScale(partitions: scale, partitionsPerTopic: arguments.partitionsPerTopic)
} else if arguments.provesMutations {
    passed = proveMutations(arguments)
} else {
    for kind in arguments.kinds { passed = runSeeds(kind, arguments) && passed }
}
exit(passed ? 0 : 1)
