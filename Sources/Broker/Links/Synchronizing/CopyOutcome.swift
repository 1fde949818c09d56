// What became of the groups of one round: one that cannot be copied does not keep the others from it.
import KafkaWire
import Linking
import MartletClient
import Primitives

/// The groups of one round, counted.
struct CopyOutcome: Sendable {
    enum Result: Sendable {
        case same
        case changed
        /// It has offsets of its own here.
        case hasMembers
    }

    private var created = 0
    private var changed = 0
    private var foreign = 0
    private var failures: [String] = []

    /// Does something for one group; nil when that fails for this group alone.
    ///
    /// - Throws: what the others would meet with too, such as a source that is away.
    mutating func attempt<Value>(_ group: String, _ body: () async throws -> Value) async throws -> Value? {
        do {
            return try await body()
        } catch let error as KafkaError {
            guard error.kind == .broker else { throw error }
            failures.append("group '\(group)' at the source: \(error.explanation)")
        } catch let failure as SynchronizationFailure {
            failures.append(failure.description)
        }
        return nil
    }

    mutating func count(_ result: Result, isNew: Bool) {
        switch result {
        case .same: break
        case .changed where isNew: created += 1
        case .changed: changed += 1
        case .hasMembers: foreign += 1
        }
    }

    func show(in status: inout SynchronizationStatus, _ atSource: Int, _ own: Int, _ removed: Int) {
        status.atSource = atSource
        status.own = own
        status.foreign = foreign
        status.created += created
        status.changed += changed
        status.removed += removed
    }

    /// - Throws: what kept groups from being copied.
    func check() throws(SynchronizationFailure) {
        guard let first = failures.first else { return }
        throw SynchronizationFailure(failures.count > 1 ? "\(first), and \(failures.count - 1) more" : first)
    }
}
