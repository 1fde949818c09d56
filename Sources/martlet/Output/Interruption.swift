// Ctrl-C during long work: the first one asks for an orderly end, the second one ends the process.
import Glibc
import Synchronization

/// Whether the person at the terminal, or whoever reads the output, wants an end.
enum Interruption {
    /// From now on the first SIGINT or SIGTERM only sets ``isWanted``, and so does a reader of the output that goes away.
    static func watch() {
        watched.store(true, ordering: .relaxed)
        // Told by the next write instead, which can then be the last one.
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                wanted.store(true, ordering: .relaxed)
                signalled.store(true, ordering: .relaxed)
                lastSignal.store(number, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    static func request() { wanted.store(true, ordering: .relaxed) }

    static var isWatched: Bool { watched.load(ordering: .relaxed) }
    static var isWanted: Bool { wanted.load(ordering: .relaxed) }
    /// A signal wanted it, so a summary has someone to read it.
    static var isSignalled: Bool { signalled.load(ordering: .relaxed) }
    /// Which one; 0 for none.
    static var signalNumber: Int32 { lastSignal.load(ordering: .relaxed) }
}

private let watched = Atomic(false)
private let wanted = Atomic(false)
private let signalled = Atomic(false)
private let lastSignal = Atomic<Int32>(0)
