// Runs a node in the foreground: logging, signals, the first words to the person at the terminal, a clean end.
import ArgumentParser
import Broker
import Configuration
import Glibc
import Logging
import Observability
import Primitives

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

    /// Serves until SIGINT or SIGTERM, then stops cleanly; a second signal ends the process at once.
    func run() throws {
        let signals = SignalWait()
        let logger = log.logger("node")
        let server = BrokerServer(configuration: configuration, log: log)
        do throws(BrokerStartFailure) {
            greet(try server.start(formatIfNeeded: formatsIfNeeded))
        } catch {
            logger.critical("the node cannot start: \(error)")
            server.stop()
            throw NodeExit.failure
        }
        let signal = signals.wait()
        logger.info("stopping", metadata: ["signal": "\(signal)"])
        signals.exitOnNext()
        server.stop()
        logger.info("stopped")
    }
}

/// Waits for the signals that end a node. They are blocked in every thread made later, so one wait receives them all.
struct SignalWait {
    private var set = sigset_t()

    init() {
        sigemptyset(&set)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGTERM)
        pthread_sigmask(SIG_BLOCK, &set, nil)
        // A client that goes away in the middle of an answer is nothing to die for.
        signal(SIGPIPE, SIG_IGN)
    }

    /// The signal's name.
    func wait() -> String {
        var set = set
        var number: Int32 = 0
        repeat {} while sigwait(&set, &number) != 0
        return number == SIGINT ? "SIGINT" : "SIGTERM"
    }

    /// From now on another signal ends the process without waiting for a clean stop.
    func exitOnNext() {
        var set = set
        signal(SIGINT) { _ in _exit(130) }
        signal(SIGTERM) { _ in _exit(143) }
        pthread_sigmask(SIG_UNBLOCK, &set, nil)
    }
}
