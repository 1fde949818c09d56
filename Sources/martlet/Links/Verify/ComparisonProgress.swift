// How far a comparison is, for the line on standard error, and how fast it may read.
import MartletClient
import Primitives
import Synchronization

/// Everything that one `link verify` reads.
final class ComparisonProgress: Sendable {
    private struct State {
        var bytes: Int64 = 0
        var offsetsDone: Int64 = 0
        var offsetsWanted: Int64 = 0
        var progress: Progress
    }

    private let state: Mutex<State>
    private let bytesPerSecond: Int64?
    private let started = SystemClock.monotonicMilliseconds()

    /// - Parameter bytesPerSecond: that may be read from both sides together; nil for no limit.
    init(isShown: Bool, bytesPerSecond: Int64?) {
        state = Mutex(State(progress: Progress(isWanted: isShown)))
        self.bytesPerSecond = bytesPerSecond
    }

    var bytes: Int64 { state.withLock { $0.bytes } }

    var seconds: Double { Double(max(1, SystemClock.monotonicMilliseconds() - started)) / 1000 }

    func expect(offsets: Int64) { state.withLock { $0.offsetsWanted += offsets } }

    func add(bytes: Int, offsets: Int64) {
        state.withLock { state in
            state.bytes += Int64(bytes)
            state.offsetsDone += offsets
            let (done, wanted, bytes) = (state.offsetsDone, state.offsetsWanted, state.bytes)
            state.progress.update { seconds in
                let rate = Double(bytes) / seconds / 1e6
                return "\(Progress.bar(Int(clamping: done), of: Int(clamping: wanted))) "
                    + "\(bytes / 1_000_000) MB read, \((rate * 10).rounded() / 10) MB/s"
            }
        }
    }

    /// Milliseconds to wait so that the rate is kept.
    var pauseMilliseconds: Int64 {
        guard let bytesPerSecond else { return 0 }
        let due = Double(bytes) / Double(bytesPerSecond) * 1000
        return max(0, Int64(due) - (SystemClock.monotonicMilliseconds() - started))
    }

    func finish() { state.withLock { $0.progress.finish() } }
}

/// One partition's part of it.
final class ComparisonMeter: Sendable {
    private let progress: ComparisonProgress
    private let position: Mutex<Offset>

    init(_ progress: ComparisonProgress, from start: Offset) {
        self.progress = progress
        position = Mutex(start)
    }

    func add(bytes: Int) { progress.add(bytes: bytes, offsets: 0) }

    /// Everything before an offset is compared.
    func reached(_ offset: Offset) {
        let more = position.withLock { position -> Offset in
            defer { position = max(position, offset) }
            return max(0, offset - position)
        }
        if more > 0 { progress.add(bytes: 0, offsets: more) }
    }

    func pace() async {
        let pause = progress.pauseMilliseconds
        if pause > 0 { try? await Task.sleep(for: .milliseconds(pause)) }
    }
}
