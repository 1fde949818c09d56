// Runs a node in the foreground: logging, signals, the first words to the person at the terminal, a clean end.
import ArgumentParser
import Broker
import Configuration
import Glibc
import Logging
import Observability
import Primitives
import Synchronization

/// Why a node ended other than by being asked to; the exit status that scripts see.
enum NodeExit {
    static let failure = ExitCode(1)
    /// As of sysexits: the configuration is wrong.
    static let configuration = ExitCode(78)
}

/// A node in the foreground.
struct NodeRunning {
    let configuration: BrokerConfiguration
    let log: StructuredLog
    /// Formats empty directories instead of refusing them.
    var formatsIfNeeded = false
    /// Called once the node serves requests.
    var greet: (BrokerServer.Endpoints) -> Void = { _ in }

    /// Serves until SIGINT or SIGTERM, then stops cleanly; a second signal ends the process at once, and so does any before the node
    /// serves: a start may have to wait for others, and there is nothing to hand over yet.
    func run() throws {
        SignalWait.exitOnNext()
        let logger = log.logger("node")
        let server = BrokerServer(configuration: configuration, log: log, version: Martlet.version)
        // Nothing that waits for a clean stop: what failed may be what it would wait for.
        server.onFatalFailure { _ in _exit(1) }
        let signals: SignalWait
        do throws(BrokerStartFailure) {
            let endpoints = try server.start(formatIfNeeded: formatsIfNeeded)
            signals = SignalWait()
            greet(endpoints)
        } catch {
            let reason = "\(error)"
            let remedy = reason.contains("is not formatted") ? "; `martlet format` with the same configuration prepares it" : ""
            logger.critical("the node cannot start: \(reason)\(remedy)")
            server.stop()
            throw NodeExit.failure
        }
        let signal = signals.wait()
        logger.info("stopping", metadata: ["signal": "\(signal)"])
        SignalWait.exitOnNext()
        server.stop()
        logger.info("stopped")
    }
}

/// Waits for the signals that end a node, on whichever thread they arrive: the handler only writes the signal's number into a pipe.
struct SignalWait {
    /// Becomes readable with each signal, one byte for each.
    let reading: Int32

    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0, "a pipe can be made when a process starts")
        reading = ends[0]
        signalPipe.store(ends[1], ordering: .sequentiallyConsistent)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(signalPipe.load(ordering: .relaxed), &byte, 1)
            }
        }
        Self.ignoreBrokenPipes()
    }

    /// A client that goes away in the middle of an answer is nothing to die for.
    private static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// The signal's name.
    func wait() -> String {
        var byte: UInt8 = 0
        while read(reading, &byte, 1) != 1 {}
        return Int32(byte) == SIGINT ? "SIGINT" : "SIGTERM"
    }

    /// From now on another signal ends the process without waiting for a clean stop.
    static func exitOnNext() {
        ignoreBrokenPipes()
        signal(SIGINT) { _ in _exit(130) }
        signal(SIGTERM) { _ in _exit(143) }
    }
}

/// Where the signal handler writes to.
private let signalPipe = Atomic<Int32>(-1)
