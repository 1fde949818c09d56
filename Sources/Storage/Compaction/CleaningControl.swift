// The thread between a log and whoever cleans it outside of the log's lock: the log says stop, the owner says how fast.
import Primitives
import Synchronization

/// Why a cleaning did not come to its end.
public enum CleaningFailure: Error, Equatable, Sendable {
    /// The log was cut, deleted or closed meanwhile, or the node stops. Nothing has changed; the next cleaning does it.
    case aborted
    /// The system has no memory for the map of keys.
    case outOfMemory(bytes: Int)
    /// `corruptFile` means that the log is damaged, and no later attempt will do better.
    case storage(StorageError)
}

/// One cleaning under way.
public final class CleaningControl: Sendable {
    private let aborted = Atomic<Bool>(false)
    private let pacing: @Sendable (Int, CleaningControl) -> Void

    /// - Parameter pacing: called with bytes that were read or are about to be written, and may wait; it returns soon once `isAborted`.
    public init(pacing: @escaping @Sendable (Int, CleaningControl) -> Void = { _, _ in }) {
        self.pacing = pacing
    }

    public var isAborted: Bool { aborted.load(ordering: .acquiring) }

    public func abort() { aborted.store(true, ordering: .releasing) }

    func check() throws(CleaningFailure) {
        if isAborted { throw .aborted }
    }

    func pace(_ bytes: Int) throws(CleaningFailure) {
        pacing(bytes, self)
        try check()
    }

    /// Runs file work; a failure of what was taken away meanwhile is no failure.
    func attempt<Value>(_ body: () throws(StorageError) -> Value) throws(CleaningFailure) -> Value {
        do throws(StorageError) {
            return try body()
        } catch {
            if isAborted { throw .aborted }
            throw .storage(error)
        }
    }
}

/// What a cleaning read, wrote and found.
public struct CleaningStatistics: Sendable, Equatable {
    /// Of the dirty part, for the map of keys.
    public var mapBytesRead = 0
    public var mapRecordsRead = 0
    public var bytesRead = 0
    public var bytesWritten = 0
    public var recordsRead = 0
    public var recordsWritten = 0
    /// Records without a key, which compaction drops.
    public var invalidRecords = 0
    /// How full the map of keys got, 0 to 1.
    public var mapUtilization = 0.0
    public var mapMemoryBytes = 0
    /// Everything below it is clean now.
    public var endOffset: Offset = 0

    public init() {}
}
