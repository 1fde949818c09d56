// One thing after the other, in the order in which they were wanted, whoever wants them.
import MartletClient
import Synchronization

/// Runs what it is given in turn. What was begun is carried out also when the task that wanted it is cancelled.
final class TurnQueue: Sendable {
    private let last = Mutex<Task<Void, Never>?>(nil)

    func run<Outcome: Sendable>(_ body: @escaping @Sendable () async -> Outcome) async -> Outcome {
        let task = last.withLock { last -> Task<Outcome, Never> in
            let previous = last
            let task = Task {
                await previous?.value
                return await body()
            }
            last = Task { _ = await task.value }
            return task
        }
        return await task.value
    }

    func run(_ body: @escaping @Sendable () async throws(KafkaError) -> Void) async throws(KafkaError) {
        let outcome = await run { () async -> Result<Void, KafkaError> in
            do throws(KafkaError) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        }
        try outcome.get()
    }
}
