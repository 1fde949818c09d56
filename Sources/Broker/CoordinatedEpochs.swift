// Which leader epoch of each __consumer_offsets partition is being coordinated, so that each is loaded once.
import Primitives
import Synchronization

/// Remembers the newest epoch for which coordination was begun.
final class CoordinatedEpochs: Sendable {
    private let epochs = Mutex<[Int32: LeaderEpoch]>([:])

    /// Whether coordination has to begin for that epoch; true once.
    func begin(_ partition: Int32, _ epoch: LeaderEpoch) -> Bool {
        epochs.withLock { epochs in
            if let current = epochs[partition], current >= epoch { return false }
            epochs[partition] = epoch
            return true
        }
    }

    func end(_ partition: Int32) { epochs.withLock { $0[partition] = nil } }
    func endAll() { epochs.withLock { $0.removeAll() } }
}
