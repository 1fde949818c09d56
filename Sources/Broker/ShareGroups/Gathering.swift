// Many questions, one answer: collects what is answered in any order, on any thread.
import Synchronization

/// Collects a known number of results and hands them over, in the order of the questions, when all are there.
final class Gathering<Element: Sendable>: Sendable {
    private let state: Mutex<(missing: Int, results: [Element?])>
    private let completion: @Sendable ([Element]) -> Void

    /// - Parameter completion: called once: at once when nothing is expected, else on the thread that brings the last result.
    init(_ count: Int, completion: @escaping @Sendable ([Element]) -> Void) {
        state = Mutex((count, Array(repeating: nil, count: count)))
        self.completion = completion
        if count == 0 { completion([]) }
    }

    /// Takes the answer to a question; each has one.
    func add(_ index: Int, _ result: Element) {
        let complete = state.withLock { state -> [Element]? in
            precondition(state.results[index] == nil, "a question is answered once")
            state.results[index] = result
            state.missing -= 1
            return state.missing == 0 ? state.results.compactMap { $0 } : nil
        }
        if let complete { completion(complete) }
    }
}
