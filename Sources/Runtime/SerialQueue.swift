// One thread for work that must be done in order and may block, such as flushing the metadata log.
import NIOConcurrencyHelpers
import NIOPosix

/// Works through what it is given, one piece after the other, on a thread of its own.
final class SerialQueue: Sendable {
    private let pool = NIOThreadPool(numberOfThreads: 1)

    init() {
        pool.start()
    }

    deinit {
        pool.shutdownGracefully { _ in }
    }

    /// Queues work and returns.
    func async(_ work: @escaping @Sendable () -> Void) {
        pool.submit { state in
            if case .active = state { work() }
        }
    }

    /// Queues work and waits for its result. Never from the queue itself.
    func sync<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result {
        let result = NIOLockedValueBox<Result?>(nil)
        let done = ConditionLock(value: false)
        pool.submit { _ in
            let value = work()
            result.withLockedValue { $0 = value }
            done.lock()
            done.unlock(withValue: true)
        }
        done.lock(whenValue: true)
        done.unlock()
        guard let value = result.withLockedValue({ $0 }) else { preconditionFailure("the work sets its result before it is done") }
        return value
    }
}
