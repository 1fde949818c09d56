// A few threads for what may block: loading coordinators, flushing, retention, recovery. Event loops never wait for a disk on purpose.
import NIOPosix

/// Runs blocking work off the event loops.
final class BackgroundWork: Sendable {
    private let pool: NIOThreadPool

    init(threads: Int) {
        pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
    }

    /// Queues the work. After `stop` it is dropped.
    func run(_ work: @escaping @Sendable () -> Void) {
        pool.submit { state in
            if case .active = state { work() }
        }
    }

    /// Lets the work in progress end, drops the rest.
    func stop() {
        try? pool.syncShutdownGracefully()
    }
}
