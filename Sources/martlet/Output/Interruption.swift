// Ctrl-C during long work: the first one asks for an orderly end, the second one ends the process.
import Glibc
import Synchronization

/// Whether the person at the terminal wants an end.
enum Interruption {
    /// From now on the first SIGINT or SIGTERM only sets ``isWanted``.
    static func watch() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                wanted.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    static var isWanted: Bool { wanted.load(ordering: .relaxed) }
}

private let wanted = Atomic(false)
