// Runs seeds of the simulator from the command line: `simulate FIRST:COUNT`, `simulate --mutations`, `simulate --trace FILE SEED`.
import Glibc
import Primitives
import Simulation

/// What was asked for on the command line.
struct Arguments {
    var first: UInt64 = 1
    var count: UInt64 = 1000
    var mutation: Mutation?
    var provesMutations = false
    var isTracing = false
    var traceFolder = ".cache/simulate"

    init(_ words: [String]) {
        var words = words[...]
        while let word = words.popFirst() {
            switch word {
            case "--mutations": provesMutations = true
            case "--trace": isTracing = true
            case "--traces": traceFolder = words.popFirst() ?? traceFolder
            case "--mutation":
                guard let name = words.popFirst(), let found = Mutation(rawValue: name) else {
                    usage("--mutation takes one of: \(Mutation.allCases.map(\.rawValue).joined(separator: " "))")
                }
                mutation = found
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
    var text = "error: \(problem)\nusage: simulate [--trace] [--traces FOLDER] [--mutation NAME] [--mutations] FIRST:COUNT\n"
    text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(2)
}

/// Writes a trace beside others and says where.
func keep(_ outcome: SimulationOutcome, in folder: String) -> String {
    var path = ""
    for part in folder.split(separator: "/", omittingEmptySubsequences: false) {
        path += part + "/"
        mkdir(path, 0o777)
    }
    path += "seed-\(outcome.seed).txt"
    guard let file = fopen(path, "w") else { return "(\(path) cannot be written)" }
    for line in outcome.trace { fputs(line + "\n", file) }
    fclose(file)
    return path
}

func report(_ outcome: SimulationOutcome, _ arguments: Arguments) {
    // The same seed again, this time with a trace: nothing but the seed decides what happens.
    let traced = Simulation.runQuorum(seed: outcome.seed, mutation: arguments.mutation, isTracing: true)
    print("seed \(outcome.seed): \(outcome.violation.map { "FAILED, \($0)" } ?? "passed")")
    print("    trace: \(keep(traced, in: arguments.traceFolder))")
    fflush(nil)
    if traced.digest != outcome.digest { print("    warning: the run with a trace went another way: the simulation is not deterministic") }
}

func proveMutations(_ arguments: Arguments) -> Bool {
    var isComplete = true
    for mutation in Mutation.allCases {
        if let outcome = Simulation.firstSeedThatNotices(mutation, from: arguments.first, count: mutation.seedsNeeded),
            let violation = outcome.violation
        {
            print("\(mutation.rawValue): noticed by seed \(outcome.seed): \(violation)")
        } else {
            print("\(mutation.rawValue): NOT NOTICED by \(mutation.seedsNeeded) seeds")
            isComplete = false
        }
        fflush(nil)
    }
    return isComplete
}

func runSeeds(_ arguments: Arguments) -> Bool {
    let clock = ContinuousClock()
    let began = clock.now
    var (failures, events, acknowledged, virtual) = (0, 0, 0, Int64(0))
    for seed in arguments.first..<(arguments.first + arguments.count) {
        let outcome = Simulation.runQuorum(seed: seed, mutation: arguments.mutation)
        events += outcome.events
        acknowledged += outcome.acknowledged
        virtual += outcome.duration
        if outcome.violation != nil || arguments.isTracing { report(outcome, arguments) }
        if outcome.violation != nil { failures += 1 }
        if failures >= 10 { break }
    }
    let elapsed = began.duration(to: clock.now)
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
    let rate = Double(arguments.count) / max(seconds, 0.001)
    print(
        "\(arguments.count) seeds from \(arguments.first): \(failures) failed; \(Int(rate * 10) / 10) seeds per second, \(events) events, "
            + "\(virtual / 1_000_000) virtual seconds, \(acknowledged) records acknowledged")
    return failures == 0
}

let arguments = Arguments(Array(CommandLine.arguments.dropFirst()))
exit((arguments.provesMutations ? proveMutations(arguments) : runSeeds(arguments)) ? 0 : 1)
